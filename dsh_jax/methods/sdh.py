"""Supervised discrete hashing: bits from which a linear map tells the labels."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve

from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks, sum_blocks
from dsh_jax.sums import pairwise_sum

DISCRETE_BLOCK = 2048  # rows whose bits are in work at a time


class Parameters(NamedTuple):
    """Anchors, and the linear map from their kernel to the bits.

    Attributes:
      anchor_AxD: as they are compared with the features, float32.
      sigma: width of the kernel, in units of the features, float32.
      normalise: whether features are scaled to unit length first, bool.
      weight_JxK: float32; J = A + 1, the last row is the bias.
    """

    anchor_AxD: jax.Array
    sigma: jax.Array
    normalise: jax.Array
    weight_JxK: jax.Array


def fit(
    key: jax.Array,
    feature_NxD: jax.Array,
    label_NxC: jax.Array,
    bits: int,
    *,
    anchors: int = 1000,
    normalise: bool = True,
    sigma: float | None = 0.4,
    sigma_scale: float = 1.0,
    iterations: int = 5,
    kernel_ridge: float = 1e-2,
    restart: bool = False,
    anchor_AxD: jax.Array | None = None,
    sign_NxK: jax.Array | None = None,
    block: int = BLOCK,
) -> Parameters:
    """Learn bits that tell the labels, and a kernel machine that tells the bits: see `learn`.

    Memory holds the kernel, N × J float32.

    Args:
      key: of the anchors and of the bits to start from.
      feature_NxD: real values of labelled rows.
      label_NxC: multi-hot labels of any type; above 0 is present. A row without any counts as one
        that has no label, not as one whose labels are unknown: leave the latter out.
      bits: the code length K.
      anchors: A, how many rows are drawn as anchors.
      normalise: scale each row to unit length first; a row of zeros stays.
      sigma: width of the kernel. 0.4 suits unit length; far narrower than the distances between
        rows, as on pixels 0 to 255, the kernel is 0 everywhere and all codes are equal. None takes
        the mean distance to the nearest anchor times `sigma_scale`.
      sigma_scale: see `sigma`.
      iterations, kernel_ridge, restart: see `learn`.
      anchor_AxD: anchors instead of drawn ones, like features.
      sign_NxK: B to start from, instead of a random one; above 0 is 1.
      block: rows in work at a time.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, the labels do not fit them or
        hold none, bits is below 1, there are fewer rows than anchors, sigma is not positive, or
        kernel_ridge is too little for float32.

    Source: Shen, Shen, Liu and Shen, CVPR 2015.
    """
    feature_NxD = check_fit(feature_NxD, bits)
    label_NxC = _check_labels(label_NxC, len(feature_NxD))
    for name, value in (("sigma", sigma), ("sigma_scale", sigma_scale)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}={value}; pass a number above 0")
    anchor_key, sign_key = jax.random.split(key)
    if anchor_AxD is None:
        if not 1 <= anchors <= len(feature_NxD):
            raise ValueError(
                f"anchors={anchors}, but there are {len(feature_NxD)} rows to draw them from; "
                f"pass 1 to {len(feature_NxD)}"
            )
        row_A = jax.random.choice(anchor_key, len(feature_NxD), (anchors,), replace=False)
        anchor_AxD = feature_NxD[row_A]
    check_features(anchor_AxD, feature_NxD.shape[1])
    if sign_NxK is None:
        sign_NxK = jax.random.normal(sign_key, (len(feature_NxD), bits))
    if jnp.shape(sign_NxK) != (len(feature_NxD), bits):
        raise ValueError(
            f"sign_NxK has shape {jnp.shape(sign_NxK)}; wanted ({len(feature_NxD)}, {bits}), one "
            "sign for each row and bit"
        )
    normalise = jnp.asarray(normalise)
    anchor_AxD = _prepared(jnp.asarray(anchor_AxD, jnp.float32), normalise)
    if sigma is None:
        if len(anchor_AxD) >= len(feature_NxD):
            raise ValueError(
                f"sigma=None is measured at rows that are no anchors, but {len(anchor_AxD)} of "
                f"{len(feature_NxD)} rows are anchors; pass fewer, or a number"
            )
        sigma = sigma_scale * _nearest_distance(feature_NxD, anchor_AxD, normalise, block=block)
    parameters = Parameters(anchor_AxD, jnp.float32(sigma), normalise, jnp.zeros((0, bits)))
    kernel_NxJ = kernel(parameters, feature_NxD, block=block)
    options = {"iterations": iterations, "kernel_ridge": kernel_ridge, "restart": restart}
    weight_JxK, _ = learn(kernel_NxJ, label_NxC, sign_NxK, **options)
    if not jnp.isfinite(weight_JxK).all():
        raise ValueError(
            f"kernel_ridge={kernel_ridge} is too little for float32, as the anchors are alike or "
            "the kernel is wide: pass 10 times as much, a smaller sigma or other anchors"
        )
    return parameters._replace(weight_JxK=weight_JxK)


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Map the kernel to the bits: logit = φ(x) P, φ of `kernel`.

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, K); NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    check_features(feature_NxD, parameters.anchor_AxD.shape[1])
    return map_blocks(
        lambda row_BxD: _kernel(parameters, row_BxD) @ parameters.weight_JxK, feature_NxD, block
    )


@functools.partial(jax.jit, static_argnames="block")
def kernel(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Compare rows with the anchors: φ(x) = [exp(-‖x - a_j‖² / (2 σ²)) for j = 1 ... A, 1].

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, J).

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    check_features(feature_NxD, parameters.anchor_AxD.shape[1])
    return map_blocks(lambda row_BxD: _kernel(parameters, row_BxD), feature_NxD, block)


@jax.jit
def learn(
    kernel_NxJ: jax.Array,
    label_NxC: jax.Array,
    sign_NxK: jax.Array,
    *,
    iterations: int = 5,
    sweeps: int = 10,
    label_ridge: float = 1.0,
    kernel_ridge: float = 1e-2,
    coupling: float = 1e-5,
    restart: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Minimise ‖Y - B W‖² + λ ‖W‖² + ν ‖B - φ P‖² over B in {-1, 1}, W and P, in turn.

    W = (B^T B + λ I)^-1 B^T Y;  P = (φ^T φ + λ_P I)^-1 φ^T B;  then bit after bit, until none
    changes, b_k = sgn(q_k - B' W' w_k),  Q = Y W^T + ν φ P,  B' and W' without bit k.

    Args:
      kernel_NxJ: φ, float32.
      label_NxC: multi-hot labels; above 0 is present.
      sign_NxK: B to start from; above 0 is 1.
      iterations: of the three steps at most; fewer where the bits no longer change.
      sweeps: over all bits at most, in each iteration.
      label_ridge, kernel_ridge, coupling: λ, λ_P and ν.
      restart: let the bits of each iteration start from 0, as the authors' program does, not from
        those of the iteration before, as the paper has it. With few bits the first ones then decide
        nearly alone: classes may end with one code.

    Returns:
      (weight_JxK, sign_NxK): P, and the B learnt, float32.
    """
    # Bits and classes are rows here, so that the work on one is on numbers that lie together.
    target_CxN = (label_NxC > 0).astype(jnp.float32).T
    ridge_JxJ = kernel_ridge * jnp.eye(kernel_NxJ.shape[1])
    gram_JxJ = sum_blocks(lambda row_BxJ: row_BxJ.T @ row_BxJ, kernel_NxJ, BLOCK)
    factor = cho_factor(gram_JxJ + ridge_JxJ)

    def maps(sign_KxN):
        ridge_KxK = label_ridge * jnp.eye(len(sign_KxN))
        label_weight_KxC = cho_solve(
            cho_factor(sign_KxN @ sign_KxN.T + ridge_KxK), sign_KxN @ target_CxN.T
        )
        pull_JxK = sum_blocks(
            lambda row_BxJ, sign_BxK: row_BxJ.T @ sign_BxK, kernel_NxJ, BLOCK, sign_KxN.T
        )
        return label_weight_KxC, cho_solve(factor, pull_JxK)

    def improve(state):
        turn, sign_KxN, _, label_weight_KxC, weight_JxK = state
        # In blocks: as one product with its transposition, XLA takes five times as long.
        predicted_NxK = map_blocks(lambda row_BxJ: row_BxJ @ weight_JxK, kernel_NxJ, BLOCK)
        wanted_KxN = label_weight_KxC @ target_CxN + coupling * predicted_NxK.T
        from_KxN = jnp.where(restart, 0, sign_KxN)
        next_KxN = _discrete(from_KxN, wanted_KxN, label_weight_KxC, sweeps)
        return turn + 1, next_KxN, (next_KxN != sign_KxN).any(), *maps(next_KxN)

    start_KxN = _sign(sign_NxK).T
    _, sign_KxN, _, _, weight_JxK = lax.while_loop(
        lambda state: (state[0] < iterations) & state[2],
        improve,
        (0, start_KxN, jnp.array(True), *maps(start_KxN)),
    )
    return weight_JxK, sign_KxN.T


def _discrete(sign_KxN, wanted_KxN, weight_KxC, sweeps):
    """Discrete cyclic coordinate descent: B from Q and W."""
    # A row's bits depend on that row alone, and few rows stay in a processor's cache.
    bits, rows = wanted_KxN.shape
    size = min(DISCRETE_BLOCK, rows)
    blocks = -(-rows // size)

    def cut(value_KxN):
        padded_KxP = jnp.pad(value_KxN, ((0, 0), (0, blocks * size - rows)))
        return padded_KxP.reshape(bits, blocks, size).swapaxes(0, 1)

    sign_TxKxB = lax.map(
        lambda block: _discrete_block(*block, weight_KxC, sweeps), (cut(sign_KxN), cut(wanted_KxN))
    )
    return sign_TxKxB.swapaxes(0, 1).reshape(bits, -1)[:, :rows]


def _discrete_block(sign_KxB, wanted_KxB, weight_KxC, sweeps):
    square_K = jnp.sum(weight_KxC**2, axis=1)

    def set_bit(k, state):
        sign_KxB, score_CxB = state  # W^T B, kept up to date
        weight_C, old_B = weight_KxC[k], sign_KxB[k]
        new_B = _sign(wanted_KxB[k] - (weight_C @ score_CxB - square_K[k] * old_B))
        return sign_KxB.at[k].set(new_B), score_CxB + weight_C[:, None] * (new_B - old_B)[None]

    def sweep(state):
        turn, sign_KxB, _ = state
        # Anew in each sweep: rounding would add up to what the coupling weighs.
        score_CxB = weight_KxC.T @ sign_KxB
        next_KxB, _ = lax.fori_loop(0, len(sign_KxB), set_bit, (sign_KxB, score_CxB), unroll=4)
        return turn + 1, next_KxB, (next_KxB != sign_KxB).any()

    return lax.while_loop(
        lambda state: (state[0] < sweeps) & state[2],
        sweep,
        (0, sign_KxB, jnp.array(True)),
    )[1]


def _sign(value):
    """-1 or 1, by the rule of `codes.binarize`."""
    return jnp.where(value > 0, 1.0, -1.0)


def _prepared(row_BxD, normalise):
    length_Bx1 = jnp.linalg.norm(row_BxD, axis=1, keepdims=True)
    return row_BxD / jnp.where(normalise & (length_Bx1 > 0), length_Bx1, 1)


def _square_distance(row_BxD, anchor_AxD):
    # About the anchors' mean: far from 0, the difference of squares would lose its digits.
    mean_1xD = anchor_AxD.mean(axis=0, keepdims=True)
    row_BxD, anchor_AxD = row_BxD - mean_1xD, anchor_AxD - mean_1xD
    square_Bx1 = jnp.sum(row_BxD**2, axis=1, keepdims=True)
    square_1xA = jnp.sum(anchor_AxD**2, axis=1)[None]
    return jnp.maximum(square_Bx1 + square_1xA - 2 * (row_BxD @ anchor_AxD.T), 0)


def _kernel(parameters, row_BxD):
    row_BxD = _prepared(row_BxD, parameters.normalise)
    square_BxA = _square_distance(row_BxD, parameters.anchor_AxD)
    kernel_BxA = jnp.exp(-square_BxA / (2 * parameters.sigma**2))
    return jnp.pad(kernel_BxA, ((0, 0), (0, 1)), constant_values=1)


@functools.partial(jax.jit, static_argnames="block")
def _nearest_distance(feature_NxD, anchor_AxD, normalise, *, block):
    def nearest(row_BxD):
        square_BxA = _square_distance(_prepared(row_BxD, normalise), anchor_AxD)
        return jnp.sqrt(square_BxA.min(axis=1))

    return pairwise_sum(map_blocks(nearest, feature_NxD, block)) / len(feature_NxD)


def _check_labels(label_NxC, rows):
    if jnp.ndim(label_NxC) != 2 or len(label_NxC) != rows:
        raise ValueError(
            f"the labels have shape {jnp.shape(label_NxC)}, the features {rows} rows; wanted "
            f"({rows}, classes), multi-hot; dsh_jax.data.source.multi_hot makes them from numbers"
        )
    label_NxC = jnp.asarray(label_NxC)
    if not (label_NxC > 0).any():
        raise ValueError("no row has a label; pass labelled rows, 1 where a label is present")
    return label_NxC
