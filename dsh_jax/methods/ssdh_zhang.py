"""SSDH of Zhang and Peng (2017): a semi-supervised objective with a graph made in every batch.

Three different methods are called SSDH; this is that of Zhang and Peng, IEEE TCSVT.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from dsh_jax import losses
from dsh_jax.losses import triplets
from dsh_jax.losses.pairs import Terms, label_pairs, square_distances
from dsh_jax.losses.triplets import Triplets
from dsh_jax.parallel import all_rows

# Ranks 114 to 123 of a batch of 128 are where negatives of the graph come from.
FAR = (114 / 128, 124 / 128)


def graph_triplets(
    key: jax.Array, feature_NxF: jax.Array, *, neighbours: int = 8, far: tuple[float, float] = FAR
) -> Triplets:
    """Draw a near and a far row for every row, by distances within the batch.

    Args:
      key: of the draws.
      feature_NxF: real values; no gradient goes through the order that they give.
      neighbours: the positive is one of so many nearest other rows, of a third of the batch at
        most.
      far: the negative's rank, nearest first, is between these shares of the batch.

    Returns:
      Triplets.
    """
    rows = len(feature_NxF)
    square_NxN = square_distances(jax.lax.stop_gradient(feature_NxF))
    # The row itself is first, whatever rounding says: rank r is the r-th nearest other row.
    order_NxN = jnp.where(jnp.eye(rows, dtype=bool), -jnp.inf, square_NxN).argsort(-1)
    start = int(far[0] * rows)
    near_key, far_key = jax.random.split(key)
    near_N = 1 + jax.random.randint(near_key, (rows,), 0, max(min(neighbours, rows // 3), 1))
    far_N = jax.random.randint(far_key, (rows,), start, max(int(far[1] * rows), start + 1))
    rank_Nx2 = jnp.minimum(jnp.stack([near_N, far_N], axis=1), rows - 1)
    partner_Nx2 = jnp.take_along_axis(order_NxN, rank_Nx2, axis=1)
    return Triplets(partner_Nx2[:, 0], partner_Nx2[:, 1], jnp.full(rows, rows > 1))


def pseudo_triplets(
    key: jax.Array, score_NxC: jax.Array, label_NxC: jax.Array, has_label_N: jax.Array
) -> Triplets:
    """Draw partners for the rows without labels, by the classes that the network sees in them.

    Of an anchor, the class of the highest score is taken for its label, that of the lowest for one
    that it has not. A positive has the one and not the other, a negative the reverse; of rows with
    labels their labels count, of the others the class of the highest score.

    Args:
      key: of the draws.
      score_NxC: class scores; no gradient goes through them.
      label_NxC: multi-hot labels.
      has_label_N: which rows' labels are known, bool.

    Returns:
      Triplets; rows with labels have none.
    """
    rows, classes = score_NxC.shape
    score_NxC = jax.lax.stop_gradient(score_NxC)
    best_N, worst_N = score_NxC.argmax(-1), score_NxC.argmin(-1)
    has_NxC = jnp.where(has_label_N[:, None], label_NxC > 0, jax.nn.one_hot(best_N, classes) > 0)
    # Entry (i, j): whether row j has the class that row i is taken to have, or not to have.
    has_best_NxN, has_worst_NxN = has_NxC.T[best_N], has_NxC.T[worst_N]
    anchor_NxN = ~has_label_N[:, None] & ~jnp.eye(rows, dtype=bool)
    positive_NxN = anchor_NxN & has_best_NxN & ~has_worst_NxN
    negative_NxN = anchor_NxN & has_worst_NxN & ~has_best_NxN
    positive_key, negative_key = jax.random.split(key)
    return Triplets(
        triplets.draw(positive_key, positive_NxN),
        triplets.draw(negative_key, negative_NxN),
        positive_NxN.any(-1) & negative_NxN.any(-1),
    )


def contrastive_loss(code_NxK: jax.Array, partners: Triplets, *, margin: float = 3.0) -> jax.Array:
    """Return `½ mean [ ||a − p||² + max(0, m − ||a − n||)² ]`.

    Args:
      code_NxK: real-valued codes.
      partners: of these rows.
      margin: m, of a distance, not of its square.

    Returns:
      A scalar, float; 0 without a triplet. Equal rows have distance 0 and no slope.
    """
    near_N = ((code_NxK - code_NxK[partners.positive_N]) ** 2).sum(-1)
    square_N = ((code_NxK - code_NxK[partners.negative_N]) ** 2).sum(-1)
    is_apart_N = square_N > 0
    far_N = jnp.where(is_apart_N, jnp.sqrt(jnp.where(is_apart_N, square_N, 1)), 0)
    value_N = near_N + jax.nn.relu(margin - far_N) ** 2
    return losses.masked_mean(value_N, partners.counts_N) / 2


def ssdh(
    key: jax.Array,
    bcoding_BxK: jax.Array,
    feature_BxF: jax.Array,
    score_BxC: jax.Array,
    label_BxC: jax.Array,
    is_labelled_B: jax.Array,
    *,
    unlabelled: float | jax.Array = 0.1,
    margin: float = 1.0,
    pair_margin: float = 3.0,
    neighbours: int = 8,
    far: tuple[float, float] = FAR,
    official: bool = False,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return the objective of ranking, graph embedding, pseudo-label pairs and classification.

    `½ mean hinge of label triplets + λ graph + λ pseudo + classification`; graph and pseudo are
    `contrastive_loss`. The official code counts a row among its own neighbours and likes, which
    costs nothing; here partners are other rows.

    Args:
      key: of the triplets, the same on all devices.
      bcoding_BxK: codes in (0, 1).
      feature_BxF: that make the graph: FC7 in the paper, the codes in the official settings.
      score_BxC: class scores (log-odds), of a linear layer on FC7 in the official network.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      unlabelled: λ; 0 (traced, perhaps) while the network is too young for a graph.
      margin: of the ranking.
      pair_margin: of the pairs; 2.5 in the official settings for 12 bits.
      neighbours: see `graph_triplets`.
      far: see `graph_triplets`; (120 / 128, 124 / 128) in the official settings for 12 bits.
      official: whether classification is `½ ||sigmoid(s) − y||²`, whose gradient the official code
        has (it prints another value), not binary cross-entropy; both summed over the classes.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `ranking`, `graph`, `pseudo` and `classification`: equal on all
      devices; each 0 where no row has what it needs.

    Raises:
      AssertionError: where rows or classes differ in number.

    Source: Zhang and Peng, IEEE TCSVT 2017.
    """
    chex.assert_equal_shape_prefix([bcoding_BxK, feature_BxF, score_BxC, is_labelled_B], 1)
    chex.assert_equal_shape([score_BxC, label_BxC])
    code_NxK, feature_NxF, score_NxC, label_NxC, is_labelled_N = (
        all_rows(value, axis_name)
        for value in (bcoding_BxK, feature_BxF, score_BxC, label_BxC, is_labelled_B)
    )
    pairs = label_pairs(label_NxC, is_labelled_N)
    rank_key, graph_key, pseudo_key = jax.random.split(key, 3)
    ranked = triplets.sample(rank_key, pairs, apart=True)
    graph = graph_triplets(graph_key, feature_NxF, neighbours=neighbours, far=far)
    pseudo = pseudo_triplets(pseudo_key, score_NxC, label_NxC, pairs.has_label_N)
    if official:
        value_N = ((jax.nn.sigmoid(score_NxC) - (label_NxC > 0)) ** 2).sum(-1) / 2
    else:
        value_N = losses.multilabel_cross_entropy(score_NxC, label_NxC)
    terms = {
        "ranking": triplets.ranking_loss(code_NxK, ranked, margin=margin) / 2,
        "graph": contrastive_loss(code_NxK, graph, margin=pair_margin),
        "pseudo": contrastive_loss(code_NxK, pseudo, margin=pair_margin),
        "classification": losses.masked_mean(value_N, pairs.has_label_N),
    }
    supervised = terms["ranking"] + terms["classification"]
    return supervised + unlabelled * (terms["graph"] + terms["pseudo"]), terms
