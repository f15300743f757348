"""What clu gives a run: writers of its records, reports of its progress, a profile.

Only this file knows clu, and imports it when a run trains: it imports TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.training import trackers
from dsh_jax.training.records import read_metrics

if TYPE_CHECKING:
    from clu import periodic_actions


class Writer(Protocol):
    """Where the records of a run go."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Write numbers of a step by their names."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Write pictures, uint8 [H, W, 3], by their titles."""

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Write distributions of numbers, [N], by their names."""

    def close(self) -> None:
        """Finish what is being written."""


class TensorBoard:
    """Everything to TensorBoard's files, by a thread: a record takes it as long as many steps.

    Args:
      folder: of the run.
    """

    def __init__(self, folder: epath.Path):
        from clu import metric_writers

        files = metric_writers.SummaryWriter(str(folder / "tensorboard"))
        self._writer = metric_writers.AsyncWriter(files)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """See `Writer`."""
        self._writer.write_scalars(step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See `Writer`."""
        self._writer.write_images(step, {title: image[None] for title, image in images.items()})

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """See `Writer`."""
        self._writer.write_histograms(step, values)

    def close(self) -> None:
        """See `Writer`."""
        self._writer.close()


class JsonLines:
    """Scalars to `metrics.jsonl`: one JSON object a line.

    Args:
      path: of the file.
      keep: which of the records that are there stay; the others will be written again.
    """

    def __init__(self, path: epath.PathLike, keep: Callable[[dict[str, float]], bool]):
        self._path = epath.Path(path)
        kept = [record for record in read_metrics(self._path) if keep(record)]
        whole.write_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Append one line."""
        record = {"step": int(step), **{name: float(value) for name, value in scalars.items()}}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Do nothing: the file holds scalars only."""

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Do nothing: the file holds scalars only."""

    def close(self) -> None:
        """Do nothing: the file is closed after every line."""


class Writers:
    """Several writers as one; none of them is a writer of nothing.

    Args:
      writers: to which everything goes.
    """

    def __init__(self, *writers: Writer):
        self._writers = writers

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """See `Writer`."""
        for writer in self._writers:
            writer.write_scalars(step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See `Writer`."""
        for writer in self._writers:
            writer.write_images(step, images)

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """See `Writer`."""
        for writer in self._writers:
            writer.write_histograms(step, values)

    def close(self) -> None:
        """See `Writer`."""
        for writer in self._writers:
            writer.close()


def make_writer(folder: epath.Path, keep: Callable[[dict[str, float]], bool]) -> Writers:
    """Return the writer to TensorBoard, to `metrics.jsonl`, and to what else follows the run.

    Args:
      folder: of the run.
      keep: which of the records of `metrics.jsonl` stay.

    Returns:
      Writers.

    Raises:
      ValueError: for a tracker that is not known or not installed, see `trackers.opened`.
    """
    records = JsonLines(folder / "metrics.jsonl", keep)
    return Writers(TensorBoard(folder), records, *trackers.opened(folder))


def progress_reports(steps: int) -> periodic_actions.ReportProgress:
    """Return what logs speed and time left, every half minute.

    Args:
      steps: of the whole training.
    """
    from clu import periodic_actions

    return periodic_actions.ReportProgress(num_train_steps=steps, writer=None, every_secs=30.0)


def profile(folder: epath.Path, steps: int) -> periodic_actions.Profile:
    """Return what traces some steps of a training.

    Args:
      folder: of the trace.
      steps: how many, from the tenth of this process.
    """
    from clu import periodic_actions

    return periodic_actions.Profile(
        logdir=folder, num_profile_steps=steps, profile_duration_ms=None
    )


def parameter_table(params: Any) -> str:
    """Return the names, shapes and sizes of parameters as a table.

    Args:
      params: a tree of arrays.
    """
    from clu import parameter_overview

    return parameter_overview.get_parameter_overview(params)
