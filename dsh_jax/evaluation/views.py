"""Several views of an image, whose logits are averaged before a bit is read."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp

from dsh_jax.network import DSH, Outputs
from dsh_jax.network.bcoding import bcoding_activation

VIEWS = (1, 2, 6)


def views_of(image_BxHxWxC: jax.Array, count: int) -> jax.Array:
    """Return views of each image.

    Args:
      image_BxHxWxC: images.
      count: 1, the image itself; 2, and its mirror image, left to right; 6, both, and both moved by
        a pixel to the upper left and to the lower right, reflected at the border (Jordan 2024).

    Returns:
      view_VxBxHxWxC.

    Raises:
      ValueError: for another count.
    """
    if count not in VIEWS:
        raise ValueError(f"views is {count}; it must be 1, 2 or 6.")
    views = [image_BxHxWxC]
    if count == 6:
        padded = jnp.pad(image_BxHxWxC, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        views += [padded[:, 2:, 2:], padded[:, :-2, :-2]]
    if count > 1:
        views += [view[:, :, ::-1] for view in views]
    return jnp.stack(views)


def outputs_of_views(
    model: DSH, variables: Any, image_BxHxWxC: jax.Array, views: int = 1
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return what the network gives for images, over views of each.

    Products of float32 are made in float32 here, wherever codes are made: a GPU's own choice,
    TensorFloat-32, has 10 bits of mantissa and turns bits whose logits are near 0.

    Args:
      model: the network.
      variables: its own.
      image_BxHxWxC: in [0, 1].
      views: see `views_of`.

    Returns:
      logit_BxK, the views' mean, whose signs are the code; bcoding_BxK, its activations; and
      score_BxC, the mean of the views' class scores.

    Raises:
      ValueError: see `views_of`.
    """
    view_VxBxHxWxC = views_of(image_BxHxWxC, views)
    flat = view_VxBxHxWxC.reshape(-1, *image_BxHxWxC.shape[1:])
    with jax.default_matmul_precision("highest"):
        outputs = cast(Outputs, model.apply(variables, flat, decode=False))
    if views == 1:
        return outputs.logit, outputs.bcoding, outputs.score
    logit_BxK, score_BxC = (
        value.reshape(views, -1, value.shape[-1]).mean(0)
        for value in (outputs.logit, outputs.score)
    )
    activation = model.activation if model.head is None else "intended"
    return logit_BxK, bcoding_activation(logit_BxK, activation=activation), score_BxC
