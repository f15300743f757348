"""Contact sheets hold the images where they belong, and captions that fit."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsh_jax.report import contact_sheet as sheets

GAP = sheets.GAP


def images(count, height=48, width=32, channels=3):
    shape = count, height, width, channels
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_lie_row_by_row_each_pixel_enlarged(channels):
    image = images(5, channels=channels)  # 48 × 32, enlarged twice to 96 × 64
    sheet = np.array(sheets.contact_sheet(image, columns=3))
    assert sheet.shape == (GAP + 2 * (96 + GAP), GAP + 3 * (64 + GAP), 3)
    rgb = np.broadcast_to(image, (5, 48, 32, 3))
    for i in range(5):
        top, left = GAP + i // 3 * (96 + GAP), GAP + i % 3 * (64 + GAP)
        tile = sheet[top : top + 96, left : left + 64]
        for offset in np.ndindex(2, 2):
            np.testing.assert_array_equal(tile[offset[0] :: 2, offset[1] :: 2], rgb[i])
        sheet[top : top + 96, left : left + 64] = 255
    assert (sheet == 255).all()  # nothing else is on it


@pytest.mark.parametrize(("side", "shown"), [(8, 96), (28, 84), (32, 96), (64, 128), (224, 224)])
def test_small_images_are_enlarged_to_about_96_pixels(side, shown):
    assert sheets.contact_sheet(images(1, side, side)).size == (shown + 2 * GAP,) * 2


def test_captions_stand_below_their_images_within_their_width():
    image = np.full((4, 32, 32, 1), 255, np.uint8)
    captions = ["", "sky", "W" * 40, ""]
    sheet = sheets.contact_sheet(image, captions, columns=2)
    is_ink = np.array(sheet)[..., 0] < 128
    row = (sheet.height - GAP) // 2  # of images with captions
    # First and last are empty; the ink stands in the captions of the others.
    assert is_ink[GAP + 96 : GAP + row, GAP + 96 + GAP :].any()
    assert is_ink[GAP + row + 96 :, GAP : GAP + 96].any()
    assert is_ink[GAP + row + 96 :, GAP + 48 : GAP + 96].any()  # the long one fills its width
    assert not is_ink[: GAP + row, : GAP + 96 + GAP].any()
    assert not is_ink[GAP + row :, GAP + 96 + GAP :].any()
    assert not is_ink[:, :GAP].any()
    plain = sheets.contact_sheet(image, columns=2)
    assert plain.height < sheet.height


def test_letters_beyond_english_are_drawn():
    image = np.full((3, 32, 32, 1), 255, np.uint8)
    sheet = np.array(sheets.contact_sheet(image, ["é", "Ω", "ж"]))
    tiles = [sheet[GAP + 96 :, GAP + i * 104 : GAP + i * 104 + 96] for i in range(3)]
    for first, second in ((0, 1), (0, 2), (1, 2)):  # a missing letter is always the same box
        assert (tiles[first] != tiles[second]).any()


def test_shorten_keeps_what_fits():
    def fits(text):
        return len(text) <= 9

    assert sheets.shorten("nine char", fits) == "nine char"
    assert sheets.shorten("sky, sea, lake", fits) == "sky, sea…"
    assert sheets.shorten("sky, sea, lake", lambda text: len(text) <= 6) == "sky…"
    assert sheets.shorten("sky", lambda text: len(text) <= 1) == "…"


@given(text=st.text(alphabet="ab, ", max_size=20), width=st.integers(1, 20))
def test_shorten_gives_the_longest_beginning(text, width):
    short = sheets.shorten(text, lambda text: len(text) <= width)
    assert len(short) <= width
    if len(text) > width:
        assert short.endswith("…")
        assert text.startswith(short[:-1])
        assert not text[len(short) - 1 : width - 1].strip(" ,")  # only blanks were lost
    else:
        assert short == text


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (images(2).astype(float), {}, "images are float64"),
        (images(2)[0], {}, r"of shape \(48, 32, 3\)"),
        (images(0), {}, "N at least 1"),
        (images(2, channels=2), {}, "1 or 3"),
        (images(2), {"captions": ["one"]}, "2 images have 1 captions"),
        (images(2), {"columns": 0}, "columns is 0"),
    ],
)
def test_what_is_no_sheet_is_refused(image, options, words):
    with pytest.raises(ValueError, match=words):
        sheets.contact_sheet(image, **options)


# Augmentations.


def noisy(key_B, image_BxHxWxC):
    """Add noise, another for each key; some of it leaves [0, 1]."""
    noise = jax.vmap(lambda key: jax.random.uniform(key, image_BxHxWxC.shape[1:]))(key_B)
    return image_BxHxWxC + noise


def test_draws_are_the_originals_and_then_changes_of_them():
    image = images(3, 28, 28, 1)
    drawn = sheets.draws(noisy, jax.random.key(0), image, 4)
    chex.assert_shape(drawn, (3, 5, 32, 32, 1))
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[:, 0, 2:30, 2:30], image)  # padded as in training
    assert (drawn[:, 1:] >= drawn[:, :1]).all()  # and none went round past 255
    flat = drawn[:, 1:, 0, :2].reshape(12, -1)
    assert len(np.unique(flat, axis=0)) == 12


def test_draws_follow_from_the_key():
    image = images(1, 32, 32)
    one, same, other = (sheets.draws(noisy, jax.random.key(i), image, 2) for i in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_augmentation_sheet_has_the_original_first():
    image = images(2, 32, 32)
    sheet = np.array(
        sheets.augmentation_sheet(lambda _, x: jnp.zeros_like(x), jax.random.key(0), image, count=3)
    )
    row = (sheet.shape[0] - GAP) // 2
    assert sheet.shape[1] == GAP + 4 * (96 + GAP)
    for i in range(2):
        tiles = sheet[GAP + i * row : GAP + i * row + 96, GAP:]
        np.testing.assert_array_equal(tiles[::3, :96:3], image[i])
        for j in (1, 2, 3):
            assert (tiles[:, j * 104 : j * 104 + 96] == 0).all()
