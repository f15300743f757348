"""Images as a trained run's decoder rebuilds them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dsh_jax.augment import pad_small, to_unit
from dsh_jax.models import DSH


def is_trained(config: ConfigDict) -> bool:
    """Return whether the training of a run reaches its decoder."""
    return config.loss.r > 0 or config.training.mode == "two_stage"


@functools.partial(jax.jit, static_argnums=0)
def rebuild(model: DSH, variables: Any, image_BxHxWxC: np.ndarray) -> jax.Array:
    """Return what the decoder makes of images.

    Args:
      model: the network.
      variables: its own.
      image_BxHxWxC: uint8.

    Returns:
      uint8 [B, H', W', C]; H' and W' are at least 32, see `augment.pad_small`.
    """
    decoded = model.apply(variables, pad_small(to_unit(image_BxHxWxC))).decoded
    return jax.numpy.rint(decoded * 255).astype(np.uint8)
