"""GIST: how much of each scale and orientation an image holds in each of its 4×4 blocks."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsh_jax.methods.rows import map_blocks

SCALES = 4
ORIENTATIONS = 8
BLOCKS = 4  # along each side of the image
SIZE = SCALES * ORIENTATIONS * BLOCKS**2
BORDER = 32  # pixels mirrored on each side before the Gabor filters
LOWPASS_BORDER = 5  # and before the low-pass filter
LOWPASS = 4 / np.sqrt(np.log(2))  # cycles an image; the filter is 1/2 at 4


@functools.partial(jax.jit, static_argnames="block")
def gist(image_NxHxWxC: jax.Array, *, block: int = 16) -> jax.Array:
    """Describe images by the mean amplitudes of 32 Gabor filters in 4×4 blocks.

    g[f, b] = mean over the pixels of block b of |IDFT(DFT(x) G_f)|, with x the grey image, its
    local contrast made even:
      y = log(1 + I) - L(log(1 + I)),  x = y / (0.2 + sqrt(L(y²))),
    where I is scaled to 0 … 255 for each image, and L is a Gaussian low-pass filter.

    Args:
      image_NxHxWxC: H = W >= 4, of any size and of any number range; grey is the channels' mean.
      block: images in work at a time.

    Returns:
      float32 array, shape (N, 512), 0 or more; by scale, the finest first, then orientation, then
      the block's column, then its row, the order of MATLAB. All 0 for an image of one grey.

    Raises:
      ValueError: for no images, sides that differ or are below 4, or block below 1.

    Source: Oliva and Torralba, IJCV 2001; the constants are those of the LabelMe toolbox.
    """
    shape = image_NxHxWxC.shape
    if len(shape) != 4 or 0 in shape or shape[1] != shape[2] or shape[1] < BLOCKS:
        raise ValueError(
            f"the images have shape {shape}; wanted a non-empty [N, H, W, C] with H = W of at "
            f"least {BLOCKS}: crop or resize them to squares (data.image_size, data.fit)"
        )
    filter_FxSxS = gabor_filters(shape[1] + 2 * BORDER)
    return map_blocks(lambda image: _describe(image, filter_FxSxS), image_NxHxWxC, block)


def gabor_filters(side: int) -> np.ndarray:
    """Return the transfer functions of the Gabor filters, frequency 0 in the corner.

    G(r, t) = exp(-3.5 (r / r_s - 1)² - 2 π (t + π o / 8)²),  r_s = 0.3 / 1.85^s,
    at the frequency of radius r, in cycles a pixel, and angle t, the sum taken within (-π, π].

    Args:
      side: S, of the images that are filtered, pixels.

    Returns:
      float32 array, shape (32, S, S): 4 scales s, each with 8 orientations o.
    """
    # For an odd side these stand halfway between the DFT's, as in the toolbox.
    frequency_S = np.fft.fftshift(np.arange(side) - side / 2)
    fx_SxS, fy_SxS = np.meshgrid(frequency_S, frequency_S)
    radius_SxS = np.hypot(fx_SxS, fy_SxS) / side
    angle_SxS = np.arctan2(fy_SxS, fx_SxS)
    filters = []
    for s in range(SCALES):
        radial_SxS = 3.5 * (radius_SxS / (0.3 / 1.85**s) - 1) ** 2
        for o in range(ORIENTATIONS):
            turned_SxS = angle_SxS + np.pi * o / ORIENTATIONS
            turned_SxS = np.where(turned_SxS > np.pi, turned_SxS - 2 * np.pi, turned_SxS)
            filters.append(np.exp(-radial_SxS - 2 * np.pi * turned_SxS**2))
    return np.array(filters, np.float32)


def _describe(image_BxHxWxC, filter_FxSxS):
    """The descriptors of a block of images."""
    # The sum: its scale does not count, and of whole numbers it is exact, as a mean is not.
    image_BxHxW = _even_contrast(image_BxHxWxC.sum(axis=-1))
    spectrum_BxSxS = jnp.fft.fft2(_mirror(image_BxHxW, BORDER, BORDER))
    height = image_BxHxW.shape[1]
    inside = slice(BORDER, BORDER + height)
    mean_4xH = _block_means(height)

    def amplitudes(filter_SxS):
        filtered_BxSxS = jnp.fft.ifft2(spectrum_BxSxS * filter_SxS[None])
        amplitude_BxHxW = jnp.abs(filtered_BxSxS[:, inside, inside])
        return jnp.einsum("ih,bhw,jw->bji", mean_4xH, amplitude_BxHxW, mean_4xH)

    # One filter after another: all 32 at once take 32 times the memory and no less time.
    amplitude_FxBx4x4 = lax.map(amplitudes, filter_FxSxS)
    return amplitude_FxBx4x4.swapaxes(0, 1).reshape(len(image_BxHxW), SIZE)


def _even_contrast(grey_BxHxW):
    """Grey images brought to 0 … 255, less their local mean, over their local deviation."""
    low_Bx1x1 = grey_BxHxW.min(axis=(1, 2), keepdims=True)
    span_Bx1x1 = grey_BxHxW.max(axis=(1, 2), keepdims=True) - low_Bx1x1
    # The toolbox has NaN for an image of one grey; here it is black.
    scaled_BxHxW = 255 * (grey_BxHxW - low_Bx1x1) / jnp.where(span_Bx1x1 > 0, span_Bx1x1, 1)
    height = grey_BxHxW.shape[1]
    padded_BxPxP = _mirror(jnp.log1p(scaled_BxHxW), LOWPASS_BORDER, LOWPASS_BORDER)
    padded_BxPxP = _mirror(padded_BxPxP, 0, height % 2)  # the low-pass filter's side is even
    high_BxPxP = padded_BxPxP - _low_pass(padded_BxPxP)
    # The Gaussian is positive, but rounding may leave a mean of squares just below 0.
    deviation_BxPxP = jnp.sqrt(jnp.abs(_low_pass(high_BxPxP**2)))
    inside = slice(LOWPASS_BORDER, LOWPASS_BORDER + height)
    return (high_BxPxP / (0.2 + deviation_BxPxP))[:, inside, inside]


def _low_pass(image_BxPxP):
    """The images times exp(-f² / LOWPASS²) in the Fourier domain, P even."""
    side = image_BxPxP.shape[1]
    squared_P = (np.fft.fftfreq(side) * side) ** 2
    squared_PxR = squared_P[:, None] + squared_P[None, : side // 2 + 1]
    gaussian_PxR = np.exp(-squared_PxR / LOWPASS**2).astype(np.float32)
    return jnp.fft.irfft2(jnp.fft.rfft2(image_BxPxP) * gaussian_PxR[None], (side, side))


def _mirror(image_BxHxW, before, after):
    """The images with that many rows and columns mirrored at their edges."""
    return jnp.pad(image_BxHxW, ((0, 0), (before, after), (before, after)), mode="symmetric")


def _block_means(side):
    """The matrix that takes the means of a line's four parts, as equal as whole pixels allow."""
    edges = np.arange(BLOCKS + 1) * side // BLOCKS
    mean_4xH = np.zeros((BLOCKS, side), np.float32)
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        mean_4xH[i, start:stop] = 1 / (stop - start)
    return mean_4xH
