"""Runs of a sweep as processes of this machine, some at a time."""

import os
import signal
import subprocess
from collections.abc import Sequence

from absl import logging

from dsh_jax import parallel
from experiments.sweeps.runs import Run, end_of, start_of

SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"  # of a GPU's memory, which a process takes at its start
MOST = 0.9  # of it, for all the processes that share a GPU


def gpus_of(asked: Sequence[str], jobs: int) -> list[str]:
    """Return the GPUs to hand out: those asked for, or else all that this machine has.

    Args:
      asked: their numbers; `all` alone leaves every GPU to each run.
      jobs: at a time; with fewer than there are GPUs, a warning says that some stand idle.
    """
    if list(asked) == ["all"]:
        return []
    gpus = list(asked) or parallel.machine_gpus()
    if jobs < len(gpus):
        logging.warning(
            "%d of %d GPUs stand idle: each run has one. Pass --jobs=%d, or --gpus=all for runs "
            "that take all of them.",
            len(gpus) - jobs,
            len(gpus),
            len(gpus),
        )
    return gpus


class Local:
    """A launcher of processes.

    Args:
      jobs: how many at a time.
      gpus: numbers of the GPUs, handed out in turn, see `gpus_of`; where runs share one, each takes
        its part of the memory. None leaves them all to each run.
    """

    def __init__(self, jobs: int, gpus: Sequence[str] = ()):
        self.running: dict[str, tuple[Run, subprocess.Popen, int]] = {}
        self._jobs = jobs
        self._gpus = gpus

    def start(self, runs: Sequence[Run]) -> None:
        """Start processes."""
        for one in runs:
            taken = {slot for _, _, slot in self.running.values()}
            slot = min(set(range(self._jobs)) - taken)
            environment = dict(os.environ)
            if self._gpus:
                environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
                sharing = -(-self._jobs // len(self._gpus))
                if sharing > 1:  # alone, a run takes what XLA leaves it
                    environment.setdefault(SHARE, f"{MOST / sharing:.3f}")
            start_of(one)
            with one.log.open("ab") as log:
                # In a session of its own, Ctrl-C reaches it through `stop` alone.
                process = subprocess.Popen(
                    one.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            self.running[one.name] = one, process, slot

    def poll(self) -> list[tuple[Run, str]]:
        """Return the runs that ended since the last time, and how."""
        codes = {name: process.poll() for name, (_, process, _) in self.running.items()}
        ended = [name for name, code in codes.items() if code is not None]
        return [(one := self.running.pop(name)[0], end_of(one, codes[name])) for name in ended]

    def state(self, name: str) -> str:
        """Return "running": there is no queue."""
        return "running" if name in self.running else "waiting"

    def stop(self) -> None:
        """Ask the processes to save and end, and wait for them; asked again, they end at once."""
        while self.running:
            for _, process, _ in self.running.values():
                process.send_signal(signal.SIGTERM)
            try:
                for one, process, _ in list(self.running.values()):
                    end_of(one, process.wait())
                    del self.running[one.name]
            except KeyboardInterrupt:
                continue
