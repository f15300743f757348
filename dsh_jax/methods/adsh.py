"""ADSH: a network for the queries, and the database's codes as variables (Jiang and Li 2018)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from dsh_jax.methods import cnnh
from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks, mean_row, sum_blocks

EPSILON = 1e-12  # of squared lengths


class Parameters(NamedTuple):
    """A network of one hidden layer.

    Attributes:
      mean_D: subtracted from the features, float32.
      weight_DxH, bias_H: of the hidden layer, float32.
      weight_HxK, bias_K: of the bits, float32.
    """

    mean_D: jax.Array
    weight_DxH: jax.Array
    bias_H: jax.Array
    weight_HxK: jax.Array
    bias_K: jax.Array


def balanced(sets: cnnh.Sets) -> cnnh.Sets:
    """Weigh down dissimilar pairs: S = −r, r the similar pairs for each dissimilar one, not −1.

    With −1 the many dissimilar pairs of many classes decide, and most bits end constant.

    Args:
      sets: see `cnnh.label_sets`.

    Returns:
      Sets whose S adds up to 0 over all pairs.

    Source: the authors' code for Jiang and Li, AAAI 2018; the paper has −1.
    """
    count_U = jnp.bincount(sets.set_N, length=len(sets.similar_UxU)).astype(jnp.float32)
    pairs_UxU = jnp.outer(count_U, count_U)
    is_similar_UxU = sets.similar_UxU > 0
    similar = jnp.sum(pairs_UxU, where=is_similar_UxU)
    ratio = similar / jnp.maximum(jnp.sum(pairs_UxU, where=~is_similar_UxU), 1)
    return sets._replace(similar_UxU=jnp.where(is_similar_UxU, 1, -ratio))


@jax.jit
def asymmetric_loss(
    activation_MxK: jax.Array,
    set_M: jax.Array,
    code_MxK: jax.Array,
    sets: cnnh.Sets,
    sums: cnnh.Sums,
    *,
    gamma: float,
) -> jax.Array:
    """Compare sampled queries with the codes of all rows: the network's part of ADSH.

    `(Σ_j (u_i · v_j − K S_ij)² + gamma ||v_i − u_i||²) / (N K²)`, u = tanh z, j over all N rows.

    The sum over j is `u_i · G u_i − 2 K u_i · q_i + K² Σ_j S_ij²`, `G = Vᵀ V`,
    `q_i = Σ_j S_ij v_j`: it costs K² a query, not N K.

    Args:
      activation_MxK: u, in (−1, 1).
      set_M: the set of labels of each query.
      code_MxK: v_i, the queries' own codes; they are rows of the database too.
      sets: of all rows, see `cnnh.label_sets`.
      sums: G and q of each set, of the codes of all rows, see `cnnh.sums_of`.
      gamma: weight of a query's own code beside its N pairs.

    Returns:
      loss_M, float32, at least 0.

    Source: Jiang and Li, AAAI 2018, eq. (3).
    """
    bits, rows = activation_MxK.shape[1], len(sets.set_N)
    square_M = jnp.sum(activation_MxK @ sums.gram_KxK * activation_MxK, axis=1)
    cross_M = jnp.sum(activation_MxK * sums.pull_UxK[set_M], axis=1)
    count_U = jnp.bincount(sets.set_N, length=len(sets.similar_UxU))
    wanted_M = (sets.similar_UxU**2 @ count_U)[set_M]
    pairs_M = square_M - 2 * bits * cross_M + bits**2 * wanted_M
    gap_M = jnp.sum((code_MxK - activation_MxK) ** 2, axis=1)
    return (pairs_M + gamma * gap_M) / (rows * bits**2)


@jax.jit
def update_codes(
    code_NxK: jax.Array,
    activation_MxK: jax.Array,
    row_M: jax.Array,
    sets: cnnh.Sets,
    *,
    gamma: float,
) -> jax.Array:
    """Set the codes of all rows bit after bit, each bit at its best beside the others.

    `V_k = sgn(P_k − V' U'ᵀ U_k)`, `P = K Sᵀ U + gamma Ū`; V' and U' without bit k, Ū with rows of 0
    for those that are no queries. The loss, summed over the queries, never rises.

    Args:
      code_NxK: V in {−1, 1}.
      activation_MxK: U, of the queries.
      row_M: their numbers, all different.
      sets: of all rows, see `cnnh.label_sets`.
      gamma: see `asymmetric_loss`.

    Returns:
      code_NxK in {−1, 1}, float32.

    Source: Jiang and Li, AAAI 2018, eqs. (7) to (10), where Q = −2 P.
    """
    bits = code_NxK.shape[1]
    gram_KxK = activation_MxK.T @ activation_MxK
    total_UxK = jnp.zeros((len(sets.similar_UxU), bits)).at[sets.set_N[row_M]].add(activation_MxK)
    wanted_NxK = bits * (sets.similar_UxU.T @ total_UxK)[sets.set_N]
    wanted_NxK = wanted_NxK.at[row_M].add(gamma * activation_MxK)

    def set_bit(k, code_NxK):
        others_N = code_NxK @ gram_KxK[k] - code_NxK[:, k] * gram_KxK[k, k]
        return code_NxK.at[:, k].set(jnp.where(wanted_NxK[:, k] > others_N, 1.0, -1.0))

    return lax.fori_loop(0, bits, set_bit, code_NxK)


def fit(
    key: jax.Array,
    feature_NxD: jax.Array,
    label_NxC: np.ndarray,
    bits: int,
    *,
    rounds: int = 50,
    queries: int = 2000,
    epochs: int = 3,
    batch: int = 64,
    hidden: int = 512,
    learning_rate: float = 1e-3,
    gamma: float = 200.0,
    balance: bool = True,
    block: int = BLOCK,
) -> Parameters:
    """Learn a network of features and the codes of all training rows, in turn.

    Each round draws queries from the rows, trains the network on them by `asymmetric_loss`, and
    sets the codes by `update_codes`. Only the network is returned: the codes that were variables
    come from the labels of their rows, and to rank them, as the authors do, is to rank labels.

    Args:
      key: of the network and the codes to start from, and of the draws.
      feature_NxD: real values of labelled rows; the network sees them centred, and scaled to a mean
        square of 1.
      label_NxC: multi-hot, each row with a label at least.
      bits: the code length K.
      rounds: of queries and codes.
      queries: of a round; all N rows where there are fewer.
      epochs: of a round, over its queries.
      batch: queries of a step of Adam.
      hidden: units of the hidden layer.
      learning_rate: of Adam; it goes to 0 in a straight line.
      gamma: of both steps.
      balance: see `balanced`; False is the paper.
      block: rows in work at a time, for the mean.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, the labels do not fit them or
        lack in a row, or a number is below 1.

    Source: Jiang and Li, AAAI 2018, whose network is convolutional; rounds, queries, epochs and
    gamma are theirs.
    """
    feature_NxD = check_fit(feature_NxD, bits)
    sets = cnnh.label_sets(label_NxC)
    if len(sets.set_N) != len(feature_NxD):
        raise ValueError(
            f"there are {len(sets.set_N)} rows of labels, but {len(feature_NxD)} of features; pass "
            "those of the same rows"
        )
    numbers = {"rounds": rounds, "queries": queries, "epochs": epochs, "batch": batch}
    for name, number in (numbers | {"hidden": hidden}).items():
        if number < 1:
            raise ValueError(f"{name}={number}; pass at least 1")
    if balance:
        sets = balanced(sets)
    queries = min(queries, len(feature_NxD))
    return _fit(
        key, feature_NxD, sets, mean_row(feature_NxD, block), learning_rate, gamma,
        bits=bits, rounds=rounds, queries=queries, epochs=epochs, batch=min(batch, queries),
        hidden=hidden,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Apply the network: logit = relu((x − mean) W + c) W' + c'.

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, K); NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    check_features(feature_NxD, len(parameters.mean_D))
    mean_1xD = parameters.mean_D[None]
    return map_blocks(
        lambda row_BxD: _logit(parameters[1:], row_BxD - mean_1xD), feature_NxD, block
    )


def _logit(layers, row_BxD):
    weight_DxH, bias_H, weight_HxK, bias_K = layers
    return jax.nn.relu(row_BxD @ weight_DxH + bias_H[None]) @ weight_HxK + bias_K[None]


@functools.partial(
    jax.jit, static_argnames=("bits", "rounds", "queries", "epochs", "batch", "hidden")
)
def _fit(
    key, feature_NxD, sets, mean_D, learning_rate, gamma,
    *, bits, rounds, queries, epochs, batch, hidden,
):  # fmt: skip
    rows, columns = feature_NxD.shape
    square = sum_blocks(lambda x: jnp.sum((x - mean_D[None]) ** 2), feature_NxD, BLOCK)
    scale = lax.rsqrt(square / rows / columns + EPSILON)
    hidden_key, bits_key, code_key, draws = jax.random.split(key, 4)
    init = jax.nn.initializers.lecun_normal()
    layers = (
        init(hidden_key, (columns, hidden)), jnp.zeros(hidden),
        init(bits_key, (hidden, bits)), jnp.zeros(bits),
    )  # fmt: skip
    code_NxK = jnp.sign(jax.random.normal(code_key, (rows, bits)))
    batches = queries // batch
    adam = optax.adam(optax.linear_schedule(learning_rate, 0, rounds * epochs * batches))

    def activation(layers, row_M):
        row_MxD = feature_NxD[row_M].astype(jnp.float32) - mean_D[None]
        return jnp.tanh(_logit(layers, scale * row_MxD))

    def improve(turn, carry):
        layers, state, code_NxK = carry
        row_key, order_key = jax.random.split(jax.random.fold_in(draws, turn))
        row_M = jax.random.permutation(row_key, rows)[:queries]
        order_ExM = jax.vmap(lambda key: jax.random.permutation(key, row_M))(
            jax.random.split(order_key, epochs)
        )
        row_SxB = order_ExM[:, : batches * batch].reshape(-1, batch)
        sums = cnnh.sums_of(sets, code_NxK)

        def loss(layers, row_B):
            own = sets.set_N[row_B], code_NxK[row_B]
            return asymmetric_loss(activation(layers, row_B), *own, sets, sums, gamma=gamma).mean()

        def step(carry, row_B):
            layers, state = carry
            change, state = adam.update(jax.grad(loss)(layers, row_B), state)
            return (optax.apply_updates(layers, change), state), None

        (layers, state), _ = lax.scan(step, (layers, state), row_SxB)
        code_NxK = update_codes(code_NxK, activation(layers, row_M), row_M, sets, gamma=gamma)
        return layers, state, code_NxK

    start = layers, adam.init(layers), code_NxK
    layers, _, _ = lax.fori_loop(0, rounds, improve, start)
    return Parameters(mean_D, scale * layers[0], *layers[1:])
