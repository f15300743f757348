"""A run small enough for a test."""

import functools
import tempfile

import numpy as np
from etils import epath

from configs import digits
from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source, multi_hot
from dsh_jax.runs import train
from dsh_jax.training import build

# Deleted when the process ends.
RUNS = tempfile.TemporaryDirectory(prefix="dsh_jax_runs_")

STEPS = {
    "training.autoencoder_epochs": 0.0,
    "training.autoencoder_steps": 4,
    "training.hashing_epochs": 0.0,
    "training.hashing_steps": 6,
    "training.log_every_steps": 1,
    "evaluation.validate_every_epochs": 0.0,
    "evaluation.validate_every_steps": 4,
}
SIZES = {
    "data.label_fraction": 0.5,
    "data.queries": 100,
    "loss.r": 0.0,  # the hashing stage without its decoder compiles faster
    "model.bits": 12,
    "model.width": 1 / 32,
    "model.fc_dim": 8,
    "training.batch_size": 16,
    "training.ema_decay": 0.9,
    "evaluation.batch_size": 256,
    "evaluation.validation_database": 200,
}


def config(variant="intended", **changed):
    """Return the config of ten steps on digits; `section__field=value` changes one."""
    tiny = digits.get_config(variant)
    changed = {name.replace("__", "."): value for name, value in changed.items()}
    tiny.update_from_flattened_dict(STEPS | SIZES | changed)
    return tiny


def joint(**changed):
    """Return the config of ten steps in one stage."""
    return config(training__mode="joint", training__hashing_steps=10, **changed)


@functools.cache
def run():
    """Return what `config()` describes; what it has compiled serves every test."""
    return build.build(config())


@functools.cache
def finished_run():
    """Return the folder of a trained two-stage run, for reading only."""
    folder = epath.Path(RUNS.name) / "finished"
    assert train.train(config(), folder, described=run())
    return folder


def source(side=32, rows=40, channels=1, name="noise"):
    """Return images of noise with 10 labels, a quarter of them official queries."""
    rng = np.random.default_rng(0)
    return Source(
        name=name,
        images=ArrayImages(rng.integers(0, 256, (rows, side, side, channels), np.uint8)),
        label_NxC=multi_hot(np.arange(rows) % 10, 10),
        label_names=tuple("abcdefghij"),
        official={"query": np.arange(rows) >= rows * 3 // 4},
    )
