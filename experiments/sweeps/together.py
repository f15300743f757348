"""Runs of a sweep trained together in this process, as many by one program as can be."""

import contextlib
import gc
from collections.abc import Sequence

from absl import logging
from ml_collections import ConfigDict

from dsh_jax.methods.shallow import METHODS
from dsh_jax.runs import evaluate, gallery, point, population, shallow
from dsh_jax.training import build
from experiments.sweeps.runs import STOPPED, Run, config_of, end_of, start_of


class Together:
    """A launcher of groups, one after another; a look at them trains the next.

    A group that fails does not stop the others.

    Args:
      config: of the sweep.
    """

    def __init__(self, config: ConfigDict):
        self.running: dict[str, Run] = {}
        self._config = config
        self._groups: list[list[Run]] = []
        self._features: tuple = None, None  # the last ones, and what they are of

    def start(self, runs: Sequence[Run]) -> None:
        """Put runs into groups."""
        self.running |= {one.name: one for one in runs}
        groups = point.alike([config_of(one, self._config) for one in runs])
        self._groups += [[runs[place] for place in group] for group in groups]
        print("runs of each program:", *map(len, groups), flush=True)

    def poll(self) -> list[tuple[Run, str]]:
        """Train and evaluate the next group; return its runs, and how they ended.

        Raises:
          KeyboardInterrupt: where this process was asked to stop; the runs have saved.
        """
        if not self._groups:
            return []
        group = self._groups.pop(0)
        for one in group:
            start_of(one)
        ends = dict.fromkeys([one.name for one in group], STOPPED)
        try:
            ends |= self._train(group)
        # Out of memory and other failures of XLA are RuntimeErrors.
        except (ValueError, OSError, RuntimeError) as error:
            logging.error("%s", error)
            ends |= {one.name: _note(one, str(error)) for one in group}
        finally:
            ended = [(one, end_of(one, ends[one.name])) for one in group]
            gc.collect()  # the group's arrays and programs
        if STOPPED in ends.values():
            raise KeyboardInterrupt
        for one in group:
            del self.running[one.name]
        return ended

    def state(self, name: str) -> str:
        """Return "waiting": while runs are trained nobody asks."""
        return "waiting"

    def stop(self) -> None:
        """Forget the groups that have not started."""
        self._groups.clear()

    def _train(self, group: Sequence[Run]) -> dict[str, str]:
        """Return how each run that was not stopped ended."""
        configs = [config_of(one, self._config) for one in group]
        if configs[0].method in METHODS:
            return self._fit(group, configs)
        described = build.build(configs[0])
        outcomes = population.train(configs, [one.folder for one in group], described=described)
        ends = {}
        for one, config, outcome in zip(group, configs, outcomes, strict=True):
            if outcome == "not finite":
                ends[one.name] = _note(one, (one.folder / point.NOT_FINITE).read_text())
            elif outcome == "complete":
                evaluation = evaluate.evaluate_run(config, described, one.folder)
                gallery.report_run(config, described, evaluation, one.folder)
                ends[one.name] = ""
        return ends

    def _fit(self, group: Sequence[Run], configs: Sequence[ConfigDict]) -> dict[str, str]:
        """Return how each run of a shallow method ended; features are kept for the next group."""
        source = build.load_source(configs[0])
        split = build.load_split(configs[0], source)
        options = configs[0].shallow
        made_by = {
            "kind": options.features,
            "path": options.features_path,
            "side": options.side,
            "cache_dir": configs[0].data.cache_dir,
        }
        if self._features[0] != (source.fingerprint, made_by):  # minutes for GIST
            feature_NxD = shallow.features_of(source, **made_by)
            self._features = (source.fingerprint, made_by), feature_NxD
        for one, config in zip(group, configs, strict=True):
            shallow.run(config, source, split, one.folder, feature_NxD=self._features[1])
        return {one.name: "" for one in group}


def _note(one: Run, error: str) -> str:
    """Write an error to a run's log, and return how the run ended."""
    with contextlib.suppress(OSError), one.log.open("a") as file:
        file.write(f"error: {error.strip()}\n")
    return "failed"
