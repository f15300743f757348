"""Every term of the paper's objective, as pure functions of arrays.

One value per row comes out; the caller reduces with `masked_mean`, so that each term sees only the
rows it may use (classification: the labelled ones; the others: all). `objectives.dsh_objective`
puts the terms together as the paper does, `semi.semi_objective` adds those of unlabelled rows.
Nothing here imports TensorFlow.

Names: `bcoding_BxK` are the activations B of the bcoding layer in (0, 1), `score_BxC` the linear
outputs of the classifier W_C, `label_BxC` multi-hot labels in {0, 1}.
"""

from __future__ import annotations

from typing import Literal

import chex
import jax
import jax.numpy as jnp

from dsh_jax.losses.masking import check_unit
from dsh_jax.typed import Array


def softmax_cross_entropy(
    score_BxC: Array, label_BxC: Array, *, smoothing: float = 0.0
) -> jax.Array:
    """Return the cross-entropy between softmax scores and labels, eq. (4)'s L for one label.

    `-sum_c t_c log softmax(s)_c`, with t the labels scaled to sum to 1 and then smoothed:
    `t <- (1 - smoothing) t + smoothing / C`.

    Args:
      score_BxC: class scores, float.
      label_BxC: one-hot (or multi-hot) labels; a row without a label gives 0.
      smoothing: label smoothing in [0, 1) (Szegedy et al. 2016).

    Returns:
      loss_B in nats, float.

    Raises:
      ValueError: for concrete labels outside [0, 1].
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([score_BxC, label_BxC])
    check_unit("label_BxC", label_BxC)
    label_BxC = label_BxC.astype(score_BxC.dtype)
    count_Bx1 = label_BxC.sum(-1, keepdims=True)
    target_BxC = label_BxC / jnp.maximum(count_Bx1, 1)
    target_BxC = (1 - smoothing) * target_BxC + smoothing / score_BxC.shape[-1] * (count_Bx1 > 0)
    return -(target_BxC * jax.nn.log_softmax(score_BxC)).sum(-1)


def multilabel_margin_loss(
    score_BxC: Array, label_BxC: Array, *, exponent: Literal[1, 2] = 1
) -> jax.Array:
    """Return the multi-label margin loss, eq. (5) summed over the classes as in eq. (4).

    `sum_m 0 if (y=1 and s>=1) or (y=0 and s<=0), else |y - s|^p / 2`.

    The gradient is exactly 0 in the allowed zone, so W_C must not start at zero.

    Args:
      score_BxC: linear class scores, float.
      label_BxC: multi-hot labels.
      exponent: p; 1 is printed, 2 is the smooth form of Yang, Lin and Chen (2018).

    Returns:
      loss_B, float.

    Raises:
      ValueError: for another exponent, or concrete labels outside [0, 1].
      AssertionError: where the shapes differ.
    """
    if exponent not in (1, 2):
        raise ValueError(f"exponent is {exponent!r}; eq. (5) has 1 (printed) or 2.")
    chex.assert_equal_shape([score_BxC, label_BxC])
    check_unit("label_BxC", label_BxC)
    label_BxC = label_BxC.astype(score_BxC.dtype)
    # One hinge serves both cases: the distance to the allowed zone on the label's side.
    excess_BxC = jnp.where(label_BxC > 0, label_BxC - score_BxC, score_BxC)
    return 0.5 * (jax.nn.relu(excess_BxC) ** exponent).sum(-1)


def multilabel_cross_entropy(score_BxC: Array, label_BxC: Array) -> jax.Array:
    """Return the binary cross-entropy of each class, summed over the classes.

    `-sum_m y log s(f) + (1 - y) log s(-f)`, f the scores and s the logistic function: the smooth
    peer of eq. (5); not in the paper.

    Args:
      score_BxC: linear class scores (log-odds), float.
      label_BxC: multi-hot labels, or their probabilities.

    Returns:
      loss_B in nats, float, at least 0.

    Raises:
      ValueError: for concrete labels outside [0, 1], with which it has no lower bound.
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([score_BxC, label_BxC])
    check_unit("label_BxC", label_BxC)
    label_BxC = label_BxC.astype(score_BxC.dtype)
    there_BxC, absent_BxC = jax.nn.log_sigmoid(score_BxC), jax.nn.log_sigmoid(-score_BxC)
    return -(label_BxC * there_BxC + (1 - label_BxC) * absent_BxC).sum(-1)


def binarization_loss(bcoding_BxK: Array) -> jax.Array:
    """Return minus the mean squared distance of activations from 1/2: the objective's third term.

    `-mean_k (b_k - 1/2)^2`, in [-1/4, 0]; -1/4 where every bit is 0 or 1. The paper prints the sum
    over the bits, which is K times as much.

    Args:
      bcoding_BxK: activations in [0, 1].

    Returns:
      loss_B, float.

    Raises:
      ValueError: for concrete activations outside [0, 1], with which it has no lower bound.
    """
    check_unit("bcoding_BxK", bcoding_BxK)
    return -jnp.mean((bcoding_BxK - 0.5) ** 2, axis=-1)


def balance_loss(bcoding_BxK: Array) -> jax.Array:
    """Return the squared distance of a code's mean from 1/2, the objective's fourth term.

    `(mean_k b_k - 1/2)^2`, in [0, 1/4]. It balances the bits within one code; it can neither
    balance one bit over the data nor revive a dead one (see `bit_balance_loss`).

    Args:
      bcoding_BxK: activations in [0, 1].

    Returns:
      loss_B, float.

    Raises:
      ValueError: for concrete activations outside [0, 1].
    """
    check_unit("bcoding_BxK", bcoding_BxK)
    return (jnp.mean(bcoding_BxK, axis=-1) - 0.5) ** 2


def bit_balance_loss(bcoding_BxK: Array, *, axis_name: str | None = None) -> jax.Array:
    """Return how far each bit's mean over the rows is from 1/2; an extra, not in the paper.

    `mean_k (mean_n b_nk - 1/2)^2`.

    Args:
      bcoding_BxK: activations in [0, 1].
      axis_name: the mapped axis whose devices share the statistics, or None.

    Returns:
      A scalar in [0, 1/4], float.

    Raises:
      ValueError: for concrete activations outside [0, 1].
    """
    check_unit("bcoding_BxK", bcoding_BxK)
    mean_K = bcoding_BxK.mean(0)
    if axis_name is not None:
        mean_K = jax.lax.pmean(mean_K, axis_name)
    return jnp.mean((mean_K - 0.5) ** 2)


def decorrelation_loss(bcoding_BxK: Array, *, axis_name: str | None = None) -> jax.Array:
    """Return the mean squared covariance between different bits; an extra, not in the paper.

    `mean_{j != k} C_jk^2`, with C the covariance of `2b - 1` over the rows.

    Args:
      bcoding_BxK: activations in [0, 1].
      axis_name: the mapped axis whose devices share the statistics, or None.

    Returns:
      A scalar in [0, 1], float; 0 for a single bit.

    Raises:
      ValueError: for concrete activations outside [0, 1].
    """
    check_unit("bcoding_BxK", bcoding_BxK)
    signed_BxK = 2 * bcoding_BxK - 1
    mean_K, second_KxK = signed_BxK.mean(0), signed_BxK.T @ signed_BxK / signed_BxK.shape[0]
    if axis_name is not None:
        mean_K, second_KxK = jax.lax.pmean((mean_K, second_KxK), axis_name)
    covariance_KxK = second_KxK - jnp.outer(mean_K, mean_K)
    bits = covariance_KxK.shape[0]
    off_KxK = covariance_KxK * (1 - jnp.eye(bits, dtype=covariance_KxK.dtype))
    return (off_KxK**2).sum() / max(bits * (bits - 1), 1)


def reconstruction_loss(
    image_BxHxWxC: Array, decoded_BxHxWxC: Array, *, kind: Literal["mse", "bce"] = "mse"
) -> jax.Array:
    """Return how far the decoder's image is from the input, mean over pixels and channels.

    `mse`: `mean (x - x')^2`; `bce`: `-mean x log x' + (1 - x) log(1 - x')` in nats.

    Args:
      image_BxHxWxC: images in [0, 1], float.
      decoded_BxHxWxC: the decoder's images in [0, 1], float.
      kind: `mse` or `bce`.

    Returns:
      loss_B, float.

    Raises:
      ValueError: for another kind, or concrete images outside [0, 1].
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([image_BxHxWxC, decoded_BxHxWxC])
    check_unit("image_BxHxWxC", image_BxHxWxC)
    check_unit("decoded_BxHxWxC", decoded_BxHxWxC)
    if kind == "mse":
        value = (image_BxHxWxC - decoded_BxHxWxC) ** 2
    elif kind == "bce":
        # Float32 cannot hold 1 - 1e-8: clip where the logarithm is still finite.
        safe = jnp.clip(decoded_BxHxWxC, 1e-6, 1 - 1e-6)
        value = -(image_BxHxWxC * jnp.log(safe) + (1 - image_BxHxWxC) * jnp.log1p(-safe))
    else:
        raise ValueError(f"reconstruction kind is {kind!r}; it must be 'mse' or 'bce'.")
    return value.mean(axis=(1, 2, 3))
