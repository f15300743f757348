"""3x3 convolution and 2x2 max-pool that train faster on a CPU than XLA's own.

They compute what `lax.conv_general_dilated` and `nn.max_pool` compute, to rounding, and are those
very operations on any other backend. The convolution is Winograd's F(2x2, 3x3): a 2x2 tile of the
output reads a 4x4 tile of the image, and 16 products replace 36:

    output = A' [ (B' image B) * (G kernel G') ] A

Here * is, at each of the 16 positions, the matrix product of all tiles x C and C x K. XLA runs
these 16 matmuls at full speed, and its convolutions, their gradients above all, at a fraction of
it. The gradients are the same formula transposed. F(4x4, 3x3) is 10 % faster but ten times less
exact (1e-5 of the largest value, against 1e-6).
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsh_jax.network.products import ROUNDED, outer_product, product, product_with_transpose

# A square of arrays, one for each position in a tile: Tiles[row][column].
Tiles = list[list[Array]]
Matrix = Sequence[Sequence[float]]

_B = ((1, 0, 0, 0), (0, 1, -1, 1), (-1, 1, 1, 0), (0, 0, 0, -1))
_G = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_A = ((1, 0), (1, 1), (1, -1), (0, -1))

# With fewer channels the transforms cost more than the products they save.
_MIN_WINOGRAD_CHANNELS = 8
_NHWC = ("NHWC", "HWIO", "NHWC")


def convolution(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    precision=None,
    **kwargs,
) -> Array:
    """Convolve as `lax.conv_general_dilated`, faster on a CPU if 3x3; for `nn.Conv`.

    Fast are NHWC images of a floating-point type under a 3x3 kernel with stride 1, SAME padding,
    no dilation and no groups. They have reverse-mode derivatives only.

    Args:
        lhs: image, BxHxWxC where fast.
        rhs: kernel, 3x3xCxK where fast, of the same dtype.
        window_strides: strides along H and W.
        padding: "SAME", "VALID" or (low, high) along H and W.
        precision: `products.ROUNDED`, to multiply in bfloat16 (not where a fast kernel has fewer
            than 8 channels or filters; where none is fast, the output is rounded as well), or as
            in `lax.conv_general_dilated`.
        lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, **kwargs: as there.

    Returns:
        The convolution, BxHxWxK where fast, of the dtype of `lhs`.
    """
    fast = (
        jax.default_backend() == "cpu"
        and lhs.ndim == 4
        and rhs.shape[:2] == (3, 3)
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and tuple(window_strides) == (1, 1)
        and (padding == "SAME" or _pairs(padding) == [(1, 1), (1, 1)])
        and {*(lhs_dilation or (1,)), *(rhs_dilation or (1,))} == {1}
        and lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)
        and feature_group_count == 1
        and all(value is None for value in kwargs.values())
    )
    if not fast:
        factors, is_rounded = (lhs, rhs), precision is ROUNDED
        if is_rounded:
            factors = lhs.astype(jnp.bfloat16), rhs.astype(jnp.bfloat16)
        output = lax.conv_general_dilated(
            *factors,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            precision=None if is_rounded else precision,
            **kwargs,
        )
        return output.astype(lhs.dtype) if is_rounded else output
    # bfloat16 is summed in float32, as XLA sums it.
    dtype = jnp.promote_types(lhs.dtype, jnp.float32)
    image_BxHxWxC, kernel_3x3xCxK = lhs.astype(dtype), rhs.astype(dtype)
    if lhs.shape[1:3] == (1, 1):  # only the centre of the kernel meets the image
        output_BxHxWxK = product(image_BxHxWxC, kernel_3x3xCxK[1, 1], precision)
    elif min(rhs.shape[2:]) < _MIN_WINOGRAD_CHANNELS:
        exact = None if precision is ROUNDED else precision
        output_BxHxWxK = _few_channels(image_BxHxWxC, kernel_3x3xCxK, exact)
    else:
        output_BxHxWxK = _winograd(image_BxHxWxC, kernel_3x3xCxK, precision)
    return output_BxHxWxK.astype(lhs.dtype)


def max_pool_2x2(x_BxHxWxC: Array) -> Array:
    """Take the maximum of every 2x2 window, stride 2; drop an odd last row or column.

    As `nn.max_pool(x, (2, 2), strides=(2, 2))`: the gradient goes to the first maximum of a
    window, row by row. A window with a NaN gets none on a CPU.

    Args:
        x_BxHxWxC: floating-point maps.

    Returns:
        Bx(H//2)x(W//2)xC, of the same dtype.
    """
    if jax.default_backend() == "cpu":
        return _max_pool(x_BxHxWxC)
    return lax.reduce_window(x_BxHxWxC, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _pairs(padding: str | Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    return [] if isinstance(padding, str) else [tuple(pair) for pair in padding]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _winograd(image_BxHxWxC: Array, kernel_3x3xCxK: Array, precision) -> Array:
    image, kernel = _image_tiles(image_BxHxWxC), _sandwich(_G, kernel_3x3xCxK)
    output = _products(product, image, kernel, precision)
    return _join(_sandwich(_transpose(_A), output), image_BxHxWxC.shape)


def _winograd_forward(image_BxHxWxC: Array, kernel_3x3xCxK: Array, precision):
    # The tiles, four times the image, are cheaper to make again than to keep.
    output_BxHxWxK = _winograd(image_BxHxWxC, kernel_3x3xCxK, precision)
    return output_BxHxWxK, (image_BxHxWxC, kernel_3x3xCxK)


def _winograd_backward(precision, residuals, gradient_BxHxWxK: Array) -> tuple[Array, Array]:
    image_BxHxWxC, kernel_3x3xCxK = residuals
    image, kernel = _image_tiles(image_BxHxWxC), _sandwich(_G, kernel_3x3xCxK)
    output = _sandwich(_A, _split(gradient_BxHxWxK))

    kernel_gradient = _products(outer_product, image, output, precision)
    kernel_gradient = _sandwich(_transpose(_G), kernel_gradient)
    image_gradient = _products(product_with_transpose, output, kernel, precision)
    image_gradient = _add_overlaps(_sandwich(_B, image_gradient))
    return (
        _join(image_gradient, image_BxHxWxC.shape),
        jnp.stack([jnp.stack(row) for row in kernel_gradient]),
    )


_winograd.defvjp(_winograd_forward, _winograd_backward)


def _products(multiply: Callable, left: Tiles, right: Tiles, precision) -> Tiles:
    """Multiply at each position."""
    return [
        [multiply(x, y, precision) for x, y in zip(xs, ys, strict=True)]
        for xs, ys in zip(left, right, strict=True)
    ]


def _sandwich(matrix: Matrix, tiles: Tiles | Array) -> Tiles:
    """Return matrix @ tiles @ matrix', the matrix acting on positions."""
    columns = [_combine(matrix, column) for column in zip(*tiles, strict=True)]
    return [_combine(matrix, row) for row in zip(*columns, strict=True)]


def _combine(matrix: Matrix, arrays: Sequence[Array]) -> list[Array]:
    """Return matrix @ arrays without the zero terms."""
    sums = []
    for row in matrix:
        terms = [weight * x for weight, x in zip(row, arrays, strict=True) if weight]
        sums.append(sum(terms[1:], start=terms[0]))
    return sums


def _transpose(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _image_tiles(image_BxHxWxC: Array) -> Tiles:
    """Return B' image B: 4x4 tiles, two apart, that start one pixel outside of the image."""
    _, height, width, _ = image_BxHxWxC.shape
    padding = ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0))
    padded = jnp.pad(image_BxHxWxC, padding)
    rows, columns = 2 * ((height + 1) // 2) - 1, 2 * ((width + 1) // 2) - 1
    tiles = [[padded[:, i : i + rows : 2, j : j + columns : 2] for j in range(4)] for i in range(4)]
    return _sandwich(_transpose(_B), tiles)


def _add_overlaps(tiles: Tiles) -> Tiles:
    """Add 4x4 tiles, two apart, into the 2x2 tiles at their centres."""
    columns = [_add_overlaps_along(1, column) for column in zip(*tiles, strict=True)]
    return [_add_overlaps_along(2, row) for row in zip(*columns, strict=True)]


def _add_overlaps_along(axis: int, arrays: Sequence[Array]) -> list[Array]:
    before, first, second, after = arrays
    return [first + _shift(after, 1, axis), second + _shift(before, -1, axis)]


def _shift(x: Array, by: int, axis: int) -> Array:
    padding = [(by, -by, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), padding)


def _split(x_BxHxWxC: Array) -> Tiles:
    """Cut maps into 2x2 tiles, with zeros below and to the right of odd sizes."""
    _, height, width, _ = x_BxHxWxC.shape
    x_BxHxWxC = jnp.pad(x_BxHxWxC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return [[x_BxHxWxC[:, i::2, j::2] for j in range(2)] for i in range(2)]


def _join(tiles: Tiles, shape: Sequence[int]) -> Array:
    """Undo `_split`, for maps of H and W as in `shape`."""
    x_BxhxiXwxjxC = jnp.stack([jnp.stack(row, axis=3) for row in tiles], axis=2)
    batch, h, _, w, _, channels = x_BxhxiXwxjxC.shape
    return x_BxhxiXwxjxC.reshape(batch, 2 * h, 2 * w, channels)[:, : shape[1], : shape[2]]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _few_channels(image_BxHxWxC: Array, kernel_3x3xCxK: Array, precision) -> Array:
    return lax.conv_general_dilated(
        image_BxHxWxC,
        kernel_3x3xCxK,
        (1, 1),
        "SAME",
        dimension_numbers=_NHWC,
        precision=precision,
    )


def _few_channels_forward(image_BxHxWxC: Array, kernel_3x3xCxK: Array, precision):
    output_BxHxWxK = _few_channels(image_BxHxWxC, kernel_3x3xCxK, precision)
    return output_BxHxWxK, (image_BxHxWxC, kernel_3x3xCxK)


def _few_channels_backward(precision, residuals, gradient_BxHxWxK: Array) -> tuple[Array, Array]:
    """Take the kernel's gradient as one matmul; XLA's convolution for it is the slowest."""
    image_BxHxWxC, kernel_3x3xCxK = residuals
    rotated_3x3xKxC = kernel_3x3xCxK[::-1, ::-1].swapaxes(2, 3)
    image_gradient = _few_channels(gradient_BxHxWxK, rotated_3x3xKxC, precision)
    _, _, channels, features = kernel_3x3xCxK.shape
    if channels <= features:  # shift the smaller of the two
        kernel_gradient = outer_product(_shifts(image_BxHxWxC), gradient_BxHxWxK, precision)
        kernel_gradient = kernel_gradient.reshape(kernel_3x3xCxK.shape)
    else:
        kernel_gradient = outer_product(image_BxHxWxC, _shifts(gradient_BxHxWxK), precision)
        kernel_gradient = kernel_gradient.reshape(channels, 3, 3, features)
        kernel_gradient = kernel_gradient.transpose(1, 2, 0, 3)[::-1, ::-1]
    return image_gradient, kernel_gradient


_few_channels.defvjp(_few_channels_forward, _few_channels_backward)


def _shifts(x_BxHxWxC: Array) -> Array:
    """Return the 3x3 neighbourhood of every pixel, BxHxWx9C."""
    _, height, width, _ = x_BxHxWxC.shape
    padded = jnp.pad(x_BxHxWxC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifts, axis=3)


@jax.custom_vjp
def _max_pool(x_BxHxWxC: Array) -> Array:
    return _max_pool_forward(x_BxHxWxC)[0]


def _max_pool_forward(x_BxHxWxC: Array):
    _, height, width, _ = x_BxHxWxC.shape
    (a, b), (c, d) = _split(x_BxHxWxC[:, : height // 2 * 2, : width // 2 * 2])
    y_BxhxwxC = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    return y_BxhxwxC, (x_BxHxWxC, y_BxhxwxC)


def _max_pool_backward(residuals, gradient_BxhxwxC: Array) -> tuple[Array]:
    x_BxHxWxC, y_BxhxwxC = residuals
    _, height, width, _ = shape = x_BxHxWxC.shape
    tiles = _split(x_BxHxWxC[:, : height // 2 * 2, : width // 2 * 2])
    free = jnp.ones(y_BxhxwxC.shape, bool)  # until a maximum of the window was met
    for row in tiles:
        for j, x in enumerate(row):
            hit = x == y_BxhxwxC
            row[j] = jnp.where(hit & free, gradient_BxhxwxC, 0)
            free &= ~hit
    dropped = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return (jnp.pad(_join(tiles, shape), dropped),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
