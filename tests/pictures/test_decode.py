"""Pictures of Pillow become what is seen: upright, on white, RGB of 8 bits."""

import io

import numpy as np
import pytest
import zoo
from PIL import Image

from dsh_jax.pictures import UnreadableError, depth, open_picture, rgb, tiff, upright_size
from dsh_jax.pictures.decode import orientation

# Two dots show how a picture is turned: 1 above left, 2 above right, 3 below left.
DOTS = np.uint8([[1, 9, 2], [3, 9, 9]])
SEEN = {  # by the Exif standard: where the stored first row and column belong
    1: [[1, 9, 2], [3, 9, 9]],
    2: [[2, 9, 1], [9, 9, 3]],
    3: [[9, 9, 3], [2, 9, 1]],
    4: [[3, 9, 9], [1, 9, 2]],
    5: [[1, 3], [9, 9], [2, 9]],
    6: [[3, 1], [9, 9], [9, 2]],
    7: [[9, 2], [9, 9], [3, 1]],
    8: [[2, 9], [9, 9], [1, 3]],
}


@pytest.mark.parametrize("value", [*SEEN, 0, 9, 255])
def test_pictures_are_turned_upright(value, tmp_path):
    picture = Image.fromarray(DOTS)
    exif = Image.Exif()
    exif[0x0112] = value
    wanted = np.array(SEEN.get(value, DOTS))
    for ending in ("png", "tiff"):
        picture.save(tmp_path / f"x.{ending}", exif=exif)
        with open_picture(tmp_path / f"x.{ending}") as opened:
            assert upright_size(opened) == wanted.shape[::-1]
            np.testing.assert_array_equal(rgb(opened)[..., 0], wanted)
    picture.getexif()[0x0112] = value
    np.testing.assert_array_equal(rgb(picture)[..., 0], wanted)


@pytest.mark.parametrize("value", ["6", (6,), -1, 6.5, None])
def test_an_orientation_that_is_none_turns_nothing(value):
    picture = Image.fromarray(DOTS)
    picture.getexif()[0x0112] = value
    assert orientation(picture) == 1


def test_half_clear_black_is_grey_and_clear_black_is_white():
    pixel = np.uint8([[[0, 0, 0, 255], [0, 0, 0, 128], [0, 0, 0, 0], [200, 100, 0, 51]]])
    wanted = [[[0] * 3, [127] * 3, [255] * 3, [244, 224, 204]]]
    np.testing.assert_array_equal(rgb(Image.fromarray(pixel)), wanted)
    grey = Image.fromarray(np.uint8([[[0, 128], [9, 0], [7, 255]]]))
    np.testing.assert_array_equal(rgb(grey)[..., 0], [[127, 255, 7]])


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    data = zoo.saved(Image.fromarray(DOTS), "PNG")
    late = zoo.saved(Image.fromarray(DOTS), "PNG", exif=zoo.exif(6))
    at = late.index(b"eXIf") - 4
    chunk = late[at : at + 12 + int.from_bytes(late[at : at + 4])]
    (tmp_path / "x.png").write_bytes(data[:-12] + chunk + data[-12:])
    with open_picture(tmp_path / "x.png") as picture:
        assert upright_size(picture) == (2, 3)
        np.testing.assert_array_equal(rgb(picture)[..., 0], SEEN[6])


def test_deep_pictures_that_are_in_no_file():
    value = np.uint16([[0, 257, 128, 129, 65535]])
    np.testing.assert_array_equal(rgb(Image.fromarray(value))[..., 0], [[0, 1, 0, 1, 255]])
    for wide in (value.astype(np.int32), value.astype(np.float32)):
        with pytest.raises(UnreadableError, match="nothing in it says which values are black"):
            rgb(Image.fromarray(wide))


def test_numbers_are_scaled_and_cut():
    value = np.array([[-5.0, 0, 10, 20, 30, np.nan]])
    np.testing.assert_array_equal(depth.to_8_bits(value, 0, 20), [[0, 0, 128, 255, 255, 0]])
    np.testing.assert_array_equal(depth.to_8_bits(value, 20, 0), [[255, 255, 128, 0, 0, 0]])


@pytest.mark.parametrize("width", [1, 2, 7, 48])
def test_packed_numbers_of_12_bits_are_those_of_pillow(width):
    value = np.random.default_rng(width).integers(0, 4096, (5, width), np.uint16)
    data = zoo.tiff(bytes(zoo.packed(value, 12)), width, 5, 12)
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), value)
    found = tiff.deep_grey(io.BytesIO(data))
    np.testing.assert_array_equal(np.asarray(found), depth.to_8_bits(value, 0, 4095))


@pytest.mark.parametrize("lost", [1, 100, 900])
def test_cut_numbers_are_an_error_and_not_half_a_picture(lost, tmp_path):
    value = np.zeros((20, 30), np.uint16)
    data = zoo.tiff(bytes(zoo.packed(value, 10)), 30, 20, 10)
    (tmp_path / "x.tif").write_bytes(data[:-lost])
    with pytest.raises(UnreadableError):
        open_picture(tmp_path / "x.tif")


def test_deep_bombs_are_refused(tmp_path, monkeypatch):
    (tmp_path / "x.tif").write_bytes(zoo.tiff(bytes(60), 30_000, 20_000, 12))
    with pytest.raises(UnreadableError, match="too many pixels"):
        open_picture(tmp_path / "x.tif")
