"""The time of one program that trains several runs, beside that of the runs one after another.

    python -m experiments.bench.population --config=configs/digits.py:smoke
    python -m experiments.bench.population --config=configs/mnist.py:smoke

trains 8 learning rates by `population.train` in one process, then each alone by `train.train` in a
process of its own, and prints the times, start-up and compilation included, and their ratios: on
the wall's clock, and of the CPU, which a busy machine distorts less.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags
from etils import epath
from ml_collections import config_flags

from dsh_jax.runs import population, train
from dsh_jax.training.records import read_metrics
from experiments import console

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config, e.g. configs/digits.py:smoke.")
_POINTS = flags.DEFINE_integer("points", 8, "How many learning rates.", lower_bound=2)
_ALONE = flags.DEFINE_integer(
    "alone", None, "How many of them alone, the others taken to last as long; else all.", 1
)
_TURNS = flags.DEFINE_bool("take_turns", None, "Points in turn, or in one vmap; else by backend.")
_SIDE = flags.DEFINE_string("side", None, "Of one process: `population`, or a point's number.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs; without it, a passing one.")
flags.mark_flag_as_required("config")


def configs_of_points(config) -> list:
    """Return the config at learning rates from a quarter to twice its own."""
    points = []
    for factor in np.geomspace(0.25, 2, _POINTS.value):
        point = config.copy_and_resolve_references()
        point.optimizer.learning_rate = float(factor * config.optimizer.learning_rate)
        points.append(point)
    return points


def seconds_of(side: str, folder: epath.Path) -> np.ndarray:
    """Return the seconds, wall and CPU, that a process of its own takes to train one side."""

    def now() -> np.ndarray:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])

    command = [sys.executable, "-m", "experiments.bench.population", *sys.argv[1:]]
    started = now()
    subprocess.run([*command, f"--side={side}", f"--workdir={folder}"], check=True)
    seconds = now() - started
    print(f"side {side}: {seconds[0]:.1f} s, CPU {seconds[1]:.1f} s", flush=True)
    return seconds


def losses(folder: epath.Path) -> np.ndarray:
    """Return the recorded losses of a run."""
    records = read_metrics(folder / "metrics.jsonl")
    return np.array([record["train/loss"] for record in records if "train/loss" in record])


def measure(folder: epath.Path) -> dict:
    """Return the times of both sides, and how far apart their losses are."""
    together = seconds_of("population", folder)
    numbers = range(min(_ALONE.value or _POINTS.value, _POINTS.value))
    alone = np.array([seconds_of(str(number), folder) for number in numbers])
    apart = [
        np.abs(losses(folder / f"together-{number}") - losses(folder / f"alone-{number}"))
        for number in numbers
    ]
    ratio = together / (_POINTS.value * alone.mean(axis=0))
    return {
        "together_s": together.round(1).tolist(),
        "alone_s": alone.round(1).tolist(),
        "together/alone": round(ratio[0], 3),
        "together/alone, CPU": round(ratio[1], 3),
        "loss_apart_first": float(np.max([difference[0] for difference in apart])),
        "loss_apart_last": float(np.max([difference[-1] for difference in apart])),
    }


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    with console.clear_errors():
        points = configs_of_points(_CONFIG.value)
        if _SIDE.value is None:
            with tempfile.TemporaryDirectory(prefix="dsh_jax_bench_") as passing:
                print(json.dumps(measure(epath.Path(_WORKDIR.value or passing)), indent=2))
            return
        folder = epath.Path(_WORKDIR.value)
        if _SIDE.value == "population":
            folders = [folder / f"together-{number}" for number in range(len(points))]
            population.train(points, folders, take_turns=_TURNS.value)
        else:
            train.train(points[int(_SIDE.value)], folder / f"alone-{_SIDE.value}")


if __name__ == "__main__":
    console.run(main)
