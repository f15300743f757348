"""What unlabelled rows learn from the network's own average, the teacher.

    L + w(t) (λ_u · pseudo-labels on strong views + λ_h · consistency of B + λ_s · similarity of B)

The teacher sees the weak view of an image, the network the strong one. Each term is a function of
`losses`; not in the paper, whose objective has no term by which an unlabelled image could tell two
codes apart. The combination is that of FixMatch (Sohn et al. 2020) with the mean teacher of
Tarvainen and Valpola (2017).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dsh_jax.losses import masking, unlabelled
from dsh_jax.losses.objectives import Terms
from dsh_jax.losses.terms import multilabel_cross_entropy, softmax_cross_entropy
from dsh_jax.network import Outputs

# `(teacher's score_BxC, is_unlabelled_B, progress, axis_name) -> (label_BxC, is_confident)`
Labeller = Callable[..., tuple[jax.Array, jax.Array]]


def labeller(
    *,
    multilabel: bool,
    threshold: float,
    confident_share: float,
    prior_C: jax.Array,
    threshold_start: float = 0.0,
    temperature: float = 0.0,
    alignment: bool = False,
) -> Labeller:
    """Return what makes labels of a teacher's scores.

    Args:
      multilabel: whether the labels are multi-label.
      threshold: of one label a row, see `losses.pseudo_labels`.
      confident_share: of several, see `losses.multilabel_pseudo_labels`.
      prior_C: share of the labelled rows that have each class.
      threshold_start: at the first step, from which the threshold goes to its value in a straight
        line; 0 leaves it the same throughout.
      temperature: of one label a row, see `losses.pseudo_labels`.
      alignment: of one label a row, whether `losses.aligned_scores` come first.

    Returns:
      `(score_BxC, is_unlabelled_B, progress, axis_name) -> (label_BxC, is_confident)`; the latter
      is of the rows, [B], or of the labels, [B, C], where there may be several.

    Raises:
      ValueError: for a threshold outside (0, 1], or a threshold_start outside [0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(
            f"semi.threshold is {threshold}; a probability in (0, 1] is wanted, e.g. .95."
        )
    if not 0 <= threshold_start <= 1:
        raise ValueError(
            f"semi.threshold_start is {threshold_start}; a probability in (0, 1] is wanted, or 0 "
            "for the same threshold throughout."
        )

    def several(score_BxC, where_B, progress, axis_name):
        del progress
        return unlabelled.multilabel_pseudo_labels(
            score_BxC, where_B, jnp.asarray(prior_C), share=confident_share, axis_name=axis_name
        )

    def one(score_BxC, where_B, progress, axis_name):
        least = threshold
        if threshold_start:
            least = threshold_start + (threshold - threshold_start) * progress
        if alignment:
            score_BxC = unlabelled.aligned_scores(
                score_BxC, where_B, jnp.asarray(prior_C), axis_name=axis_name
            )
        label_BxC, is_confident_B = unlabelled.pseudo_labels(
            score_BxC, threshold=least, temperature=temperature
        )
        return label_BxC, is_confident_B & where_B

    return several if multilabel else one


def semi_objective(
    objective: Callable[..., tuple[jax.Array, Terms]],
    label_of: Labeller,
    *,
    multilabel: bool,
    pseudo_label: float,
    consistency: float,
    ramp: float,
    similarity: float = 0.0,
    similarity_temperature: float = 0.1,
) -> Callable[..., tuple[jax.Array, Terms]]:
    """Return an objective with the teacher's terms added.

    Args:
      objective: of the other terms; its batch then holds the `teacher`'s outputs and `progress`.
      label_of: see `labeller`.
      multilabel: whether the labels are multi-label.
      pseudo_label: λ_u, weight of the cross-entropy with the teacher's labels, over all unlabelled
        rows: one whose label is not believed counts as 0.
      consistency: λ_h, weight of `losses.consistency_loss`, over the unlabelled rows.
      ramp: share of the steps over which these weights rise, see `losses.ramp_up`.
      similarity: λ_s, weight of `losses.similarity_loss` among the unlabelled rows.
      similarity_temperature: its T.

    Returns:
      `(outputs, image, batch, axis_name) -> (total, terms)`.

    Raises:
      ValueError: for a negative weight.
    """
    weights = {"pseudo_label": pseudo_label, "consistency": consistency, "similarity": similarity}
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"semi.{name} is {weight}; a weight is at least 0.")

    def with_teacher(outputs: Outputs, image, batch, axis_name):
        total, terms = objective(outputs, image, batch, axis_name)
        teacher, where_B = batch["teacher"], ~batch["is_labelled"]
        factor = unlabelled.ramp_up(batch["progress"], share=ramp)
        terms["ramp"] = factor
        if pseudo_label:
            label_BxC, is_confident = label_of(teacher.score, where_B, batch["progress"], axis_name)
            if multilabel:
                value_B = multilabel_cross_entropy(outputs.score, label_BxC)
            else:
                value_B = softmax_cross_entropy(outputs.score, label_BxC) * is_confident
            terms["pseudo_label"] = masking.masked_mean(value_B, where_B, axis_name=axis_name)
            total += factor * pseudo_label * terms["pseudo_label"]
        if consistency:
            value_B = unlabelled.consistency_loss(outputs.bcoding, teacher.bcoding)
            terms["consistency"] = masking.masked_mean(value_B, where_B, axis_name=axis_name)
            total += factor * consistency * terms["consistency"]
        if similarity:
            value_B = unlabelled.similarity_loss(
                outputs.bcoding,
                teacher.bcoding,
                where_B,
                temperature=similarity_temperature,
                axis_name=axis_name,
            )
            terms["similarity"] = masking.masked_mean(value_B, where_B, axis_name=axis_name)
            total += factor * similarity * terms["similarity"]
        return total, terms

    return with_teacher


def confidence(
    label_of: Labeller,
    score_BxC: jax.Array,
    is_unlabelled_B: jax.Array,
    truth_BxC: jax.Array | None,
    progress: jax.Array,
    *,
    axis_name: str | None = None,
) -> Terms:
    """Return how much of the unlabelled rows the teacher's labels cover, and how much rightly.

    A diagnostic: nothing is trained by it.

    Args:
      label_of: see `labeller`.
      score_BxC: of the teacher.
      is_unlabelled_B: bool.
      truth_BxC: the hidden multi-hot labels, where they are known.
      progress: of the training, in [0, 1].
      axis_name: the mapped axis, or None.

    Returns:
      `confident`, the share of the unlabelled rows (or of their labels, where there may be several)
      that is believed, and with the truth `confident_right`, the share that is believed and right:
      their ratio is the accuracy of the believed ones.
    """
    label_BxC, is_confident = label_of(score_BxC, is_unlabelled_B, progress, axis_name)
    shares = {"confident": is_confident}
    if truth_BxC is not None and is_confident.ndim == 2:
        shares["confident_right"] = is_confident & ((label_BxC > 0.5) == (truth_BxC > 0))
    elif truth_BxC is not None:
        best_B = label_BxC.argmax(-1)
        is_right_B = jnp.take_along_axis(truth_BxC, best_B[:, None], axis=1)[:, 0] > 0
        shares["confident_right"] = is_confident & is_right_B
    return {
        name: masking.masked_mean(
            value.astype(jnp.float32).reshape(len(value), -1).mean(-1),
            is_unlabelled_B,
            axis_name=axis_name,
        )
        for name, value in shares.items()
    }
