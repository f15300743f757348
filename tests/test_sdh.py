"""SDH's descent equals a plain recursion; its kernel wants features of length one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsh_jax.baselines import sdh

KEY = jax.random.PRNGKey(0)


def blobs(rows=400, dimensions=12, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, rows)
    centre = 3 * rng.normal(size=(classes, dimensions))
    feature = centre[label] + rng.normal(size=(rows, dimensions))
    return feature.astype(np.float32), np.eye(classes, dtype=np.float32)[label]


def plain_solve(kernel, label, code, *, steps, sweeps, decay=1.0, ridge=1e-2, nu=1e-5):
    """The method as written, in float64, every product in full."""
    kernel, label, code = (np.asarray(value, np.float64) for value in (kernel, label, code))
    bits = code.shape[1]

    def classifier(code):
        return np.linalg.solve(code.T @ code + decay * np.eye(bits), code.T @ label)

    def regression(code):
        gram = kernel.T @ kernel + ridge * np.eye(kernel.shape[1])
        return np.linalg.solve(gram, kernel.T @ code)

    w, f = classifier(code), regression(code)
    for _ in range(steps):
        wanted = label @ w.T + nu * kernel @ f
        for _ in range(sweeps):
            before = code.copy()
            for k in range(bits):
                rest = [j for j in range(bits) if j != k]
                z = wanted[:, k] - code[:, rest] @ w[rest] @ w[k]
                code[:, k] = np.where(z > 0, 1, -1)
            if np.array_equal(before, code):
                break
        w, f = classifier(code), regression(code)
    return code, f, w


@pytest.mark.parametrize(("steps", "sweeps"), [(1, 1), (3, 10)])
@pytest.mark.parametrize("is_multi", [False, True])
def test_codes_are_those_of_a_plain_recursion(steps, sweeps, is_multi):
    feature, label = blobs()
    if is_multi:
        label = np.maximum(label, np.roll(label, 1, axis=0))
    kernel = sdh.kernel(feature, feature[:40], 2.0, False)
    code = np.where(np.random.default_rng(1).normal(size=(400, 8)) > 0, 1, -1).astype(np.float32)
    found = sdh.solve(kernel, jnp.asarray(label), jnp.asarray(code), steps=steps, sweeps=sweeps)
    wanted, f, w = plain_solve(kernel, label, code, steps=steps, sweeps=sweeps)
    np.testing.assert_array_equal(found.code_NxK, wanted)
    np.testing.assert_allclose(found.classifier_KxC, w, atol=1e-4)
    np.testing.assert_allclose(kernel @ found.weight_AxK, kernel @ f, atol=2e-2)
    assert steps <= int(found.sweeps) <= steps * sweeps


def test_kernel_by_hand():
    value = sdh.kernel(
        jnp.array([[3.0, 4.0], [0.0, 0.0]]), jnp.array([[0.6, 0.8], [1.0, 0.0]]), 0.5, True
    )
    square = (0.6 - 1) ** 2 + 0.8**2
    wanted = [[1, np.exp(-2 * square), 1], [np.exp(-2), np.exp(-2), 1]]
    np.testing.assert_allclose(value, wanted, rtol=1e-5)


def test_classes_get_codes_of_their_own_and_new_rows_find_them():
    feature, label = blobs()
    parameters = sdh.fit(KEY, feature[:300], label[:300], bits=16, anchors=100, sigma=None)
    bit = np.asarray(sdh.encode(parameters, feature)) > 0
    distance = (bit[300:, None] != bit[None, :300]).sum(-1)
    same = label[300:] @ label[:300].T > 0
    assert distance[same].mean() + 5 < distance[~same].mean()


def test_the_width_that_is_not_given_is_the_mean_distance_to_the_nearest_anchor():
    feature, label = blobs(rows=60)
    parameters = sdh.fit(KEY, feature, label, bits=4, anchors=20, sigma=None, normalise=False)
    distance = np.linalg.norm(feature[:, None] - np.asarray(parameters.anchor_AxD)[None], axis=-1)
    nearest = np.sort(distance.min(1))
    assert np.all(nearest[:20] == 0)  # the anchors themselves
    assert parameters.sigma == pytest.approx(nearest[20:].mean(), rel=1e-4)


def test_a_kernel_of_width_04_collapses_on_long_features():
    feature, label = blobs()
    parameters = sdh.fit(KEY, 50 * feature, label, bits=8, anchors=50, normalise=False)
    fresh, _ = blobs(seed=1)
    assert len(np.unique(np.asarray(sdh.encode(parameters, 50 * fresh)) > 0, axis=0)) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bits": 0}, "bits=0"),
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": None}, "all 400 rows are anchors"),
        ({"label": np.ones(400, np.float32)}, r"labels of the shape \(400,\)"),
        ({"label": np.ones((10, 2), np.float32)}, "400 rows of features"),
    ],
)
def test_bad_input_is_refused(changed, message):
    feature, label = blobs()
    options = {"bits": 4} | changed
    with pytest.raises(ValueError, match=message):
        sdh.fit(KEY, feature, options.pop("label", label), **options)
