"""Codes near few centres, and results compared."""

import numpy as np


def clusters(rows, width=8, centres=40, flipped=0.05):
    """Codes near few centres, as those of a trained network are."""
    rng = np.random.default_rng(0)
    centre_CxW = rng.integers(0, 256, (centres, width), np.uint8)
    bit_NxK = rng.random((rows, 8 * width)) < flipped
    return centre_CxW[rng.integers(0, centres, rows)] ^ np.packbits(bit_NxK, axis=1)


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype == np.int32
        np.testing.assert_array_equal(one, other)
