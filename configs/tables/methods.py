"""Every deep method on one data set: the paper's network, the same batches, steps and schedule.

A sweep, whose table has mAP with its interval over seeds, and what the codes are like:
  python -m experiments.sweep --config=configs/tables/methods.py:digits --launcher=vmap \
    --workdir=runs/methods-digits
  python -m experiments.sweep --config=configs/tables/methods.py:mnist --launcher=vmap \
    --workdir=runs/methods-mnist

The same command goes on where it was stopped; with `--collect` it makes the table of what there is.
"""

from ml_collections import ConfigDict

from configs import digits, mnist
from dsh_jax.methods.deep import OBJECTIVES

# Of a run: 15 epochs of digits, 1.5 of MNIST.
STEPS = {"digits": 300, "mnist": 600}
BASES = {"digits": digits, "mnist": mnist}


def get_config(variant: str = "digits") -> ConfigDict:
    """Return the sweep of all deep methods at 48 bits, 3 seeds each, on `digits` or `mnist`."""
    if variant not in BASES:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(BASES)}.")
    config = BASES[variant].get_config("modern")
    config.sweep = (("method", ("dhs", *OBJECTIVES)), ("seed", (0, 1, 2)))
    config.model.bits = 48
    config.model.convs_per_group = (1, 1, 1, 1, 1)
    config.model.pool_after = "group"
    config.loss.r = 0.0  # no other method has a decoder
    config.training.mode = "joint"
    config.training.hashing_epochs = 0.0
    config.training.hashing_steps = STEPS[variant]
    # Once: the last step is what is compared.
    config.evaluation.validate_every_epochs = 0.0
    config.evaluation.validate_every_steps = STEPS[variant]
    return config
