"""Muon: momentum whose singular values are all brought near 1 before a step (Jordan 2024).

As `optax.contrib.muon`, with fewer products of large matrices. For a momentum G of m rows and n < m
columns, X₀ = G / ‖G‖, Newton and Schulz's step is

    Xᵢ₊₁ = Xᵢ Pᵢ,    Pᵢ = aI + bAᵢ + cAᵢ²,    Aᵢ = Xᵢ' Xᵢ

All Pᵢ are polynomials of A₀, so they commute, Aᵢ₊₁ = Pᵢ Aᵢ Pᵢ, and the steps are taken on n × n
matrices. There are two products with m rows, however many steps; as printed there are two a step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

STEPS = 3  # as in Jordan's CIFAR-10 networks
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # his; small singular values come up only in part


class MuonState(NamedTuple):
    """The velocity of each kernel."""

    velocity: optax.Updates


def orthogonalise(matrix_MxN: jax.Array, steps: int = STEPS) -> jax.Array:
    """Return a matrix of the same singular vectors, its singular values near 1.

    Args:
      matrix_MxN: any float matrix.
      steps: of Newton and Schulz.

    Returns:
      [M, N]; zeros where the matrix is.
    """
    rows, columns = matrix_MxN.shape
    if rows < columns:
        return orthogonalise(matrix_MxN.T, steps).T
    a, b, c = COEFFICIENTS
    x_MxN = matrix_MxN / (jnp.linalg.norm(matrix_MxN) + 1e-7)
    gram_NxN, one_NxN = x_MxN.T @ x_MxN, jnp.eye(columns, dtype=x_MxN.dtype)
    product_NxN = one_NxN
    for _ in range(steps):
        polynomial_NxN = a * one_NxN + b * gram_NxN + c * (gram_NxN @ gram_NxN)
        product_NxN = product_NxN @ polynomial_NxN
        gram_NxN = polynomial_NxN @ gram_NxN @ polynomial_NxN
    return x_MxN @ product_NxN


def scale_by_muon(momentum: float, steps: int = STEPS) -> optax.GradientTransformation:
    """Return Nesterov's momentum, orthogonalised; kernels are matrices of all inputs × filters.

    Args:
      momentum: share of the velocity that a step keeps.
      steps: see `orthogonalise`.

    Returns:
      An optax transformation, to be followed by a learning rate.
    """

    def init(params):
        return MuonState(jax.tree.map(jnp.zeros_like, params))

    def update(gradient, state, params=None):
        del params
        velocity = jax.tree.map(lambda v, g: momentum * v + g, state.velocity, gradient)
        ahead = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
        step = jax.tree.map(
            lambda x: orthogonalise(x.reshape(-1, x.shape[-1]), steps).reshape(x.shape), ahead
        )
        return step, MuonState(velocity)

    return optax.GradientTransformation(init, update)


def hold_norms() -> optax.GradientTransformation:
    """Return what brings each kernel to the norm √filters before its step, as Jordan does.

    A normalised layer gives the same whatever its kernel's norm, but a step of one length turns a
    small kernel further than a large one: held, the learning rate alone says how far.

    Returns:
      An optax transformation, to come last.
    """

    def update(step, state, params):
        def held(change, kernel):
            wanted = kernel.shape[-1] ** 0.5
            return change + kernel * (wanted / (jnp.linalg.norm(kernel) + 1e-7) - 1)

        return jax.tree.map(held, step, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
