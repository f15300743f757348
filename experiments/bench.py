"""Speed as ratios, each side measured in the same run on the same work.

    python -m experiments.bench train --config=configs/mnist.py:modern

prints images/s of the whole training loop ÷ images/s of the bare step on one fixed batch.

    python -m experiments.bench torch --torch_python=/path/to/venv/bin/python

prints images/s of the bare step ÷ images/s of the same network in PyTorch, on the same cores.
PyTorch lives in a virtual environment of its own: it is a peer, not a dependency.

    python -m experiments.bench retrieval --json=retrieval.json

prints the time of evaluation and search, and how many times as long their peers take, on one core.

    python -m experiments.bench data --config=configs/mirflickr.py --config.data.data_dir=…

prints the images/s of decoding beside bare tf.data, and of the input beside a training step.

    python -m experiments.bench methods

fits ITQ and SDH and their numpy forms to 60,000 rows.

    python -m experiments.bench split

prints the seconds and megabytes of splitting an index of NUS-WIDE's size.

    python -m experiments.bench encode --workdir=runs/photos --images=/data/photos

prints the images/s of encoding files beside decoding and the network alone, and the milliseconds of
each part of one query.

    python -m experiments.bench accuracy

prints the largest relative errors of average precision against float64.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from absl import app, flags
from etils import epath
from ml_collections import config_flags

from experiments import console  # first: it quiets TensorFlow before its import

from experiments import bench_accuracy, bench_data, bench_encode, bench_methods  # isort: skip

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip
import numpy as np  # isort: skip
from dsh_jax import build, models, parallel, train  # isort: skip
from dsh_jax.data import pipeline  # isort: skip
from dsh_jax.optimizer import make_optimizer, make_schedule  # isort: skip
from dsh_jax.run import read_metrics  # isort: skip
from dsh_jax.objectives import hashing_objective  # isort: skip
from dsh_jax.step import beta_schedule, create_state, train_step  # isort: skip

_CONFIG = config_flags.DEFINE_config_file("config", "configs/mnist.py:modern", "Config to measure.")
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in each measurement.", lower_bound=10)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Measurements of each side, taken in turn.")
_BATCH = flags.DEFINE_integer("batch", 128, "Images a step, for `torch`.")
_WIDTH = flags.DEFINE_float("width", 1.0, "Multiplier of the filters, for `torch`.")
_ONLY = flags.DEFINE_enum(
    "only", "all", ["maps", "search", "memory", "all"], "What of `retrieval` to measure."
)
_QUICK = flags.DEFINE_bool("quick", False, "Small sizes, for a trial of `retrieval`.")
_JSON = flags.DEFINE_string("json", None, "File for every timing of `retrieval`.")
_LOOP_QUERIES = flags.DEFINE_integer(
    "loop_queries", 0, "Queries that each peer evaluates; 0 for 5 s of them, for `retrieval`.", 0
)
_CORES = flags.DEFINE_integer("cores", 1, "Idle cores for all sides of `retrieval`.", lower_bound=1)
_WORKDIR = flags.DEFINE_string("workdir", None, "A run on RGB images, for `encode`.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of JPEG files, for `encode`.")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", sys.executable, "A Python that has torch.")


def images_per_second(step: Callable, state, batch, *, images: int, steps: int):
    """Return the speed of a step on one fixed batch, and the state after it.

    Waits for step N−1 once step N is dispatched, as training does: a longer queue of steps only
    makes a CPU allocate more.
    """
    started = time.perf_counter()
    metrics = None
    for _ in range(steps):
        previous = metrics
        state, metrics = step(state, batch)
        jax.block_until_ready(previous)
    jax.block_until_ready(metrics)
    return steps * images / (time.perf_counter() - started), state


def bench_train(config) -> dict[str, float]:
    """Return the speed of the whole loop (input, metrics, logging) against the bare step's."""
    steps, rounds = _STEPS.value, _ROUNDS.value
    config.training.mode = "joint"
    config.training.hashing_epochs = 0.0
    config.training.hashing_steps = steps * (rounds + 1)
    config.training.log_every_steps = steps
    config.evaluation.validate_every_epochs = 0.0
    config.evaluation.validate_every_steps = 2 * config.training.hashing_steps
    config.data.validation = 0.0
    described = build.build(config)
    stage, images = described.stages[0], config.training.batch_size
    item = next(
        pipeline.train_batches(
            described.source,
            described.split.labelled,
            described.split.unlabelled,
            batch=images,
            labelled_share=config.training.labelled_share,
            devices=parallel.device_count(),
            seed=0,
            start_step=0,
            stop_step=1,
        )
    )
    batch = next(parallel.prefetch([item]))
    state = parallel.replicate(described.initial_state())
    measure = functools.partial(images_per_second, stage.step, batch=batch, images=images)
    _, state = measure(state, steps=5)  # compiles
    bare = []
    for _ in range(rounds):
        rate, state = measure(state, steps=steps)
        bare.append(rate)
    with tempfile.TemporaryDirectory() as folder:
        train.train(config, epath.Path(folder) / "run")
        records = read_metrics(epath.Path(folder) / "run" / "metrics.jsonl")
    # The first window holds the compilation.
    loop = [record["images_per_second"] for record in records if "images_per_second" in record][1:]
    for _ in range(rounds):  # again after the loop: the machine's speed drifts
        rate, state = measure(state, steps=steps)
        bare.append(rate)
    return {
        "loop_images_per_second": statistics.median(loop),
        "bare_images_per_second": statistics.median(bare),
        "ratio": statistics.median(loop) / statistics.median(bare),
    }


def paper_step(batch_size: int, width: float):
    """Return the step, state and batch of the paper's network on 32×32×3, without BatchNorm.

    One convolution a group, FC 1024, 48 bits, 10 classes, cross-entropy, SGD with Nesterov: the
    network of experiments/bench_torch.py.
    """
    model = models.DSH(
        bits=48, classes=10, shape=(32, 32, 3), width=width, batch_norm=False, axis_name="batch"
    )
    optimizer = make_optimizer("sgd", make_schedule("constant", peak=1e-3, steps=1))
    step = functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        objective=hashing_objective(multilabel=False, applied_to="bcoding", y=0.0, z=0.0),
        augment=lambda _, image: image,
        beta=beta_schedule(beta=1.0, growth=0.0, power=1.0),
        decode=False,
        axis_name="batch",
    )
    rng = np.random.default_rng(0)
    devices = parallel.device_count()
    shape = (devices, batch_size // devices)
    batch = {
        "image": rng.integers(0, 256, (*shape, 32, 32, 3), np.uint8),
        "label": np.eye(10, dtype=np.float32)[rng.integers(0, 10, shape)],
        "is_labelled": np.ones(shape, bool),
    }
    state = create_state(model, optimizer, seed=0, ema=False)
    return parallel.parallel_step(step), state, jax.tree.map(jnp.asarray, batch)


def bench_torch() -> dict[str, float]:
    """Return the bare step's speed against PyTorch's, in turns."""
    step, state, batch = paper_step(_BATCH.value, _WIDTH.value)
    state = parallel.replicate(state)
    measure = functools.partial(images_per_second, step, batch=batch, images=_BATCH.value)
    _, state = measure(state, steps=5)  # compiles
    script = epath.Path(__file__).parent / "bench_torch.py"
    command = [_TORCH_PYTHON.value, str(script), f"--batch={_BATCH.value}"]
    command += [f"--steps={_STEPS.value}", f"--width={_WIDTH.value}"]
    ours, theirs = [], []
    for _ in range(_ROUNDS.value):
        rate, state = measure(state, steps=_STEPS.value)
        ours.append(rate)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{' '.join(command)} failed:\n{done.stderr}")
        theirs.append(json.loads(done.stdout.splitlines()[-1])["images_per_second"])
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "jax_images_per_second": statistics.median(ours),
        "torch_images_per_second": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def bench_retrieval() -> int:
    """Run experiments.bench_retrieval on some cores, which JAX and BLAS count when they start."""
    cores, available = _CORES.value, sorted(os.sched_getaffinity(0))
    if cores > len(available):
        raise ValueError(f"--cores={cores}, but there are {len(available)}; pass at most that")
    os.sched_setaffinity(0, available[-cores:])  # the child's too
    xla_flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={cores}"
    limits = {"XLA_FLAGS": xla_flags.strip(), "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(cores)}
    settings = {
        "only": _ONLY.value,
        "quick": _QUICK.value,
        "rounds": _ROUNDS.value,
        "loop_queries": _LOOP_QUERIES.value,
        "file": _JSON.value,
    }
    command = [sys.executable, "-m", "experiments.bench_retrieval", json.dumps(settings)]
    return subprocess.run(command, env=os.environ | limits).returncode


def main(argv):
    known = ("train", "torch", "retrieval", "data", "split", "methods", "encode", "accuracy")
    if len(argv) != 2 or argv[1] not in known:
        raise app.UsageError(f"say what to measure: {', '.join(known)}.")
    console.quiet()
    with console.clear_errors():
        if argv[1] == "retrieval":
            return bench_retrieval()
        measure = {
            "train": lambda: bench_train(_CONFIG.value),
            "torch": bench_torch,
            "data": lambda: bench_data.bench(
                _CONFIG.value, rounds=_ROUNDS.value, steps=_STEPS.value
            ),
            "split": bench_data.bench_split,
            "methods": lambda: bench_methods.bench_methods(rounds=_ROUNDS.value),
            "encode": lambda: bench_encode.bench_run(
                _WORKDIR.value, _IMAGES.value, rounds=_ROUNDS.value
            ),
            "accuracy": bench_accuracy.bench_accuracy,
        }
        print(json.dumps(measure[argv[1]](), ensure_ascii=False))


if __name__ == "__main__":
    console.run(main)
