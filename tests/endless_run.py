"""A small run as a process of its own, to be killed: `python endless_run.py FOLDER VARIANT`."""

import os
import sys

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    os.environ["JAX_PLATFORMS"] = "cpu"

import tiny

from dsh_jax import build, train
from dsh_jax.interruption import REQUEUE

CHANGED = {
    "two_stage": {"training__autoencoder_steps": 60, "training__hashing_steps": 120},
    "joint": {
        "training__mode": "joint",
        "training__ema_decay": 0.0,
        "data__label_fraction": 1.0,
        "training__hashing_steps": 120,
    },
}


def config(variant):
    """Return the config of a variant: records every 7 steps, checkpoints every 3."""
    often = {"training__log_every_steps": 7, "evaluation__validate_every_steps": 3}
    return tiny.config(**CHANGED[variant], **often)


def main(folder, variant):
    """Train with few optimizations of the compiler."""
    # A cache of its own: the kills must not leave half a program for other tests.
    with tiny.quick_compilation():
        chosen = config(variant)
        return 0 if train.train(chosen, folder, described=build.build(chosen)) else REQUEUE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
