"""CNNH: codes from the labels alone, then a network that learns them (Xia et al. 2014)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.methods.rows import BLOCK, sum_blocks
from dsh_jax.sums import pairwise_sum

LANES = 64  # sums of a set's rows that are added up apart


class Sets(NamedTuple):
    """The training rows by the set of labels they have; U different sets.

    Attributes:
      set_N: the set of each row, int32.
      similar_UxU: S of two rows with such sets: 1 where they share a label, else −1, float32.
    """

    set_N: jax.Array
    similar_UxU: jax.Array


class Sums(NamedTuple):
    """What a step needs of the whole H: G and Q of `descend`."""

    gram_KxK: jax.Array
    pull_UxK: jax.Array


def label_sets(label_NxC: np.ndarray) -> Sets:
    """Group rows by their sets of labels: S has but U × U different entries.

    Args:
      label_NxC: multi-hot.

    Returns:
      Sets.

    Raises:
      ValueError: for labels that are no matrix, or a row without any.
    """
    label_NxC = np.asarray(label_NxC) > 0
    if label_NxC.ndim != 2 or not label_NxC.any(-1).all():
        bare = int((~label_NxC.any(-1)).sum()) if label_NxC.ndim == 2 else 0
        raise ValueError(
            f"labels have the shape {label_NxC.shape} and {bare} rows without any; pass multi-hot "
            "labels [rows, classes] of the labelled rows."
        )
    set_UxC, set_N = np.unique(label_NxC, axis=0, return_inverse=True)
    shared_UxU = set_UxC.astype(np.int32) @ set_UxC.T.astype(np.int32)
    similar_UxU = np.where(shared_UxU > 0, 1, -1).astype(np.float32)
    return Sets(jnp.asarray(set_N.ravel(), jnp.int32), jnp.asarray(similar_UxU))


def fit_codes(key: jax.Array, label_NxC: np.ndarray, *, bits: int, sweeps: int = 5) -> jax.Array:
    """Find codes whose inner products are the rows' similarities: CNNH's first stage.

    `min ||S − H Hᵀ / K||²` over H in [−1, 1], S = ±1; the codes are sgn H. See `descend`.

    Args:
      key: of H at the start and of the order of steps.
      label_NxC: multi-hot, of the labelled training rows; row n gets code n.
      bits: K.
      sweeps: over all entries of H.

    Returns:
      code_NxK in {−1, 1}, float32.

    Raises:
      ValueError: for labels that are no matrix, a row without any, or bits below 1.

    Source: Xia, Pan, Lai, Liu and Yan, AAAI 2014.
    """
    if bits < 1:
        raise ValueError(f"bits is {bits}; a code needs at least 1 bit.")
    sets = label_sets(label_NxC)
    start_key, order_key = jax.random.split(key)
    shape = (len(sets.set_N), bits)
    code_NxK = jax.random.uniform(start_key, shape, minval=-1.0, maxval=1.0)
    code_NxK, _ = descend(order_key, sets, code_NxK, sweeps=sweeps)
    return jnp.where(code_NxK > 0, 1.0, -1.0)


@functools.partial(jax.jit, static_argnames="sweeps")
def descend(
    key: jax.Array, sets: Sets, code_NxK: jax.Array, *, sweeps: int
) -> tuple[jax.Array, jax.Array]:
    """Lower `||S − H Hᵀ / K||²` by a Newton step an entry of H, the rows in random order.

    With `L = H Hᵀ − K S`: `d = clip(−g' / g'', −1 − H_ij, 1 − H_ij)`, `g' = 4 L_i · H_·j`,
    `g'' = 4 (H_·j · H_·j + H_ij² + L_ii)`; where g'' <= 0 the step goes as far as it may.

    L is never formed: `L_i · H_·j = H_i · G_·j − K Q_uj`, with `G = Hᵀ H`, u the set of labels of
    row i and `Q_uj = Σ_m S_um H_mj`. A sweep costs O(N K (K + U)), not O(N² K). A sweep that does
    not lower the loss is undone.

    Args:
      key: of the orders.
      sets: see `label_sets`.
      code_NxK: H to start from, in [−1, 1].
      sweeps: over all entries.

    Returns:
      (code_NxK, loss_T): H in [−1, 1], and the loss over N² after 0, 1, … `sweeps` sweeps, which
      never rises.
    """
    rows = len(code_NxK)

    def sweep(t: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        code_NxK, loss_T = carry
        order_N = jax.random.permutation(jax.random.fold_in(key, t), rows)
        # A sweep meets each row once, so H itself need not be carried; the sums are made anew, so
        # that rounding does not add up.
        _, moved_NxK = jax.lax.scan(
            lambda sums, row: _move_row(sets.similar_UxU, sums, *row),
            sums_of(sets, code_NxK),
            (sets.set_N[order_N], code_NxK[order_N]),
        )
        moved_NxK = code_NxK.at[order_N].set(moved_NxK)
        loss = _loss(sets, moved_NxK)
        is_lower = loss < loss_T[t]
        code_NxK = jnp.where(is_lower, moved_NxK, code_NxK)
        return code_NxK, loss_T.at[t + 1].set(jnp.where(is_lower, loss, loss_T[t]))

    loss_T = jnp.zeros(sweeps + 1).at[0].set(_loss(sets, code_NxK))
    return jax.lax.fori_loop(0, sweeps, sweep, (code_NxK, loss_T))


def _move_row(
    similar_UxU: jax.Array, sums: Sums, u: jax.Array, old_K: jax.Array
) -> tuple[Sums, jax.Array]:
    """Take the steps of the bits of a row of set u, in their order; return its new bits too."""
    gram_KxK, pull_UxK = sums
    bits = len(old_K)

    def step(j: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        code_K, slope_K = carry
        own = code_K[j]
        curvature = gram_KxK[j, j] + own**2 + code_K @ code_K - bits
        change = jnp.clip(-slope_K[j] / jnp.maximum(curvature, 1e-6), -1 - own, 1 - own)
        # The slopes of the bits still to come, as if G had been updated: only its row j matters.
        slope_K += change * (gram_KxK[j] + (own + change) * code_K)
        return code_K.at[j].add(change), slope_K

    slope_K = gram_KxK @ old_K - bits * pull_UxK[u]  # g' / 4
    new_K, _ = jax.lax.fori_loop(0, bits, step, (old_K, slope_K))
    sums = Sums(
        gram_KxK + jnp.outer(new_K, new_K) - jnp.outer(old_K, old_K),
        pull_UxK + jnp.outer(similar_UxU[u], new_K - old_K),
    )
    return sums, new_K


def sums_of(sets: Sets, code_NxK: jax.Array) -> Sums:
    size, (rows, bits) = len(sets.similar_UxU), code_NxK.shape
    lane_N = LANES * sets.set_N + jnp.arange(rows) % LANES
    lane_VxK = jax.ops.segment_sum(code_NxK, lane_N, num_segments=LANES * size)
    set_sum_UxK = pairwise_sum(lane_VxK.reshape(size, LANES, bits), axis=1)
    gram_KxK = sum_blocks(lambda row_BxK: row_BxK.T @ row_BxK, code_NxK, BLOCK)
    return Sums(gram_KxK, sets.similar_UxU @ set_sum_UxK)


def _loss(sets: Sets, code_NxK: jax.Array) -> jax.Array:
    """The mean of `(S − H Hᵀ / K)²`: `1 − 2 Σ S_im h_i · h_m / (K N²) + ||G||² / (K N)²`."""
    rows, bits = code_NxK.shape
    gram_KxK, pull_UxK = sums_of(sets, code_NxK)
    agreement = pairwise_sum((code_NxK * pull_UxK[sets.set_N]).ravel())
    return 1 - 2 * agreement / bits / rows / rows + ((gram_KxK / bits / rows) ** 2).sum()


def codes_loss(bcoding_BxK: jax.Array, target_BxK: jax.Array) -> jax.Array:
    """Return the distance of activations from the codes of the first stage: CNNH's second stage.

    `mean_k (b_k − (h_k + 1) / 2)²`. CNNH+ adds the classification of the labels.

    Args:
      bcoding_BxK: activations in (0, 1).
      target_BxK: h in {−1, 1}, these rows' codes of `fit_codes`.

    Returns:
      loss_B, float, in [0, 1].

    Raises:
      AssertionError: where the shapes differ.

    Source: Xia, Pan, Lai, Liu and Yan, AAAI 2014.
    """
    chex.assert_equal_shape([bcoding_BxK, target_BxK])
    return ((bcoding_BxK - (target_BxK + 1) / 2) ** 2).mean(-1)
