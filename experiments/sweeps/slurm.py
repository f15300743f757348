"""Runs of a sweep as jobs of Slurm, through submitit."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging
from etils import epath

from dsh_jax import whole
from experiments.console import REQUEUE
from experiments.sweeps.runs import Run, end_of, start_of

LOOK = 5.0  # seconds between two questions to Slurm
SURE = 3  # looks in a row that find a job ended without a result: a requeue passes through such
DEFAULT_ARRAY = 1001  # Slurm's own MaxArraySize
ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def run_child(one: Run, requeue: bool) -> str:
    """Run a run's command, within its job; a run that was asked to stop is queued again.

    The command is a child, which Slurm's signals reach by themselves: submitit's own answer to
    SIGUSR2 would queue the job before the child has saved.

    Args:
      one: run.
      requeue: whether to queue it again.

    Returns:
      How it ended, see `Run.end`.
    """
    asked = []
    before = {
        number: signal.signal(number, lambda number, _: asked.append(number)) for number in ASKING
    }
    process = int(os.environ.get("SLURM_PROCID", "0"))
    log = one.log
    if process == 0:
        start_of(one)
    else:
        log = log.with_name(f"{log.name}.{process}")
    with log.open("ab") as file:
        code = subprocess.run(one.command, stdout=file, stderr=file).returncode
    for number, handler in before.items():
        signal.signal(number, handler)
    # Asked before it could answer, a command dies of the signal, and nothing is lost.
    stopped = code == REQUEUE or (asked and -code in ASKING)
    if not stopped:
        return end_of(one, code) if process == 0 else ""
    end = end_of(one, REQUEUE) if process == 0 else ""
    if not requeue or "SLURM_JOB_ID" not in os.environ:
        return end
    if process == 0:
        job = os.environ["SLURM_JOB_ID"]
        asks = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
        state = subprocess.run(asks, capture_output=True, text=True).stdout.strip()
        # Else it is cancelled, or Slurm has queued it again already.
        if state == "RUNNING":
            subprocess.run(["scontrol", "requeue", job])
    sys.exit(REQUEUE)  # without a result: the job is not done


def largest_array() -> int:
    """Return how many jobs Slurm takes in one array: its MaxArraySize, 1,001 where it is silent."""
    try:
        said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", said.stdout, re.MULTILINE)
    except OSError:
        found = None
    return max(1, int(found[1])) if found else DEFAULT_ARRAY


class Slurm:
    """A launcher of Slurm's jobs; those of one `start` are one array, or several of its most.

    Args:
      workdir: of the sweep, on a file system that all nodes share.
      cluster: "slurm"; "local" and "debug" for processes of this machine and for this process.
      parameters: of `submitit.AutoExecutor.update_parameters`.
      requeue: whether runs that were asked to stop are queued again.

    Raises:
      ValueError: where submitit is not installed, Slurm is not found, or a parameter is unknown.
    """

    def __init__(
        self, workdir: epath.Path, *, cluster: str, parameters: Mapping[str, Any], requeue: bool
    ):
        try:
            import submitit
        except ImportError as error:
            raise ValueError("--launcher=slurm needs submitit: pip install -e .[slurm].") from error
        self.running: dict[str, tuple[Run, Any]] = {}
        self._submitit = submitit
        self._folder = workdir / "slurm"
        self._ids = workdir / "jobs.json"
        self._cluster = cluster
        self._requeue = requeue
        self._parameters = parameters
        self._next_look = 0.0
        self._looks: dict[str, int] = {}  # name to how often in a row it had ended, no result
        try:
            self._executor = submitit.AutoExecutor(str(self._folder), cluster=cluster)
            self._executor.update_parameters(**parameters)
        except (RuntimeError, ValueError, NameError, TypeError) as error:
            raise ValueError(f"submitit refuses: {error}") from error

    def start(self, runs: Sequence[Run]) -> None:
        """Queue jobs, but for runs whose jobs of an earlier command are still there."""
        ids = json.loads(self._ids.read_text()) if self._ids.exists() else {}
        self.running |= self._queued([one for one in runs if one.name in ids], ids)
        new = [one for one in runs if one.name not in self.running]
        most = largest_array() if self._cluster == "slurm" else len(new)
        arrays = [new[first : first + most] for first in range(0, len(new), max(most, 1))]
        if len(arrays) > 1 and (parallelism := self._parameters.get("slurm_array_parallelism")):
            share = max(1, parallelism // len(arrays))
            logging.info("%d arrays of at most %d jobs, %d at a time", len(arrays), most, share)
            self._executor.update_parameters(slurm_array_parallelism=share)
        for array in arrays:
            for one in array:
                one.end.unlink(missing_ok=True)
            try:
                jobs = self._executor.map_array(run_child, array, [self._requeue] * len(array))
            except self._submitit.core.utils.FailedJobError as error:
                raise ValueError(f"sbatch refuses: {error}") from error
            self.running |= {one.name: (one, job) for one, job in zip(array, jobs, strict=True)}
            if self._cluster == "slurm":  # after each: what is queued is not queued again
                ids |= {one.name: job.job_id for one, job in zip(array, jobs, strict=True)}
                whole.write_text(self._ids, json.dumps(ids, indent=2) + "\n")

    def _queued(self, runs: Sequence[Run], ids: Mapping[str, str]) -> dict[str, tuple[Run, Any]]:
        """Return the runs whose jobs Slurm still has to do, with these jobs."""
        if self._cluster != "slurm" or not runs:
            return {}
        jobs = [self._submitit.SlurmJob(str(self._folder), ids[one.name]) for one in runs]
        watcher = jobs[0].watcher
        watcher.update()  # one question for all
        return {
            one.name: (one, job)
            for one, job in zip(runs, jobs, strict=True)
            if watcher.get_info(job.job_id, mode="cache")
            and not watcher.is_done(job.job_id, mode="cache")
            and not job.paths.result_pickle.exists()
        }

    def poll(self) -> list[tuple[Run, str]]:
        """Return the runs that ended since the last time, and how."""
        if not self.running or time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + LOOK
        if self._cluster == "slurm":
            watcher = next(iter(self.running.values()))[1].watcher
            watcher.clear()  # it would hold an ended job, now queued again, for done
            watcher.update()  # one question for all
        ended = []
        for name, (one, job) in list(self.running.items()):
            how = self._end(one, job)
            if how is not None:
                del self.running[name]
                ended.append((one, how))
        return ended

    def _end(self, one: Run, job: Any) -> str | None:
        """Return how a job ended, or None while it has not."""
        if self._cluster == "debug":
            return job.results()[0]
        has_result = job.paths.result_pickle.exists()
        if self._cluster == "local":
            over = job.done()
        else:
            # A result is final; that there will be none is believed once it is repeated.
            ended = job.watcher.is_done(job.job_id, mode="cache")
            self._looks[one.name] = self._looks.get(one.name, 0) + 1 if ended else 0
            over = has_result or self._looks[one.name] >= SURE
        if not over:
            return None
        if one.end.exists():
            return one.end.read_text().strip()
        if has_result:  # run_child itself failed
            return end_of(one, str(job.exception()).strip().splitlines()[-1])
        return end_of(one, f"ended by {self._cluster}, {job.state}")

    def state(self, name: str) -> str:
        """Return "waiting" or "running"."""
        if name not in self.running:
            return "waiting"
        _, job = self.running[name]
        if self._cluster != "slurm":
            return "running"
        state = job.watcher.get_state(job.job_id, mode="cache")
        return "running" if state in ("RUNNING", "COMPLETING") else "waiting"

    def stop(self) -> None:
        """Leave Slurm's jobs to Slurm; cancel those of this machine."""
        for _, job in self.running.values():
            if self._cluster == "local":
                job.cancel()
