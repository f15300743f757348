"""Gradients against finite differences, and of four devices against those of one."""

import chex
import jax
import jax.numpy as jnp
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


def assert_four_devices_as_one(method, rows, weight):
    """Compare the terms of 20 rows, and the gradient by a weight that all devices hold.

    Args:
      method: `(code, *labels, axis_name) -> (total, terms)`.
      rows: features, whose product with the weight is the code, and labels.
      weight: the weight.

    Returns:
      The total.
    """

    def compiled(axis_name):
        def loss(weight, feature, *labels):
            return method(feature @ weight, *labels, axis_name=axis_name)

        def value_terms_slope(*args):
            (total, terms), slope = jax.value_and_grad(loss, has_aux=True)(*args)
            return total, terms, slope if axis_name is None else jax.lax.pmean(slope, axis_name)

        if axis_name is None:
            return jax.jit(value_terms_slope)
        return jax.pmap(value_terms_slope, axis_name=axis_name, in_axes=(None, 0, 0, 0))

    weight = jnp.array(weight, jnp.float32)
    one = compiled(None)(weight, *rows)
    four = compiled("batch")(weight, *[a.reshape(4, 5, *a.shape[1:]) for a in rows])
    for device in range(4):
        own = jax.tree.map(lambda a, d=device: a[d], four)
        chex.assert_trees_all_close(own, one, rtol=1e-5, atol=1e-6)
    return one[0]
