"""Losses that pull each class's codes to a fixed point: CSQ's hash centres, OrthoHash's targets.

A class has a centre in {−1, 1}^K, chosen before training. One value per row is averaged over the
rows with labels; the mean of a loss over the devices is that of the batch.
"""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
from scipy.linalg import hadamard

from dsh_jax.losses import masking, weights
from dsh_jax.losses.pairs import Terms, logistic_pairs
from dsh_jax.losses.terms import multilabel_cross_entropy, softmax_cross_entropy
from dsh_jax.typed import Array


def hadamard_centres(classes: int, bits: int) -> jax.Array:
    """Return orthogonal centres: the rows of Hadamard's (Sylvester's) matrix, then their negatives.

    Any two are K / 2 bits apart, but for a row and its negative, which are K apart.

    Args:
      classes: C, up to 2 K.
      bits: K, a power of two.

    Returns:
      centre_CxK in {−1, 1}, float32.

    Raises:
      ValueError: where there are none for such numbers.

    Source: Yuan et al., CVPR 2020.
    """
    if bits < 1 or bits & (bits - 1) or not 1 <= classes <= 2 * bits:
        raise ValueError(
            f"there are no Hadamard centres for {classes} classes and {bits} bits: bits must be a "
            "power of two and classes at most twice that; take bernoulli_centres."
        )
    matrix_KxK = hadamard(bits)
    return jnp.concatenate([jnp.asarray(matrix_KxK), -jnp.asarray(matrix_KxK)])[:classes].astype(
        jnp.float32
    )


@functools.partial(jax.jit, static_argnames=("classes", "bits", "draws"))
def bernoulli_centres(key: Array, classes: int, bits: int, *, draws: int = 64) -> jax.Array:
    """Draw random centres: each bit is fair. Of several draws, take the best spread.

    That is the one whose two nearest centres are farthest apart: of few bits, a single draw may
    well give two classes one centre.

    Args:
      key: of the draws.
      classes: C.
      bits: K.
      draws: to choose from.

    Returns:
      centre_CxK in {−1, 1}, float32.

    Source: Yuan et al., CVPR 2020, for the fair bits.
    """

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.rademacher(key, (classes, bits), jnp.float32)

    def nearest(key: jax.Array) -> jax.Array:
        centre_CxK = draw(key)
        product_CxC = centre_CxK @ centre_CxK.T
        return -jnp.where(jnp.eye(classes, dtype=bool), -jnp.inf, product_CxC).max()

    key_D = jax.random.split(key, draws)
    return draw(key_D[jax.lax.map(nearest, key_D).argmax()])


def hash_centres(key: Array, classes: int, bits: int) -> jax.Array:
    """Return Hadamard centres where there are any for such numbers, or Bernoulli centres.

    Args:
      key: of the latter.
      classes: C.
      bits: K.

    Returns:
      centre_CxK in {−1, 1}, float32.
    """
    if bits & (bits - 1) == 0 and classes <= 2 * bits:
        return hadamard_centres(classes, bits)
    return bernoulli_centres(key, classes, bits)


def row_centres(label_BxC: Array, centre_CxK: Array, tie_K: Array) -> jax.Array:
    """Return each row's target: the majority, bit by bit, of the centres of its labels.

    Args:
      label_BxC: multi-hot labels.
      centre_CxK: in {−1, 1}.
      tie_K: in {−1, 1}, the bits where there is no majority; fixed for the whole training.

    Returns:
      target_BxK in {−1, 1}, float.

    Raises:
      AssertionError: where the classes or bits differ.

    Source: Yuan et al., CVPR 2020.
    """
    chex.assert_equal(label_BxC.shape[1], centre_CxK.shape[0])
    chex.assert_equal(tie_K.shape[0], centre_CxK.shape[1])
    vote_BxK = (label_BxC > 0).astype(centre_CxK.dtype) @ centre_CxK
    return jnp.where(vote_BxK == 0, tie_K[None], jnp.sign(vote_BxK))


def csq(
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    centre_CxK: Array,
    tie_K: Array,
    quantization: float = 1e-4,
    pairwise: float = 0.0,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return the loss of central similarity quantization.

    `mean BCE(B, (t + 1) / 2) + λ₂ mean (|h| − 1)² + λ₁ mean_ij (log(1 + exp θ_ij) − S_ij θ_ij)`,
    `h = tanh z`, `B = (h + 1) / 2`, t the row's target, `θ_ij = 10 / K h_i · h_j`. Each term is at
    least 0; z far out on the target's side brings the first two to 0.

    Args:
      logit_BxK: z, real values.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      centre_CxK: see `hash_centres`.
      tie_K: see `row_centres`.
      quantization: λ₂. The paper has a smooth peer of its term (recalled).
      pairwise: λ₁; the official code trains with λ₁ = .2 and λ₂ = .05, its pairs those between the
        two halves of the batch, where here all pairs of different rows count.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `centre`, `quantization` and, where λ₁ is not 0, `pairs`: scalars
      whose mean over the devices is the value for the whole batch; 0 without a labelled row.

    Raises:
      AssertionError: where rows, classes or bits differ in number.

    Source: Yuan, Wang, Zhang, Tay, Jie, Liu and Feng, CVPR 2020.
    """
    target_BxK = row_centres(label_BxC, centre_CxK, tie_K)
    # The log-odds of B are 2z.
    bit_BxK = (target_BxK + 1) / 2
    entropy_B = multilabel_cross_entropy(2 * logit_BxK, bit_BxK) / logit_BxK.shape[-1]
    signed_BxK = jnp.tanh(logit_BxK)
    gap_B = ((jnp.abs(signed_BxK) - 1) ** 2).mean(-1)
    has_label_B = masking.has_label(label_BxC, is_labelled_B)
    terms = {
        "centre": masking.masked_mean(entropy_B, has_label_B, axis_name=axis_name),
        "quantization": masking.masked_mean(gap_B, has_label_B, axis_name=axis_name),
    }
    total = terms["centre"] + quantization * terms["quantization"]
    if weights.is_on(pairwise):
        scale = 10 / logit_BxK.shape[-1]
        rows = label_BxC, is_labelled_B
        terms["pairs"] = logistic_pairs(signed_BxK, *rows, scale=scale, axis_name=axis_name)
        total += pairwise * terms["pairs"]
    return total, terms


def dpn(
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    centre_CxK: Array,
    tie_K: Array,
    margin: float = 1.0,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return DPN's polarization loss: each value beyond a margin, on its target's side of 0.

    `mean max(m − z t, 0)`, t the row's target.

    Args:
      logit_BxK: z, real values.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      centre_CxK: see `bernoulli_centres`.
      tie_K: see `row_centres`.
      margin: m.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the term `centre`: scalars whose mean over the devices is the value for the
      whole batch; 0 without a labelled row.

    Raises:
      AssertionError: where rows, classes or bits differ in number.

    Source: Fan, Ng, Ju, Zhang and Chan, IJCAI 2020. Their targets may move during the training;
    these stay.
    """
    target_BxK = row_centres(label_BxC, centre_CxK, tie_K)
    value_B = jax.nn.relu(margin - logit_BxK * target_BxK).mean(-1)
    has_label_B = masking.has_label(label_BxC, is_labelled_B)
    total = masking.masked_mean(value_B, has_label_B, axis_name=axis_name)
    return total, {"centre": total}


def orthohash(
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    centre_CxK: Array,
    scale: float = 8.0,
    margin: float = 0.2,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return OrthoHash's loss: softmax cross-entropy of cosines to fixed targets, with a margin.

    `−Σ_c y_c / |y| log softmax(s (cos(z, t_c) − m y_c))_c`: one term, that needs no other.

    Args:
      logit_BxK: z, real values; the official network batch-normalises them.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      centre_CxK: t, see `bernoulli_centres` (the official default) and `hadamard_centres`.
      scale: s.
      margin: m.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the term `centre`, a scalar whose mean over the devices is the value for the
      whole batch; 0 without a labelled row.

    Raises:
      AssertionError: where rows, classes or bits differ in number.

    Source: Hoe, Ng, Zhang, Chan, Song and Xiang, NeurIPS 2021.
    """
    chex.assert_equal(label_BxC.shape[1], centre_CxK.shape[0])
    bits = logit_BxK.shape[-1]
    # Finite, value and slope, for a row of zeros.
    length_Bx1 = jnp.sqrt((logit_BxK**2).sum(-1, keepdims=True) + 1e-12)
    cosine_BxC = logit_BxK / length_Bx1 @ centre_CxK.T / bits**0.5
    is_label_BxC = (label_BxC > 0).astype(cosine_BxC.dtype)
    value_B = softmax_cross_entropy(scale * (cosine_BxC - margin * is_label_BxC), is_label_BxC)
    has_label_B = masking.has_label(label_BxC, is_labelled_B)
    total = masking.masked_mean(value_B, has_label_B, axis_name=axis_name)
    return total, {"centre": total}
