"""Long sums of float32: right to the last digits, and the same on every processor.

`jnp.sum` adds in the order that suits the processor's vectors, threads and the operations about it,
at worst one number after another: of a million numbers it may be off by 1e-5. What is added in
pairs is a tree of elementwise additions, whose order no compiler changes.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax


@functools.partial(jax.jit, static_argnames="axis")
def pairwise_sum(value: jax.Array, axis: int = -1) -> jax.Array:
    """Add along an axis in pairs, the pairs in pairs, and so on.

    s(x_1 ... x_n) = s(x_1 + x_(h+1), x_2 + x_(h+2), ... x_h),  h = ⌈n/2⌉

    Each number goes through log2(n) roundings, not n: of values of one sign, the sum is off by less
    than log2(n) 6e-8 of itself, 1.5e-6 at 10^7 of them, and by a tenth of that as a rule.

    Args:
      value: numbers of any type and shape.
      axis: to add along.

    Returns:
      The sum, of the type of `value`, without that axis; 0 along an axis of length 0.

    Source: Higham, SIAM Journal on Scientific Computing 14(4), 1993.
    """
    axis %= value.ndim
    while (length := value.shape[axis]) > 1:
        half = -(-length // 2)
        first, second = (
            lax.slice_in_dim(value, start, stop, axis=axis)
            for start, stop in ((0, half), (half, length))
        )
        odd = [(0, 2 * half - length if a == axis else 0) for a in range(value.ndim)]
        value = first + jnp.pad(second, odd)
    return value.sum(axis)  # of one number, or none


@functools.partial(jax.jit, static_argnames="axis")
def pairwise_nanmean(value: jax.Array, axis: int = -1) -> jax.Array:
    """Return the mean along an axis without the NaN there, `pairwise_sum` over their number.

    Args:
      value: floats of any shape.
      axis: to average along.

    Returns:
      The mean, without that axis; NaN where there is no number.
    """
    counted = ~jnp.isnan(value)
    return pairwise_sum(jnp.where(counted, value, 0), axis) / counted.sum(axis)
