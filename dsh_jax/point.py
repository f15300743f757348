"""One run of a population: what it has done, and what it leaves in its folder."""

from __future__ import annotations

import collections
from collections.abc import Mapping

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import build
from dsh_jax.checkpoint import Checkpoints
from dsh_jax.run import check_finite, make_writer, write_whole
from dsh_jax.step import TrainState, create_state
from dsh_jax.train import NOT_VALIDATED

NOT_FINITE = "not_finite.txt"  # in the folder of a point that has failed: where and why


class Point:
    """One run of the population: what it has done, and its folder."""

    def __init__(self, number: int, config: ConfigDict, run: build.Run, folder: epath.Path):
        self.number = number
        self.config = config
        self.folder = folder
        self.failed = False
        self._window: collections.defaultdict[str, list[float]] = collections.defaultdict(list)
        self._checkpoints = Checkpoints(folder)
        if saved := self._checkpoints.restore_latest(run.state_shapes):
            self.step, self.state = saved.step, saved.state
            self._window.update(saved.extra["window"])
            logging.info("resuming %s after step %d", folder, saved.step)
        else:
            self.step = 0
            optimizer = run.stages[0].optimizer
            self.state = create_state(run.model, optimizer, seed=config.seed, ema=run.ema)
        done = self.step
        self._writer = make_writer(
            folder, lambda record: record["step"] <= done and "eval/map" not in record
        )

    def read(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Keep the metrics of a step until the next record; note where they are not finite."""
        try:
            values = check_finite(step, metrics)
        except FloatingPointError as error:
            self.failed = True
            logging.warning("%s: %s", self.folder, error)
            write_whole(self.folder / NOT_FINITE, f"{error}\n")
            return
        for name, value in values.items():
            self._window[name].append(value)

    def log(self, stage: str, step: int, speed: Mapping[str, float]) -> None:
        """Write the means since the last time."""
        means = {f"train/{name}": float(np.mean(v)) for name, v in self._window.items()}
        self._window.clear()
        self._writer.write_scalars(step, {**means, **speed})
        logging.info("%s: %s %d  loss %.4f", self.folder.name, stage, step, means["train/loss"])

    def save(self, step: int, state: TrainState, valid: Mapping[str, float]) -> None:
        """Write the validation, where there was one, and save the state."""
        if valid:
            self._writer.write_scalars(step, {f"valid/{name}": v for name, v in valid.items()})
            logging.info("%s: %d  validation mAP %.4f", self.folder.name, step, valid["map"])
        self._checkpoints.save(
            step,
            state,
            validation_map=valid.get("map", NOT_VALIDATED),
            extra={"window": dict(self._window)},
        )
        self.step = step

    def close(self) -> None:
        """Finish what is being written."""
        self._writer.close()
        self._checkpoints.close()
