"""Images by row number, from arrays and from files."""

import numpy as np
import photographs
import pytest
import tensorflow as tf

from dsh_jax.data.images import ArrayImages, FileImages

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
