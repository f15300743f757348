"""One run of a population: what it has done, and what it leaves in its folder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import build
from dsh_jax.journal import Journal
from dsh_jax.run import write_whole
from dsh_jax.step import TrainState, create_state

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
        self._journal = Journal(folder, run.state_shapes)
        if self._journal.saved is not None:
            self.step, self.state = self._journal.saved.step, self._journal.saved.state
        else:
            self.step = 0
            optimizer = run.stages[0].optimizer
            self.state = create_state(run.model, optimizer, seed=config.seed, ema=run.ema)

    def note(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Keep the metrics of a step until the next record; say where they are not finite."""
        try:
            self._journal.note(step, metrics)
        except FloatingPointError as error:
            self.failed = True
            logging.warning("%s: %s", self.folder, error)
            write_whole(self.folder / NOT_FINITE, f"{error}\n")

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
