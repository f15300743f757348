"""The training loop beside its bare step, and that beside PyTorch's, for `experiments.bench`."""

import functools
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from dsh_jax import network, parallel
from dsh_jax.data import pipeline
from dsh_jax.losses.objectives import hashing_objective
from dsh_jax.runs import train
from dsh_jax.training import build
from dsh_jax.training.optimizer import make_optimizer, make_schedule
from dsh_jax.training.records import read_metrics
from dsh_jax.training.step import beta_schedule, create_state, train_step


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


def only_train(config, *, steps: int, rounds: int) -> None:
    """Set a run of one stage with a record a round, one more to warm up, and no validation."""
    config.training.mode = "joint"
    config.training.hashing_epochs = 0.0
    config.training.hashing_steps = steps * (rounds + 1)
    config.training.log_every_steps = steps
    config.evaluation.validate_every_epochs = 0.0
    config.evaluation.validate_every_steps = 2 * config.training.hashing_steps
    config.data.validation = 0.0


def bench_loop(config, *, steps: int, rounds: int) -> dict[str, float]:
    """Return the speed of the whole loop (input, metrics, logging) against the bare step's."""
    only_train(config, steps=steps, rounds=rounds)
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
    state = parallel.replicate_everywhere(described.initial_state())
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


def paper_step(batch_size: int, width: float, conv_precision: str = "float32"):
    """Return the step, state and batch of the paper's network on 32×32×3, without BatchNorm.

    One convolution a group, FC 1024, 48 bits, 10 classes, cross-entropy, SGD with Nesterov: the
    network of experiments/torch_peer.py.
    """
    model = network.DSH(
        bits=48,
        classes=10,
        shape=(32, 32, 3),
        width=width,
        batch_norm=False,
        axis_name="batch",
        conv_precision=conv_precision,
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


def bench_torch(
    python: str, *, batch_size: int, width: float, bfloat16: bool, steps: int, rounds: int
) -> dict[str, float]:
    """Return the bare step's speed against PyTorch's, in turns; both in bfloat16 or neither."""
    step, state, batch = paper_step(batch_size, width, "bfloat16" if bfloat16 else "float32")
    state = parallel.replicate_everywhere(state)
    measure = functools.partial(images_per_second, step, batch=batch, images=batch_size)
    _, state = measure(state, steps=5)  # compiles
    script = epath.Path(__file__).parent / "torch_peer.py"
    command = [python, str(script), f"--batch={batch_size}"]
    command += [f"--steps={steps}", f"--width={width}", *(["--bfloat16"] if bfloat16 else [])]
    ours, theirs = [], []
    for _ in range(rounds):
        rate, state = measure(state, steps=steps)
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
