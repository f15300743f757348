"""What is trained, searched and drawn is the same picture, of every kind of file."""

import base64
import io
import re

import numpy as np
import pytest
import zoo
from encoders import encoder
from PIL import Image

from dsh_jax.data.files import decode_all
from dsh_jax.data.images import FileImages
from dsh_jax.page import thumbnail

SIDE = 24
# Pillow warns of torn metadata and of formats that it will drop; that is no matter here.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


class Read:
    """Files of the zoo, and what each reader makes of them: pixels, or None."""

    def __init__(self, folder, files):
        self.wanted = {}
        for name, data, wanted in files:
            name = re.sub(r"\W", "_", name)
            assert name not in self.wanted
            (folder / name).write_bytes(data)
            self.wanted[name] = wanted
        self.names = list(self.wanted)
        paths = [str(folder / name) for name in self.names]
        searching = encoder(shape=(SIDE, SIDE, 3))
        self.one = [single(searching, path) for path in paths]
        self.found = searching.read_all(paths)
        self.many = [None if isinstance(one, Exception) else one[0] for one in self.found]
        array = np.zeros((len(paths), SIDE, SIDE, 3), np.uint8)
        bad = decode_all(FileImages(str(folder), np.array(self.names), SIDE), array)
        self.trained = [None if row in bad else image for row, image in enumerate(array)]
        self.drawn = [drawn(path) for path in paths]


def single(searching, path):
    try:
        return searching.read(path)[0]
    except ValueError:
        return None


def drawn(path):
    """Return the picture of a page, as a browser shows it."""
    found = re.search(r"base64,([^\"]+)", thumbnail.of_file(path, "x"))
    return found and np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB"))


def area_weights(old, new):
    edge, pixel = np.arange(new + 1) * old / new, np.arange(old)
    inside = np.minimum(edge[1:, None], pixel + 1) - np.maximum(edge[:-1, None], pixel)
    return inside.clip(0) * new / old


def averaged(image):
    """The mean of the area of each pixel of a smaller picture, float."""
    rows, columns = (area_weights(size, SIDE) for size in image.shape[:2])
    return columns @ np.tensordot(rows, image, axes=1)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    with pytest.MonkeyPatch.context() as context:
        context.setattr("warnings.warn", lambda *_, **__: None)  # fixtures know no filters
        return Read(tmp_path_factory.mktemp("zoo"), zoo.every())


def test_there_are_enough(read):
    assert len(read.names) > 500
    assert sum(wanted is None for wanted in read.wanted.values()) < 30


@pytest.mark.parametrize("reader", ["one", "many", "trained"])
def test_every_file_gives_its_picture_or_is_refused(read, reader):
    wrong = {}
    for name, found in zip(read.names, getattr(read, reader), strict=True):
        wanted = read.wanted[name]
        if (wanted is None) != (found is None):
            wrong[name] = "refused" if found is None else "not refused"
        elif wanted is not None:
            off = np.abs(found - averaged(wanted)).max()
            if off > 1.01:  # of rounding twice
                wrong[name] = off
    assert wrong == {}


def test_training_and_encoding_agree_bit_for_bit(read):
    for one, many, trained in zip(read.one, read.many, read.trained, strict=True):
        if one is not None:
            np.testing.assert_array_equal(one, many)
            np.testing.assert_array_equal(one, trained)


def test_what_is_drawn_is_what_is_read(read):
    wrong = {}
    for name, found in zip(read.names, read.drawn, strict=True):
        wanted = read.wanted[name]
        if (wanted is None) != (found is None):
            wrong[name] = "no picture" if found is None else "a picture"
        elif wanted is not None and found.shape == wanted.shape:  # larger ones are drawn smaller
            off = np.abs(found - wanted).mean()
            if off > 4:  # of JPEG
                wrong[name] = off
    assert wrong == {}


def test_sizes_are_of_the_upright_picture(read):
    for name, found in zip(read.names, read.found, strict=True):
        if read.wanted[name] is not None:
            assert found[1] == read.wanted[name].shape[1::-1], name


def test_reasons_are_true_and_short(read):
    for name, found in zip(read.names, map(str, read.found), strict=True):
        if read.wanted[name] is None:
            assert re.search(r"floats|32-bit whole numbers|, with a sign", found), name
            assert "save it as 8 or 16 bits without a sign" in found
            assert "\n" not in found


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.98])
def test_cut_files_are_named_by_all_or_read_alike(tmp_path, share, monkeypatch):
    monkeypatch.setattr("warnings.warn", lambda *_, **__: None)
    files = [(name, data[: int(len(data) * share)], wanted) for name, data, wanted in zoo.every()]
    read = Read(tmp_path, files)
    grey = []
    for name, one, many, trained in zip(read.names, read.one, read.many, read.trained, strict=True):
        assert (one is None) == (many is None) == (trained is None), name
        if one is not None:
            np.testing.assert_array_equal(one, many)
            np.testing.assert_array_equal(one, trained)
            wanted = read.wanted[name]
            if wanted is not None and np.abs(one - averaged(wanted)).mean() > 2:
                grey.append(name)
    # The palette of a PCX is its end: without it, it is another picture, and a whole one.
    assert set(grey) <= {"PCX_P"}
    assert sum(one is None for one in read.one) > 0.4 * len(files)
