"""Muon against the plain statement of Newton and Schulz's step, and against optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from dsh_jax.training.muon import COEFFICIENTS, orthogonalise, scale_by_muon

rng = np.random.default_rng(0)


def plainly(matrix, steps):
    """The iteration as it is printed, on the matrix itself, in float64."""
    a, b, c = COEFFICIENTS
    x = matrix.astype(np.float64) / np.linalg.norm(matrix)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (16, 16), (5, 1), (1, 5)])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_it_is_the_printed_iteration(shape, steps):
    matrix = rng.normal(size=shape).astype(np.float32)
    found = orthogonalise(jnp.array(matrix), steps)
    np.testing.assert_allclose(found, plainly(matrix, steps), atol=2e-5)


def test_it_is_accurate_where_singular_values_differ_by_thousands():
    u, _, v = np.linalg.svd(rng.normal(size=(60, 20)), full_matrices=False)
    matrix = ((u * np.logspace(0, -3.5, 20)) @ v).astype(np.float32)
    np.testing.assert_allclose(orthogonalise(jnp.array(matrix)), plainly(matrix, 3), atol=2e-5)


def test_a_matrix_of_zeros_stays():
    np.testing.assert_array_equal(orthogonalise(jnp.zeros((6, 4))), np.zeros((6, 4)))


def test_steps_are_those_of_optax():
    kernel = {"kernel": jnp.array(rng.normal(size=(3, 3, 4, 8)), jnp.float32)}
    gradients = [jax.tree.map(lambda x, i=i: jnp.sin(i * x), kernel) for i in (1, 2, 3)]
    theirs = contrib.scale_by_muon(
        ns_steps=3,
        beta=0.6,
        weight_dimension_numbers={"kernel": contrib.MuonDimensionNumbers((0, 1, 2), 3)},
    )
    ours = scale_by_muon(0.6)
    states = ours.init(kernel), theirs.init(kernel)
    for gradient in gradients:
        one, mine = ours.update(gradient, states[0], kernel)
        other, its = theirs.update(gradient, states[1], kernel)
        states = mine, its
        assert optax.tree.norm(one) > 1
        # Theirs averages with a bias correction: in the first steps the mixture differs a little.
        cosine = jnp.vdot(one["kernel"], other["kernel"])
        cosine /= optax.tree.norm(one) * optax.tree.norm(other)
        assert cosine > 0.97
