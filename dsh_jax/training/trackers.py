"""What else follows a run, where DSH_JAX_TRACKERS names it: Weights & Biases, MLflow.

Runs of one sweep, that is of one folder, are one group. A resumed or evaluated run goes on under
its first name there: the folder keeps it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.training.run_folder import flatten

VARIABLE = "DSH_JAX_TRACKERS"  # names, with commas between them
ID = "tracker_id.txt"  # in a run's folder


class Wandb:
    """To Weights & Biases: into the run's folder, or as WANDB_MODE says, online or disabled.

    WANDB_PROJECT is the project. `step` is a number beside the others, as steps that a resumed run
    repeats would be refused as wandb's own.

    Args:
      folder: of the run.
      name: under which it goes on.
      settings: of its config, by name.
    """

    def __init__(self, folder: epath.Path, name: str, settings: Mapping[str, Any]):
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            dir=str(folder),
            project=os.environ.get("WANDB_PROJECT", "dsh_jax"),
            group=folder.parent.name,
            name=folder.name,
            id=name,
            resume="allow",
            reinit="create_new",  # of several at a time, one for each point of a population
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=dict(settings),
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric="step")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """See `writers.Writer`."""
        self._run.log({"step": step, **{key: float(value) for key, value in scalars.items()}})

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See `writers.Writer`."""
        self._run.log(
            {"step": step, **{key: self._wandb.Image(one) for key, one in images.items()}}
        )

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """See `writers.Writer`."""
        self._run.log(
            {"step": step, **{key: self._wandb.Histogram(one) for key, one in values.items()}}
        )

    def close(self) -> None:
        """See `writers.Writer`."""
        self._run.finish()


class MLflow:
    """To MLflow: a database beside the run's folder, or what MLFLOW_TRACKING_URI says.

    Args:
      folder: of the run.
      name: under which it goes on.
      settings: of its config, by name.
    """

    def __init__(self, folder: epath.Path, name: str, settings: Mapping[str, Any]):
        from mlflow import MlflowClient, MlflowException
        from mlflow.entities import Metric, Param

        place = os.environ.get("MLFLOW_TRACKING_URI")
        files = None if place else (folder.parent / "mlflow").as_uri()
        self._metric, group = Metric, folder.parent.name
        with _alone(folder.parent):  # the runs of a sweep may start, and make the database, at once
            self._client = MlflowClient(place or f"sqlite:///{folder.parent / 'mlflow.db'}")
            try:
                number = self._client.create_experiment(group, artifact_location=files)
            except MlflowException:  # another run has made it
                number = self._client.get_experiment_by_name(group).experiment_id
        found = self._client.search_runs([number], f"tags.`dsh_jax` = '{name}'")
        if not found:
            found = [self._client.create_run(number, run_name=folder.name, tags={"dsh_jax": name})]
            settings = [Param(key, str(value)[:500]) for key, value in settings.items()]
            for start in range(0, len(settings), 100):
                self._client.log_batch(found[0].info.run_id, params=settings[start : start + 100])
        self._run = found[0].info.run_id

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """See `writers.Writer`."""
        metrics = [
            self._metric(_plain(key), float(value), round(1000 * time.time()), step)
            for key, value in scalars.items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See `writers.Writer`."""
        for title, image in images.items():
            self._client.log_image(self._run, image, key=_plain(title), step=step)

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Do nothing: MLflow has none."""

    def close(self) -> None:
        """See `writers.Writer`."""
        self._client.set_terminated(self._run)


@contextlib.contextmanager
def _alone(folder: epath.Path) -> Iterator[None]:
    """Let one process at a time do something in a folder, where its disk has locks."""
    with (folder / ".mlflow.lock").open("wb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


TRACKERS = {"wandb": Wandb, "mlflow": MLflow}


def opened(folder: epath.Path) -> list[Wandb | MLflow]:
    """Return what follows a run.

    Args:
      folder: of the run, with its config.json.

    Returns:
      A list of writers, empty where DSH_JAX_TRACKERS is not set.

    Raises:
      ValueError: for a name that is not known, or a package that is not installed.
    """
    names = [name for name in os.environ.get(VARIABLE, "").split(",") if name]
    if not names:
        return []
    if unknown := set(names) - TRACKERS.keys():
        raise ValueError(
            f"{VARIABLE} names {', '.join(sorted(unknown))}; known: {', '.join(TRACKERS)}"
        )
    if not (folder / ID).exists():
        whole.write_text(folder / ID, uuid.uuid4().hex[:16])
    run = (folder / ID).read_text()
    settings = flatten(json.loads((folder / "config.json").read_text()))
    writers = []
    for name in names:
        try:
            writers.append(TRACKERS[name](folder, run, settings))
        except ImportError as error:
            raise ValueError(
                f"{VARIABLE} names {name}, which cannot be imported ({error}): pip install -e "
                f".[{name}]"
            ) from error
    return writers


def _plain(name: str) -> str:
    """Return a name of letters that MLflow takes."""
    return re.sub(r"[^\w\-./ ]", "_", name)
