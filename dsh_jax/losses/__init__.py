"""Losses as pure functions of arrays: of the paper, of other methods, of rows without labels.

    terms       every term of the paper's objective, a value for each row: eq. (4) and (5), K1, K2
    masking     which rows count, and their mean over all devices
    weights     the penalty of weights
    unlabelled  what rows without labels learn
    objectives  the paper's terms together, eq. (6)
    semi        the same with those of unlabelled rows
    pairs       losses over pairs of rows: HashNet, DHN, DCH, IDHN, DPSH, DSH
    triplets    over triplets: DTSH, NINH, DRSCH
    centres     towards fixed centres: CSQ, DPN, OrthoHash
    ranking     over whole rankings: average precision (TALR), MIHash

The first four are `losses` itself, `losses.multilabel_margin_loss`; the others are imported by
name: `from dsh_jax.losses import pairs`.
"""

from dsh_jax.losses.masking import check_unit, has_label, masked_mean
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
from dsh_jax.losses.unlabelled import (
    aligned_scores,
    consistency_loss,
    multilabel_pseudo_labels,
    pseudo_labels,
    ramp_up,
    similarity_loss,
)
from dsh_jax.losses.weights import is_on, kernels, weight_penalty

__all__ = [
    "aligned_scores",
    "balance_loss",
    "binarization_loss",
    "bit_balance_loss",
    "check_unit",
    "consistency_loss",
    "decorrelation_loss",
    "has_label",
    "is_on",
    "kernels",
    "masked_mean",
    "multilabel_cross_entropy",
    "multilabel_margin_loss",
    "multilabel_pseudo_labels",
    "pseudo_labels",
    "ramp_up",
    "reconstruction_loss",
    "similarity_loss",
    "softmax_cross_entropy",
    "weight_penalty",
]
