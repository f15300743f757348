"""Work on rows a block at a time, so that temporary memory does not grow with their number."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dsh_jax.sums import pairwise_sum

BLOCK = 4096


def map_blocks(
    function: Callable[[jax.Array], jax.Array], feature_NxD: jax.Array, block: int
) -> jax.Array:
    """Apply a function of rows to one block of rows after another.

    Args:
      function: of float32 (B, D), to (B, ...); each row of its value depends on that row only.
      feature_NxD: real values of any type.
      block: B, rows in work at a time.

    Returns:
      The values of all N rows.

    Raises:
      ValueError: if block is below 1.
    """
    rows, size = len(feature_NxD), _block_size(feature_NxD, block)

    def at(b):
        # The last block starts earlier than its turn: some rows are worked on twice, none padded.
        return jnp.minimum(b * size, rows - size)

    def part(b):
        return function(lax.dynamic_slice_in_dim(feature_NxD, at(b), size).astype(jnp.float32))

    shape = jax.eval_shape(part, 0)
    value = jnp.zeros((rows, *shape.shape[1:]), shape.dtype)
    return lax.fori_loop(
        0,
        -(-rows // size),
        lambda b, value: lax.dynamic_update_slice_in_dim(value, part(b), at(b), axis=0),
        value,
    )


def sum_blocks(
    function: Callable[..., jax.Array], feature_NxD: jax.Array, block: int, *more_NxM: jax.Array
) -> jax.Array:
    """Add up a function of rows over blocks of rows, and what rounding takes from the sum.

    Args:
      function: of float32 (B, D), of any B, to a float32 sum over its rows.
      feature_NxD: real values of any type.
      block: B, rows in work at a time.
      more_NxM: more columns of these rows, which the function takes apart.

    Returns:
      The sum over all N rows, as exact as those of the blocks.

    Raises:
      ValueError: if block is below 1.

    Source: Knuth, The Art of Computer Programming 2, 4.2.2, theorem B; Ogita, Rump and Oishi, SIAM
    Journal on Scientific Computing 26(6), 2005.
    """
    rows, size = len(feature_NxD), _block_size(feature_NxD, block)
    whole = rows // size * size

    def part(start, size):
        arrays = (lax.dynamic_slice_in_dim(x, start, size) for x in (feature_NxD, *more_NxM))
        return function(*(array.astype(jnp.float32) for array in arrays))

    def add(b, sums):
        total, lost = sums
        value = part(b * size, size)
        after = total + value
        added = after - total
        return after, lost + (total - (after - added)) + (value - added)

    rest = part(whole, rows - whole)  # of no rows, a sum of 0
    total, lost = lax.fori_loop(0, whole // size, add, (rest, jnp.zeros_like(rest)))
    return total + lost


@functools.partial(jax.jit, static_argnames="block")
def mean_row(feature_NxD: jax.Array, block: int) -> jax.Array:
    """Return the mean of rows of any real type, float32 of shape (D,)."""
    sum_D = sum_blocks(lambda row_BxD: pairwise_sum(row_BxD, axis=0), feature_NxD, block)
    return sum_D / len(feature_NxD)


def check_features(feature_NxD: jax.Array, columns: int | None = None) -> None:
    """Refuse anything but a non-empty matrix of real numbers, with D columns where they are given.

    Args:
      feature_NxD: the rows to check; integers and booleans are real numbers too.
      columns: D, or None for any.

    Raises:
      ValueError: says what was found, what is wanted and how to mend it.
    """
    shape, dtype = jnp.shape(feature_NxD), jnp.result_type(feature_NxD)
    is_real = any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
    if len(shape) != 2 or 0 in shape or not is_real:
        raise ValueError(
            f"the features have shape {shape} and type {dtype}; wanted real numbers, (rows, "
            "columns), neither 0; flatten images with reshape(rows, -1)"
        )
    if columns is not None and shape[1] != columns:
        raise ValueError(
            f"the features have {shape[1]} columns, the parameters were fitted to {columns}; "
            "encode the kind of features that were fitted"
        )


def check_fit(feature_NxD: jax.Array, bits: int) -> jax.Array:
    """Refuse features with NaN or infinity, or fewer bits than one, and return them on the device.

    Args:
      feature_NxD: the rows to fit to.
      bits: the code length K.

    Returns:
      feature_NxD as an array of JAX, of its own type.

    Raises:
      ValueError: says what was found, what is wanted and how to mend it.
    """
    check_features(feature_NxD)
    if isinstance(bits, bool) or int(bits) != bits or bits < 1:
        raise ValueError(f"bits={bits}; pass a whole number of bits, at least 1")
    feature_NxD = jnp.asarray(feature_NxD)
    is_finite_N = _finite_rows(feature_NxD)
    if not is_finite_N.all():
        raise ValueError(
            f"{int((~is_finite_N).sum())} rows of the features have NaN or infinity, the first is "
            f"row {int(jnp.argmin(is_finite_N))}; leave them out or repair them"
        )
    return feature_NxD


@jax.jit
def _finite_rows(feature_NxD):
    return jnp.isfinite(feature_NxD).all(axis=1)


def _block_size(feature_NxD, block):
    if block < 1:
        raise ValueError(f"block={block}; pass at least 1 row")
    return min(block, len(feature_NxD))
