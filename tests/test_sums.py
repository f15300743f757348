"""Long sums against `math.fsum` of float64 terms, in orders on which a running sum goes astray."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax import codes, metrics
from dsh_jax.methods import cnnh, itq, lsh, sdh
from dsh_jax.methods.rows import sum_blocks
from dsh_jax.metrics import graded, ranked
from dsh_jax.sums import pairwise_nanmean, pairwise_sum

pytestmark = pytest.mark.optimized

# The sum itself.


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 64, 65, 1000])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_whole_numbers_are_added_exactly_along_any_axis(length, axis):
    shape = [5, 3]
    shape[axis] = length
    value = np.random.default_rng(length).integers(-99, 99, shape).astype(np.float32)
    np.testing.assert_array_equal(pairwise_sum(value, axis), value.sum(axis))
    found = pairwise_sum(value.astype(np.int32), axis)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, value.sum(axis))


def pairs(value):
    """The tree of additions, by numpy in float32."""
    while len(value) > 1:
        value = np.append(value, np.zeros(-len(value) % 16, np.float32)).reshape(16, -1)
        while len(value) > 1:
            value = value[::2] + value[1::2]
        (value,) = value
    return value[0]


@pytest.mark.parametrize("length", [65, 4097, 300_000])
def test_no_compiler_changes_the_order(length):
    rng = np.random.default_rng(0)
    value = (rng.standard_normal(length) * 10.0 ** rng.integers(-6, 6, length)).astype(np.float32)
    is_in = rng.random(length) < 0.7
    inside = jax.jit(lambda value, is_in: 1 - pairwise_sum(jnp.where(is_in, value, 0)))
    assert inside(value, is_in) == 1 - pairs(np.where(is_in, value, np.float32(0)))
    of_rows = jax.jit(jax.vmap(pairwise_sum))(np.stack([value, -value, value[::-1]]))
    np.testing.assert_array_equal(of_rows, [pairs(value), -pairs(value), pairs(value[::-1])])
    along = jax.jit(functools.partial(pairwise_sum, axis=0))(np.stack([value, -value], axis=1))
    np.testing.assert_array_equal(along, [pairs(value), -pairs(value)])


def test_its_slope_is_1_everywhere():
    value = np.random.default_rng(0).random((3, 37)).astype(np.float32)
    slope = jax.grad(lambda value: (pairwise_sum(value) ** 2).sum())(value)
    np.testing.assert_allclose(slope, np.tile(2 * value.sum(1, keepdims=True), 37), rtol=1e-6)


def test_a_mean_leaves_nan_out():
    value = np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(pairwise_nanmean(value), [2, np.nan])
    np.testing.assert_array_equal(pairwise_nanmean(value, axis=0), [1, np.nan, 3])


# Rankings without ties.

TEN_MILLION = pytest.param(10_000_000, marks=pytest.mark.slow)
SIZES = [10_000, 100_000, 1_000_000, TEN_MILLION]
FEWER_SIZES = [10_000, 1_000_000, TEN_MILLION]
ORDERS = {
    "fading": lambda rank, u: u < 0.5 * (1 - rank / len(rank)),
    "half": lambda rank, u: u < 0.5,
    "rare": lambda rank, u: u < 1e-3,
    "all": lambda rank, u: rank > 0,
    "first": lambda rank, u: rank <= len(rank) // 10,
    "last": lambda rank, u: rank > len(rank) - len(rank) // 10,
    "odd ranks": lambda rank, u: rank % 2 == 1,
    "even ranks": lambda rank, u: rank % 2 == 0,
    "every third": lambda rank, u: rank % 3 == 1,
    "powers of two": lambda rank, u: rank & (rank - 1) == 0,
}


def relevance(order, items):
    rank = np.arange(1, items + 1)
    return ORDERS[order](rank, np.random.default_rng(0).random(items))


def precision_sum(is_relevant, k=None):
    """Of the precisions at the relevant ranks, among the first k."""
    rank = np.flatnonzero(is_relevant) + 1
    precision = np.arange(1, len(rank) + 1) / rank
    return math.fsum(precision if k is None else precision[rank <= k])


@pytest.mark.parametrize("items", SIZES)
@pytest.mark.parametrize("order", ORDERS)
def test_average_precision_without_ties(order, items):
    is_relevant = relevance(order, items)
    hits = is_relevant.sum()
    row = is_relevant[None].astype(np.int32)
    one = np.ones_like(row)
    wanted = precision_sum(is_relevant) / hits
    for average_precision in (
        metrics.average_precision,
        metrics.average_precision_optimistic,
        metrics.average_precision_pessimistic,
        functools.partial(metrics.average_precision_at, k=items),
        lambda _, row: ranked.average_precision_ranked(row, row.sum(axis=1)),
    ):
        found = average_precision(one, row)[0]
        assert found == pytest.approx(wanted, rel=1e-6, abs=0)
    k = items // 3
    wanted = precision_sum(is_relevant, k) / hits
    found = metrics.average_precision_at(one, row, k)[0]
    assert found == pytest.approx(wanted, rel=1e-6, abs=0)
    found = ranked.average_precision_ranked(row, row.sum(axis=1), k=k)[0]
    assert found == pytest.approx(wanted, rel=1e-6, abs=0)


@pytest.mark.parametrize("items", FEWER_SIZES)
@pytest.mark.parametrize("order", ["fading", "odd ranks", "last"])
def test_the_printed_average_precision(order, items):
    is_relevant = relevance(order, items)
    rank = np.flatnonzero(is_relevant) + 1
    wanted = math.fsum(rank / np.arange(1, len(rank) + 1)) / len(rank)
    found = metrics.average_precision_printed(is_relevant[None])[0]
    assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("items", FEWER_SIZES)
@pytest.mark.parametrize("order", ["fading", "odd ranks", "even ranks"])
def test_average_precision_with_small_ties(order, items):
    total = np.resize([1, 3, 0, 2], items // 2)
    relevant = np.minimum(total, np.resize([0, 1, 1, 2, 3], len(total)))
    relevant = np.where(relevance(order, len(total)), relevant, 0)
    # Of each rank: its tie's n and p, the items before the tie, and its place there from 0.
    n, p = np.repeat(total, total), np.repeat(relevant, total)
    before = np.repeat(np.cumsum(total) - total, total)
    hits = np.repeat(np.cumsum(relevant) - relevant, total)
    place = np.arange(total.sum()) - before
    term = p / n * (hits + 1 + place * (p - 1) / np.maximum(n - 1, 1)) / (before + place + 1)
    found = metrics.average_precision(total[None], relevant[None])[0]
    assert found == pytest.approx(math.fsum(term) / relevant.sum(), rel=1e-6)
    k = total.sum() // 3
    found = metrics.average_precision_at(total[None], relevant[None], k)[0]
    assert found == pytest.approx(math.fsum(term[:k]) / relevant.sum(), rel=1e-6)
    found = metrics.precision_at(total[None], relevant[None], int(k))[0]
    assert found == pytest.approx(math.fsum((p / n)[:k]) / k, rel=1e-6)
    found = metrics.recall_at(total[None], relevant[None], int(k))[0]
    assert found == pytest.approx(math.fsum((p / n)[:k]) / relevant.sum(), rel=1e-6)


# Graded relevance.


@pytest.mark.parametrize("items", FEWER_SIZES)
@pytest.mark.parametrize("order", ["fading", "half", "odd ranks", "even ranks", "last"])
def test_graded_metrics_without_ties(order, items):
    shared = np.where(relevance(order, items), np.resize([1, 3, 1, 2, 7], items), 0)
    at_least = np.stack([shared >= t for t in range(1, 8)])[:, None].astype(np.int32)
    one, rank = np.ones((1, items), np.int32), np.arange(1, items + 1)
    for gain, value in (("exponential", 2.0**shared - 1), ("linear", 1.0 * shared)):
        for k in (None, items // 3):
            discounted = (np.sort(value)[::-1] / np.log2(1 + rank))[:k]
            wanted = math.fsum((value / np.log2(1 + rank))[:k]) / math.fsum(discounted)
            found = graded.ndcg_at(one, at_least, k, gain=gain)[0]
            assert found == pytest.approx(wanted, rel=1e-6, abs=0)
    acg = np.cumsum(shared) / rank
    found = graded.acg_at(one, at_least, items // 3)[0]
    assert found == pytest.approx(acg[items // 3 - 1], rel=1e-6)
    found = graded.weighted_average_precision(one, at_least)[0]
    assert found == pytest.approx(math.fsum(acg[shared > 0]) / (shared > 0).sum(), rel=1e-6)


# Many queries, many rows.


@pytest.mark.parametrize("queries", [1_000, 100_000])
def test_means_over_queries(queries):
    rng = np.random.default_rng(0)
    total = rng.integers(0, 9, (queries, 5))
    total[:, 0] *= rng.random(queries) < 0.5  # many an empty ball
    total[:, 4] += 1
    relevant = rng.binomial(total, [0.97, 0.9, 0.5, 0.2, 0.1])
    inside, hits = np.cumsum(total, axis=1), np.cumsum(relevant, axis=1)
    precision, recall = metrics.precision_recall_by_radius(total, relevant)
    pooled = metrics.precision_recall_by_radius(total, relevant, average="micro")
    has = hits[:, 4] > 0
    for d in range(5):
        full = inside[:, d] > 0
        wanted = math.fsum(hits[full, d] / inside[full, d]) / full.sum()
        assert precision[d] == pytest.approx(wanted, rel=1e-6)
        wanted = math.fsum(hits[has, d] / hits[has, 4]) / has.sum()
        assert recall[d] == pytest.approx(wanted, rel=1e-6)
        assert pooled[0][d] == pytest.approx(hits[:, d].sum() / inside[:, d].sum(), rel=1e-6)
        assert pooled[1][d] == pytest.approx(hits[:, d].sum() / hits[:, 4].sum(), rel=1e-6)
    wanted = math.fsum(hits[:, 4] / inside[:, 4]) / queries
    assert metrics.chance_level(total, relevant) == pytest.approx(wanted, rel=1e-6)
    value = rng.random(queries).astype(np.float32)
    value[5] = np.nan
    kept = has & ~np.isnan(value)
    found = metrics.mean_over_queries(value, relevant, no_relevant="skip")
    assert found == pytest.approx(math.fsum(value[kept]) / kept.sum(), rel=1e-6)
    found = metrics.mean_over_queries(value, relevant)
    assert found == pytest.approx(math.fsum(value[kept]) / (queries - 1), rel=1e-6)


def test_a_query_without_items_leaves_no_chance_level():
    total, relevant = np.array([[2, 2], [0, 0]]), np.array([[1, 0], [0, 0]])
    assert np.isnan(metrics.chance_level(total, relevant))


def test_recall_levels_of_a_billion_items_do_not_overflow():
    # Half of the relevant items come at distance 0, all of them relevant; the rest among as many.
    total, relevant = np.array([[500_000_000, 1_000_000_000]]), np.array([[500_000_000] * 2])
    found = metrics.average_precision_11_point(total, relevant)[0]
    assert found == pytest.approx((6 * 1 + 5 * 2 / 3) / 11, rel=1e-6)


@pytest.mark.parametrize("rows", [10_000, 1_000_000])
def test_means_of_features(rows):
    row = (100 + np.random.default_rng(0).random((rows, 3))).astype(np.float32)
    found = lsh.fit(jax.random.key(0), row, 2, center=True).mean_D
    np.testing.assert_allclose(found, row.astype(np.float64).mean(axis=0), rtol=1.2e-7)


def test_adding_blocks_of_rows_loses_nothing():
    # Each block's sum is a product that float32 holds, the sum of all is not.
    row = np.resize(np.float32([1 + 2**-11, 1 - 2**-11, 3]), (1_000_001, 1))
    found = jax.jit(lambda row: sum_blocks(lambda row_Bx1: row_Bx1.sum(axis=0), row, 1))(row)
    assert found == np.float32(row.astype(np.float64).sum())
    wide = (100 + np.random.default_rng(0).random((1_000_000, 3))).astype(np.float32)
    found = jax.jit(lambda row: sum_blocks(lambda row_BxD: row_BxD.T @ row_BxD, row, 4096))(wide)
    np.testing.assert_allclose(found, wide.astype(np.float64).T @ wide, rtol=5e-7)


@pytest.mark.parametrize("rows", [10_000, 1_000_000])
def test_the_loss_of_itq(rows):
    row = np.random.default_rng(0).standard_normal((rows, 6)).astype(np.float32)
    parameters = itq.Parameters(jnp.zeros(6), jnp.eye(6), jnp.eye(6))
    loss = (np.abs(row.astype(np.float64)) - 1) ** 2
    found = itq.quantization_loss(parameters, row)
    assert found == pytest.approx(math.fsum(loss.ravel()) / rows, rel=2e-7)


def test_the_maps_of_sdh():
    rng = np.random.default_rng(0)
    rows = 300_000
    kernel = (0.1 + rng.random((rows, 4))).astype(np.float32)
    label = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, rows)]
    weight, sign = sdh.learn(kernel, label, rng.standard_normal((rows, 2)), iterations=1)
    wide = kernel.astype(np.float64)
    pull = wide.T @ np.asarray(sign, np.float64)
    wanted = np.linalg.solve(wide.T @ wide + 1e-2 * np.eye(4), pull)
    np.testing.assert_allclose(weight, wanted, atol=2e-6 * np.abs(wanted).max())


def test_the_loss_of_cnnh():
    rng = np.random.default_rng(0)
    label = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 200_000)]
    code = np.abs(rng.uniform(-1, 1, (len(label), 4))).astype(np.float32)
    _, loss = cnnh.descend(jax.random.key(0), cnnh.label_sets(label), code, sweeps=0)
    part = np.stack([code[row > 0].sum(axis=0, dtype=np.float64) for row in label.T])
    agreement = (part * ((2 * np.eye(3) - 1) @ part)).sum()
    gram = code.astype(np.float64).T @ code
    wanted = 1 - 2 * agreement / 4 / len(label) ** 2 + (gram**2).sum() / 16 / len(label) ** 2
    assert loss[0] == pytest.approx(wanted, rel=2e-7)


@pytest.mark.slow
def test_bits_of_twenty_million_codes_are_counted():
    # A float32 sum of ones ends at 2^24.
    bit = np.ones((20_000_000, 2), np.uint8)
    bit[::4, 1] = 0
    health = codes.code_health(bit, bit)
    np.testing.assert_array_equal(health["bit_mean_K"], [1, 0.75])
    assert health["dead_bits"] == 1
    assert health["quantization_gap"] == 0
