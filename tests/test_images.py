"""Images by row number, from arrays and from files."""

import io

import numpy as np
import photographs
import pytest
import tensorflow as tf
from PIL import Image

from dsh_jax.data.images import ArrayImages, FileImages, decode_file

NAMES = [f"{folder}/{row}.jpg" for row, folder in enumerate("abab")]


@pytest.fixture
def files(tmp_path):
    """Four JPEGs of one colour each, in two folders."""
    photographs.write_many(tmp_path, NAMES)
    return FileImages(str(tmp_path), np.array(NAMES), side=8)


def counted(rows=6):
    return ArrayImages(np.arange(rows, dtype=np.uint8).reshape(rows, 1, 1, 1))


def read(images, batches):
    """The batches of a dataset of row numbers."""
    rows = tf.data.Dataset.from_tensor_slices(np.array(batches, np.int64))
    return list(images.read(rows).as_numpy_iterator())


def test_arrays_give_the_rows_asked_for():
    images = counted()
    assert (len(images), images.shape) == (6, (1, 1, 1))
    np.testing.assert_array_equal(
        images.take(np.array([[4, 0], [2, 2]]))[..., 0, 0, 0], [[4, 0], [2, 2]]
    )
    found = read(images, [[5, 1], [3, 3]])
    np.testing.assert_array_equal([batch[:, 0, 0, 0] for batch in found], [[5, 1], [3, 3]])


def test_selected_rows_of_an_array_are_not_copied():
    images = counted().select(np.array([5, 2, 0]))
    assert images.image_NxHxWxC.base is not None
    np.testing.assert_array_equal(images.take(np.arange(3))[:, 0, 0, 0], [5, 2, 0])
    again = images.select(np.array([2, 0]))
    assert len(again) == 2
    np.testing.assert_array_equal(read(again, [[1, 0]])[0][:, 0, 0, 0], [5, 0])


def test_files_give_the_rows_asked_for(files):
    assert (len(files), files.shape) == (4, (8, 8, 3))
    rows = np.array([[3, 0], [1, 1]])
    wanted = np.array([[photographs.colour(row) for row in line] for line in rows])[
        :, :, None, None
    ]
    assert np.abs(files.take(rows).astype(int) - wanted).max() <= 4  # of JPEG
    np.testing.assert_array_equal(read(files, rows), files.take(rows))
    np.testing.assert_array_equal(
        files.select(np.array([2, 0])).take(np.arange(2)), files.take(np.array([2, 0]))
    )
    assert files.take(np.zeros((0, 2), int)).shape == (0, 2, 8, 8, 3)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats_become_rgb(tmp_path, ending, mode):
    photographs.write(tmp_path / f"x.{ending}", 3, mode=mode)
    image = FileImages(str(tmp_path), np.array([f"x.{ending}"]), side=4).take(np.array([0]))
    wanted = photographs.colour(3).astype(float)
    if mode == "L":
        wanted[:] = wanted @ [0.299, 0.587, 0.114]
    assert np.abs(image - wanted).max() <= 6  # of GIF's palette


def test_cmyk_jpegs_are_read(tmp_path):
    photographs.write(tmp_path / "x.jpg", 3, mode="CMYK")
    image = FileImages(str(tmp_path), np.array(["x.jpg"]), side=4).take(np.array([0]))
    assert np.abs(image - photographs.colour(3).astype(float)).max() <= 6


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
    found = decode_file(str(tmp_path / "x.png"), side=32, fit="squash").numpy()
    assert np.abs(found - averaged(image, 32)).max() <= 0.51  # of rounding


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 9])
def test_large_jpegs_are_decoded_small_without_a_visible_difference(tmp_path, scale):
    image = Image.fromarray(photo(32 * scale + 5, 40 * scale))
    image.save(tmp_path / "x.jpg", quality=98, subsampling=0)
    found = decode_file(str(tmp_path / "x.jpg"), side=32, fit="squash").numpy()
    with Image.open(tmp_path / "x.jpg") as stored:
        wanted = averaged(np.asarray(stored), 32)
    # Only the last two are decoded small; cosine coefficients average a little otherwise.
    assert np.abs(found - wanted).mean() < (2 if scale >= 4 else 0.5)


def test_small_images_are_enlarged_smoothly(tmp_path):
    ramp = np.repeat(np.array([0, 100, 200], np.uint8)[None, :, None], 3, 2).repeat(3, 0)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    found = decode_file(str(tmp_path / "x.png"), side=9, fit="squash").numpy()
    np.testing.assert_array_equal(found[4, :, 0], [0, 0, 33, 67, 100, 133, 167, 200, 200])


def test_crop_takes_the_middle_and_squash_everything(tmp_path):
    strip = np.zeros((10, 30, 3), np.uint8)
    strip[:, 10:20] = 200
    Image.fromarray(strip).save(tmp_path / "x.png")
    path = str(tmp_path / "x.png")
    np.testing.assert_array_equal(decode_file(path, side=10, fit="crop"), 200)
    squashed = decode_file(path, side=10, fit="squash").numpy()
    np.testing.assert_array_equal(squashed[5, :, 0], [0, 0, 0, 133, 200, 200, 133, 0, 0, 0])


def test_a_cut_file_is_an_error_and_not_half_a_picture(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(photo(64, 64)).save(buffer, "JPEG")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue()[:-200])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_file(str(tmp_path / "x.jpg"), side=8, fit="squash")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FileImages("", np.array([]), 0),
            "image_size is 0, but photographs differ in size",
        ),
        (lambda: FileImages("", np.array([]), 8, "pad"), "data.fit is 'pad'; it must be 'squash'"),
        (
            lambda: ArrayImages(np.zeros((4, 2, 2, 1), np.float32)),
            r"float32 of shape \(4, 2, 2, 1\); they must be uint8",
        ),
        (lambda: ArrayImages(np.zeros((4, 2, 2), np.uint8)), r"must be .* \[N, H, W, C\]"),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()
