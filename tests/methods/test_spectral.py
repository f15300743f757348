"""Spectral hashing against the authors' listing of all modes, in numpy and float64."""

import jax
import numpy as np
import pytest

from dsh_jax import codes
from dsh_jax.methods import spectral


def listed_modes(width, bits):
    """All modes of each axis up to the highest that can be needed, sorted by frequency."""
    highest = np.ceil((bits + 1) * width / width.max()).astype(int)
    mode = [(i, m) for i, last in enumerate(highest) for m in range(1, last)]
    eigenvalue = np.array([(m * np.pi / width[i]) ** 2 for i, m in mode])
    return np.array([mode[j] for j in np.argsort(eigenvalue, kind="stable")[:bits]]).T


def plain_codes(train, feature, bits):
    """Codes by numpy, in float64; the direction of each axis is left to its solver."""
    mean = train.mean(axis=0)
    variance, axis = np.linalg.eigh(np.cov(train.T, bias=True).reshape(train.shape[1], -1))
    axis = axis[:, np.argsort(-variance)[: min(bits, train.shape[1])]]
    projected = (train - mean) @ axis
    low, high = projected.min(axis=0), projected.max(axis=0)
    axes, modes = listed_modes(high - low, bits)
    value = ((feature - mean) @ axis - low)[:, axes]
    return np.sin(np.pi / 2 + modes * np.pi / (high - low)[axes] * value) > 0


def test_lowest_modes_equal_the_listing_in_200_random_cases():
    rng = np.random.default_rng(0)
    for _ in range(200):
        axes, bits = rng.choice([1, 2, 5, 12]), rng.choice([1, 3, 12, 48])
        width = rng.random(axes) ** rng.integers(1, 5) + 1e-3
        found = spectral.lowest_modes(width.astype(np.float32), int(bits))
        np.testing.assert_array_equal(found, listed_modes(width, bits))


def test_lowest_modes_by_hand():
    # Frequencies over π: 1/4, 2/4, 3/4 ... on the first axis, 1/3, 2/3 ... on the second.
    axis, mode = spectral.lowest_modes(np.array([4.0, 3.0, 0.1], np.float32), 5)
    np.testing.assert_array_equal(axis, [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(mode, [1, 1, 2, 2, 3])
    # Of equal frequencies the first axis is first.
    axis, mode = spectral.lowest_modes(np.array([2.0, 2.0], np.float32), 4)
    np.testing.assert_array_equal(axis, [0, 1, 0, 1])
    np.testing.assert_array_equal(mode, [1, 1, 2, 2])


def test_an_axis_without_width_is_not_chosen():
    axis, _ = spectral.lowest_modes(np.array([0.0, 1.0], np.float32), 4)
    np.testing.assert_array_equal(axis, [1, 1, 1, 1])


@pytest.mark.parametrize(("columns", "bits"), [(10, 4), (10, 10), (3, 12), (1, 5)])
@pytest.mark.parametrize("offset", [0, 50])
def test_hamming_distances_equal_the_plain_form(columns, bits, offset):
    rng = np.random.default_rng(columns)
    train = rng.standard_normal((200, columns)) * np.geomspace(3, 0.5, columns) + offset
    feature = train[:80] + 0.1 * rng.standard_normal((80, columns))
    logit = spectral.encode(spectral.fit(None, train, bits), feature)
    found = np.asarray(codes.binarize(logit), bool)
    wanted = plain_codes(train, feature, bits)
    # An axis in the other direction complements all of a bit.
    same = [(found[:, k] == wanted[:, k]).all() for k in range(bits)]
    complement = [(found[:, k] != wanted[:, k]).all() for k in range(bits)]
    assert (np.array(same) | complement).all()


def test_the_first_bit_splits_the_longest_axis_in_the_middle():
    feature = np.array([[0.0, 0], [1, 0], [3.9, 0], [4.1, 0], [7, 0], [8, 0]])
    logit = np.asarray(spectral.encode(spectral.fit(None, feature, 2), feature))
    np.testing.assert_array_equal(codes.binarize(logit)[:, 0], [1, 1, 1, 0, 0, 0])
    # The second bit has the same axis, the other has no width: 0 to 2 and 6 to 8 against 2 to 6.
    np.testing.assert_array_equal(codes.binarize(logit)[:, 1], [1, 1, 0, 0, 1, 1])
    np.testing.assert_allclose(logit[[0, -1]], [[1, 1], [-1, 1]], atol=1e-5)


def test_equal_rows_are_refused():
    with pytest.raises(ValueError, match="all 4 rows of the features are equal; pass rows that"):
        spectral.fit(None, np.ones((4, 3)), 2)


def test_the_key_does_not_matter():
    feature = np.random.default_rng(0).random((50, 4))
    first = spectral.fit(jax.random.key(0), feature, 6)
    for found, wanted in zip(spectral.fit(jax.random.key(1), feature, 6), first, strict=True):
        np.testing.assert_array_equal(found, wanted)
