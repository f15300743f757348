"""Random hyperplanes against FAISS, and the angle that they are known to measure."""

import warnings

import jax
import numpy as np
import pytest

from dsh_jax import codes
from dsh_jax.methods import lsh


def gaussian(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 24, 48])
def test_codes_equal_those_of_faiss_with_its_matrix(bits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of SWIG
        faiss = pytest.importorskip("faiss")
    columns = 32  # with 48 bits more bits than columns
    feature = gaussian(500, columns)
    index = faiss.IndexLSH(columns, bits, True, False)
    weight_KxD = faiss.vector_to_array(index.rrot.A).reshape(bits, columns)
    parameters = lsh.Parameters(np.zeros(columns, np.float32), weight_KxD.T)
    packed = codes.pack_bits(codes.binarize(lsh.encode(parameters, feature)))
    np.testing.assert_array_equal(packed, index.sa_encode(feature))


def test_a_projection_of_exactly_0_gives_bit_1():
    weight = np.array([[1, -1, 0], [1, 1, -1]], np.float32)
    parameters = lsh.Parameters(np.zeros(2, np.float32), weight)
    logit = lsh.encode(parameters, np.array([[0.0, 0.0], [-0.0, -0.0], [2, -2], [1, 0]]))
    np.testing.assert_array_equal(
        codes.binarize(logit), [[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1]]
    )
    # Other values are left as they are.
    np.testing.assert_array_equal(logit[2, 1:], [-4, 2])


@pytest.mark.parametrize("angle", [0.2, 1.0, 2.5])
def test_bits_differ_as_often_as_the_angle_is_of_pi(angle):
    pair = np.array([[1, 0], [np.cos(angle), np.sin(angle)]])
    bits = 40_000
    bit = codes.binarize(lsh.encode(lsh.fit(jax.random.key(0), pair, bits), pair))
    share = angle / np.pi
    error = 4 * np.sqrt(share * (1 - share) / bits)
    assert np.mean(bit[0] != bit[1]) == pytest.approx(share, abs=error)


def test_centred_codes_do_not_depend_on_where_the_features_are():
    feature = np.random.default_rng(0).integers(0, 100, (60, 7))
    codes_of = [
        codes.binarize(
            lsh.encode(lsh.fit(jax.random.key(0), moved, 16, center=True), moved.astype(np.float32))
        )
        for moved in (feature, feature + 64)
    ]
    np.testing.assert_array_equal(*codes_of)
    uncentred = [
        codes.binarize(lsh.encode(lsh.fit(jax.random.key(0), feature, 16), moved))
        for moved in (feature, feature + 64)
    ]
    assert (uncentred[0] != uncentred[1]).any()


def test_planes_go_through_0_unless_they_are_centred():
    feature = gaussian(50, 4) + 3
    np.testing.assert_array_equal(lsh.fit(jax.random.key(0), feature, 8).mean_D, np.zeros(4))
    centred = lsh.fit(jax.random.key(0), feature, 8, center=True)
    np.testing.assert_allclose(centred.mean_D, feature.mean(axis=0), rtol=1e-6)


def test_the_mean_of_many_equal_rows_keeps_its_digits():
    feature = np.full((200_001, 1), 255.3, np.float32)
    centred = lsh.fit(jax.random.key(0), feature, 1, center=True)
    np.testing.assert_allclose(centred.mean_D, [255.3], rtol=1e-5)


@pytest.mark.parametrize("bits", [5, 12, 20])
def test_orthonormal_planes(bits):
    weight_DxK = lsh.fit(jax.random.key(0), gaussian(3, 12), bits, orthonormalise=True).weight_DxK
    assert weight_DxK.shape == (12, bits)
    weight = np.asarray(weight_DxK)
    gram = weight.T @ weight if bits <= 12 else weight @ weight.T
    np.testing.assert_allclose(gram, np.eye(min(bits, 12)), atol=1e-5)


def test_keys_give_different_planes():
    first, second = (lsh.fit(jax.random.key(seed), gaussian(3, 5), 9) for seed in (0, 1))
    assert (first.weight_DxK != second.weight_DxK).all()
