"""What a run leaves in its folder while it trains: records of its metrics, and checkpoints."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from dsh_jax import parallel
from dsh_jax.training.checkpoint import Checkpoints
from dsh_jax.training.records import check_finite
from dsh_jax.training.writers import Writers, make_writer

NOT_VALIDATED = -1.0  # the validation mAP of a checkpoint that no validation has seen


class Journal:
    """Records and checkpoints of a run, from where its folder has them on.

    Metrics that no record has yet are saved with the state, so that records do not tell where a
    run was stopped. Of several processes, number 0 writes the records.

    Attributes:
      saved: the state to go on from, see `checkpoint.Saved`, or None in a new folder.

    Args:
      folder: of the run.
      state_shapes: of a step, see `Checkpoints.restore`.
      kept: steps whose states stay, see `Checkpoints`.
    """

    def __init__(
        self,
        folder: epath.Path,
        state_shapes: Callable[[int], Any],
        *,
        kept: Iterable[int] = (),
    ):
        self._checkpoints = Checkpoints(folder, kept=kept)
        self.saved = self._checkpoints.restore_latest(state_shapes)
        self._window: collections.defaultdict[str, list[float]] = collections.defaultdict(list)
        done = 0
        if self.saved is not None:
            done = self.saved.step
            self._window.update(self.saved.extra["window"])
            logging.info("resuming %s after step %d", folder, done)
        self._writer = Writers()
        if parallel.process_index() == 0:
            # What the resumed steps will write again, and an evaluation of older weights, goes.
            self._writer = make_writer(
                folder, lambda record: record["step"] <= done and "eval/map" not in record
            )

    def note(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Keep the metrics of a step until the next record.

        Args:
          step: its number.
          metrics: scalars.

        Raises:
          FloatingPointError: where one is not finite.
        """
        for name, value in check_finite(step, metrics).items():
            self._window[name].append(value)

    def record(self, step: int, speed: Mapping[str, float]) -> dict[str, float]:
        """Write the means since the last record, and the speed.

        Args:
          step: the last of them.
          speed: see `Pace.scalars`.

        Returns:
          The means.
        """
        means = {name: float(np.mean(values)) for name, values in self._window.items()}
        self._window.clear()
        scalars = {f"train/{name}": value for name, value in means.items()}
        self._writer.write_scalars(step, {**scalars, **speed})
        return means

    def save(self, step: int, state: Any, valid: Mapping[str, float]) -> None:
        """Write the validation, where there was one, and save the state in the background.

        Args:
          step: training steps done.
          state: a tree of arrays.
          valid: name to value, `map` among them; empty without validation.

        Raises:
          OSError: where the disk is full or gone.
        """
        if valid:
            self._writer.write_scalars(step, {f"valid/{name}": v for name, v in valid.items()})
        self._checkpoints.save(
            step,
            state,
            validation_map=valid.get("map", NOT_VALIDATED),
            # A copy: it is written while the next steps are noted.
            extra={"window": {name: list(values) for name, values in self._window.items()}},
        )

    def close(self) -> None:
        """Finish what is being written."""
        self._checkpoints.close()
        self._writer.close()
