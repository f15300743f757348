"""Files are told by their content, and named by their endings where that is what is asked."""

import zlib

import numpy as np
import pytest
import zoo
from PIL import Image, PngImagePlugin

from dsh_jax.pictures import by_ending, endings, is_named_as_picture, kinds

# Files of the zoo that TensorFlow may decode.
PLAIN = (
    "jpeg-plain", "jpeg-profile", "jpeg-restarts", "jpeg-rgb", "jpeg-comment", "jpeg-no-exif",
    "jpeg-exif-not-exif", "jpeg-0-False", "jpeg-1-False", "jpeg-2-False", "JPEG-L", "JPEG-1",
    "JPEG-RGB", "JPEG-RGBX", "JPEG-YCbCr", "PNG-L", "PNG-RGB", "png-grey-8", "MPO-L", "MPO-RGB",
)  # fmt: skip


def test_endings_are_those_of_pictures():
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".mpo", ".avif"} <= endings()
    assert not {".eps", ".pdf", ".mpg", ".h5", ".txt", ""} & endings()
    assert is_named_as_picture("a/B.JPG")
    assert not is_named_as_picture("jpg")


def test_other_files_are_counted_by_ending():
    names = ["a.txt", "b.TXT", "c/d.psdx", "Makefile", ".hidden", "e.tar.gz"]
    said = "6 files are no images by their endings: 2 .txt, 2 without any, 1 .gz, 1 .psdx."
    assert by_ending(names) == said.replace("2 .txt, 2 without any", "2 without any, 2 .txt")
    assert by_ending([]) == ""
    many = [f"{i}.{i:02}x" for i in range(14)] * 100
    assert by_ending(many).startswith("1,400 files are no images by their endings: 100 .00x, ")
    assert by_ending(many).endswith(", 100 .09x, 400 others.")
    assert by_ending(["x.caf\udce9"]).encode()  # it can be printed


@pytest.fixture(scope="module")
def files():
    with pytest.MonkeyPatch.context() as context:
        context.setattr("warnings.warn", lambda *_, **__: None)
        return {name: data for name, data, _ in zoo.every()}


def test_nothing_is_plain_that_needs_pillow(files):
    found = {name for name, data in files.items() if kinds.plain(data)}
    upright = {name for name in files if name[:10] in ("jpeg-exif-", "jpeg-late-")}
    upright = {name for name in upright if name.split("-")[-1][0] == "1"}
    assert set(PLAIN) <= found
    assert upright <= found
    doubtful = found - set(PLAIN) - upright
    assert all(name.lower().startswith("mpo") or name == "two.mpo" for name in doubtful), doubtful


def test_shape_is_of_the_file(files):
    for name in PLAIN:
        found = kinds.plain(files[name])
        assert (found.height, found.width) == (zoo.HEIGHT, zoo.WIDTH)
        assert found.form == ("png" if name.lower().startswith("png") else "jpeg")


def text_png(**texts):
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    return zoo.saved(Image.fromarray(zoo.photo()), "PNG", pnginfo=info)


@pytest.mark.parametrize("key", ["transparency", "exif", "XML:com.adobe.xmp", "bbox", "interlace"])
def test_a_text_that_pillow_takes_for_more_is_not_plain(key):
    assert kinds.plain(text_png(Software="x", Comment="y"))
    assert not kinds.plain(text_png(**{key: "1"}))


def test_a_wrong_sum_is_not_plain():
    data = bytearray(zoo.saved(Image.fromarray(zoo.photo()), "PNG"))
    data[-13] ^= 1  # of the data's sum, which Pillow does not look at
    assert not kinds.plain(bytes(data))


@pytest.mark.parametrize("name", ["jpeg-plain", "PNG-RGB"])
def test_no_torn_file_is_plain_or_an_error(files, name):
    data = files[name]
    for length in range(0, len(data), 7):
        assert kinds.plain(data[:length]) is None
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(len(data))] = rng.integers(256)
        kinds.plain(bytes(changed))
    assert kinds.plain(zlib.compress(data)) is None


def test_too_many_pixels_are_not_plain(files, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", zoo.HEIGHT * zoo.WIDTH - 1)
    assert not any(kinds.plain(files[name]) for name in PLAIN)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert all(kinds.plain(files[name]) for name in PLAIN)
