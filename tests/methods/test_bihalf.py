"""Bi-half hashing against plain numpy statements of its paper, and on clusters and digits."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from dsh_jax import codes, metrics, retrieval
from dsh_jax.methods import bihalf, itq, lsh

pytestmark = pytest.mark.optimized


def test_half_codes_by_hand():
    logit = np.array([[3.0, -1.0], [1.0, -3.0], [2.0, -2.0], [-5.0, -4.0]])
    wanted = [[1, 1], [-1, -1], [1, 1], [-1, -1]]
    np.testing.assert_array_equal(bihalf.half_codes(logit, gamma=6.0), wanted)
    # Of three rows one is 1.
    np.testing.assert_array_equal(bihalf.half_codes(logit[:3], gamma=6.0).sum(axis=0), [-1, -1])


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(2, 9), bits=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_half_codes_are_the_nearest_balanced_ones(rows, bits, seed):
    logit = np.random.default_rng(seed).standard_normal((rows, bits)).astype(np.float32)
    found = np.asarray(bihalf.half_codes(logit, gamma=6.0))
    for column, code in zip(logit.T, found.T, strict=True):
        every = [
            np.where([number >> row & 1 for row in range(rows)], 1.0, -1.0)
            for number in range(2**rows)
            if number.bit_count() == rows // 2
        ]
        best = min(every, key=lambda one: ((one - column) ** 2).sum())
        np.testing.assert_array_equal(code, best)


def test_the_slope_is_that_of_the_code_and_a_pull_towards_it():
    rng = np.random.default_rng(0)
    logit, above = rng.standard_normal((2, 6, 3)).astype(np.float32)
    code, pull_back = jax.vjp(lambda x: bihalf.half_codes(x, gamma=2.0), logit)
    (slope,) = pull_back(above)
    np.testing.assert_allclose(slope, above + 2.0 * (logit - code) / 18, rtol=1e-5, atol=1e-7)


def test_the_loss_is_the_mean_square_of_differences_of_cosines():
    rng = np.random.default_rng(0)
    feature, code = rng.standard_normal((7, 5)), np.sign(rng.standard_normal((7, 4)))

    def cosine(row, i):
        one, other = row[i], row[i + 3]
        return one @ other / np.linalg.norm(one) / np.linalg.norm(other)

    wanted = np.mean([(cosine(code, i) - cosine(feature, i)) ** 2 for i in range(3)])
    np.testing.assert_allclose(bihalf.cosine_loss(feature, code), wanted, rtol=1e-5)


def test_a_row_of_zeros_leaves_the_loss_and_its_slope_finite():
    rng = np.random.default_rng(0)
    feature = rng.standard_normal((4, 3)).astype(np.float32)
    feature[0] = 0
    found = jax.value_and_grad(bihalf.cosine_loss, argnums=1)(feature, feature[:, :2])
    assert all(np.isfinite(part).all() for part in found)


@pytest.fixture(scope="module")
def digits():
    """Rows of digits to fit, and 300 others, with labels."""
    feature, number = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(feature))
    feature, label = feature[order].astype(np.float32), np.eye(10, dtype=np.uint8)[number[order]]
    return feature[300:], label[300:], feature[:300], label[:300]


def score(encode, parameters, digits):
    """Return the mAP of the others among those that were fitted."""
    feature, label, query, query_label = digits
    packed_R, packed_Q = (
        np.asarray(codes.pack_bits(codes.binarize(encode(parameters, part))))
        for part in (feature, query)
    )
    counts = retrieval.distance_counts(packed_Q, query_label, packed_R, label, bits=24)
    return float(np.mean(metrics.average_precision(*counts)))


def test_digits_are_found_better_than_by_itq_and_lsh(digits):
    key = jax.random.key(0)
    found = score(bihalf.encode, bihalf.fit(key, digits[0], 24), digits)
    assert found > score(itq.encode, itq.fit(key, digits[0], 24), digits) + 0.01
    assert found > score(lsh.encode, lsh.fit(key, digits[0], 24, center=True), digits) + 0.05


@pytest.mark.parametrize("center", [False, True])
def test_bits_are_set_for_about_half_of_all_rows(digits, center):
    parameters = bihalf.fit(jax.random.key(0), digits[0], 24, center=center)
    share = (np.asarray(bihalf.encode(parameters, digits[0])) > 0).mean(axis=0)
    assert np.abs(share - 0.5).max() < 0.08


def test_neither_scale_nor_blocks_change_the_bits(digits):
    feature, key = digits[0], jax.random.key(1)
    wanted = bihalf.encode(bihalf.fit(key, feature, 8, steps=50), feature) > 0
    scaled = bihalf.fit(key, 64 * feature, 8, steps=50)
    found = bihalf.encode(scaled, 64 * feature, block=100) > 0
    assert (np.asarray(found) == np.asarray(wanted)).mean() > 0.999


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps=0, batch=64 and 20 rows; pass at least 1, 2 and 2"),
        ({"batch": 1}, "batch=1"),
        ({"bits": 0}, "bits"),
    ],
)
def test_bad_settings_are_refused(changed, message):
    feature = np.random.default_rng(0).standard_normal((20, 4))
    with pytest.raises(ValueError, match=message):
        bihalf.fit(jax.random.key(0), feature, changed.pop("bits", 8), **changed)
