"""Files become the pixels that training would see, or the reason why not."""

import itertools
import os
import pathlib
import re
import subprocess
import sys
import warnings

import numpy as np
import photographs
import pytest
from PIL import Image

from dsh_jax.data.images import FileImages
from dsh_jax.pictures import UnreadableError, fitted, open_picture, read, read_all


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
    np.testing.assert_array_equal(fitted(image, 32, 32, fit), wanted)


@pytest.mark.parametrize("ending", ["bmp", "tiff", "webp", "ppm", "tga"])
def test_formats_that_training_lacks_are_read_too(ending, tmp_path):
    image = noise(48, 40)
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(image).save(tmp_path / f"x.{ending}", **options)
    found, size = read(str(tmp_path / f"x.{ending}"), (32, 32, 3), "squash")
    np.testing.assert_array_equal(found, fitted(image, 32, 32, "squash"))
    assert size == (40, 48)


@pytest.mark.parametrize(
    ("mode", "ending"), [("P", "bmp"), ("1", "tiff"), ("RGBA", "webp"), ("CMYK", "tiff")]
)
def test_other_modes_become_rgb(mode, ending, tmp_path):
    white = Image.new("RGB", (9, 8), "white").convert(mode)
    white.save(tmp_path / f"x.{ending}")
    found, _ = read(str(tmp_path / f"x.{ending}"), (4, 4, 3), "squash")
    np.testing.assert_array_equal(found, 255)


def test_sixteen_bits_are_rounded_and_floats_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 0xABCD, np.uint16)).save(tmp_path / "x.tiff")
    assert (read(str(tmp_path / "x.tiff"), (4, 4, 1), "squash")[0] == 0xAB).all()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "y.tiff")
    with pytest.raises(
        UnreadableError,
        match=r"are floats, and nothing .* save it as 8 or 16 bits",
    ):
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


@pytest.mark.parametrize("ending", ["webp", "png", "jpg", "tiff"])
def test_a_file_turned_by_its_exif_entry_is_turned(ending, tmp_path):
    image = Image.fromarray(noise(48, 40)).resize((400, 480), Image.Resampling.NEAREST)
    exif = image.getexif()
    exif[0x0112] = 6
    options = {"lossless": True} if ending == "webp" else {}
    image.save(tmp_path / f"turned.{ending}", exif=exif, **options)
    image.save(tmp_path / f"plain.{ending}", **options)
    turned, size = read(str(tmp_path / f"turned.{ending}"), (48, 48, 3), "squash")
    assert size == (480, 400)
    plain, _ = read(str(tmp_path / f"plain.{ending}"), (48, 48, 3), "squash")
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))  # a quarter turn clockwise


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
    found = read_all(paths, shape, "squash")
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
    found = read_all([str(torn)] * 3, (32, 32, 3), "squash")
    assert [str(one) for one in found] == [str(found[0])] * 3
    assert isinstance(found[0], UnreadableError)
    assert read_all([], (32, 32, 3), "squash") == []


WITHOUT = """
import sys
sys.modules["tensorflow"] = None  # as where it is not installed
import importlib, pkgutil, numpy as np
from dsh_jax import pictures
for module in pkgutil.iter_modules(pictures.__path__):
    importlib.import_module(f"dsh_jax.pictures.{module.name}")
paths, wanted = sys.argv[2:], np.load(sys.argv[1])
found = pictures.read_all(paths, (24, 24, 3), "crop")
assert [pictures.read(path, (24, 24, 3), "crop")[1] for path in paths] == [one[1] for one in found]
np.testing.assert_array_equal(np.stack([one[0] for one in found]), wanted)
"""


def test_the_room_reads_the_same_without_tensorflow(tmp_path):
    paths = []
    for row, (ending, size) in enumerate(
        itertools.product(("jpg", "png", "gif", "bmp", "webp", "tiff"), ((300, 211), (17, 40)))
    ):
        paths.append(str(tmp_path / f"{row}.{ending}"))
        Image.fromarray(noise(*size, seed=row)).save(paths[-1])
    np.save(tmp_path / "wanted.npy", [one[0] for one in read_all(paths, (24, 24, 3), "crop")])
    command = [sys.executable, "-c", WITHOUT, tmp_path / "wanted.npy", *paths]
    subprocess.run(command, check=True)


def test_nothing_is_imported_that_is_not_needed():
    program = "from dsh_jax import pictures; import sys; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert found.stdout == b"False\n"


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("size", [(300, 211), (640, 512), (511, 640), (2049, 1025)])
def test_large_jpegs_are_decoded_at_the_same_part_by_all(size, fit, tmp_path):
    paths = [str(tmp_path / "plain.jpg"), str(tmp_path / "turned.jpg")]
    image = Image.fromarray(noise(*size))
    exif = image.getexif()
    exif[0x0112] = 8  # read by Pillow
    image.save(paths[0])
    image.save(paths[1], exif=exif)
    for shape in ((32, 32, 3), (64, 64, 3), (32, 64, 3)):
        found = read_all(paths, shape, fit)
        for path, (image, size_read) in zip(paths, found, strict=True):
            one, one_size = read(path, shape, fit)
            np.testing.assert_array_equal(one, image)
            assert one_size == size_read
        if shape[0] == shape[1]:
            off = np.abs(np.rot90(found[0][0]).astype(int) - found[1][0])
            assert off.mean() < 1  # both at a part: rows and columns are rounded apart
    with open_picture(paths[1]) as picture:
        assert picture.size == size[::-1]
