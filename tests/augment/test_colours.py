"""Changes of colour against Pillow's and against values worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from dsh_jax.augment import colours

LEVEL = 1.001 / 255  # Pillow cuts to whole levels
PILLOW = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
    "sharpness": ImageEnhance.Sharpness,
}


def photograph(seed=0, low=30, high=220):
    """Return smooth uint8 noise, its three channels alike but not equal."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(low, high, (6, 5, 3), np.uint8))
    return np.array(small.resize((20, 24), Image.Resampling.BICUBIC))


def unit(image):
    return jnp.asarray(image, jnp.float32) / 255


def pixel(*channels):
    """Return an image of one pixel."""
    return jnp.array(channels, jnp.float32)[None, None]


# The enhancements.


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.8])
@pytest.mark.parametrize("name", PILLOW)
def test_enhancements_are_pillows(name, factor):
    image = photograph()
    wanted = PILLOW[name](Image.fromarray(image)).enhance(factor)
    found = jax.jit(getattr(colours, name))(unit(image), factor)
    # Pillow rounds the plain image too, which a factor may double.
    np.testing.assert_allclose(found, unit(wanted), atol=2 * LEVEL)


def test_enhancements_by_hand():
    image = pixel(0.2, 0.4, 0.6)
    luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    np.testing.assert_allclose(colours.brightness(image, 0.5)[0, 0], [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(colours.brightness(image, 2.0)[0, 0], [0.4, 0.8, 1], rtol=1e-6)
    np.testing.assert_allclose(colours.grey(image)[0, 0], [luma], rtol=1e-6)
    wanted = luma + 0.5 * (np.array([0.2, 0.4, 0.6]) - luma)
    np.testing.assert_allclose(colours.saturation(image, 0.5)[0, 0], wanted, rtol=1e-6)
    two = jnp.array([[[0.2], [0.6]]])
    np.testing.assert_allclose(colours.contrast(two, 0.5)[0, :, 0], [0.3, 0.5], rtol=1e-6)


def test_sharpness_smooths_a_dot():
    dot = jnp.zeros((5, 5, 1)).at[2, 2].set(1.0)
    smooth = np.pad(np.ones((3, 3)), 1)
    smooth[2, 2] = 5
    np.testing.assert_allclose(colours.sharpness(dot, 0.0)[..., 0], smooth / 13, rtol=1e-6)


# Hue.


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31 - 1), turn=st.floats(-0.5, 0.5))
def test_hue_keeps_luma_and_the_distance_from_grey(seed, turn):
    # Near grey, where nothing is cut.
    image = jnp.array(np.random.default_rng(seed).uniform(0.45, 0.55, (4, 3, 3)), jnp.float32)
    turned = colours.turn_hue(image, turn)
    np.testing.assert_allclose(colours.grey(turned), colours.grey(image), atol=1e-5)
    before, after = (np.asarray(x) @ colours.YIQ_3x3[1:].T for x in (image, turned))
    np.testing.assert_allclose((after**2).sum(-1), (before**2).sum(-1), atol=1e-5)
    np.testing.assert_allclose(colours.turn_hue(turned, -turn), image, atol=1e-5)


def test_half_a_turn_gives_the_complement():
    image = pixel(0.6, 0.5, 0.45)
    np.testing.assert_allclose(
        colours.turn_hue(image, 0.5), 2 * colours.grey(image) - image, atol=1e-4
    )


def test_a_small_turn_moves_blue_towards_cyan_or_violet():
    red, green, _ = colours.turn_hue(pixel(0.2, 0.2, 0.7), 1 / 12)[0, 0]
    assert red < 0.15 < 0.25 < green
    red, green, _ = colours.turn_hue(pixel(0.2, 0.2, 0.7), -1 / 12)[0, 0]
    assert green < 0.15 < 0.25 < red


# Levels.


@pytest.mark.parametrize(("bits", "wanted"), [(1, [0, 0, 128, 128]), (2, [0, 64, 128, 192])])
def test_posterize_keeps_the_highest_bits(bits, wanted):
    image = unit(np.array([63, 64, 191, 255])[None, :, None])
    np.testing.assert_allclose(colours.posterize(image, bits)[0, :, 0] * 255, wanted, rtol=1e-6)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_posterize_is_pillows(bits):
    image = photograph()
    wanted = np.array(ImageOps.posterize(Image.fromarray(image), bits))
    np.testing.assert_array_equal(colours.levels(colours.posterize(unit(image), bits)), wanted)


def test_solarize_inverts_what_is_above():
    image = jnp.array([[[0.0], [0.5], [0.625], [1.0]]])
    np.testing.assert_array_equal(colours.solarize(image, 0.5)[0, :, 0], [0, 0.5, 0.375, 0])
    np.testing.assert_array_equal(colours.solarize(image, 1.0), image)
    wanted = ImageOps.solarize(Image.fromarray(photograph()), 128)
    found = colours.solarize(unit(photograph()), 127.5 / 255)
    np.testing.assert_array_equal(colours.levels(found), np.array(wanted))


def test_autocontrast_of_a_ramp_reaches_from_0_to_1():
    ramp = jnp.array([[[0.2, 0.5], [0.4, 0.5], [0.6, 0.5]]])
    found = colours.autocontrast(ramp)[0]
    np.testing.assert_allclose(found[:, 0], [0, 0.5, 1], atol=1e-6)
    np.testing.assert_array_equal(found[:, 1], 0.5)  # one value stays


def test_autocontrast_is_pillows():
    image = photograph(low=90, high=140)
    wanted = ImageOps.autocontrast(Image.fromarray(image))
    np.testing.assert_allclose(colours.autocontrast(unit(image)), unit(wanted), atol=LEVEL)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31 - 1),
    side=st.sampled_from([3, 16, 24]),
    width=st.sampled_from([1, 2, 40, 256]),
    low=st.integers(0, 255),
)
def test_equalize_is_pillows(seed, side, width, low):
    noise = np.random.default_rng(seed).integers(0, width, (side, side, 3))
    image = np.minimum(low + noise, 255).astype(np.uint8)
    wanted = np.array(ImageOps.equalize(Image.fromarray(image)))
    np.testing.assert_array_equal(colours.levels(colours.equalize(unit(image))), wanted)


# At random.


def drawn(image, strength, hue=0.0, draws=500):
    keys = jax.random.split(jax.random.key(0), draws)
    return jax.jit(jax.vmap(lambda key: colours.colour(key, image, strength, hue)))(keys)


def test_colour_of_a_pixel_that_is_grey_is_its_brightness():
    value = drawn(jnp.full((1, 1, 3), 0.5), strength=0.4)[:, 0, 0]
    np.testing.assert_allclose(value[:, 1:], np.repeat(value[:, :1], 2, axis=1), atol=1e-6)
    assert 0.3 - 1e-6 <= value.min() < 0.31
    assert 0.69 < value.max() <= 0.7 + 1e-6
    assert value.mean() == pytest.approx(0.5, abs=0.02)


def test_colour_draws_each_of_its_factors():
    # Black, white and red: what is left of black and white tells brightness and contrast.
    image = jnp.array([[[0.4, 0.4, 0.4], [0.6, 0.6, 0.6], [0.6, 0.4, 0.4]]])
    value = drawn(image, strength=0.2)
    middle = (value[:, 0, 0, 0] + value[:, 0, 1, 0]) / 2
    spread = (value[:, 0, 1, 0] - value[:, 0, 0, 0]) / middle
    depth = (value[:, 0, 2, 0] - value[:, 0, 2, 1]) / (value[:, 0, 1, 0] - value[:, 0, 0, 0])
    for ratio in (spread / spread.mean(), depth):
        assert 0.75 < ratio.min() < 0.85
        assert 1.15 < ratio.max() < 1.25
    assert abs(np.corrcoef([middle, spread, depth])[np.triu_indices(3, 1)]).max() < 0.2


def test_colour_without_strength_turns_the_hue_alone():
    image = unit(photograph(low=120, high=136))
    value = drawn(image, strength=0.0, hue=0.1, draws=8)
    grey = jax.vmap(colours.grey)(value)
    np.testing.assert_allclose(grey, np.repeat(colours.grey(image)[None], 8, axis=0), atol=1e-5)
    assert len(np.unique(value[:, 0, 0, 0])) == 8


def test_colour_changes_brightness_and_contrast_of_grey_images():
    grey = colours.grey(unit(photograph()))
    found = drawn(grey, strength=0.4, hue=0.1, draws=4)
    of_three = drawn(jnp.repeat(grey, 3, axis=2), strength=0.4, hue=0.1, draws=4)
    assert found.shape == (4, 24, 20, 1)
    np.testing.assert_allclose(np.repeat(found, 3, axis=3), of_three, atol=1e-5)
    assert np.abs(found - grey[None]).max() > 0.05
