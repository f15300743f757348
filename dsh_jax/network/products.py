"""Products of matrices in the forms that a CPU is fast at, as convolutions need them.

With `ROUNDED` the factors are rounded to bfloat16 and the products summed in float32. A CPU with
matrix units (Intel's AMX) does that two to five times as fast as float32; others multiply the
rounded factors in float32, so that all get the same, to the rounding of the sums.
"""

import functools
import pathlib

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.layout import Layout, with_layout_constraint

ROUNDED = lax.DotAlgorithmPreset.BF16_BF16_F32


def product(x: Array, y_CxK: Array, precision) -> Array:
    """Multiply x[..., C] and y[C, K].

    Args:
      x: floating-point; float32 with `ROUNDED`.
      y_CxK: of the same dtype.
      precision: `ROUNDED`, or as `jnp.dot` takes it.

    Returns:
      [..., K], of the same dtype.
    """
    if precision is not ROUNDED:
        return jnp.dot(x, y_CxK, precision=precision)
    return _dot(_rounded(_matrix(x)), _rounded(y_CxK)).reshape(*x.shape[:-1], y_CxK.shape[1])


def product_with_transpose(x: Array, y_CxK: Array, precision) -> Array:
    """Multiply x[..., K] and the transpose of y[C, K].

    Args:
      x, y_CxK, precision: see `product`.

    Returns:
      [..., C], of the same dtype.
    """
    if precision is not ROUNDED:
        return jnp.einsum("...k,ck->...c", x, y_CxK, precision=precision)
    z_NxC = _dot(_rounded(_matrix(x)), _rounded(y_CxK), contract=(1, 1))
    return z_NxC.reshape(*x.shape[:-1], y_CxK.shape[0])


def outer_product(x: Array, y: Array, precision) -> Array:
    """Sum the outer products of x[..., :] and y[..., :].

    Args:
      x: [..., C], see `product`.
      y: [..., K], the axes before the last as in x.
      precision: see `product`.

    Returns:
      [C, K], of the same dtype.
    """
    # Matrices: XLA is slow at more axes.
    x_NxC, y_NxK = _matrix(x), _matrix(y)
    if precision is not ROUNDED:
        return jnp.matmul(x_NxC.T, y_NxK, precision=precision)
    x_CxN = _rounded(x_NxC).T
    if has_bfloat16():
        # Its matrix units want rows: without this XLA leaves the transpose to a slower product.
        x_CxN = with_layout_constraint(x_CxN, Layout((0, 1)))
    return _dot(x_CxN, _rounded(y_NxK))


@functools.cache
def has_bfloat16() -> bool:
    """Return whether this machine's CPU has units for matrices of bfloat16."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text()


def _matrix(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _rounded(x: Array) -> Array:
    if has_bfloat16():
        return x.astype(jnp.bfloat16)
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def _dot(x: Array, y: Array, contract: tuple[int, int] = (1, 0)) -> Array:
    over = (((contract[0],), (contract[1],)), ((), ()))
    return lax.dot_general(x, y, over, preferred_element_type=jnp.float32)
