"""Pixels of any size and channels become those of a network, in numpy as in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dsh_jax.pictures import fast, fit, read, to_channels


def read_one(path, side, how="squash"):
    return read(path, (side, side, 3), how)[0]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photo(height, width):
    """A smooth picture with detail that does not survive careless resizing."""
    y, x = np.mgrid[:height, :width]
    wave = 127 + 60 * np.sin(x / width * 9) + 60 * np.sin(y / height * 7)
    checks = 20.0 * ((x + y) % 2)  # the finest there is: antialiasing turns it to grey
    return np.stack([wave + checks, wave - checks, 255 - wave], -1).clip(0, 255).astype(np.uint8)


def area_weights(old, new):
    """Weights [new, old] of old pixels in new ones: the share of the new one that each covers."""
    edge = np.arange(new + 1) * old / new
    pixel = np.arange(old)
    inside = np.minimum(edge[1:, None], pixel + 1) - np.maximum(edge[:-1, None], pixel)
    return inside.clip(0) * new / old


def averaged(image, side):
    """The image shrunk by averaging areas, float."""
    rows, columns = (area_weights(size, side) for size in image.shape[:2])
    return np.einsum("ih,hwc,jw->ijc", rows, image.astype(float), columns)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 128), (130, 70), (375, 500)])
def test_shrinking_averages_areas(tmp_path, height, width):
    image = photo(height, width)
    Image.fromarray(image).save(tmp_path / "x.png")
    found = read_one(tmp_path / "x.png", 32)
    assert np.abs(found - averaged(image, 32)).max() <= 0.51  # of rounding


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 9])
def test_large_jpegs_are_decoded_small_without_a_visible_difference(tmp_path, scale):
    image = Image.fromarray(photo(32 * scale + 5, 40 * scale))
    image.save(tmp_path / "x.jpg", quality=98, subsampling=0)
    found = read_one(tmp_path / "x.jpg", 32)
    with Image.open(tmp_path / "x.jpg") as stored:
        wanted = averaged(np.asarray(stored), 32)
    # Only the last two are decoded small; cosine coefficients average a little otherwise.
    assert np.abs(found - wanted).mean() < (2 if scale >= 4 else 0.5)


def test_small_images_are_enlarged_smoothly(tmp_path):
    ramp = np.repeat(np.array([0, 100, 200], np.uint8)[None, :, None], 3, 2).repeat(3, 0)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    found = read_one(tmp_path / "x.png", 9)
    np.testing.assert_array_equal(found[4, :, 0], [0, 0, 33, 67, 100, 133, 167, 200, 200])


def test_crop_takes_the_middle_and_squash_everything(tmp_path):
    strip = np.zeros((10, 30, 3), np.uint8)
    strip[:, 10:20] = 200
    Image.fromarray(strip).save(tmp_path / "x.png")
    path = tmp_path / "x.png"
    np.testing.assert_array_equal(read_one(path, 10, "crop"), 200)
    squashed = read_one(path, 10)
    np.testing.assert_array_equal(squashed[5, :, 0], [0, 0, 0, 133, 200, 200, 133, 0, 0, 0])


@pytest.mark.parametrize("chunk", [100, 2**22])
def test_numpy_and_tensorflow_are_equal_bit_for_bit(chunk, monkeypatch):
    monkeypatch.setattr(fit, "CHUNK", chunk)  # rows at a time are nothing to the result
    rng = np.random.default_rng(chunk)
    for _ in range(60):  # shrunk, enlarged, and one of each
        h, w = rng.integers(1, 200, 2)
        height, width = rng.integers(1, 100, 2)
        image = rng.integers(0, 256, (h, w, rng.choice([1, 3])), np.uint8)
        wanted = fast.resize(tf.constant(image), height, width).numpy()
        np.testing.assert_array_equal(fit.resize(image, height, width), wanted)


@pytest.mark.parametrize("size", [(40, 61), (20, 90), (7, 9), (32, 32), (1, 50), (400, 3)])
@pytest.mark.parametrize("shape", [(32, 32), (20, 40), (40, 20)])
@pytest.mark.parametrize("how", ["squash", "crop"])
def test_the_same_part_is_used(size, shape, how):
    image = noise(*size)
    wanted = fast.fitted(tf.constant(image), *shape, how).numpy()
    np.testing.assert_array_equal(fit.fitted(image, *shape, how), wanted)


@pytest.mark.parametrize(
    ("h", "w", "how", "wanted"),
    [
        (127, 500, "squash", 1),  # 3.97 times too large
        (128, 500, "squash", 2),
        (500, 255, "squash", 2),
        (256, 256, "crop", 4),
        (511, 9999, "squash", 4),
        (512, 512, "squash", 8),
        (5000, 5000, "crop", 8),
        (20, 20, "squash", 1),
    ],
)
def test_jpegs_are_decoded_at_a_part_that_is_twice_as_large_or_more(h, w, how, wanted):
    assert fit.ratio(h, w, 32, 32, how) == wanted
    assert fit.ratio(w, h, 32, 32, how) == wanted


def test_grey_is_the_luma():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 7]], np.uint8)
    assert to_channels(colours, 1)[:, 0].tolist() == [76, 150, 29, 7]
    wanted = np.asarray(Image.fromarray(noise(9, 9)).convert("L"))
    np.testing.assert_array_equal(to_channels(noise(9, 9), 1)[..., 0], wanted)
    assert to_channels(np.array([[5]], np.uint8), 3).tolist() == [[5, 5, 5]]
