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

    python -m experiments.bench host --config=configs/cifar10.py:modern

prints the milliseconds that the training loop spends on a step that does nothing on the device.

    python -m experiments.bench large --items=100000000

prints the time and memory of searches and counts in a memory map, beside a small one.

    python -m experiments.bench processes

prints the milliseconds that one process and two spend on starting such a step of 278 arrays.
"""

import json
import os
import subprocess
import sys

from absl import app, flags
from ml_collections import config_flags

from experiments import console, memory
from experiments.bench import accuracy, data, encode, host, large, methods, train

_CONFIG = config_flags.DEFINE_config_file("config", "configs/mnist.py:modern", "Config to measure.")
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in each measurement.", lower_bound=10)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Measurements of each side, taken in turn.")
_BATCH = flags.DEFINE_integer("batch", 128, "Images a step, for `torch`.")
_WIDTH = flags.DEFINE_float("width", 1.0, "Multiplier of the filters, for `torch`.")
_BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "Convolutions of bfloat16 factors, for `torch`.")
_ONLY = flags.DEFINE_enum(
    "only", "all", ["maps", "search", "memory", "all"], "What of `retrieval` to measure."
)
_QUICK = flags.DEFINE_bool("quick", False, "Small sizes, for a trial of `retrieval`.")
_JSON = flags.DEFINE_string("json", None, "File for every timing of `retrieval`.")
_LOOP_QUERIES = flags.DEFINE_integer(
    "loop_queries", 0, "Queries that each peer evaluates; 0 for 5 s of them, for `retrieval`.", 0
)
_CODES = flags.DEFINE_string("codes", None, "A run's eval/<step>.npz, for `retrieval`.")
_CORES = flags.DEFINE_integer("cores", 1, "Idle cores for all sides of `retrieval`.", lower_bound=1)
_ITEMS = flags.DEFINE_integer("items", 100_000_000, "Codes, for `large`.", lower_bound=1)
_QUERIES = flags.DEFINE_integer("queries", 1000, "Of a call, for `large`.", lower_bound=1)
_WORKDIR = flags.DEFINE_string("workdir", None, "A run on RGB images, for `encode`.")
_MODEL = flags.DEFINE_string("model", None, "An export of RGB images, in its place.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of JPEG files, for `encode`.")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", sys.executable, "A Python that has torch.")


def bench_retrieval() -> int:
    """Run experiments.bench.retrieval on some cores, which JAX and BLAS count when they start."""
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
        "codes": _CODES.value,
    }
    command = [sys.executable, "-m", "experiments.bench.retrieval", json.dumps(settings)]
    return subprocess.run(command, env=os.environ | limits).returncode


def main(argv):
    measures = {
        "train": lambda: train.bench_loop(_CONFIG.value, steps=_STEPS.value, rounds=_ROUNDS.value),
        "torch": lambda: train.bench_torch(
            _TORCH_PYTHON.value,
            batch_size=_BATCH.value,
            width=_WIDTH.value,
            bfloat16=_BFLOAT16.value,
            steps=_STEPS.value,
            rounds=_ROUNDS.value,
        ),
        "data": lambda: data.bench(_CONFIG.value, rounds=_ROUNDS.value, steps=_STEPS.value),
        "split": data.bench_split,
        "methods": lambda: methods.bench_methods(rounds=_ROUNDS.value),
        "encode": lambda: encode.bench_run(
            _WORKDIR.value, _MODEL.value, _IMAGES.value, rounds=_ROUNDS.value
        ),
        "accuracy": accuracy.bench_accuracy,
        "large": lambda: large.bench_sizes(_ITEMS.value, _QUERIES.value),
        "processes": lambda: host.bench_processes(steps=_STEPS.value, rounds=_ROUNDS.value),
        "host": lambda: host.bench_loop(_CONFIG.value, steps=_STEPS.value, rounds=_ROUNDS.value),
    }
    known = ("retrieval", *measures)
    if len(argv) != 2 or argv[1] not in known:
        raise app.UsageError(f"say what to measure: {', '.join(known)}.")
    console.quiet()
    with console.clear_errors():
        if argv[1] == "retrieval":
            return bench_retrieval()
        print(json.dumps(measures[argv[1]](), ensure_ascii=False))


if __name__ == "__main__":
    memory.keep()
    console.run(main)
