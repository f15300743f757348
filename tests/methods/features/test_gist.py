"""GIST against its definition in plain numpy, and against what symmetry demands."""

import os

import jax
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from dsh_jax.data import sources
from dsh_jax.methods import features
from dsh_jax.methods.features.gist import SIZE, gabor_filters, gist

RNG = np.random.default_rng(0)

# The definition, one image and one filter at a time, complex and in float64.


def definition(image_HxWxC):
    """The 512 numbers of one image; every step is written out as the toolbox's text has it."""
    grey = image_HxWxC.astype(np.float64).mean(2)
    grey = grey - grey.min()
    grey = whitened(255 * grey / grey.max())
    side = len(grey)
    padded = np.pad(grey, 32, mode="symmetric")
    edges = np.linspace(0, side, 5).astype(int)
    numbers = []
    for scale in range(4):
        for orientation in range(8):
            response = np.fft.ifft2(np.fft.fft2(padded) * gabor(side + 64, scale, orientation))
            amplitude = np.abs(response)[32 : 32 + side, 32 : 32 + side]
            for column in range(4):
                for row in range(4):
                    y, x = (slice(*edges[i : i + 2]) for i in (row, column))
                    numbers.append(amplitude[y, x].mean())
    return np.array(numbers)


def whitened(grey):
    side = len(grey)
    padded = np.pad(np.log(grey + 1), 5, mode="symmetric")
    padded = np.pad(padded, (0, len(padded) % 2), mode="symmetric")
    n = len(padded)
    gaussian = np.empty((n, n))
    for v in range(n):
        for u in range(n):
            # Index 0 is frequency 0; the upper half stands for the negative ones.
            fy, fx = (k if k < n / 2 else k - n for k in (v, u))
            gaussian[v, u] = np.exp(-(fx**2 + fy**2) / (4 / np.sqrt(np.log(2))) ** 2)
    high = padded - np.fft.ifft2(np.fft.fft2(padded) * gaussian).real
    deviation = np.sqrt(np.abs(np.fft.ifft2(np.fft.fft2(high**2) * gaussian)))
    return (high / (0.2 + deviation))[5 : 5 + side, 5 : 5 + side]


def gabor(n, scale, orientation):
    """One transfer function on a grid from -n/2 up, then shifted as `fftshift` does."""
    axis = -n / 2 + np.arange(n)
    f = axis[None, :] + 1j * axis[:, None]
    angle = np.angle(f) + np.pi / 8 * orientation
    angle = angle + 2 * np.pi * (angle < -np.pi) - 2 * np.pi * (angle > np.pi)
    radial = -10 * 0.35 * (np.abs(f) / n / (0.3 / 1.85**scale) - 1) ** 2
    return np.roll(
        np.exp(radial - 2 * (16 * 8**2 / 32**2) * np.pi * angle**2), (n // 2, n // 2), (0, 1)
    )


def noise(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def by_parts(gist_N):
    """(scale, orientation, row, column) of one image's 512 numbers."""
    return np.asarray(gist_N).reshape(4, 8, 4, 4).swapaxes(2, 3)


# 32 is CIFAR's side and 28 MNIST's; 29 is odd; 5 and 30 leave unequal blocks; 40 is above BORDER.
@pytest.mark.parametrize("shape", [(32, 3), (28, 1), (29, 1), (30, 3), (5, 1), (40, 3)])
def test_gist_is_that_of_the_definition(shape):
    side, channels = shape
    image_NxHxWxC = noise(3, side, side, channels)
    image_NxHxWxC[1] //= 4  # low contrast
    image_NxHxWxC[2] = np.add.outer(np.arange(side), np.arange(side))[..., None]  # a ramp
    wanted_NxD = np.stack([definition(image) for image in image_NxHxWxC])
    np.testing.assert_allclose(gist(image_NxHxWxC), wanted_NxD, rtol=2e-4, atol=2e-6)


# The filters.


def test_a_filter_at_one_frequency_by_hand():
    filters = gabor_filters(96).reshape(4, 8, 96, 96)
    # Frequency (-1/2, -1/2) stands in the middle; its angle is -3/4 π, its radius √(1/2).
    finest = np.exp(-3.5 * (np.sqrt(0.5) / 0.3 - 1) ** 2)
    assert filters[0, 6, 48, 48] == pytest.approx(finest)
    assert filters[0, 4, 48, 48] == pytest.approx(finest * np.exp(-2 * np.pi * (np.pi / 4) ** 2))
    # Along the first row lie those of angle 0: cycles a pixel are the column over 96.
    peak = [filters[scale, 0, 0, :48].argmax() for scale in range(4)]
    np.testing.assert_array_equal(peak, np.rint([96 * 0.3 / 1.85**scale for scale in range(4)]))


def test_half_of_the_filters_are_the_others_turned_by_a_quarter():
    filters = np.fft.fftshift(gabor_filters(96), axes=(1, 2)).reshape(4, 8, 96, 96)
    # Without the frequency -1/2, which has no opposite, and 0, which has no direction.
    inner = filters[:, :, 1:, 1:].copy()
    inner[:, :, 47, 47] = 0
    np.testing.assert_allclose(inner[:, 4:], np.rot90(inner[:, :4], 1, axes=(2, 3)), rtol=1e-5)


# What the numbers say of an image.


def stripes(frequency, turn):
    """A 32×32 image of waves of so many cycles a pixel, turned by so many eighths of π."""
    across = np.cos(turn * np.pi / 8) * np.arange(32) - np.sin(turn * np.pi / 8) * np.c_[:32]
    return np.cos(2 * np.pi * frequency * across)[None, ..., None].astype(np.float32)


@pytest.mark.parametrize("scale", range(4))
@pytest.mark.parametrize("orientation", [0, 3, 4, 6])
def test_stripes_answer_in_their_scale_and_orientation(scale, orientation):
    parts = by_parts(gist(stripes(0.3 / 1.85**scale, orientation)))
    assert parts[scale].mean(axis=(1, 2)).argmax() == orientation
    if scale < 3:  # the coarsest waves are as long as the whole image, less its low frequencies
        assert parts[:, orientation].mean(axis=(1, 2)).argmax() == scale


def test_texture_answers_in_its_block():
    image = np.full((1, 32, 32, 1), 128, np.uint8)
    image[:, 8:16, 24:, :] = noise(8, 8, 1)
    parts = by_parts(gist(image)).sum(axis=(0, 1))
    assert np.unravel_index(parts.argmax(), (4, 4)) == (1, 3)


def test_a_quarter_turn_permutes_orientations_and_blocks():
    image = noise(1, 32, 32, 1).astype(np.float32)
    for axis in (1, 2):  # soft: the frequency -1/2 has no opposite to turn to
        image = image + np.roll(image, 1, axis)
    before, after = (by_parts(gist(x)) for x in (image, np.rot90(image, 1, axes=(1, 2))))
    permuted = np.rot90(np.roll(before, 4, axis=1), 1, axes=(2, 3))
    assert np.abs(after - permuted).max() < 0.005 * before.max()
    assert np.abs(after - before).max() > 0.2 * before.max()


def test_neither_brightness_nor_contrast_nor_colour_counts():
    image = noise(1, 32, 32, 3).astype(np.float32)
    wanted = gist(image)
    np.testing.assert_allclose(gist(0.25 * image + 17), wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gist(image[..., ::-1]), wanted, rtol=1e-4, atol=1e-6)


def test_an_image_of_one_grey_is_zero():
    image = np.stack([np.full((32, 32, 3), grey, np.uint8) for grey in (0, 7, 255)])
    np.testing.assert_array_equal(gist(image), np.zeros((3, SIZE)))


# Blocks of images.


def test_an_image_counts_for_itself_whatever_the_block():
    image = noise(5, 32, 32, 3)
    image[3] = 0
    wanted = gist(image, block=1)
    np.testing.assert_allclose(gist(image, block=2), wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gist(image[::-1])[::-1], wanted, rtol=1e-4, atol=1e-6)


def test_temporary_memory_does_not_grow_with_the_images():
    def temporary(rows):
        image = jax.ShapeDtypeStruct((rows, 32, 32, 3), np.uint8)
        memory = gist.lower(image, block=4).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert temporary(64) < 1.1 * temporary(8) + 56 * 4 * SIZE


@pytest.mark.parametrize("shape", [(0, 32, 32, 3), (2, 32, 28, 3), (2, 3, 3, 1), (32, 32, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"wanted a non-empty \[N, H, W, C\] with H = W"):
        gist(np.zeros(shape, np.uint8))


def test_a_block_of_none_is_refused():
    with pytest.raises(ValueError, match="block=0"):
        gist(noise(2, 32, 32, 1), block=0)


# Real images.


@pytest.mark.slow  # half a minute
def test_the_nearest_neighbour_of_a_photograph_is_often_of_its_class():
    if not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("TFDS_DATA_DIR does not name a folder with CIFAR-10")
    cifar = sources.load("cifar10")
    rows = np.flatnonzero(cifar.official["query"])
    blocks = features.feature_blocks(lambda _, image: gist(image), None, cifar, rows)
    gist_NxD, label_N = np.concatenate(list(blocks)), cifar.label_NxC[rows].argmax(axis=1)
    nearest = KNeighborsClassifier(1).fit(gist_NxD[1000:], label_N[1000:])
    assert nearest.score(gist_NxD[:1000], label_N[:1000]) > 0.4  # chance is 0.1
