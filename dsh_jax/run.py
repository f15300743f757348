"""A run's folder: which run it holds, what it was made with, its metrics line by line."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from clu import metric_writers
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import sweep

LOCK = ".lock"
PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets"),
    "ml_collections",
)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one dict with dotted keys, tuples as lists (as JSON has them).

    Args:
      config: nested mappings.
      prefix: put before each key.

    Returns:
      A flat dict.
    """
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def open_run(config: ConfigDict, workdir: epath.PathLike) -> epath.Path:
    """Make or reopen the folder of a run.

    Writes `config.json` and `environment.json` (versions, git commit, devices).

    Args:
      config: of the run.
      workdir: its folder.

    Returns:
      The absolute path of the folder.

    Raises:
      ValueError: where the folder holds a run of another config (naming the keys that differ), or
        files that are no run at all.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    if path.exists():
        check_config(json.loads(path.read_text()), config.to_dict(), folder)
    else:
        # A start that was stopped here may have left these behind.
        others = [p.name for p in folder.iterdir() if p.name not in (LOCK, "environment.json")]
        if any(not name.endswith(".unfinished") for name in others):
            raise ValueError(
                f"{folder} holds files but no config.json, so it is no run of ours: choose another "
                "workdir."
            )
    write_whole(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    # Last: a folder with a config.json is a run that can be resumed.
    write_whole(path, json.dumps(config.to_dict(), indent=2) + "\n")
    return folder


def write_whole(path: epath.Path, text: str) -> None:
    """Write a text file so that it is there in whole or not at all, whenever the machine stops.

    Args:
      path: of the file.
      text: its content.
    """
    unfinished = path.parent / f".{path.name}.unfinished"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


@contextlib.contextmanager
def locked(workdir: epath.PathLike) -> Iterator[None]:
    """Hold a run's folder, which is made where it is not there, for this process alone.

    The lock is the system's: it goes when the process goes, however that ends.

    Args:
      workdir: the run's folder.

    Raises:
      ValueError: where another process holds it, or the folder cannot be written.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+")  # noqa: SIM115 (held until the end)
    except OSError as error:
        raise ValueError(
            f"the workdir {folder} cannot be written ({error.strerror}): choose another, or mend "
            "its rights."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"{folder} is in use by {file.read().strip() or 'another process'}: wait for it, "
                "stop it, or choose another workdir."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def read_config(folder: epath.Path) -> ConfigDict:
    """Return the config of a run.

    Args:
      folder: of the run.

    Returns:
      ConfigDict.

    Raises:
      ValueError: where there is no run.
    """
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder} holds no config.json: it is no run of experiments.train.")
    config = ConfigDict(json.loads(path.read_text()))
    if "method" in config:
        _name_as_now(config)
    return config


def _name_as_now(config: ConfigDict) -> None:
    """Fill in what runs of earlier versions lack, so that they can be evaluated, if not resumed."""
    config.deep.pairwise = config.deep.get("pairwise")
    config.training.freeze = config.training.get("freeze", "")
    if config.optimizer.weight_decay_kernels == "all":
        config.optimizer.weight_decay_kernels = "trained"


def check_config(saved: Mapping[str, Any], wanted: Mapping[str, Any], folder: epath.Path) -> None:
    """Raise a ValueError that names the settings in which two configs differ.

    Which sweep a run belongs to does not count.

    Args:
      saved: of the folder's run.
      wanted: of this command.
      folder: for the message.

    Raises:
      ValueError: where any setting differs.
    """
    old, new = flatten(saved), flatten(wanted)
    different = [
        f"{key}: was {old.get(key, 'absent')!r}, now {new.get(key, 'absent')!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in sweep.FIELDS and old.get(key, ...) != new.get(key, ...)
    ]
    if different:
        raise ValueError(
            f"{folder} holds another run; {len(different)} settings differ: "
            f"{'; '.join(different)}. Repeat its command to resume it, or choose another workdir."
        )


def environment() -> dict[str, Any]:
    """Return versions, git commit and devices."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": _commit(),
        "backend": jax.default_backend(),
        "devices": [str(device) for device in jax.devices()],
    }


def _commit() -> str:
    """Return the git commit of the package, marked if files were changed, or `unknown`."""
    here = epath.Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    if commit.returncode:
        return "unknown"
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


class JsonLines(metric_writers.MetricWriter):
    """A clu writer of scalars to `metrics.jsonl`: one JSON object a line.

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


def read_metrics(path: epath.PathLike) -> list[dict[str, float]]:
    """Return the records of a `metrics.jsonl`, without a last line cut short.

    Args:
      path: of the file; none gives no records.

    Returns:
      A list of dicts, each with `step`.
    """
    path = epath.Path(path)
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the machine stopped in the middle of a line
    return records


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
    writer = metric_writers.SummaryWriter(str(folder / "tensorboard"))
    writer.write_images(step, {title: image[None] for title, image in images.items()})
    writer.close()


def check_finite(step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return a step's metrics as floats.

    Args:
      step: its number.
      metrics: scalars.

    Returns:
      A dict of floats.

    Raises:
      FloatingPointError: naming the step and the terms that are not finite.
    """
    values = {name: float(value) for name, value in metrics.items()}
    bad = {name: value for name, value in values.items() if not np.isfinite(value)}
    if bad:
        # A bad term makes the loss and the gradient bad: name these only where they stand alone.
        terms = [name for name in bad if name not in ("loss", "gradient_norm")] or list(bad)
        raise FloatingPointError(
            f"step {step}: {', '.join(f'{name} is {bad[name]}' for name in terms)}. Lower the "
            "learning rate, lengthen the warm-up, or set optimizer.clip_norm; the last checkpoint "
            "is from before this step."
        )
    return values
