"""One run of a population: how it may differ, what it has done, what it leaves."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import whole
from dsh_jax.training import build
from dsh_jax.training.journal import Journal
from dsh_jax.training.run_folder import flatten
from dsh_jax.training.stages import SCALARS
from dsh_jax.training.step import TrainState

VARIED = (*SCALARS, "seed")  # the settings in which points may differ
NOT_FINITE = "not_finite.txt"  # in the folder of a point that has failed: where and why


class Point:
    """One run of the population: its state, its folder, and whether it has failed.

    Args:
      number: its place among the points.
      config: its own.
      run: what the points share, see `build.build`.
      folder: its own.
    """

    def __init__(self, number: int, config: ConfigDict, run: build.Run, folder: epath.Path):
        self.number = number
        self.config = config
        self.folder = folder
        self.failed = False
        self._journal = Journal(folder, run.state_shapes, kept=run.kept_steps)
        if self._journal.saved is not None:
            self.step, self.state = self._journal.saved.step, self._journal.saved.state
        else:
            self.step = 0
            self.state = run.initial_state(seed=config.seed)

    def note(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Keep the metrics of a step until the next record; say where they are not finite."""
        try:
            self._journal.note(step, metrics)
        except FloatingPointError as error:
            self.failed = True
            logging.warning("%s: %s", self.folder, error)
            whole.write_text(self.folder / NOT_FINITE, f"{error}\n")

    def record(self, stage: str, step: int, speed: Mapping[str, float]) -> None:
        """Write the means since the last time."""
        loss = self._journal.record(step, speed)["loss"]
        logging.info("%s: %s %d  loss %.4f", self.folder.name, stage, step, loss)

    def save(self, step: int, state: TrainState, valid: Mapping[str, float]) -> None:
        """Write the validation, where there was one, and save the state."""
        if valid:
            logging.info("%s: %d  validation mAP %.4f", self.folder.name, step, valid["map"])
        self._journal.save(step, state, valid)
        self.step = step

    def close(self) -> None:
        """Finish what is being written."""
        self._journal.close()


def alike(configs: Sequence[ConfigDict]) -> list[list[int]]:
    """Return the places of configs that can be trained together, a list for each such group.

    Args:
      configs: of the points.
    """
    groups = collections.defaultdict(list)
    for place, config in enumerate(configs):
        fixed = {k: v for k, v in flatten(config.to_dict()).items() if k not in VARIED}
        groups[repr(sorted(fixed.items()))].append(place)
    return list(groups.values())


def check_configs(configs: Sequence[ConfigDict], workdirs: Sequence[epath.PathLike]) -> None:
    """Check that configs can be trained together.

    Args:
      configs: of the points.
      workdirs: their folders.

    Raises:
      ValueError: where they differ in a setting that is not in `VARIED` (naming it), or there is
        not one folder for each.
    """
    folders = {epath.Path(workdir).expanduser().resolve() for workdir in workdirs}
    if not configs or not len(configs) == len(workdirs) == len(folders):
        raise ValueError(
            f"there are {len(configs)} configs and {len(folders)} different workdirs: pass a "
            "workdir of its own for each config, and at least one."
        )
    first, *others = [flatten(config.to_dict()) for config in configs]
    different = {
        key
        for other in others
        for key in first.keys() | other.keys()
        if first.get(key, ...) != other.get(key, ...)
    }
    if fixed := sorted(different - set(VARIED)):
        raise ValueError(
            f"the configs differ in {', '.join(fixed)}: points of one program may differ in "
            f"{', '.join(VARIED)} only. Train these runs one after another."
        )
