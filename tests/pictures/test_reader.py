"""Files become the pixels that training would see, or the reason why not."""

import os
import pathlib
import re
import warnings

import numpy as np
import photographs
import pytest
from dsh_jax.image_files import UnreadableError, fit_pixels, read, to_channels
from PIL import Image

from dsh_jax import image_files
from dsh_jax.data.images import FileImages


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("size", [(40, 61), (20, 90), (300, 280)])
def test_files_are_read_as_in_training(ending, fit, size, tmp_path):
    name = f"x.{ending}"
    Image.fromarray(noise(*size)).save(tmp_path / name)
    found, found_size = read(str(tmp_path / name), (32, 32, 3), fit)
    wanted = FileImages(str(tmp_path), np.array([name]), 32, fit).take(np.array([0]))[0]
    np.testing.assert_array_equal(found, wanted)
    assert found_size == size[::-1]


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("size", [(40, 61), (20, 90), (7, 9), (32, 32)])
def test_pixels_are_resized_as_files_are(fit, size, tmp_path):
    image = noise(*size)
    Image.fromarray(image).save(tmp_path / "x.png")
    wanted = FileImages(str(tmp_path), np.array(["x.png"]), 32, fit).take(np.array([0]))[0]
    np.testing.assert_array_equal(fit_pixels(image, 32, 32, fit), wanted)


@pytest.mark.parametrize("ending", ["bmp", "tiff", "webp", "ppm", "tga"])
def test_formats_that_training_lacks_are_read_too(ending, tmp_path):
    image = noise(48, 40)
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(image).save(tmp_path / f"x.{ending}", **options)
    found, size = read(str(tmp_path / f"x.{ending}"), (32, 32, 3), "squash")
    np.testing.assert_array_equal(found, fit_pixels(image, 32, 32, "squash"))
    assert size == (40, 48)


@pytest.mark.parametrize(
    ("mode", "ending"), [("P", "bmp"), ("1", "tiff"), ("RGBA", "webp"), ("CMYK", "tiff")]
)
def test_other_modes_become_rgb(mode, ending, tmp_path):
    white = Image.new("RGB", (9, 8), "white").convert(mode)
    white.save(tmp_path / f"x.{ending}")
    found, _ = read(str(tmp_path / f"x.{ending}"), (4, 4, 3), "squash")
    np.testing.assert_array_equal(found, 255)


def test_sixteen_bits_are_halved_and_floats_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 0xABCD, np.uint16)).save(tmp_path / "x.tiff")
    assert (read(str(tmp_path / "x.tiff"), (4, 4, 1), "squash")[0] == 0xAB).all()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "y.tiff")
    with pytest.raises(UnreadableError, match="mode F have no range"):
        read(str(tmp_path / "y.tiff"), (4, 4, 1), "squash")


def test_images_of_arrays_come_back_from_files_as_they_were(tmp_path):
    grey = noise(32, 32)[..., :1]
    Image.fromarray(grey[..., 0]).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read(str(tmp_path / "x.png"), (32, 32, 1), "squash")[0], grey)


def test_shapes_that_are_not_square(tmp_path):
    image = noise(40, 80)
    Image.fromarray(image).save(tmp_path / "x.png")
    found, _ = read(str(tmp_path / "x.png"), (20, 40, 3), "crop")
    # Halved: each pixel is the mean of four.
    wanted = image.reshape(20, 2, 40, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - wanted).max() <= 0.51


def test_grey_is_the_luma():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 7]], np.uint8)
    assert to_channels(colours, 1)[:, 0].tolist() == [76, 150, 29, 7]
    wanted = np.asarray(Image.fromarray(noise(9, 9)).convert("L"))
    np.testing.assert_array_equal(to_channels(noise(9, 9), 1)[..., 0], wanted)
    assert to_channels(np.array([[5]], np.uint8), 3).tolist() == [[5, 5, 5]]


def test_a_file_turned_by_its_exif_entry_stays_as_it_is_stored(tmp_path):
    image = Image.fromarray(noise(48, 40))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.webp", exif=exif, lossless=True)
    image.save(tmp_path / "plain.webp", lossless=True)
    turned, size = read(str(tmp_path / "turned.webp"), (8, 8, 3), "squash")
    assert size == (40, 48)
    np.testing.assert_array_equal(
        turned, read(str(tmp_path / "plain.webp"), (8, 8, 3), "squash")[0]
    )


def test_the_content_counts_and_not_the_ending(tmp_path):
    photographs.write(tmp_path / "x.png", 3)
    os.rename(tmp_path / "x.png", tmp_path / "x.jpg")
    found, _ = read(str(tmp_path / "x.jpg"), (4, 4, 3), "squash")
    np.testing.assert_array_equal(found[0, 0], photographs.colour(3))


def broken(folder, kind):
    """Make a file that gives no image; return its path."""
    path = folder / f"{kind}.jpg"
    Image.fromarray(noise(64, 64)).save(path)
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[:-300])
    elif kind == "headless":
        path.write_bytes(whole[:100])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no image at all")
    elif kind == "absent":
        path.unlink()
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif kind == "program":  # EPS: Pillow would call Ghostscript
        path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    elif kind == "torn tiff":
        Image.fromarray(noise(64, 64)).save(path, "TIFF")
        path.write_bytes(path.read_bytes()[:6000])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "cannot be decoded: "),
        ("headless", "it cannot be opened: |no image that Pillow knows"),
        ("empty", "it is empty"),
        ("text", "no image that Pillow knows"),
        ("absent", "there is no such file"),
        ("pipe", "no regular file"),
        ("program", "no image that Pillow knows"),
        ("torn tiff", "cannot be (decoded|opened): "),
    ],
)
def test_the_reason_is_said(kind, reason, tmp_path):
    with pytest.raises(UnreadableError, match=reason) as caught:
        read(broken(tmp_path, kind), (8, 8, 3), "squash")
    assert "\n" not in str(caught.value)
    assert "{{" not in str(caught.value)


@pytest.mark.parametrize("pixels", [150, 250])  # Pillow warns of the first, refuses the second
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_bombs_are_refused(pixels, action, tmp_path, monkeypatch):
    Image.new("L", (10, pixels // 10)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter(action, Image.DecompressionBombWarning)
        with pytest.raises(UnreadableError, match=r"too many pixels: .*limit of [12]00"):
            read(str(tmp_path / "x.png"), (8, 8, 3), "squash")


def test_endings_are_those_of_pictures():
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif"} <= image_files.endings()
    assert not {".eps", ".pdf", ".mpg", ".h5"} & image_files.endings()


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 32, 1), (24, 32, 3)])
def test_many_files_are_read_as_each_alone(shape, tmp_path):
    paths = []
    for row, ending in enumerate(("jpg", "png", "gif", "bmp", "webp", "jpg", "png")):
        paths.append(str(tmp_path / f"{row}.{ending}"))
        photographs.write(paths[-1], row)
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(pathlib.Path(paths[0]).read_bytes()[:300])
    (tmp_path / "text.png").write_text("no image")
    paths[2:2] = [str(torn), str(tmp_path / "text.png"), str(tmp_path / "absent.png")]
    found = image_files.read_all(paths, shape, "squash")
    for path, one in zip(paths, found, strict=True):
        if isinstance(one, UnreadableError):
            with pytest.raises(UnreadableError, match=f"^{re.escape(str(one))}$"):
                read(path, shape, "squash")
        else:
            image, size = read(path, shape, "squash")
            np.testing.assert_array_equal(one[0], image)
            assert one[1] == size
    assert [row for row, one in enumerate(found) if isinstance(one, UnreadableError)] == [2, 3, 4]


def test_none_of_many_files_may_be_an_image(tmp_path):
    torn = tmp_path / "torn.jpg"
    photographs.write(torn)
    torn.write_bytes(torn.read_bytes()[:300])
    found = image_files.read_all([str(torn)] * 3, (32, 32, 3), "squash")
    assert [str(one) for one in found] == [str(found[0])] * 3
    assert isinstance(found[0], UnreadableError)
    assert image_files.read_all([], (32, 32, 3), "squash") == []
