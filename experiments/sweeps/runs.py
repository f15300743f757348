"""The runs of a sweep: their commands, how they start and end, one loop over any launcher."""

import dataclasses
import json
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from etils import epath
from ml_collections import ConfigDict

from dsh_jax import whole
from dsh_jax.sweeps import sweep
from dsh_jax.sweeps.run_table import MAP
from dsh_jax.training import records, run_folder
from experiments.console import REQUEUE

EVERY = 0.5  # seconds between two looks
STOPPED = "stopped; the same command goes on"


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
      name: see `sweep.run_name`.
      point: its overrides.
      command: of experiments.train, as arguments.
      folder: its workdir.
      log, end: what its command prints; how it ended, empty where it ended well.
    """

    name: str
    point: Mapping[str, Any]
    command: Sequence[str]
    folder: epath.Path
    log: epath.Path
    end: epath.Path


class Launcher(Protocol):
    """Starts runs and says how they ended."""

    running: Mapping[str, Any]  # name to whatever it needs to know

    def start(self, runs: Sequence[Run]) -> None:
        """Start runs, or queue them."""

    def poll(self) -> list[tuple[Run, str]]:
        """Return the runs that ended since the last time, and how, see `Run.end`."""

    def state(self, name: str) -> str:
        """Return "waiting" or "running"."""

    def stop(self) -> None:
        """End what must not go on without the launcher, after it has saved."""


def make_run(
    point: Mapping[str, Any],
    workdir: epath.Path,
    *,
    python: str,
    config_file: str,
    overrides: Mapping[str, Any],
) -> Run:
    """Return the run of a point.

    Args:
      point: dotted key to value.
      workdir: of the sweep.
      python: program that runs experiments.train.
      config_file: with its variant.
      overrides: of all runs, before the point's own.
    """
    name = sweep.run_name(point)
    settings = [f"--config.{key}={value}" for key, value in {**overrides, **point}.items()]
    train = [python, "-m", "experiments.train", f"--config={config_file}"]
    return Run(
        name=name,
        point=point,
        command=[*train, *settings, f"--workdir={workdir / name}"],
        folder=workdir / name,
        log=workdir / "logs" / f"{name}.log",
        end=workdir / "logs" / f"{name}.end",
    )


def config_of(one: Run, config: ConfigDict) -> ConfigDict:
    """Return a run's own config.

    Args:
      one: run.
      config: of the sweep.
    """
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(dict(one.point))
    return config


def is_finished(one: Run, config: ConfigDict) -> bool:
    """Return whether a run's folder holds its result, and of this config.

    Args:
      one: run.
      config: of the sweep.
    """
    path = one.folder / "config.json"
    if not path.exists() or (one.end.exists() and one.end.read_text().strip()):
        return False
    try:
        run_folder.check_config(
            json.loads(path.read_text()), config_of(one, config).to_dict(), one.folder
        )
    except ValueError:
        return False
    return any(MAP in record for record in records.read_metrics(one.folder / "metrics.jsonl"))


def write_points(workdir: epath.Path, runs: Iterable[Run]) -> None:
    """Add the points of runs to `sweep.json`, from which `--collect` knows them.

    Args:
      workdir: of the sweep, made where it is not there.
      runs: to add.
    """
    (workdir / "logs").mkdir(parents=True, exist_ok=True)
    points = read_points(workdir) | {one.name: dict(one.point) for one in runs}
    whole.write_text(workdir / "sweep.json", json.dumps(points, indent=2) + "\n")


def read_points(workdir: epath.Path) -> dict[str, dict[str, Any]]:
    """Return the points of a sweep's folder by their names, none where there is no `sweep.json`.

    Args:
      workdir: of the sweep.
    """
    path = workdir / "sweep.json"
    return json.loads(path.read_text()) if path.exists() else {}


def start_of(one: Run) -> None:
    """Note in a run's log that it starts; how an earlier start ended is forgotten.

    Args:
      one: run.
    """
    one.log.parent.mkdir(parents=True, exist_ok=True)
    one.end.unlink(missing_ok=True)
    with one.log.open("a") as file:
        file.write(f"\n$ {shlex.join(one.command)}\n")


def end_of(one: Run, code: int | str) -> str:
    """Write and return how a run ended.

    Args:
      one: run.
      code: exit code of its command, or words.

    Returns:
      Empty where it ended well.
    """
    end = {0: "", REQUEUE: STOPPED}.get(code, f"exit code {code}")
    end = code if isinstance(code, str) else end
    whole.write_text(one.end, end + "\n")
    return end


def drive(
    launcher: Launcher,
    next_runs: Callable[[int], list[Run]],
    ended: Callable[[Run, str], None],
    *,
    jobs: int,
    show: Callable[[Launcher], None],
) -> None:
    """Start runs as others end, until there are none; whatever ends it, the launcher is stopped.

    Args:
      launcher: of the runs.
      next_runs: returns up to so many more; none is the end.
      ended: called with each run that ended, and how.
      jobs: at most so many at a time.
      show: called at every look.
    """
    try:
        while True:
            free = jobs - len(launcher.running)
            new = next_runs(free) if free > 0 else []
            if new:
                launcher.start(new)
            for one, how in launcher.poll():
                ended(one, how)
            show(launcher)
            if free > 0 and not new and not launcher.running:
                break
            time.sleep(EVERY)
    except BaseException:
        launcher.stop()
        raise
