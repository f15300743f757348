"""Terms of rows without labels: a teacher's labels, and codes that agree with its own."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from dsh_jax.losses.masking import check_unit
from dsh_jax.typed import Array


def pseudo_labels(
    score_BxC: Array, *, threshold: float | Array, temperature: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Return the likeliest class of each row, and where it is likely enough to be believed.

    `argmax_c p_c`, where `max_c p_c >= threshold`, p the softmax of the scores (Lee 2013, Sohn et
    al. 2020). With a temperature T the label is not one class, but `softmax(score / T)`, as in
    UDA (Xie et al. 2020). Not in the paper.

    Args:
      score_BxC: class scores of the teacher, float.
      threshold: least probability, in (0, 1]; a traced value is taken as it is.
      temperature: T, at least 0; 0 is the likeliest class alone.

    Returns:
      label_BxC, float, whose rows sum to 1, and is_confident_B, bool.

    Raises:
      ValueError: for a threshold outside (0, 1], or a negative temperature.
    """
    if not isinstance(threshold, jax.Array) and not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a probability in (0, 1] is wanted, e.g. .95.")
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}; at least 0 is wanted, e.g. .4.")
    is_confident_B = jax.nn.softmax(score_BxC).max(-1) >= threshold
    if temperature:
        return jax.nn.softmax(score_BxC / temperature), is_confident_B
    label_BxC = jax.nn.one_hot(score_BxC.argmax(-1), score_BxC.shape[-1], dtype=score_BxC.dtype)
    return label_BxC, is_confident_B


def aligned_scores(
    score_BxC: Array, where_B: Array, prior_C: Array, *, axis_name: str | None = None
) -> jax.Array:
    """Return scores of which no class is expected more often than among the labelled rows.

    `log p_c + log(prior_c / mean p_c)`, p the softmax of the scores, its mean over the rows of this
    batch (distribution alignment, Berthelot et al. 2020). Not in the paper.

    Args:
      score_BxC: class scores of the teacher, float.
      where_B: the rows of the mean, bool.
      prior_C: share of rows that have each class, above 0.
      axis_name: the mapped axis whose devices share the rows, or None.

    Returns:
      score_BxC, float; as they were where `where_B` has no row.
    """
    log_BxC = jax.nn.log_softmax(score_BxC)
    sums = jnp.where(where_B[:, None], jnp.exp(log_BxC), 0).sum(0), where_B.sum()
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    total_C, rows = sums
    ratio_C = prior_C * rows / jnp.maximum(total_C, 1e-6)
    return log_BxC + jnp.where(rows > 0, jnp.log(ratio_C + 1e-12), 0)[None]


def multilabel_pseudo_labels(
    score_BxC: Array,
    where_B: Array,
    prior_C: Array,
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


def consistency_loss(bcoding_BxK: Array, teacher_BxK: Array) -> jax.Array:
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


def similarity_loss(
    bcoding_BxK: Array,
    teacher_BxK: Array,
    where_B: Array,
    *,
    temperature: float = 0.1,
    sharpening: float = 2.0,
    axis_name: str | None = None,
) -> jax.Array:
    """Return how far codes stand to the teacher's codes as the teacher's do among themselves.

    `-Σ_j q_ij log p_ij`, p_i the softmax over the rows j of `<u_i, v_j> / (K T)`, q_i that of
    `<v_i, v_j> / (K T)` sharpened, u = 2b - 1 and v = 2t - 1, t held fixed. Rows whose codes the
    teacher gives alike attract, all others repel, where `consistency_loss` only attracts. Not in
    the paper; after Zheng et al. 2021 (ReSSL), in whose sum the row itself is left out.

    Args:
      bcoding_BxK: activations of the strong views, in [0, 1].
      teacher_BxK: the teacher's, of the weak views.
      where_B: the rows to compare, bool; the others are neither i nor j.
      temperature: T, above 0.
      sharpening: the teacher's factor of the exponent, at least 1.
      axis_name: the mapped axis whose devices share the rows j, or None.

    Returns:
      loss_B, float, at least 0; 0 where not `where_B`.

    Raises:
      AssertionError: where the shapes differ.
      ValueError: for a temperature or sharpening out of its range.
    """
    chex.assert_equal_shape([bcoding_BxK, teacher_BxK])
    chex.assert_equal_shape_prefix([bcoding_BxK, where_B], 1)
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; above 0 is wanted, e.g. .1.")
    if sharpening < 1:
        raise ValueError(f"sharpening is {sharpening}; at least 1 is wanted, e.g. 2.")
    of_teacher_BxK = 2 * jax.lax.stop_gradient(teacher_BxK) - 1
    all_NxK, where_N = of_teacher_BxK, where_B
    if axis_name is not None:
        all_NxK, where_N = (
            jax.lax.all_gather(value, axis_name, tiled=True) for value in (of_teacher_BxK, where_B)
        )
    scale = bcoding_BxK.shape[-1] * temperature
    # Far below any similarity, yet a number: 0 times it is 0.
    hidden_N = jnp.where(where_N, 0.0, -1e4)

    def logits(code_BxK):
        return code_BxK @ all_NxK.T / scale

    log_p_BxN = jax.nn.log_softmax(logits(2 * bcoding_BxK - 1) + hidden_N[None])
    q_BxN = jax.nn.softmax(sharpening * logits(of_teacher_BxK) + hidden_N[None])
    return jnp.where(where_B, -(q_BxN * log_p_BxN).sum(-1), 0)


def ramp_up(progress: Array, *, share: float) -> jax.Array:
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
