"""Rows of a batch: which count, their mean over all devices, what their values may be."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.typed import Array


def has_label(label_BxC: Array, is_labelled_B: Array) -> Array:
    """Return the rows that supervised terms average over: labelled, with at least one label.

    Args:
      label_BxC: multi-hot labels.
      is_labelled_B: which rows have been labelled, bool.

    Returns:
      bool [B].

    Raises:
      AssertionError: where the rows differ in number.
    """
    chex.assert_equal_shape_prefix([label_BxC, is_labelled_B], 1)
    return is_labelled_B & (label_BxC != 0).any(-1)  # so that a label that is no number shows


def check_unit(name: str, value: Array) -> None:
    """Refuse concrete numbers outside [0, 1]; traced ones, in jit or grad, pass unseen.

    Args:
      name: of the argument, for the message.
      value: labels, probabilities, activations or pixels.

    Raises:
      ValueError: where one is outside, by more than rounding.
    """
    if isinstance(value, jax.core.Tracer) or not np.size(value):
        return
    array = np.asarray(value)  # first: a minimum of JAX would be traced where others are
    low, high = float(array.min()), float(array.max())
    slack = 1e-2 if array.dtype in (np.float16, jnp.bfloat16) else 1e-6
    if not (low >= -slack and high <= 1 + slack):  # NaN is outside too
        raise ValueError(
            f"{name} lies in [{low:g}, {high:g}], but values in [0, 1] are wanted: map codes t in "
            "{−1, 1} by (t + 1) / 2, and pixels by x / 255."
        )


def masked_mean(value_B: Array, where_B: Array, *, axis_name: str | None = None) -> jax.Array:
    """Return the mean of the selected values, 0 where none is selected.

    With `axis_name`, the divisor is the mean count over the devices, so that the plain mean of the
    results over devices is the mean over all selected rows, however they are spread.

    Args:
      value_B: one value per row, float.
      where_B: which rows count, bool.
      axis_name: the mapped axis, or None.

    Returns:
      A scalar, float.
    """
    chex.assert_equal_shape([value_B, where_B])
    count = where_B.sum().astype(value_B.dtype)
    if axis_name is not None:
        count = jax.lax.pmean(count, axis_name)
    # A tiny floor would do for the division; count is either 0 or at least 1 / devices.
    safe = jnp.where(count > 0, count, 1)
    return jnp.where(where_B, value_B, 0).sum() / safe
