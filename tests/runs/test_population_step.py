"""The step of points that are trained together, without a run."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dsh_jax import parallel
from dsh_jax.runs import population


def points_step(scalars, state, batch, *, is_shared):
    """Return a step of gradient descent on a mean of squares over all rows of a batch."""
    loss, gradient = jax.value_and_grad(lambda w: ((batch @ w - 1) ** 2).mean())(state)
    if is_shared:
        loss, gradient = jax.lax.pmean((loss, gradient), parallel.AXIS)
    return state - scalars["rate"] * gradient, {"loss": loss}


@pytest.mark.parametrize("take_turns", [True, False])
@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("seeds", [range(8), [5] * 8, [5, 5, 5, 6, 6, 6, 6, 7]])
def test_each_point_takes_its_own_step(seeds, spread, take_turns):
    rng = np.random.default_rng(0)
    rate_P, state_PxF = np.linspace(0.1, 0.8, 8), rng.normal(size=(8, 3))
    batch_SxBxF = rng.normal(size=(8, 4, 3)).astype(np.float32)
    wanted = [
        w - rate * 2 * x.T @ (x @ w - 1) / 4
        for rate, w, x in zip(rate_P, state_PxF, batch_SxBxF[list(seeds)], strict=True)
    ]
    own, seed_P = population.seeds_of_devices(seeds, 4 if spread else 1)
    carry = (
        jnp.asarray(seed_P),
        {"rate": jnp.asarray(rate_P, jnp.float32)},
        jnp.asarray(state_PxF, jnp.float32),
    )
    batch = batch_SxBxF[np.array(own)]
    if spread:
        carry = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), carry)
    else:
        batch = batch[0].swapaxes(0, 1)[:, :, None]  # a row a device
    one_step = functools.partial(points_step, is_shared=not spread)
    step = population.map_points(one_step, take_turns=take_turns, spread=spread)
    (*_, state), metrics = step(carry, batch)
    np.testing.assert_allclose(np.asarray(state).reshape(8, 3), wanted, rtol=1e-4, atol=1e-6)
    assert metrics["loss"].size == 8


def test_a_device_has_a_batch_for_each_of_its_seeds():
    found = population.seeds_of_devices([3, 3, 3, 4, 5, 4], 2)
    assert found == ([[3, 3], [4, 5]], [0, 0, 0, 0, 1, 0])
    assert population.seeds_of_devices([3, 3, 3, 3], 2) == ([[3], [3]], [0, 0, 0, 0])


def test_points_with_other_terms_or_steps_are_groups_of_their_own():
    def point(step, **changed):
        return types.SimpleNamespace(step=step, config=tiny.config(**changed))

    printed = {"optimizer__weight_decay_in": "loss"}
    points = [
        *(point(0, loss__y=y) for y in (0.0, 0.1)),
        *(point(0, loss__r=r) for r in (0.5, 1.0)),
        point(4),
        point(0, **printed),
        point(0, **printed, optimizer__weight_decay=0.0),
    ]
    groups = population._groups(points)
    assert [[points.index(p) for p in group] for group in groups] == [[0, 1, 6], [2, 3], [4], [5]]
