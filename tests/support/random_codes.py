"""Codes drawn at random."""

import numpy as np


def random_codes(rng, rows, width):
    """Codes with more zeros than ones, so that some are near each other and ties abound."""
    return rng.integers(0, 256, (rows, width), np.uint8) & rng.integers(
        0, 256, (rows, width), np.uint8
    )
