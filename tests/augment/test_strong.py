"""The strong operations one by one, and their draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax.augment import colours
from dsh_jax.augment.geometry import rotation, warp
from dsh_jax.augment.strong import STRONG_OPS, strong, strong_op

apply = jax.jit(strong_op)
WITHOUT_SIZE = ("autocontrast", "equalize")


def image(channels=3):
    """Return a picture of whole levels away from 0 and 1, large enough to be equalized."""
    level = np.random.default_rng(0).integers(40, 200, (40, 20, channels))
    return jnp.asarray(level, jnp.float32) / 255


def applied(name, size):
    return apply(image(), STRONG_OPS.index(name), jnp.float32(size))


def test_there_are_the_fourteen_of_fixmatch():
    assert len(STRONG_OPS) == len(set(STRONG_OPS)) == 14


@pytest.mark.parametrize("name", [name for name in STRONG_OPS if name not in WITHOUT_SIZE])
def test_size_0_changes_nothing(name):
    np.testing.assert_allclose(applied(name, 0.0), image(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("identity", 1.0, lambda x: x),
        ("autocontrast", 0.3, colours.autocontrast),
        ("equalize", 0.3, colours.equalize),
        ("posterize", 1.0, lambda x: colours.posterize(x, 4)),
        ("posterize", -0.5, lambda x: colours.posterize(x, 6)),
        ("solarize", 0.75, lambda x: jnp.where(x > 0.25, 1 - x, x)),
        ("brightness", 1.0, lambda x: 0.05 * x),
        ("brightness", -1.0, lambda x: 0.05 * x),
        ("contrast", 0.5, lambda x: colours.contrast(x, 0.525)),
        ("saturation", 1.0, lambda x: colours.saturation(x, 0.05)),
        ("sharpness", 1.0, lambda x: colours.sharpness(x, 0.05)),
        ("rotate", -1.0, lambda x: warp(x, rotation(-jnp.pi / 6))),
        ("shear_x", 1.0, lambda x: warp(x, jnp.array([[1, 0], [0.3, 1]]))),
        ("shear_y", -1.0, lambda x: warp(x, jnp.array([[1, -0.3], [0, 1]]))),
        # 0.3 of 20 pixels across and of 40 pixels down.
        ("translate_x", 1.0, lambda x: jnp.zeros_like(x).at[:, :14].set(x[:, 6:])),
        ("translate_y", -1.0, lambda x: jnp.zeros_like(x).at[12:].set(x[:28])),
    ],
)
def test_operations_have_the_ranges_of_fixmatch(name, size, wanted):
    np.testing.assert_allclose(applied(name, size), wanted(image()), atol=1e-5)


def test_shear_x_slides_rows_sideways():
    line = jnp.zeros((9, 9, 1)).at[:, 4].set(1.0)
    slanted = apply(line, STRONG_OPS.index("shear_x"), jnp.float32(1.0))[..., 0]
    centre_9 = (slanted * jnp.arange(9.0)[None]).sum(1)
    np.testing.assert_allclose(centre_9, 4 - 0.3 * (np.arange(9) - 4), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ops", [1, 3])
def test_results_are_images(ops, channels):
    keys = jax.random.split(jax.random.key(0), 64)
    function = jax.jit(jax.vmap(lambda key: strong(key, image(channels), ops)))
    found = function(keys)
    assert found.shape == (64, 40, 20, channels)
    assert found.dtype == jnp.float32
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6


def test_operations_are_drawn_as_often_as_each_other():
    keys = jax.random.split(jax.random.key(0), 700)
    found = np.asarray(jax.jit(jax.vmap(lambda key: strong(key, image(), 1)))(keys))
    # The three that give one result each, whatever the size.
    same = {
        name: (np.abs(found - np.asarray(applied(name, 0.5))).max((1, 2, 3)) < 1e-6).mean()
        for name in (*WITHOUT_SIZE, "identity")
    }
    for name, share in same.items():
        # Posterize changes nothing below a size of 1/8, solarize below 1 − 199/255.
        times = 1 + 1 / 8 + 56 / 255 if name == "identity" else 1
        wanted = times / len(STRONG_OPS)
        assert share == pytest.approx(wanted, abs=0.025), name


def test_magnitude_limits_the_change():
    keys = jax.random.split(jax.random.key(0), 300)
    noise = jax.jit(jax.vmap(lambda key: strong(key, image(), 1, 0.0)))(keys)
    changed = np.abs(noise - image()[None]).max((1, 2, 3)) > 1e-6
    assert changed.mean() == pytest.approx(2 / 14, abs=0.05)  # those without a size
    # At 0.1 the darkest that brightness makes of white is 0.905, and nothing else darkens it much.
    white = jnp.ones((9, 9, 1))
    weak = jax.jit(jax.vmap(lambda key: strong(key, white, 1, 0.1)[4, 4, 0]))(keys)
    darkened = weak[(weak < 0.9999) & (weak > 0)]  # solarized white is black
    assert 0.905 - 1e-5 <= darkened.min() < 0.92
    assert 0 < (weak == 0).mean() < 0.15
