"""Objectives of training: the paper's, of arrays, and objectives of the network's outputs.

The latter are `(outputs, image, batch, axis_name) -> (total, terms)`, see `step.train_step`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from dsh_jax.losses import masking, weights
from dsh_jax.losses.terms import (
    balance_loss,
    binarization_loss,
    bit_balance_loss,
    decorrelation_loss,
    multilabel_cross_entropy,
    multilabel_margin_loss,
    reconstruction_loss,
    softmax_cross_entropy,
)
from dsh_jax.network import Outputs
from dsh_jax.typed import Array

Terms = dict[str, jax.Array]


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
    autoencoder apart; register: joint or two stages). `losses.binarization_loss` carries the minus
    sign.

    Args:
      score_BxC: linear class scores.
      bcoding_BxK: activations in [0, 1] that the third and fourth term see.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      x: weight of the classification term, over the rows with labels, see `losses.has_label`.
      y: weight of the binarization term, over all rows.
      z: weight of the balance term, over all rows.
      r: weight of the reconstruction term, over all rows; 0 needs no images.
      bit_balance: weight of `losses.bit_balance_loss`.
      decorrelation: weight of `losses.decorrelation_loss`.
      image_BxHxWxC: images in [0, 1].
      decoded_BxHxWxC: the decoder's images.
      multilabel: `multilabel_loss` where True, softmax cross-entropy where False.
      multilabel_loss: `margin`, eq. (5), or `bce`, see `losses.multilabel_cross_entropy`.
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

    def reduce(value_B: Array, where_B: Array) -> jax.Array:
        if reduction == "mean":
            return masking.masked_mean(value_B, where_B, axis_name=axis_name)
        return devices * jnp.where(where_B, value_B, 0).sum()

    per_code = 1 if reduction == "mean" else bits  # ||b - p/2||^2 is K times the mean
    terms = {
        "classification": reduce(classification_B, masking.has_label(label_BxC, is_labelled_B)),
        "binarization": reduce(per_code * binarization_loss(bcoding_BxK), everywhere_B),
        "balance": reduce(balance_loss(bcoding_BxK), everywhere_B),
    }
    total = x * terms["classification"] + y * terms["binarization"] + z * terms["balance"]
    if weights.is_on(r):
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


def hashing_objective(
    *,
    multilabel: bool,
    applied_to: str,
    r: float = 0.0,
    reconstruction_end: float = 1.0,
    **options: Any,
) -> Callable[..., tuple[jax.Array, Terms]]:
    """Return the second stage's (or the joint) objective, ready for `train_step`.

    Args:
      multilabel: whether the labels are multi-label.
      applied_to: what the binarization and balance terms see: `bcoding` (B), or `sigmoid`, a^H
        before the outer tanh as the paper prints it.
      r: weight of the reconstruction at the first step.
      reconstruction_end: its share that is left at the last step, reached in a straight line over
        the batch's `progress`.
      **options: weights and options of `dsh_objective`.

    Returns:
      `(outputs, image, batch, axis_name) -> (total, terms)`.

    Raises:
      ValueError: for another applied_to, or a reconstruction_end outside [0, 1].
    """
    if applied_to not in ("bcoding", "sigmoid"):
        raise ValueError(f"applied_to is {applied_to!r}; it must be 'bcoding' or 'sigmoid'.")
    if not 0 <= reconstruction_end <= 1:
        raise ValueError(f"reconstruction_end is {reconstruction_end}; it must be in [0, 1].")

    def objective(outputs: Outputs, image, batch, axis_name):
        activation = outputs.bcoding if applied_to == "bcoding" else jax.nn.sigmoid(outputs.logit)
        weight = r
        if reconstruction_end != 1 and weights.is_on(r):
            weight = r * (1 - (1 - reconstruction_end) * batch["progress"])
        return dsh_objective(
            outputs.score,
            activation,
            batch["label"],
            batch["is_labelled"],
            image_BxHxWxC=image,
            decoded_BxHxWxC=outputs.decoded,
            multilabel=multilabel,
            r=weight,
            axis_name=axis_name,
            **options,
        )

    return objective


def autoencoder_objective(
    *, reconstruction: Literal["mse", "bce"]
) -> Callable[..., tuple[jax.Array, Terms]]:
    """Return the first stage's objective: reconstruction of every row, labels unread.

    Args:
      reconstruction: `mse` or `bce`.

    Returns:
      `(outputs, image, batch, axis_name) -> (total, terms)`.
    """

    def objective(outputs: Outputs, image, batch, axis_name):
        del batch, axis_name
        if outputs.decoded is None:
            raise ValueError("no image was decoded: this objective needs `decode=True`.")
        value_B = reconstruction_loss(image, outputs.decoded, kind=reconstruction)
        return value_B.mean(), {"reconstruction": value_B.mean()}

    return objective
