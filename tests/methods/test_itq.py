"""Iterative quantization against scikit-learn and SciPy, a planted rotation, and its own loss."""

import jax
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from dsh_jax import codes
from dsh_jax.methods import itq

pytestmark = pytest.mark.optimized


def rotation(bits, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((bits, bits))
    return np.linalg.qr(matrix)[0].astype(np.float32)


def features(seed=0, rows=400, columns=12):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, columns)) * np.geomspace(5, 0.3, columns) + rng.random(
        columns
    )


def fitted_axes(feature, bits):
    """Principal axes of scikit-learn, each with its largest component positive."""
    axis = PCA(bits, svd_solver="full").fit(feature).components_.T
    return axis * np.sign(axis[np.abs(axis).argmax(axis=0), np.arange(bits)])


def procrustes_loop(feature, start, iterations):
    """The textbook's loop."""
    component = (feature - feature.mean(axis=0)) @ fitted_axes(feature, len(start))
    turned = start.astype(np.float64)
    for _ in range(iterations):
        sign = np.where(component @ turned > 0, 1.0, -1.0)
        turned, _ = scipy.linalg.orthogonal_procrustes(component, sign)
    return component, turned


@pytest.mark.parametrize("bits", [1, 3, 8, 12])
@pytest.mark.parametrize("iterations", [1, 50])
def test_the_rotation_equals_a_loop_of_scipys_procrustes(bits, iterations):
    feature, start = features(), rotation(bits)
    found = itq.fit(None, feature, bits, rotation_KxK=start, iterations=iterations)
    component, wanted = procrustes_loop(feature, start, iterations)
    np.testing.assert_allclose(found.axis_DxK, fitted_axes(feature, bits), atol=1e-4)
    np.testing.assert_allclose(found.rotation_KxK, wanted, atol=1e-4)
    bit = codes.binarize(itq.encode(found, feature))
    is_clear = np.abs(component @ wanted) > 1e-3
    assert is_clear.mean() > 0.99
    np.testing.assert_array_equal(np.where(is_clear, bit, 0), (component @ wanted > 0) & is_clear)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_loss_never_rises(seed):
    feature, start = features(seed, rows=150, columns=6), rotation(4, seed)
    losses = [
        itq.quantization_loss(
            itq.fit(None, feature, 4, rotation_KxK=start, iterations=iterations), feature
        )
        for iterations in range(12)
    ]
    assert np.all(np.diff(losses) <= 1e-5 * losses[0])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_planted_rotation_is_found_to_a_loss_of_0(bits):
    # X = B Q with all corners B of a cube: some rotation of any axes leads back to B.
    corner = 2.0 * ((np.arange(2**bits)[:, None] >> np.arange(bits)) & 1) - 1
    feature = corner @ rotation(bits)
    axis = np.asarray(itq.fit(None, feature, bits, rotation_KxK=np.eye(bits)).axis_DxK)
    skew = np.triu(np.random.default_rng(1).standard_normal((bits, bits)), 1)
    little = scipy.linalg.expm(0.1 * (skew - skew.T))
    start = axis.T @ rotation(bits).T @ little
    parameters = itq.fit(None, feature, bits, rotation_KxK=start)
    assert itq.quantization_loss(parameters, feature) < 1e-9
    first = itq.fit(None, feature, bits, rotation_KxK=start, iterations=0)
    assert itq.quantization_loss(first, feature) > 1e-3
    np.testing.assert_array_equal(
        codes.binarize(itq.encode(parameters, feature)), (corner > 0).astype(int)
    )


def test_the_rotation_stays_orthogonal():
    turned = np.asarray(itq.fit(jax.random.key(0), features(), 12).rotation_KxK)
    np.testing.assert_allclose(turned @ turned.T, np.eye(12), atol=1e-5)


def test_axes_point_to_their_largest_component():
    axis = np.asarray(itq.fit(jax.random.key(0), features(), 12).axis_DxK)
    assert (axis[np.abs(axis).argmax(axis=0), np.arange(12)] > 0).all()


def test_keys_give_different_starts():
    first, second = (
        itq.fit(jax.random.key(seed), features(), 5, iterations=0).rotation_KxK for seed in (0, 1)
    )
    assert np.abs(first - second).max() > 0.1


def test_iterations_do_not_compile_again():
    itq.fit(jax.random.key(0), features(), 5, iterations=3)
    with jax.no_tracing():
        itq.fit(jax.random.key(0), features(), 5, iterations=4)


def test_the_loss_by_hand():
    parameters = itq.Parameters(np.zeros(2, np.float32), np.eye(2), np.eye(2))
    # (1 - 0.5)² + (-1 + 3)², and 0: halves of their sum.
    assert itq.quantization_loss(parameters, np.array([[0.5, -3], [1, -1]])) == 4.25 / 2


def test_more_bits_than_columns_are_refused():
    message = "bits=13, but the features have 12 columns, .* pass at most 12 bits, or use lsh"
    with pytest.raises(ValueError, match=message):
        itq.fit(jax.random.key(0), features(), 13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": -1}, "iterations=-1; pass 0 or more"),
        ({"rotation_KxK": np.eye(4)}, r"rotation has shape \(4, 4\); wanted \(5, 5\)"),
        ({"rotation_KxK": 2 * np.eye(5)}, r"R R\^T is 3 off the identity; make it so with"),
        ({"rotation_KxK": np.full((5, 5), np.nan)}, "rotation is not orthogonal"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        itq.fit(jax.random.key(0), features(), 5, **options)
