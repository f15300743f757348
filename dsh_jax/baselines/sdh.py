"""Supervised discrete hashing (Shen, Shen, Liu and Shen 2015)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dsh_jax.baselines.rows import check_fit


class Parameters(NamedTuple):
    """A linear map of the distances to anchors.

    Attributes:
      anchor_AxD: the anchors, scaled to length 1 where features are.
      sigma: width of the kernel, a scalar.
      weight_AxK: of each anchor's kernel value, and of a constant in the last row.
      normalise: whether features are scaled to length 1, bool scalar.
    """

    anchor_AxD: jax.Array
    sigma: jax.Array
    weight_AxK: jax.Array
    normalise: jax.Array


class Solution(NamedTuple):
    """What the optimization ends with.

    Attributes:
      code_NxK: B in {−1, 1}, of the training rows.
      weight_AxK: F, see `Parameters`.
      classifier_KxC: W, from codes to labels.
      sweeps: passes over the bits in all, int32.
    """

    code_NxK: jax.Array
    weight_AxK: jax.Array
    classifier_KxC: jax.Array
    sweeps: jax.Array


def fit(
    key: jax.Array,
    feature_NxD: jax.Array,
    label_NxC: jax.Array,
    bits: int,
    *,
    anchors: int = 1000,
    normalise: bool = True,
    sigma: float | None = 0.4,
    **options,
) -> Parameters:
    """Learn codes of which a linear classifier tells the labels, and their out-of-sample map.

    The kernel `exp(−||x − a||² / 2σ²)` of width 0.4 is made for features of length 1: with
    `normalise=False` on pixels every value is 0 and all codes are equal.

    Args:
      key: of anchors and first codes.
      feature_NxD: of the training rows.
      label_NxC: multi-hot.
      bits: K.
      anchors: training rows that serve as anchors; all of them where there are fewer.
      normalise: whether features are scaled to length 1.
      sigma: σ, or None for the mean distance of the other rows to their nearest anchors.
      **options: of `solve`.

    Returns:
      Parameters.

    Raises:
      ValueError: for features that are no matrix, labels of other rows or without any, bits or
        sigma below what is possible.
    """
    feature_NxD = check_fit(feature_NxD, bits)
    if label_NxC.ndim != 2 or len(label_NxC) != len(feature_NxD):
        raise ValueError(
            f"there are {len(feature_NxD)} rows of features and labels of the shape "
            f"{label_NxC.shape}; pass multi-hot labels [rows, classes] of the same rows."
        )
    if sigma is not None and sigma <= 0:
        raise ValueError(f"sigma is {sigma}; it must be above 0, or None.")
    anchor_key, code_key = jax.random.split(key)
    rows = len(feature_NxD)
    chosen_A = jax.random.choice(anchor_key, rows, (min(anchors, rows),), replace=False)
    anchor_AxD = _scaled(feature_NxD[chosen_A], normalise)
    width = jnp.float32(sigma if sigma is not None else 1)
    if sigma is None:
        if rows <= anchors:
            raise ValueError(
                f"all {rows} rows are anchors, so that none has a distance to its nearest: pass "
                "fewer anchors, or sigma."
            )
        nearest_N = _nearest(feature_NxD, anchor_AxD, normalise).at[chosen_A].set(0)
        width = nearest_N.sum() / (rows - anchors)
    kernel_NxA = kernel(feature_NxD, anchor_AxD, width, normalise)
    code_NxK = jnp.where(jax.random.normal(code_key, (rows, bits)) > 0, 1.0, -1.0)
    solution = solve(kernel_NxA, jnp.asarray(label_NxC, jnp.float32), code_NxK, **options)
    return Parameters(anchor_AxD, width, solution.weight_AxK, jnp.asarray(normalise))


def _scaled(feature_NxD: jax.Array, normalise: bool | jax.Array) -> jax.Array:
    """Return float features, of length 1 if asked for; a row of zeros stays."""
    feature_NxD = feature_NxD.astype(jnp.float32)
    length_Nx1 = jnp.linalg.norm(feature_NxD, axis=-1, keepdims=True)
    return feature_NxD / jnp.where(normalise & (length_Nx1 > 0), length_Nx1, 1)


def _square_distances(feature_NxD: jax.Array, anchor_AxD: jax.Array) -> jax.Array:
    square_Nx1 = (feature_NxD**2).sum(-1, keepdims=True)
    square_1xA = (anchor_AxD**2).sum(-1)[None]
    return jnp.maximum(square_Nx1 + square_1xA - 2 * feature_NxD @ anchor_AxD.T, 0)


@jax.jit
def _nearest(
    feature_NxD: jax.Array, anchor_AxD: jax.Array, normalise: bool | jax.Array
) -> jax.Array:
    """Return the distance of each row to its nearest anchor."""
    return jnp.sqrt(_square_distances(_scaled(feature_NxD, normalise), anchor_AxD).min(-1))


@jax.jit
def kernel(
    feature_NxD: jax.Array,
    anchor_AxD: jax.Array,
    sigma: float | jax.Array,
    normalise: bool | jax.Array,
) -> jax.Array:
    """Return the kernel's values and a constant: `φ(x) = [exp(−||x − a_j||² / 2σ²)]_j ‖ 1`.

    Args:
      feature_NxD: float or integer.
      anchor_AxD: see `Parameters`.
      sigma: width.
      normalise: whether features are scaled to length 1.

    Returns:
      kernel_NxA, float32, its last column 1.
    """
    square_NxA = _square_distances(_scaled(feature_NxD, normalise), anchor_AxD)
    value_NxA = jnp.exp(-square_NxA / (2 * sigma**2))
    return jnp.concatenate([value_NxA, jnp.ones((len(value_NxA), 1))], axis=1)


@functools.partial(jax.jit, static_argnames=("steps", "sweeps"))
def solve(
    kernel_NxA: jax.Array,
    label_NxC: jax.Array,
    code_NxK: jax.Array,
    *,
    steps: int = 5,
    sweeps: int = 10,
    classifier_decay: float = 1.0,
    weight_decay: float = 1e-2,
    fit_weight: float = 1e-5,
) -> Solution:
    """Minimise `||Y − B W||² + λ ||W||² + ν ||B − F(X)||²` over W, F and B in {−1, 1}.

    W and F are ridge regressions. B is found bit by bit, discrete cyclic coordinate descent: with
    `Q = Y Wᵀ + ν F(X)`, `b_k = sgn(q_k − B' W' w_k)` over the other bits. `B W` is kept and
    updated, so that a bit costs O(N C).

    Args:
      kernel_NxA: φ of the training rows.
      label_NxC: Y, multi-hot, float.
      code_NxK: B to start from.
      steps: of {B, W, F}.
      sweeps: over the bits in each, at most.
      classifier_decay: λ.
      weight_decay: of the regression F.
      fit_weight: ν.

    Returns:
      Solution.
    """
    bits = code_NxK.shape[1]
    gram_AxA = kernel_NxA.T @ kernel_NxA
    factor_AxA = jax.scipy.linalg.cholesky(gram_AxA + weight_decay * jnp.eye(len(gram_AxA)))

    def classifier(code_NxK: jax.Array) -> jax.Array:
        gram_KxK = code_NxK.T @ code_NxK + classifier_decay * jnp.eye(bits)
        return jax.scipy.linalg.solve(gram_KxK, code_NxK.T @ label_NxC, assume_a="pos")

    def regression(code_NxK: jax.Array) -> jax.Array:
        return jax.scipy.linalg.cho_solve((factor_AxA, False), kernel_NxA.T @ code_NxK)

    def step(_, carry: Solution) -> Solution:
        code_NxK, weight_AxK, classifier_KxC, done = carry
        wanted_NxK = label_NxC @ classifier_KxC.T + fit_weight * (kernel_NxA @ weight_AxK)
        code_KxN, count = _descend(code_NxK.T, wanted_NxK.T, classifier_KxC, sweeps)
        code_NxK = code_KxN.T
        return Solution(code_NxK, regression(code_NxK), classifier(code_NxK), done + count)

    first = Solution(code_NxK, regression(code_NxK), classifier(code_NxK), jnp.int32(0))
    return jax.lax.fori_loop(0, steps, step, first)


def _descend(
    code_KxN: jax.Array, wanted_KxN: jax.Array, classifier_KxC: jax.Array, sweeps: int
) -> tuple[jax.Array, jax.Array]:
    """Return the codes after passes over the bits, and how many: until none changes."""
    bits = len(code_KxN)
    square_K = (classifier_KxC**2).sum(-1)

    def one_bit(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        code_KxN, product_CxN = carry
        old_N, row_C = code_KxN[k], classifier_KxC[k]
        others_N = row_C @ product_CxN - old_N * square_K[k]
        new_N = jnp.where(wanted_KxN[k] - others_N > 0, 1.0, -1.0)
        product_CxN = product_CxN + row_C[:, None] * (new_N - old_N)[None]
        return code_KxN.at[k].set(new_N), product_CxN

    def one_sweep(carry):
        code_KxN, product_CxN, count, _ = carry
        new_KxN, product_CxN = jax.lax.fori_loop(0, bits, one_bit, (code_KxN, product_CxN))
        return new_KxN, product_CxN, count + 1, (new_KxN != code_KxN).any()

    start = (code_KxN, classifier_KxC.T @ code_KxN, jnp.int32(0), jnp.asarray(True))
    code_KxN, _, count, _ = jax.lax.while_loop(
        lambda carry: (carry[2] < sweeps) & carry[3], one_sweep, start
    )
    return code_KxN, count


@jax.jit
def encode(parameters: Parameters, feature_NxD: jax.Array) -> jax.Array:
    """Return the out-of-sample codes: `φ(x) F`.

    Args:
      parameters: see `fit`.
      feature_NxD: float or integer.

    Returns:
      logit_NxK, float32.
    """
    anchor_AxD, sigma, weight_AxK, normalise = parameters
    return kernel(feature_NxD, anchor_AxD, sigma, normalise) @ weight_AxK
