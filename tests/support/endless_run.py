"""A small run as a process of its own, to be killed, or one of several.

python endless_run.py FOLDER VARIANT [STOP_STEP COORDINATOR PROCESSES PROCESS]
srun --nodes=2 python endless_run.py FOLDER VARIANT [STOP_STEP]
"""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import tiny

from dsh_jax import parallel
from dsh_jax.runs import train
from experiments.console import REQUEUE

CHANGED = {
    "two_stage": {"training__autoencoder_steps": 60, "training__hashing_steps": 120},
    "joint": {
        "training__mode": "joint",
        "training__ema_decay": 0.0,
        "data__label_fraction": 1.0,
        "training__hashing_steps": 120,
    },
    # SGD: Adam's first steps are the signs of gradients, which rounding decides where they are 0.
    "short": {
        "optimizer__name": "sgd",
        "optimizer__learning_rate": 0.05,
        "training__autoencoder_steps": 4,
        "training__hashing_steps": 8,
    },
}
CHANGED["short_fed"] = CHANGED["short"] | {"data__resident": "off"}


def config(variant):
    """Return the config of a variant: records every 7 steps, checkpoints every 3."""
    often = {"training__log_every_steps": 7, "evaluation__validate_every_steps": 3}
    return tiny.config(**CHANGED[variant], **often)


def main(folder, variant, stop_step="0", coordinator="", processes="1", process="0"):
    """Train with few optimizations of the compiler."""
    parallel.connect(coordinator, int(processes), int(process))
    jax.config.update("jax_disable_most_optimizations", True)
    done = train.train(config(variant), folder, stop_step=int(stop_step) or None)
    parallel.disconnect()
    return 0 if done else REQUEUE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
