"""Small pictures within a page."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from dsh_jax.page import thumbnail


def decoded(element):
    """Return the picture of an element, as a browser would."""
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", element)[1])))


def test_a_file_becomes_small_and_keeps_its_proportions(tmp_path):
    Image.new("RGBA", (600, 300), "red").save(tmp_path / "a.png")
    element = thumbnail.of_file(str(tmp_path / "a.png"), 'a "<b>"')
    assert decoded(element).size == (120, 60)
    assert 'alt="a &quot;&lt;b&gt;&quot;"' in element


def test_a_file_without_a_picture_says_why(tmp_path):
    (tmp_path / "a.png").write_text("text")
    element = thumbnail.of_file(str(tmp_path / "a.png"), "a")
    assert element == '<div class="absent">no picture: it is no image that Pillow knows</div>'


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_exact(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    shown = np.asarray(decoded(thumbnail.of_pixels(image, "a"))).reshape(image.shape)
    np.testing.assert_array_equal(shown, image)
