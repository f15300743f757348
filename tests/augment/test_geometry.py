"""Warped images against turns and moves of their pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax.augment.geometry import rotation, shift, warp

IMAGE = jnp.arange(1.0, 10.0).reshape(3, 3, 1)


def test_a_quarter_turn_moves_the_pixels():
    turned = warp(IMAGE, rotation(jnp.pi / 2))[..., 0]
    # The pixel right of the centre takes the value of that above it, and so on round.
    np.testing.assert_allclose(turned, [[7, 4, 1], [8, 5, 2], [9, 6, 3]], rtol=1e-5)
    np.testing.assert_allclose(turned, np.rot90(IMAGE[..., 0], -1), rtol=1e-5)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, 1), (-1, 2)])
def test_a_move_takes_values_from_whole_pixels_away(down, right):
    moved = warp(IMAGE, jnp.eye(2), jnp.array([down, right]))
    wanted = np.pad(IMAGE, ((3, 3), (3, 3), (0, 0)))
    wanted = wanted[3 + down : 6 + down, 3 + right : 6 + right]
    np.testing.assert_array_equal(moved, wanted)


def test_half_a_pixel_is_interpolated():
    moved = warp(IMAGE, jnp.eye(2), jnp.array([0.0, 0.5]))[..., 0]
    np.testing.assert_allclose(moved[:, :2], [[1.5, 2.5], [4.5, 5.5], [7.5, 8.5]])


def test_channels_move_together_and_sides_may_differ():
    image = jnp.arange(2 * 3 * 2.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(warp(image, -jnp.eye(2)), image[::-1, ::-1])


def test_a_reflected_border_shows_the_image_again_and_zeros_do_not():
    image = np.arange(1.0, 26.0, dtype=np.float32).reshape(5, 5, 1)
    seen = set()
    for seed in range(60):
        found = np.asarray(shift(jax.random.key(seed), jnp.array(image), 1, "reflect"))
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        places = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if np.array_equal(padded[i : i + 5, j : j + 5], found)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9
    zeros = [np.asarray(shift(jax.random.key(seed), jnp.array(image), 1)) for seed in range(20)]
    assert any((found == 0).any() for found in zeros)
