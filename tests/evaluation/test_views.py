"""Views: what they show, and that their mean is what a code is read from."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax.evaluation.views import outputs_of_views, views_of
from dsh_jax.network import DSH

IMAGE = jnp.arange(2 * 4 * 4 * 1, dtype=jnp.float32).reshape(2, 4, 4, 1)


def test_one_view_is_the_image():
    np.testing.assert_array_equal(views_of(IMAGE, 1), IMAGE[None])


def test_two_views_are_the_image_and_its_mirror_image():
    np.testing.assert_array_equal(views_of(IMAGE, 2), np.stack([IMAGE, np.flip(IMAGE, 2)]))


def test_six_views_are_three_places_and_their_mirror_images():
    found = np.asarray(views_of(IMAGE, 6))
    assert found.shape == (6, 2, 4, 4, 1)
    # Moved by one pixel: the inside is that of the image, the border is its reflection.
    np.testing.assert_array_equal(found[1][:, :-1, :-1], IMAGE[:, 1:, 1:])
    np.testing.assert_array_equal(found[1][:, -1, :-1], IMAGE[:, 2, 1:])
    np.testing.assert_array_equal(found[2][:, 1:, 1:], IMAGE[:, :-1, :-1])
    np.testing.assert_array_equal(found[3:], np.flip(found[:3], 3))


@pytest.mark.parametrize("count", [0, 3])
def test_another_number_of_views_is_refused(count):
    with pytest.raises(ValueError, match=f"views is {count}; it must be 1, 2 or 6"):
        views_of(IMAGE, count)


@pytest.mark.parametrize("views", [2, 6])
def test_logits_and_scores_are_the_means_of_single_views(views):
    model = DSH(bits=6, classes=3, shape=(32, 32, 1), width=1 / 32, fc_dim=8)
    rng = np.random.default_rng(0)
    image = jnp.array(rng.random((3, 32, 32, 1)), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    mean = jax.jit(functools.partial(outputs_of_views, model, views=views))
    logit, bcoding, score = mean(variables, image)
    apply = jax.jit(functools.partial(model.apply, decode=False))
    each = [apply(variables, view) for view in views_of(image, views)]
    np.testing.assert_allclose(logit, np.mean([one.logit for one in each], 0), atol=1e-5)
    np.testing.assert_allclose(score, np.mean([one.score for one in each], 0), atol=1e-5)
    np.testing.assert_allclose(bcoding, (np.tanh(logit) + 1) / 2, atol=1e-5)
