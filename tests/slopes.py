"""Gradients against finite differences, of functions that are compiled already."""

import numpy as np


def assert_slope(function, args, slopes, *, step=1e-2):
    """Compare slopes with central differences of the value, uphill and along random directions.

    `jax.test_util.check_grads` would compile the function anew.
    """
    rng = np.random.default_rng(0)
    args, slopes = ([np.asarray(a, np.float64) for a in part] for part in (args, slopes))
    for ways in [slopes, *([rng.normal(size=a.shape) for a in args] for _ in range(3))]:
        length = np.sqrt(sum((w**2).sum() for w in ways))
        ways = [w / length for w in ways]
        above, below = (
            float(function(*(a + sign * step * w for a, w in zip(args, ways, strict=True))))
            for sign in (1, -1)
        )
        wanted = sum((s * w).sum() for s, w in zip(slopes, ways, strict=True))
        np.testing.assert_allclose((above - below) / (2 * step), wanted, rtol=1e-2, atol=1e-3)
