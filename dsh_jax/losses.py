"""Every term of the paper's objective, as pure functions of arrays.

One value per row comes out; the caller reduces with `masked_mean`, so that each term sees only the
rows it may use (classification: the labelled ones; the others: all). `objectives.dsh_objective`
puts the terms together as the paper does, `semi.semi_objective` adds those of unlabelled rows.
Nothing here imports TensorFlow.

Names: `bcoding_BxK` are the activations B of the bcoding layer in (0, 1), `score_BxC` the linear
outputs of the classifier W_C, `label_BxC` multi-hot labels in {0, 1}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import numpy as np


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


def multilabel_cross_entropy(score_BxC: jax.Array, label_BxC: jax.Array) -> jax.Array:
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


def binarization_loss(bcoding_BxK: jax.Array) -> jax.Array:
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


def balance_loss(bcoding_BxK: jax.Array) -> jax.Array:
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


def bit_balance_loss(bcoding_BxK: jax.Array, *, axis_name: str | None = None) -> jax.Array:
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


def decorrelation_loss(bcoding_BxK: jax.Array, *, axis_name: str | None = None) -> jax.Array:
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


def pseudo_labels(score_BxC: jax.Array, *, threshold: float) -> tuple[jax.Array, jax.Array]:
    """Return the likeliest class of each row, and where it is likely enough to be believed.

    `argmax_c p_c`, where `max_c p_c >= threshold`, p the softmax of the scores (Lee 2013, Sohn et
    al. 2020). Not in the paper.

    Args:
      score_BxC: class scores of the teacher, float.
      threshold: least probability, in (0, 1].

    Returns:
      label_BxC, one-hot float, and is_confident_B, bool.

    Raises:
      ValueError: for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a probability in (0, 1] is wanted, e.g. .95.")
    probability_BxC = jax.nn.softmax(score_BxC)
    label_BxC = jax.nn.one_hot(score_BxC.argmax(-1), score_BxC.shape[-1], dtype=score_BxC.dtype)
    return label_BxC, probability_BxC.max(-1) >= threshold


def multilabel_pseudo_labels(
    score_BxC: jax.Array,
    where_B: jax.Array,
    prior_C: jax.Array,
    *,
    share: float,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return the teacher's labels of rows that may have several, and which of them are believed.

    Of U rows, class c is expected in `prior_c U`. It is believed to be there in the `share` of that
    number where it is likeliest, and absent in the `share` of the others where it is least likely:
    a threshold for each class, matched to the labels' prior. In between stands the teacher's own
    probability (Tarvainen and Valpola 2017). Not in the paper.

    Args:
      score_BxC: log-odds of the teacher, float.
      where_B: the rows to label, bool; the others are not read.
      prior_C: share of rows that have each class, in [0, 1].
      share: of the expected rows, in (0, 1].
      axis_name: the mapped axis whose devices share the U rows, or None.

    Returns:
      label_BxC: 1, 0 or the probability; is_confident_BxC: bool, False where not `where_B`.

    Raises:
      ValueError: for a share outside (0, 1], or a concrete prior outside [0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; a share of the rows in (0, 1] is wanted, e.g. .5.")
    check_unit("prior_C", prior_C)
    all_NxC, where_N = score_BxC, where_B
    if axis_name is not None:
        all_NxC, where_N = (
            jax.lax.all_gather(value, axis_name, tiled=True) for value in (score_BxC, where_B)
        )
    rows = where_N.sum()
    # How many rows have a higher score: the first of equal ones is not favoured.
    above_BxC = ((all_NxC[None] > score_BxC[:, None]) & where_N[None, :, None]).sum(1)
    below_BxC = ((all_NxC[None] < score_BxC[:, None]) & where_N[None, :, None]).sum(1)
    expected_C = prior_C.astype(score_BxC.dtype) * rows
    # The half rounds: a class expected in less than one row is not believed in any.
    is_there_BxC = above_BxC + 0.5 <= share * expected_C[None]
    is_absent_BxC = below_BxC + 0.5 <= share * (rows - expected_C[None])
    is_confident_BxC = (is_there_BxC ^ is_absent_BxC) & where_B[:, None]
    label_BxC = jnp.where(
        is_confident_BxC, is_there_BxC.astype(score_BxC.dtype), jax.nn.sigmoid(score_BxC)
    )
    return label_BxC, is_confident_BxC


def consistency_loss(bcoding_BxK: jax.Array, teacher_BxK: jax.Array) -> jax.Array:
    """Return the squared distance between the activations of two views of an image, mean over bits.

    `mean_k (b_k - t_k)^2`, t held fixed (Laine and Aila 2017). Not in the paper.

    Args:
      bcoding_BxK: activations of the strong view, in [0, 1].
      teacher_BxK: the teacher's, of the weak view.

    Returns:
      loss_B, float.

    Raises:
      AssertionError: where the shapes differ.
    """
    chex.assert_equal_shape([bcoding_BxK, teacher_BxK])
    return jnp.mean((bcoding_BxK - jax.lax.stop_gradient(teacher_BxK)) ** 2, axis=-1)


def ramp_up(progress: jax.Array, *, share: float) -> jax.Array:
    """Return the factor of a weight that rises from nearly 0 to 1: `exp(-5 (1 - t)^2)`.

    t goes from 0 to 1 over the first `share` of training (Laine and Aila 2017).

    Args:
      progress: of the training, in [0, 1].
      share: in [0, 1]; 0 is no ramp.

    Returns:
      A scalar in (0, 1].

    Raises:
      ValueError: for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"ramp is {share}; a share of the steps in [0, 1] is wanted.")
    if share == 0:
        return jnp.ones_like(progress)
    return jnp.exp(-5 * (1 - jnp.minimum(progress / share, 1)) ** 2)


def kernels(params: Any, parts: Sequence[str] | None = None) -> Any:
    """Return which parameters are kernels, those that weight decay and penalty may touch.

    Args:
      params: a tree of parameters; kernels are the leaves named `kernel`.
      parts: names of the tree's uppermost nodes, such as `encoder`, in which to look; None for all.

    Returns:
      A tree of bools.

    Raises:
      ValueError: for a part that the tree has not.
    """
    if unknown := sorted(set(parts or ()) - set(params)):
        raise ValueError(f"there is no part {unknown[0]!r}; there are {', '.join(sorted(params))}.")
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel" and (parts is None or path[0].key in parts), params
    )


def weight_penalty(params: Any, *, parts: Sequence[str] | None = None) -> jax.Array:
    """Return the sum of squares over kernels, the objective's second term.

    `||W||^2`; biases and normalisation parameters never count. The paper leaves W open: it should
    be kernels that the other terms train, for the penalty alone would take the rest apart.

    Args:
      params: a tree of parameters, see `kernels`.
      parts: W, names of uppermost nodes; None for all.

    Returns:
      A scalar, float.

    Raises:
      ValueError: for a part that there is not, or where no kernel is left.
    """
    is_chosen = kernels(params, parts)
    leaves = zip(jax.tree.leaves(params), jax.tree.leaves(is_chosen), strict=True)
    chosen = [leaf for leaf, is_one in leaves if is_one]
    if not chosen:
        raise ValueError(f"no leaf named 'kernel' in {parts or 'params'}: nothing to penalise.")
    return jnp.sum(jnp.stack([jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in chosen]))


def is_on(weight: float | jax.Array) -> bool:
    """Return whether a term of this weight is computed: not for 0, always for a traced weight."""
    return isinstance(weight, jax.core.Tracer) or bool(weight)


def has_label(label_BxC: jax.Array, is_labelled_B: jax.Array) -> jax.Array:
    """Return the rows that supervised terms average over: labelled, with at least one label.

    Args:
      label_BxC: multi-hot labels.
      is_labelled_B: which rows have been labelled, bool.

    Returns:
      bool [B].

    Raises:
      AssertionError: where the rows differ in number.
    """
    chex.assert_equal_shape_prefix([label_BxC, is_labelled_B], 1)
    return is_labelled_B & (label_BxC != 0).any(-1)  # so that a label that is no number shows


def check_unit(name: str, value: jax.Array) -> None:
    """Refuse concrete numbers outside [0, 1]; traced ones, in jit or grad, pass unseen.

    Args:
      name: of the argument, for the message.
      value: labels, probabilities, activations or pixels.

    Raises:
      ValueError: where one is outside, by more than rounding.
    """
    if isinstance(value, jax.core.Tracer) or not np.size(value):
        return
    array = np.asarray(value)  # first: a minimum of JAX would be traced where others are
    low, high = float(array.min()), float(array.max())
    slack = 1e-2 if array.dtype in (np.float16, jnp.bfloat16) else 1e-6
    if not (low >= -slack and high <= 1 + slack):  # NaN is outside too
        raise ValueError(
            f"{name} lies in [{low:g}, {high:g}], but values in [0, 1] are wanted: map codes t in "
            "{−1, 1} by (t + 1) / 2, and pixels by x / 255."
        )


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
