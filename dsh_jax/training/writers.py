"""What clu gives a run: writers of its records, reports of its progress, a profile.

Only this file knows clu, and imports it when a run trains: it imports TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from dsh_jax.training.records import read_metrics
from dsh_jax.training.run_folder import write_whole

if TYPE_CHECKING:
    from clu import metric_writers, periodic_actions


class JsonLines:
    """What a clu writer is, of scalars to `metrics.jsonl`: one JSON object a line.

    Args:
      path: of the file.
      keep: which of the records that are there stay; the others will be written again.
    """

    def __init__(self, path: epath.PathLike, keep: Callable[[dict[str, float]], bool]):
        self._path = epath.Path(path)
        kept = [record for record in read_metrics(self._path) if keep(record)]
        write_whole(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Append one line."""
        record = {"step": int(step), **{name: float(value) for name, value in scalars.items()}}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def write_summaries(self, step, values, metadata=None):
        """Do nothing: the file holds scalars only."""

    def write_images(self, step, images):
        """Do nothing: the file holds scalars only."""

    def write_videos(self, step, videos):
        """Do nothing: the file holds scalars only."""

    def write_audios(self, step, audios, *, sample_rate):
        """Do nothing: the file holds scalars only."""

    def write_texts(self, step, texts):
        """Do nothing: the file holds scalars only."""

    def write_histograms(self, step, arrays, num_buckets=None):
        """Do nothing: the file holds scalars only."""

    def write_pointcloud(self, step, point_clouds, *, point_colors=None, configs=None):
        """Do nothing: the file holds scalars only."""

    def write_hparams(self, hparams):
        """Do nothing: `config.json` holds them."""

    def flush(self):
        """Do nothing: every line is written at once."""

    def close(self):
        """Do nothing: the file is closed after every line."""


def make_writer(
    folder: epath.Path, keep: Callable[[dict[str, float]], bool]
) -> metric_writers.MetricWriter:
    """Return the writer to TensorBoard and to `metrics.jsonl`.

    Args:
      folder: of the run.
      keep: which of the records of `metrics.jsonl` stay.

    Returns:
      A clu writer.
    """
    from clu import metric_writers

    return metric_writers.MultiWriter(
        [
            metric_writers.SummaryWriter(str(folder / "tensorboard")),
            JsonLines(folder / "metrics.jsonl", keep),
        ]
    )


def write_images(folder: epath.Path, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Write pictures to TensorBoard.

    Args:
      folder: of the run.
      step: they belong to.
      images: title to uint8 [H, W, 3].
    """
    from clu import metric_writers

    writer = metric_writers.SummaryWriter(str(folder / "tensorboard"))
    writer.write_images(step, {title: image[None] for title, image in images.items()})
    writer.close()


def no_writer() -> metric_writers.MetricWriter:
    """Return a writer of nothing, for the processes that do not write."""
    from clu import metric_writers

    return metric_writers.MultiWriter([])


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
