"""Supervised discrete hashing against the authors' recursion in plain numpy and float64."""

import jax
import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from dsh_jax import codes
from dsh_jax.data.source import multi_hot
from dsh_jax.methods import sdh


def clusters(seed=0, rows=120, columns=8, classes=4, spread=0.5):
    """Rows about one centre a class, and their multi-hot labels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, rows)
    centre = rng.standard_normal((classes, columns))
    feature = centre[label] + spread * rng.standard_normal((rows, columns))
    return feature.astype(np.float32), multi_hot(label, classes)


def several_labels(label, seed=0):
    return label | (np.random.default_rng(seed).random(label.shape) < 0.3)


def plain_learn(
    kernel, label, start, iterations, *, sweeps=10, lam=1.0, lam_f=1e-2, nu=1e-5, restart=False
):
    """All products anew for each bit, nothing kept up to date, no early end over iterations."""
    kernel, label, sign = (np.asarray(x, np.float64) for x in (kernel, label, start))
    bits = sign.shape[1]

    def maps(sign):
        w = np.linalg.solve(sign.T @ sign + lam * np.eye(bits), sign.T @ label)
        p = np.linalg.solve(kernel.T @ kernel + lam_f * np.eye(kernel.shape[1]), kernel.T @ sign)
        return w, p

    w, p = maps(sign)
    for _ in range(iterations):
        q = label @ w.T + nu * kernel @ p
        sign = np.zeros_like(sign) if restart else sign.copy()
        for _ in range(sweeps):
            before = sign.copy()
            for k in range(bits):
                others = [j for j in range(bits) if j != k]
                z = q[:, k] - sign[:, others] @ w[others] @ w[k]
                sign[:, k] = np.where(z > 0, 1, -1)
            if np.linalg.norm(sign - before) < 1e-6 * np.linalg.norm(before):
                break
        w, p = maps(sign)
    return p, sign


def start(rows, bits, seed=0):
    return np.sign(np.random.default_rng(seed).standard_normal((rows, bits)))


# The recursion.


@pytest.mark.parametrize("is_multilabel", [False, True])
@pytest.mark.parametrize("bits", [1, 5, 12])
@pytest.mark.parametrize("iterations", [0, 1, 5])
@pytest.mark.parametrize("restart", [False, True])
def test_bits_equal_the_plain_recursion(is_multilabel, bits, iterations, restart):
    feature, label = clusters()
    label = several_labels(label) if is_multilabel else label
    kernel = np.hstack([rbf_kernel(feature, feature[:15], gamma=0.1), np.ones((120, 1))])
    weight, sign = sdh.learn(
        kernel.astype(np.float32),
        label,
        start(120, bits),
        iterations=iterations,
        restart=restart,
    )
    wanted_weight, wanted_sign = plain_learn(
        kernel, label, start(120, bits), iterations, restart=restart
    )
    np.testing.assert_array_equal(sign, wanted_sign)
    np.testing.assert_allclose(weight, wanted_weight, rtol=2e-2, atol=2e-2)


def test_factors_and_sweeps_reach_the_recursion():
    feature, label = clusters()
    label = several_labels(label)
    kernel = np.hstack([rbf_kernel(feature, feature[:15], gamma=0.1), np.ones((120, 1))])
    arguments = kernel.astype(np.float32), label, start(120, 8)
    options = {"sweeps": 1, "label_ridge": 30.0, "kernel_ridge": 2.0, "coupling": 0.05}
    weight, sign = sdh.learn(*arguments, iterations=2, **options)
    wanted_weight, wanted_sign = plain_learn(
        kernel, label, start(120, 8), 2, sweeps=1, lam=30.0, lam_f=2.0, nu=0.05
    )
    np.testing.assert_array_equal(sign, wanted_sign)
    np.testing.assert_allclose(weight, wanted_weight, rtol=1e-3, atol=1e-3)
    assert (sign != sdh.learn(*arguments, iterations=2)[1]).any()


def test_blocks_of_rows_do_not_change_the_bits(monkeypatch):
    feature, label = clusters()
    kernel = rbf_kernel(feature, feature[:15], gamma=0.1).astype(np.float32)
    _, whole = sdh.learn(kernel, label, start(120, 8))
    monkeypatch.setattr(sdh, "DISCRETE_BLOCK", 50)
    _, blocked = jax.jit(sdh.learn.__wrapped__)(kernel, label, start(120, 8))
    np.testing.assert_array_equal(blocked, whole)


# The whole method.


@pytest.mark.parametrize("normalise", [False, True])
def test_the_fit_equals_kernel_and_recursion(normalise):
    feature, label = clusters()
    anchor, sign = feature[:20], start(120, 6)
    parameters = sdh.fit(
        jax.random.key(0),
        feature,
        label,
        6,
        normalise=normalise,
        sigma=0.7,
        anchor_AxD=anchor,
        sign_NxK=sign,
    )
    if normalise:
        feature, anchor = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (feature, anchor))
    kernel = np.hstack([rbf_kernel(feature, anchor, gamma=1 / (2 * 0.7**2)), np.ones((120, 1))])
    np.testing.assert_allclose(sdh.kernel(parameters, clusters()[0]), kernel, atol=1e-5)
    wanted, _ = plain_learn(kernel, label, sign, 5)
    logit = sdh.encode(parameters, clusters()[0])
    np.testing.assert_allclose(logit, kernel @ wanted, atol=5e-3)


def test_codes_tell_the_classes_of_new_rows():
    feature, label = clusters(rows=400, spread=0.3)
    parameters = sdh.fit(jax.random.key(0), feature[:300], label[:300], 12, anchors=50)
    bit = np.asarray(codes.binarize(sdh.encode(parameters, feature)))
    distance = (bit[300:, None] != bit[None, :300]).sum(axis=-1)
    nearest = label[:300][distance.argmin(axis=1)]
    assert (nearest == label[300:]).all(axis=1).mean() > 0.95


def test_a_width_is_measured_where_none_is_given():
    feature, label = clusters()
    anchor = feature[:20]
    distance = np.linalg.norm(feature[:, None] - anchor[None], axis=-1).min(axis=1).mean()
    for scale in (1, 2):
        parameters = sdh.fit(
            jax.random.key(0),
            feature,
            label,
            4,
            normalise=False,
            sigma=None,
            sigma_scale=scale,
            anchor_AxD=anchor,
        )
        assert parameters.sigma == pytest.approx(scale * distance, rel=1e-3)


def test_a_kernel_far_too_narrow_gives_all_new_rows_one_code():
    feature, label = clusters()
    parameters = sdh.fit(
        jax.random.key(0), 100 * feature, label, 6, anchors=20, normalise=False, sigma=0.4
    )
    logit = sdh.encode(parameters, 100 * feature + 50)
    assert len(np.unique(codes.binarize(logit), axis=0)) == 1


def test_distances_far_from_0_keep_their_digits():
    feature, label = clusters()
    near, far = (
        sdh.fit(jax.random.key(0), moved, label, 6, anchors=20, normalise=False, sigma=1.0)
        for moved in (feature, feature + 1000)
    )
    found = sdh.kernel(far, feature + 1000)
    np.testing.assert_allclose(found, sdh.kernel(near, feature), atol=2e-3)


def test_a_row_of_zeros_is_encoded():
    feature, label = clusters()
    feature[3] = 0
    parameters = sdh.fit(jax.random.key(0), feature, label, 6, anchors=20)
    assert np.isfinite(sdh.encode(parameters, feature)).all()


def test_anchors_are_rows_and_all_differ():
    feature, label = clusters()
    parameters = sdh.fit(jax.random.key(0), feature, label, 4, anchors=120, normalise=False)
    found = np.sort(np.asarray(parameters.anchor_AxD), axis=0)
    np.testing.assert_array_equal(found, np.sort(feature, axis=0))


def test_numbers_do_not_compile_again():
    feature, label = clusters()
    sdh.fit(jax.random.key(0), feature, label, 4, anchors=20)
    with jax.no_tracing():
        sdh.fit(
            jax.random.key(1),
            feature,
            label,
            4,
            anchors=20,
            sigma=0.5,
            normalise=False,
            iterations=2,
            kernel_ridge=0.1,
        )


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((120, 4)), "no row has a label; pass labelled rows"),
        (np.zeros(120, int), r"labels have shape \(120,\), .* wanted \(120, classes\), multi-hot"),
        (np.ones((119, 4)), r"labels have shape \(119, 4\), the features 120 rows"),
        (np.ones((120, 0)), "no row has a label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(label, message):
    with pytest.raises(ValueError, match=message):
        sdh.fit(jax.random.key(0), clusters()[0], label, 4, anchors=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": 121}, "anchors=121, but there are 120 rows to draw them from; pass 1 to 120"),
        ({"anchors": 0}, "anchors=0"),
        ({"sigma": 0.0}, "sigma=0.0; pass a number above 0"),
        ({"sigma": float("nan")}, "sigma=nan"),
        ({"sigma_scale": -1}, "sigma_scale=-1"),
        ({"anchor_AxD": np.ones((5, 7))}, "have 7 columns, the parameters were fitted to 8"),
        ({"sign_NxK": np.ones((120, 5))}, r"sign_NxK has shape \(120, 5\); wanted \(120, 4\)"),
        ({"anchors": 120, "sigma": None}, "sigma=None is measured at rows that are no anchors"),
        (
            {"anchor_AxD": np.ones((9, 8)), "kernel_ridge": 0.0},
            "kernel_ridge=0.0 is too little for float32",
        ),
    ],
)
def test_bad_settings_are_refused(options, message):
    feature, label = clusters()
    with pytest.raises(ValueError, match=message):
        sdh.fit(jax.random.key(0), feature, label, 4, **{"anchors": 20, **options})
