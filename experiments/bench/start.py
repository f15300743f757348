"""The time to a run's first step, and of a sweep of short runs, with compiled programs kept or not.

    python -m experiments.bench.start --config=configs/mnist.py:modern

starts the training command in turns without kept programs, with an empty folder for them, and with
the folder that this filled, and prints the seconds until the first step is recorded; then those of
a sweep of eight seeds of ten steps with `--launcher=local`, evaluated, without kept programs and
with an empty folder for them.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags
from etils import epath
from ml_collections import config_flags

from dsh_jax.training.records import read_metrics
from experiments import console

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config, e.g. configs/mnist.py:modern.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Starts of each kind, taken in turn.", 1)
_POINTS = flags.DEFINE_integer("points", 8, "Of the sweep; 0 for none.", 0)
_STEPS = flags.DEFINE_integer("steps", 10, "Of each of them.", 1)
flags.mark_flag_as_required("config")

LOOK = 0.02  # seconds between two looks for the record
LIMIT = 1800.0  # seconds


def environment(kept: epath.Path | None) -> dict[str, str]:
    """Return the environment of a program that keeps what it compiles in a folder, or nowhere."""
    if kept is None:
        return os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    return os.environ | {"JAX_COMPILATION_CACHE_DIR": str(kept)}


def command(module: str, workdir: epath.Path, *, steps: int) -> list[str]:
    """Return the command of some steps of one stage, with a record each, and no validation."""
    settings = {
        "training.mode": "joint",
        "training.hashing_epochs": 0.0,
        "training.hashing_steps": steps,
        "training.log_every_steps": 1,
        "evaluation.validate_every_epochs": 0.0,
        "evaluation.validate_every_steps": 2 * steps,
        "data.validation": 0.0,
    }
    flag = flags.FLAGS["config"]
    typed = settings | config_flags.get_override_values(flag)
    return [
        *(sys.executable, "-m", f"experiments.{module}", f"--workdir={workdir}"),
        f"--config={config_flags.get_config_filename(flag)}",
        *(f"--config.{name}={value}" for name, value in typed.items()),
    ]


def start(workdir: epath.Path, kept: epath.Path | None) -> float:
    """Return the seconds from a command to its first record, whose program is ended there."""
    began = time.perf_counter()
    with (
        open(f"{workdir}.log", "w") as log,
        subprocess.Popen(
            command("train", workdir, steps=1),
            env=environment(kept),
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as running,
    ):
        try:
            while not read_metrics(workdir / "metrics.jsonl"):
                seconds = time.perf_counter() - began
                if running.poll() is not None or seconds > LIMIT:
                    lines = epath.Path(log.name).read_text().splitlines()
                    raise RuntimeError("no step was recorded: " + "\n".join(lines[-5:]))
                time.sleep(LOOK)
            return time.perf_counter() - began
        finally:
            running.kill()


def sweep(workdir: epath.Path, kept: epath.Path | None) -> float:
    """Return the seconds of a sweep of some seeds, one after another."""
    seeds = ",".join(map(str, range(_POINTS.value)))
    asked = [*command("sweep", workdir, steps=_STEPS.value), f"--sweep=seed={seeds}"]
    began = time.perf_counter()
    subprocess.run(
        [*asked, "--launcher=local"], env=environment(kept), check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def measure(folder: epath.Path) -> dict:
    """Return the medians of the starts, and the times of the sweeps."""
    starts = {"no folder": [], "empty folder": [], "filled folder": []}
    for turn in range(_ROUNDS.value):
        kept = folder / f"kept-{turn}"
        for (name, times), where in zip(starts.items(), (None, kept, kept), strict=True):
            times.append(start(folder / f"{turn}-{name.replace(' ', '-')}", where))
            print(f"{name}: {times[-1]:.1f} s", flush=True)
    found = {f"first step, {name}, s": round(statistics.median(t), 1) for name, t in starts.items()}
    if _POINTS.value:
        plain = sweep(folder / "sweep-plain", None)
        kept = sweep(folder / "sweep-kept", folder / "kept-sweep")
        found |= {"sweep, no folder, s": round(plain, 1), "sweep, empty folder, s": round(kept, 1)}
    return found


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    with (
        console.clear_errors(),
        tempfile.TemporaryDirectory(prefix="dsh_jax_bench_") as passing,
    ):
        print(json.dumps(measure(epath.Path(passing)), indent=2))


if __name__ == "__main__":
    console.run(main)
