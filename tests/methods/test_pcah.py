"""PCA hashing against an eigendecomposition of numpy's, in float64."""

import numpy as np
import pytest

from dsh_jax import codes
from dsh_jax.methods import pcah


@pytest.mark.parametrize(("columns", "bits"), [(10, 4), (6, 6), (1, 1)])
@pytest.mark.parametrize("offset", [0, 50])
def test_bits_are_signs_of_the_components(columns, bits, offset):
    rng = np.random.default_rng(columns)
    train = rng.standard_normal((200, columns)) * np.geomspace(3, 0.5, columns) + offset
    feature = rng.standard_normal((80, columns)) + offset
    found = np.asarray(codes.binarize(pcah.encode(pcah.fit(None, train, bits), feature)), bool)
    variance, axis = np.linalg.eigh(np.cov(train.T, bias=True).reshape(columns, columns))
    axis = axis[:, np.argsort(-variance)[:bits]]
    axis *= np.sign(axis[np.abs(axis).argmax(axis=0), np.arange(bits)])
    np.testing.assert_array_equal(found, (feature - train.mean(axis=0)) @ axis > 0)


def test_more_bits_than_columns_are_refused():
    with pytest.raises(ValueError, match=r"bits=4, but the features have 3 columns"):
        pcah.fit(None, np.random.default_rng(0).random((9, 3)), 4)
