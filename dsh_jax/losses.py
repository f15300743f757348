"""Every term of the paper's objective, as pure functions of arrays.

One value per row comes out; the caller reduces with `masked_mean`, so that each term sees only the
rows it may use (classification: the labelled ones; the others: all). `dsh_objective` puts the terms
together as the paper does. Nothing here imports TensorFlow.

Names: `bcoding_BxK` are the activations B of the bcoding layer in (0, 1), `score_BxC` the linear
outputs of the classifier W_C, `label_BxC` multi-hot labels in {0, 1}.
"""

from __future__ import annotations

from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp


def softmax_cross_entropy(
    score_BxC: jax.Array, label_BxC: jax.Array, *, smoothing: float = 0.0
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
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([score_BxC, label_BxC])
    label_BxC = label_BxC.astype(score_BxC.dtype)
    count_Bx1 = label_BxC.sum(-1, keepdims=True)
    target_BxC = label_BxC / jnp.maximum(count_Bx1, 1)
    target_BxC = (1 - smoothing) * target_BxC + smoothing / score_BxC.shape[-1] * (count_Bx1 > 0)
    return -(target_BxC * jax.nn.log_softmax(score_BxC)).sum(-1)


def multilabel_margin_loss(
    score_BxC: jax.Array, label_BxC: jax.Array, *, exponent: Literal[1, 2] = 1
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
      ValueError: for another exponent.
      AssertionError: where the shapes differ.
    """
    if exponent not in (1, 2):
        raise ValueError(f"exponent is {exponent!r}; eq. (5) has 1 (printed) or 2.")
    chex.assert_equal_shape([score_BxC, label_BxC])
    label_BxC = label_BxC.astype(score_BxC.dtype)
    # One hinge serves both cases: the distance to the allowed zone on the label's side.
    excess_BxC = jnp.where(label_BxC > 0, label_BxC - score_BxC, score_BxC)
    return 0.5 * (jax.nn.relu(excess_BxC) ** exponent).sum(-1)


def multilabel_cross_entropy(score_BxC: jax.Array, label_BxC: jax.Array) -> jax.Array:
    """Return the binary cross-entropy of each class, summed over the classes.

    `-sum_m y log s(f) + (1 - y) log s(-f)`, f the scores and s the logistic function: the smooth
    peer of eq. (5); not in the paper.

    Args:
      score_BxC: linear class scores (log-odds), float.
      label_BxC: multi-hot labels.

    Returns:
      loss_B in nats, float.

    Raises:
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([score_BxC, label_BxC])
    # log s(f) of a label that is there, log s(-f) of one that is not.
    signed_BxC = jnp.where(label_BxC > 0, score_BxC, -score_BxC)
    return -jax.nn.log_sigmoid(signed_BxC).sum(-1)


def binarization_loss(bcoding_BxK: jax.Array) -> jax.Array:
    """Return minus the mean squared distance of activations from 1/2: the objective's third term.

    `-mean_k (b_k - 1/2)^2`, in [-1/4, 0]; -1/4 where every bit is 0 or 1. The paper prints the sum
    over the bits, which is K times as much.

    Args:
      bcoding_BxK: activations in [0, 1].

    Returns:
      loss_B, float.
    """
    return -jnp.mean((bcoding_BxK - 0.5) ** 2, axis=-1)


def balance_loss(bcoding_BxK: jax.Array) -> jax.Array:
    """Return the squared distance of a code's mean from 1/2, the objective's fourth term.

    `(mean_k b_k - 1/2)^2`, in [0, 1/4]. It balances the bits within one code; it can neither
    balance one bit over the data nor revive a dead one (see `bit_balance_loss`).

    Args:
      bcoding_BxK: activations in [0, 1].

    Returns:
      loss_B, float.
    """
    return (jnp.mean(bcoding_BxK, axis=-1) - 0.5) ** 2


def bit_balance_loss(bcoding_BxK: jax.Array, *, axis_name: str | None = None) -> jax.Array:
    """Return how far each bit's mean over the rows is from 1/2; an extra, not in the paper.

    `mean_k (mean_n b_nk - 1/2)^2`.

    Args:
      bcoding_BxK: activations in [0, 1].
      axis_name: the mapped axis whose devices share the statistics, or None.

    Returns:
      A scalar, float.
    """
    mean_K = bcoding_BxK.mean(0)
    if axis_name is not None:
        mean_K = jax.lax.pmean(mean_K, axis_name)
    return jnp.mean((mean_K - 0.5) ** 2)


def decorrelation_loss(bcoding_BxK: jax.Array, *, axis_name: str | None = None) -> jax.Array:
    """Return the mean squared covariance between different bits; an extra, not in the paper.

    `mean_{j != k} C_jk^2`, with C the covariance of `2b - 1` over the rows.

    Args:
      bcoding_BxK: activations in [0, 1].
      axis_name: the mapped axis whose devices share the statistics, or None.

    Returns:
      A scalar, float; 0 for a single bit.
    """
    signed_BxK = 2 * bcoding_BxK - 1
    mean_K, second_KxK = signed_BxK.mean(0), signed_BxK.T @ signed_BxK / signed_BxK.shape[0]
    if axis_name is not None:
        mean_K, second_KxK = jax.lax.pmean((mean_K, second_KxK), axis_name)
    covariance_KxK = second_KxK - jnp.outer(mean_K, mean_K)
    bits = covariance_KxK.shape[0]
    off_KxK = covariance_KxK * (1 - jnp.eye(bits, dtype=covariance_KxK.dtype))
    return (off_KxK**2).sum() / max(bits * (bits - 1), 1)


def reconstruction_loss(
    image_BxHxWxC: jax.Array, decoded_BxHxWxC: jax.Array, *, kind: Literal["mse", "bce"] = "mse"
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
      ValueError: for another kind.
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([image_BxHxWxC, decoded_BxHxWxC])
    if kind == "mse":
        value = (image_BxHxWxC - decoded_BxHxWxC) ** 2
    elif kind == "bce":
        # Float32 cannot hold 1 - 1e-8: clip where the logarithm is still finite.
        safe = jnp.clip(decoded_BxHxWxC, 1e-6, 1 - 1e-6)
        value = -(image_BxHxWxC * jnp.log(safe) + (1 - image_BxHxWxC) * jnp.log1p(-safe))
    else:
        raise ValueError(f"reconstruction kind is {kind!r}; it must be 'mse' or 'bce'.")
    return value.mean(axis=(1, 2, 3))


def weight_penalty(params: Any, *, kernels: Literal["all", "classifier"] = "all") -> jax.Array:
    """Return the sum of squares over a named set of kernels, the objective's second term.

    `||W||^2`; biases and normalisation parameters never count. The paper leaves W open.

    Args:
      params: a tree of parameters; kernels are the leaves named `kernel`.
      kernels: `all`, or `classifier` for W_C alone.

    Returns:
      A scalar, float.

    Raises:
      ValueError: for another set, or where it selects nothing.
    """
    if kernels not in ("all", "classifier"):
        raise ValueError(f"kernels is {kernels!r}; it must be 'all' or 'classifier'.")
    chosen = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1].key == "kernel"
        and (kernels == "all" or any(part.key == "classifier" for part in path))
    ]
    if not chosen:
        raise ValueError(f"no leaf named 'kernel' in the set {kernels!r}: nothing to penalise.")
    return jnp.sum(jnp.stack([jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in chosen]))


def is_on(weight: float | jax.Array) -> bool:
    """Return whether a term of this weight is computed: not for 0, always for a traced weight."""
    return isinstance(weight, jax.core.Tracer) or bool(weight)


def masked_mean(
    value_B: jax.Array, where_B: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
    """Return the mean of the selected values, 0 where none is selected.

    With `axis_name`, the divisor is the mean count over the devices, so that the plain mean of the
    results over devices is the mean over all selected rows, however they are spread.

    Args:
      value_B: one value per row, float.
      where_B: which rows count, bool.
      axis_name: the mapped axis, or None.

    Returns:
      A scalar, float.
    """
    chex.assert_equal_shape([value_B, where_B])
    count = where_B.sum().astype(value_B.dtype)
    if axis_name is not None:
        count = jax.lax.pmean(count, axis_name)
    # A tiny floor would do for the division; count is either 0 or at least 1 / devices.
    safe = jnp.where(count > 0, count, 1)
    return jnp.where(where_B, value_B, 0).sum() / safe


def dsh_objective(
    score_BxC: jax.Array,
    bcoding_BxK: jax.Array,
    label_BxC: jax.Array,
    is_labelled_B: jax.Array,
    *,
    x: float = 1.0,
    y: float = 0.1,
    z: float = 0.1,
    r: float = 0.0,
    bit_balance: float = 0.0,
    decorrelation: float = 0.0,
    image_BxHxWxC: jax.Array | None = None,
    decoded_BxHxWxC: jax.Array | None = None,
    multilabel: bool = False,
    multilabel_loss: Literal["margin", "bce"] = "margin",
    exponent: Literal[1, 2] = 1,
    smoothing: float = 0.0,
    reconstruction: Literal["mse", "bce"] = "mse",
    reduction: Literal["mean", "sum"] = "mean",
    axis_name: str | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return the paper's objective without λ||W||^2, and each of its terms unweighted.

    `x L(y, s) - y ||b - 1/2||^2 + z (mean b - 1/2)^2 + r ||image - decoded||^2`, the unnumbered
    objective of section 3.4 with a reconstruction term of weight r beside it (the paper trains the
    autoencoder apart; register: joint or two stages). `binarization_loss` carries the minus sign.

    Args:
      score_BxC: linear class scores.
      bcoding_BxK: activations in [0, 1] that the third and fourth term see.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      x: weight of the classification term, over labelled rows.
      y: weight of the binarization term, over all rows.
      z: weight of the balance term, over all rows.
      r: weight of the reconstruction term, over all rows; 0 needs no images.
      bit_balance: weight of `bit_balance_loss`.
      decorrelation: weight of `decorrelation_loss`.
      image_BxHxWxC: images in [0, 1].
      decoded_BxHxWxC: the decoder's images.
      multilabel: `multilabel_loss` where True, softmax cross-entropy where False.
      multilabel_loss: `margin`, eq. (5), or `bce`, see `multilabel_cross_entropy`.
      exponent: of eq. (5).
      smoothing: label smoothing of the cross-entropy.
      reconstruction: `mse` or `bce`.
      reduction: `mean` over rows and bits, or `sum` as printed, whose weights then depend on the
        batch size and, for the third term, on K.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and a dict of the unweighted terms, scalars whose mean over the devices is the
      value for the whole batch (`sum`: the devices' total).

    Raises:
      ValueError: for a bad option, or r > 0 without images.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is {reduction!r}; it must be 'mean' or 'sum'.")
    if multilabel_loss not in ("margin", "bce"):
        raise ValueError(f"multilabel_loss is {multilabel_loss!r}; it must be 'margin' or 'bce'.")
    if not multilabel:
        classification_B = softmax_cross_entropy(score_BxC, label_BxC, smoothing=smoothing)
    elif multilabel_loss == "margin":
        classification_B = multilabel_margin_loss(score_BxC, label_BxC, exponent=exponent)
    else:
        classification_B = multilabel_cross_entropy(score_BxC, label_BxC)
    everywhere_B = jnp.ones_like(is_labelled_B, dtype=bool)
    bits = bcoding_BxK.shape[-1]
    devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)

    def reduce(value_B: jax.Array, where_B: jax.Array) -> jax.Array:
        if reduction == "mean":
            return masked_mean(value_B, where_B, axis_name=axis_name)
        return devices * jnp.where(where_B, value_B, 0).sum()

    per_code = 1 if reduction == "mean" else bits  # ||b - p/2||^2 is K times the mean
    terms = {
        "classification": reduce(classification_B, is_labelled_B),
        "binarization": reduce(per_code * binarization_loss(bcoding_BxK), everywhere_B),
        "balance": reduce(balance_loss(bcoding_BxK), everywhere_B),
    }
    total = x * terms["classification"] + y * terms["binarization"] + z * terms["balance"]
    if is_on(r):
        if image_BxHxWxC is None or decoded_BxHxWxC is None:
            raise ValueError(
                f"r is {r}, so the reconstruction term counts, but an image or its decoding is "
                "missing: pass both, or set r=0."
            )
        value_B = reconstruction_loss(image_BxHxWxC, decoded_BxHxWxC, kind=reconstruction)
        terms["reconstruction"] = reduce(value_B, everywhere_B)
        total += r * terms["reconstruction"]
    if bit_balance:
        terms["bit_balance"] = bit_balance_loss(bcoding_BxK, axis_name=axis_name)
        total += bit_balance * terms["bit_balance"]
    if decorrelation:
        terms["decorrelation"] = decorrelation_loss(bcoding_BxK, axis_name=axis_name)
        total += decorrelation * terms["decorrelation"]
    return total, terms
