"""Image preparation against cases worked by hand."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import augment

seeds = st.integers(0, 2**31 - 1)
every = functools.partial(
    augment.augment,
    shift_pixels=2,
    flips=True,
    cutout_size=3,
    affine_degrees=15.0,
    affine_scale=0.2,
    crop_area=0.3,
    colour_strength=0.4,
    colour_hue=0.1,
    strong_ops=2,
)
every_jitted = jax.jit(every)
SHAPE = (6, 5, 3)
# 30 × two images after shift, flip and cutout, by the code of the published runs.
PUBLISHED = [
    [
        [0, 15, 15, 9, 8],
        [0, 0, 15, 14, 13],
        [0, 0, 20, 19, 18],
        [0, 0, 25, 24, 23],
        [0, 0, 30, 29, 28],
        [0, 0, 0, 0, 0],
    ],
    [
        [1, 2, 3, 4, 5],
        [6, 15, 15, 9, 10],
        [11, 15, 15, 14, 15],
        [16, 17, 18, 19, 20],
        [21, 22, 23, 24, 25],
        [26, 27, 28, 29, 30],
    ],
]


def keys(seed, rows):
    return jax.random.split(jax.random.key(seed), rows)


def images(seed, rows):
    return jnp.array(np.random.default_rng(seed).random((rows, *SHAPE)), jnp.float32)


def counted(height, width):
    """An image whose pixels all differ, none of them 0."""
    return 1.0 + jnp.arange(height * width, dtype=jnp.float32).reshape(height, width, 1)


def drawn(function, image, draws=200):
    """The distinct results over many keys, each as the bytes of an array."""
    many = jax.jit(jax.vmap(lambda key: function(key, image)))(keys(0, draws))
    return np.unique(many, axis=0)


def test_to_unit_takes_bytes_to_the_unit_interval():
    unit = augment.to_unit(jnp.array([0, 51, 255], jnp.uint8))
    assert unit.dtype == jnp.float32
    np.testing.assert_allclose(unit, [0, 0.2, 1], rtol=1e-6)


# Padding.


def test_mnist_gets_two_black_pixels_on_each_side():
    padded = augment.pad_small(jnp.ones((2, 28, 28, 1)))
    chex.assert_shape(padded, (2, 32, 32, 1))
    np.testing.assert_array_equal(padded[:, 2:30, 2:30], 1)
    assert padded.sum() == 2 * 28 * 28  # and nothing else is lit


def test_an_odd_excess_goes_below_and_to_the_right():
    padded = augment.pad_small(counted(1, 2)[None], side=4)[0, :, :, 0]
    np.testing.assert_array_equal(padded, [[0] * 4, [0, 1, 2, 0], [0] * 4, [0] * 4])


def test_each_side_is_padded_by_itself():
    padded = augment.pad_small(jnp.ones((1, 30, 40, 3)))
    chex.assert_shape(padded, (1, 32, 40, 3))
    np.testing.assert_array_equal(padded[0, :, 0, 0], [0] + [1] * 30 + [0])


@pytest.mark.parametrize("shape", [(32, 32), (32, 64), (33, 40)])
def test_large_images_are_not_padded(shape):
    image = jnp.ones((1, *shape, 1))
    chex.assert_trees_all_equal(augment.pad_small(image), image)


# Each operation.


def test_shift_moves_by_every_offset_and_fills_with_black():
    found = drawn(lambda key, image: augment.shift(key, image, 1), counted(3, 3))
    padded = np.pad(counted(3, 3), ((1, 1), (1, 1), (0, 0)))
    wanted = [padded[i : i + 3, j : j + 3] for i in range(3) for j in range(3)]
    np.testing.assert_array_equal(found, np.unique(wanted, axis=0))


def test_flip_gives_the_image_or_its_mirror_left_to_right():
    image = counted(2, 3)
    wanted = [[[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [6, 5, 4]]]
    np.testing.assert_array_equal(drawn(augment.flip, image)[..., 0], wanted)


def test_flip_is_fair():
    image = jnp.array([[[0.0], [1.0]]])
    many = jax.jit(jax.vmap(lambda key: augment.flip(key, image)))(keys(0, 2000))
    assert many[:, 0, 0, 0].mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("size", [2, 3])
def test_cutout_greys_one_square_wherever_its_centre_lies(size):
    found = drawn(lambda key, image: augment.cutout(key, image, size), counted(3, 4))
    wanted = []
    for row in range(3):
        for column in range(4):
            cut = np.array(counted(3, 4))
            top, left = row - size // 2, column - size // 2
            cut[max(0, top) : top + size, max(0, left) : left + size] = 0.5
            wanted.append(cut)
    np.testing.assert_array_equal(found, np.unique(wanted, axis=0))


def test_cutout_greys_all_channels():
    cut = jax.jit(augment.cutout, static_argnums=2)(jax.random.key(0), jnp.ones((4, 4, 3)), 2)
    is_grey = np.asarray(cut == 0.5)
    assert is_grey.any()
    np.testing.assert_array_equal(is_grey.all(-1), is_grey.any(-1))


def slopes(degrees, scale, draws=200):
    """How fast a ramp rises down and to the right around the centre, after each of many draws.

    The ramp rises by 1 a row; linear interpolation keeps it a ramp, so that the slopes are the
    first row of the map from a new place to the old one.
    """
    ramp = jnp.broadcast_to(jnp.arange(9.0)[:, None, None], (9, 9, 1))
    moved = jax.jit(jax.vmap(lambda key: augment.affine(key, ramp, degrees, scale)))(keys(0, draws))
    np.testing.assert_allclose(moved[:, 4, 4, 0], 4, atol=1e-5)  # the centre stays
    return moved[:, 5, 4, 0] - moved[:, 4, 4, 0], moved[:, 4, 5, 0] - moved[:, 4, 4, 0]


def test_affine_without_angle_or_stretch_is_the_identity():
    image = images(0, 1)[0]
    np.testing.assert_allclose(augment.affine(keys(0, 1)[0], image, 0.0, 0.0), image, atol=1e-6)


def test_affine_stretches_by_up_to_its_scale():
    down, right = slopes(degrees=0.0, scale=0.3)
    np.testing.assert_allclose(right, 0, atol=1e-5)
    assert 0.7 <= down.min() < 0.75
    assert 1.25 < down.max() <= 1.3


def test_affine_turns_and_slants_by_up_to_its_degrees():
    down, right = slopes(degrees=20.0, scale=0.0)
    cosine, sine, tangent = (f(np.deg2rad(20)) for f in (np.cos, np.sin, np.tan))
    assert down.min() >= cosine - 1e-5
    assert down.max() <= 1 + 1e-5
    assert np.abs(right).max() <= sine + tangent + 1e-5  # both at once
    assert right.min() < -0.3 < 0.3 < right.max()


def test_affine_fills_the_outside_with_black():
    moved = drawn(lambda key, image: augment.affine(key, image, 0.0, 0.5), jnp.ones((9, 9, 1)))
    assert moved.max() <= 1 + 1e-6
    np.testing.assert_allclose(moved[:, 4, 4], 1, atol=1e-6)
    assert moved[:, 0, 4].min() == 0


def cropped(image, smallest, draws=400):
    return jax.jit(jax.vmap(lambda key: augment.random_crop(key, image, smallest)))(keys(0, draws))


def test_random_crop_of_a_plane_shows_which_part_it_is():
    # Rows and columns of the part, read off two ramps that interpolation keeps.
    side = 32
    ramp = jnp.arange(side, dtype=jnp.float32)
    image = jnp.stack(jnp.meshgrid(ramp, ramp, indexing="ij"), axis=2)
    inner = cropped(image, 0.25)[:, 8:-8, 8:-8]  # away from where the image ends
    high, wide = inner[:, 1, 0, 0] - inner[:, 0, 0, 0], inner[:, 0, 1, 1] - inner[:, 0, 0, 1]
    area, aspect = high * wide, wide / high
    np.testing.assert_allclose(inner[:, 5, 3, 0] - inner[:, 0, 0, 0], 5 * high, atol=1e-3)
    assert 0.25 - 1e-4 <= area.min() < 0.27
    assert 0.97 < area.max() <= 1 + 1e-4
    assert area.mean() == pytest.approx(0.625, abs=0.03)
    assert 0.75 - 1e-4 <= aspect.min() < 0.77
    assert 1.31 < aspect.max() <= 4 / 3 + 1e-4
    assert np.log(aspect).mean() == pytest.approx(0, abs=0.03)
    # The first row of the part, in pixels from the image's edge, and the room that it has.
    for step, axis in ((high, 0), (wide, 1)):
        first = inner[:, 0, 0, axis] - 8 * step + (1 - step) / 2
        room = side * (1 - step)
        share = (first / room)[room > 4]
        assert -0.01 <= share.min() < 0.03
        assert 0.97 < share.max() <= 1.01
        assert share.mean() == pytest.approx(0.5, abs=0.05)


def test_random_crop_of_everything_is_the_identity():
    image = images(0, 1)[0]
    np.testing.assert_allclose(cropped(image, 1.0, draws=1)[0], image, atol=1e-6)


# All together.


def test_new_draws_do_not_use_the_keys_of_the_old():
    key = jax.random.key(0)
    old = jax.random.key_data(jax.random.split(key, 4))
    new = jax.random.key_data(jnp.stack([jax.random.fold_in(key, n) for n in (4, 5, 6)]))
    assert len(np.unique(np.concatenate([old, new]), axis=0)) == 7


def test_draws_of_published_runs_stay_what_they_were():
    image = jnp.broadcast_to(counted(6, 5) / 30, (2, 6, 5, 1))
    moved = augment.augment(keys(0, 2), image, shift_pixels=2, flips=True, cutout_size=2)
    np.testing.assert_array_equal(jnp.rint(30 * moved[..., 0]), PUBLISHED)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("shift_pixels", -1, "at least 0 pixels"),
        ("cutout_size", -1, "at least 0 pixels"),
        ("affine_degrees", -1.0, "at least 0 degrees"),
        ("affine_scale", 1.0, r"in \[0, 1\)"),
        ("crop_area", 1.5, r"a share in \[0, 1\]"),
        ("crop_area", float("nan"), r"a share in \[0, 1\]"),
        ("colour_strength", 1.1, r"in \[0, 1\]"),
        ("colour_hue", 0.6, r"a share of a turn in \[0, 0.5\]"),
        ("strong_ops", 1.5, "a whole number"),
        ("strong_ops", -1, "a whole number"),
        ("strong_magnitude", 10, r"in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, words):
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be {words}"):
        augment.augment(keys(0, 1), images(0, 1), **{name: value})


@pytest.mark.parametrize(
    "option", [{"crop_area": 0.3}, {"colour_strength": 0.4}, {"colour_hue": 0.1}, {"strong_ops": 2}]
)
def test_each_new_setting_changes_images_by_itself(option):
    image = images(0, 8)
    moved = jax.jit(functools.partial(augment.augment, **option))(keys(0, 8), image)
    assert (np.abs(moved - image).max((1, 2, 3)) > 0.01).sum() >= 6


@pytest.mark.parametrize("option", [{"crop_area": 1.0}, {"strong_magnitude": 0.5}])
def test_settings_that_are_off_change_nothing(option):
    image = images(0, 4)
    chex.assert_trees_all_equal(augment.augment(keys(0, 4), image, **option), image)


def test_everything_off_is_the_identity():
    image = images(0, 4)
    same = augment.augment(keys(0, 4), image, shift_pixels=0, flips=False, cutout_size=0)
    chex.assert_trees_all_equal(same, image)
    chex.assert_trees_all_equal(augment.augment(keys(0, 4), image), image)


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_images_keep_their_shape_and_range(seed):
    image = images(seed, 8)
    moved = every_jitted(keys(seed, 8), image)
    chex.assert_equal_shape([moved, image])
    assert moved.dtype == image.dtype
    assert np.min(moved) >= 0
    assert np.max(moved) <= 1 + 1e-6


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_a_row_depends_on_its_own_key_and_image_alone(seed):
    key, image = keys(seed, 8), images(seed, 8)
    moved = every_jitted(key, image)
    order = np.random.default_rng(seed).permutation(8)
    chex.assert_trees_all_equal(every_jitted(key[order], image[order]), moved[order])
    other = every_jitted(keys(seed + 1, 8).at[0].set(key[0]), image.at[1:].set(0))
    chex.assert_trees_all_equal(other[0], moved[0])


def test_rows_draw_apart():
    image = jnp.broadcast_to(images(0, 1), (32, *SHAPE))
    moved = every_jitted(keys(0, 32), image)
    assert len(np.unique(moved, axis=0)) > 16


def test_switching_one_operation_off_leaves_the_others_draws_alone():
    image = images(0, 8)
    with_cutout = every_jitted(keys(0, 8), image)
    without = jax.jit(functools.partial(every, cutout_size=0))(keys(0, 8), image)
    uncut = with_cutout != 0.5
    np.testing.assert_array_equal(with_cutout[uncut], without[uncut])
