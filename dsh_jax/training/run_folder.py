"""A run's folder: which run it holds, what it was made with, its metrics line by line."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import whole
from dsh_jax.training.lock import HELD, LOCK

# Settings that say which sweep a run belongs to: not of the run itself.
OF_SWEEPS = ("sweep", "sweep_kind", "sweep_points", "sweep_seed")
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
        others = [
            p.name for p in folder.iterdir() if p.name not in (LOCK, HELD, "environment.json")
        ]
        if any(not name.endswith(".unfinished") for name in others):
            raise ValueError(
                f"{folder} holds files but no config.json, so it is no run of ours: choose another "
                "workdir."
            )
    whole.write_text(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    # Last: a folder with a config.json is a run that can be resumed.
    whole.write_text(path, json.dumps(config.to_dict(), indent=2) + "\n")
    return folder


# Settings that earlier versions lack: what they did.
ADDED = (
    ("training", "freeze", ""),
    ("model", "whitening", 0),
    ("model", "nonlinearity", "relu"),
    ("model", "norm_momentum", 0.9),
    ("model", "norm_scale", True),
    ("model", "pool_before_norm", False),
    ("model", "kernel_init", "he"),
    ("model", "pools", 5),
    ("model", "global_pool", False),
    ("model", "filters", (64, 128, 256, 512, 512)),
    ("model", "conv_precision", "float32"),
    ("model", "encoder", "conv"),
    ("model", "weights", ""),
    ("model", "side", 0),
    ("shallow", "side", 0),
    ("shallow", "steps", 4000),
    ("model", "frozen_norms", True),
    ("data", "features_path", ""),
    ("data", "label_column", ""),
    ("optimizer", "backbone_factor", 0.1),
    *((section, "shift_border", "zeros") for section in ("augment", "strong")),
    *((section, "flip_by_epoch", False) for section in ("augment", "strong")),
    ("optimizer", "adam_learning_rate", 0.0),
    ("optimizer", "held_norms", False),
    ("evaluation", "views", 1),
    ("semi", "threshold_start", 0.0),
    ("semi", "temperature", 0.0),
    ("semi", "alignment", False),
    ("semi", "similarity", 0.0),
    ("semi", "similarity_temperature", 0.1),
    ("semi", "labels_first_steps", 0),
    ("data", "resident", "off"),
)


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
    for section, name, before in ADDED:
        if name not in config[section]:
            config[section][name] = before
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
        if key not in OF_SWEEPS and old.get(key, ...) != new.get(key, ...)
    ]
    if different:
        raise ValueError(
            f"{folder} holds another run; {len(different)} settings differ: "
            f"{'; '.join(different)}. Repeat its command to resume it, or choose another workdir."
        )


def environment() -> dict[str, Any]:
    """Return versions, git commit and devices."""
    packages = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        "packages": packages,
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
