"""Each term against numbers worked by hand; the whole objective on one device and on four."""

import functools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from dsh_jax import losses

pytestmark = pytest.mark.optimized

seeds = st.integers(0, 2**32 - 1)


def gradients_are_right(function, *args):
    check_grads(jax.jit(function), args, order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2)


def test_losses_need_no_tensorflow():
    program = "from dsh_jax import losses; import sys; assert 'tensorflow' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root)


# Classification.


def test_cross_entropy_by_hand():
    # Scores log 1, log 2, log 5 are probabilities 1/8, 2/8, 5/8.
    score = jnp.log(jnp.array([[1.0, 2.0, 5.0]] * 4))
    label = jnp.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
    loss = losses.softmax_cross_entropy(score, label)
    # Two labels share the target; a row without a label costs nothing.
    by_hand = [np.log(8 / 5), np.log(8), (np.log(8) + np.log(4)) / 2, 0]
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)


def test_smoothed_cross_entropy_by_hand():
    score = jnp.log(jnp.array([[1.0, 2.0, 5.0]] * 2))
    label = jnp.array([[0, 0, 1], [0, 0, 0]])
    loss = losses.softmax_cross_entropy(score, label, smoothing=0.3)
    by_hand = 0.1 * np.log(8) + 0.1 * np.log(4) + 0.8 * np.log(8 / 5)
    np.testing.assert_allclose(loss, [by_hand, 0], rtol=1e-6)


def test_margin_loss_by_hand():
    score = jnp.array([[0.25, 0.5, -1.0], [1.0, 0.0, 0.0], [3.0, -2.0, -7.0], [-2.0, 3.0, 0.0]])
    label = jnp.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    by_hand = [(0.75 + 0.5 + 2) / 2, 0, 0, (3 + 3) / 2]
    np.testing.assert_allclose(losses.multilabel_margin_loss(score, label), by_hand)
    by_hand = [(0.75**2 + 0.5**2 + 2**2) / 2, 0, 0, (3**2 + 3**2) / 2]
    np.testing.assert_allclose(losses.multilabel_margin_loss(score, label, exponent=2), by_hand)


@settings(deadline=None, max_examples=30)
@given(
    # The device takes subnormal numbers for 0, where the slope is 0.
    score=st.floats(-100, 100, width=32, allow_subnormal=False).filter(lambda s: s not in (0, 1)),
    label=st.integers(0, 1),
)
def test_printed_margin_loss_has_gradient_half_outside_its_zone_and_none_inside(score, label):
    slope = jax.grad(lambda s: losses.multilabel_margin_loss(s, jnp.array([[label]])).sum())
    found = slope(jnp.array([[score]]))
    if label:
        assert found == (-0.5 if score < 1 else 0)
    else:
        assert found == (0.5 if score > 0 else 0)


def test_margin_loss_has_no_gradient_at_the_edge_of_its_zone():
    score, label = jnp.array([[1.0, 0.0]]), jnp.array([[1, 0]])
    for exponent in (1, 2):
        slope = jax.grad(
            lambda s, p=exponent: losses.multilabel_margin_loss(s, label, exponent=p)[0]
        )
        np.testing.assert_array_equal(slope(score), [[0, 0]])


# The code's terms.


def test_code_terms_by_hand():
    bcoding = jnp.array([[0.5, 0.5, 0.5, 0.5], [1.0, 0.75, 0.5, 0.25], [1.0, 1.0, 1.0, 0.0]])
    binarization = losses.binarization_loss(bcoding)
    np.testing.assert_allclose(binarization, [0, -(1 / 4 + 1 / 16 + 1 / 16) / 4, -1 / 4])
    np.testing.assert_allclose(losses.balance_loss(bcoding), [0, 1 / 64, 1 / 16])


@settings(deadline=None, max_examples=30)
@given(seed=seeds, bits=st.sampled_from([1, 2, 5, 48]))
def test_binarization_is_bounded_and_best_at_bits(seed, bits):
    rng = np.random.default_rng(seed)
    bcoding = rng.random((8, bits), np.float32)
    loss = losses.binarization_loss(bcoding)
    assert np.all((loss >= -0.25) & (loss <= 0))
    np.testing.assert_array_equal(losses.binarization_loss(np.rint(bcoding)), [-0.25] * 8)


@settings(deadline=None, max_examples=50)
@given(bit=st.lists(st.integers(0, 1), min_size=1, max_size=16))
def test_balance_is_zero_exactly_where_half_of_the_bits_are_on(bit):
    loss = losses.balance_loss(jnp.array([bit], jnp.float32))[0]
    assert (loss == 0) == (2 * sum(bit) == len(bit))
    assert 0 <= loss <= 0.25


def test_bit_balance_by_hand_looks_at_columns():
    # Every row is balanced, but the first bit is always on and the second always off.
    bcoding = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(losses.balance_loss(bcoding), [0, 0])
    assert losses.bit_balance_loss(bcoding) == 0.25
    assert losses.bit_balance_loss(jnp.array([[1.0, 0.5], [0.5, 0.5]])) == 0.25**2 / 2


def test_decorrelation_by_hand():
    # The first two bits agree (covariance 1), the third is independent of both.
    bcoding = jnp.array([[0.0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    assert losses.decorrelation_loss(bcoding) == pytest.approx(2 / 6)
    # A constant bit varies with nothing, whatever its mean.
    assert losses.decorrelation_loss(jnp.array([[1.0, 0.0], [1.0, 1.0]])) == 0
    assert losses.decorrelation_loss(bcoding[:, :1]) == 0


# Reconstruction, weights, masks.


def test_reconstruction_by_hand():
    image = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    decoded = jnp.array([0.5, 0.75]).reshape(1, 1, 2, 1)
    mse = losses.reconstruction_loss(image, decoded)
    np.testing.assert_allclose(mse, [(1 / 4 + 1 / 16) / 2])
    bce = losses.reconstruction_loss(image, decoded, kind="bce")
    np.testing.assert_allclose(bce, [(np.log(2) + np.log(4 / 3)) / 2], rtol=1e-6)


def test_reconstruction_bce_is_finite_where_the_decoder_is_sure_and_wrong():
    image, decoded = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1), jnp.array([1.0, 0.0])
    decoded = decoded.reshape(1, 1, 2, 1)
    value, slope = jax.value_and_grad(
        lambda d: losses.reconstruction_loss(image, d, kind="bce").sum()
    )(decoded)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


params = {
    "encoder": {"conv": {"kernel": jnp.full((1, 1, 1, 2), 3.0), "bias": jnp.full(2, 100.0)}},
    "norm": {"scale": jnp.full(2, 100.0), "bias": jnp.full(2, 100.0)},
    "classifier": {"kernel": jnp.array([[1.0, 2.0]])},
}


def test_weight_penalty_counts_the_kernels_of_the_named_parts():
    assert losses.weight_penalty(params) == 9 + 9 + 1 + 4
    assert losses.weight_penalty(params, parts=("classifier",)) == 1 + 4


def test_weight_penalty_is_summed_in_float32():
    half = {"kernel": jnp.full(300, 1.0, jnp.bfloat16)}  # bfloat16 would stop at 256
    penalty = losses.weight_penalty(half)
    assert penalty.dtype == jnp.float32
    assert penalty == 300


def test_masked_mean_by_hand():
    value = jnp.array([1.0, 2.0, 6.0])
    assert losses.masked_mean(value, jnp.array([True, False, True])) == 3.5
    assert losses.masked_mean(value, jnp.zeros(3, bool)) == 0


def test_masked_mean_does_not_read_what_is_masked():
    value = jnp.array([1.0, np.nan])
    assert losses.masked_mean(value, jnp.array([True, False])) == 1


# Gradients.


@pytest.mark.parametrize(
    "function",
    [
        lambda s, b: losses.softmax_cross_entropy(s, (b > 0.4) * 1.0, smoothing=0.1).sum(),
        lambda s, b: losses.multilabel_margin_loss(s, (b > 0.4) * 1.0, exponent=2).sum(),
        lambda s, b: losses.multilabel_margin_loss(s, (b > 0.4) * 1.0).sum(),
        lambda s, b: losses.binarization_loss(b).sum(),
        lambda s, b: losses.balance_loss(b).sum(),
        lambda s, b: losses.bit_balance_loss(b),
        lambda s, b: losses.decorrelation_loss(b),
        lambda s, b: losses.reconstruction_loss(s[..., None, None] * 0, b[..., None, None]).sum(),
        lambda s, b: losses.reconstruction_loss(
            b[..., None, None], jax.nn.sigmoid(s)[..., None, None], kind="bce"
        ).sum(),
        lambda s, b: losses.weight_penalty({"kernel": s, "bias": b}),
        lambda s, b: losses.masked_mean(s[0] * b[1], jnp.array([True, False, True])),
    ],
)
def test_gradients_agree_with_finite_differences(function):
    # Far from the kinks of the margin loss at 0 and 1, and from the labels' threshold.
    score = jnp.array([[-0.7, 0.45, 1.6], [0.3, -1.2, 0.8]])
    bcoding = jnp.array([[0.1, 0.8, 0.3], [0.6, 0.2, 0.9]])
    gradients_are_right(function, score, bcoding)


def test_multilabel_cross_entropy_by_hand():
    score = jnp.array([[0.0, 2.0, -3.0], [100.0, -100.0, 0.0]])
    label = jnp.array([[1, 0, 1], [1, 1, 0]])
    by_hand = [
        np.log(2) + np.log1p(np.exp(2.0)) + np.log1p(np.exp(3.0)),
        0 + 100 + np.log(2),
    ]
    np.testing.assert_allclose(losses.multilabel_cross_entropy(score, label), by_hand, rtol=1e-6)
    slope = jax.grad(lambda s: losses.multilabel_cross_entropy(s, label).sum())(score)
    np.testing.assert_allclose(slope, jax.nn.sigmoid(score) - label, rtol=1e-6)


two, four = jnp.ones((2, 3)), jnp.ones((4, 3))

# Unlabelled rows.


def test_pseudo_labels_by_hand():
    # Probabilities 1/8, 2/8, 5/8; and 1/12, 10/12, 1/12.
    score = jnp.log(jnp.array([[1.0, 2.0, 5.0], [1.0, 10.0, 1.0]]))
    label, is_confident = losses.pseudo_labels(score, threshold=0.7)
    np.testing.assert_array_equal(label, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(is_confident, [False, True])
    assert losses.pseudo_labels(score, threshold=0.6)[1].all()


def test_consistency_by_hand_holds_the_teacher_fixed():
    bcoding, teacher = jnp.array([[0.0, 1.0], [0.5, 0.5]]), jnp.array([[0.5, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(losses.consistency_loss(bcoding, teacher), [0.125, 0.25])
    slope = jax.grad(lambda b, t: losses.consistency_loss(b, t).sum(), argnums=(0, 1))
    own, of_teacher = slope(bcoding, teacher)
    np.testing.assert_allclose(own, bcoding - teacher)  # 2 (b − t) / 2 bits
    assert not of_teacher.any()


def test_similarity_is_what_loops_say_and_holds_the_teacher_fixed():
    rng = np.random.default_rng(0)
    b, t = rng.random((2, 5, 6)).astype(np.float32)
    where = np.array([True, False, True, True, False])
    rows, wanted = np.flatnonzero(where), np.zeros(5)
    for i in rows:
        near = np.exp([np.dot(2 * b[i] - 1, 2 * t[j] - 1) / (6 * 0.2) for j in rows])
        of_teacher = np.exp([3 * np.dot(2 * t[i] - 1, 2 * t[j] - 1) / (6 * 0.2) for j in rows])
        wanted[i] = -sum(of_teacher / of_teacher.sum() * np.log(near / near.sum()))
    loss = functools.partial(
        losses.similarity_loss, where_B=jnp.array(where), temperature=0.2, sharpening=3.0
    )
    np.testing.assert_allclose(loss(b, t), wanted, rtol=1e-5)
    own, of_teacher = jax.grad(lambda b, t: loss(b, t).sum(), argnums=(0, 1))(b, t)
    np.testing.assert_array_equal(own.any(1), where)
    assert not of_teacher.any()


def test_similarity_parts_codes_that_have_merged_where_the_teacher_tells_them_apart():
    teacher = jnp.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    merged = jnp.full((3, 2), 0.5)
    rows = jnp.ones(3, bool)
    slope = jax.grad(lambda b: losses.similarity_loss(b, teacher, rows).sum())(merged)
    np.testing.assert_array_equal(slope > 0, teacher == 0)  # each towards its teacher's side


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0.0}, "temperature is 0.0; above 0"), ({"sharpening": 0.5}, "at least 1")],
)
def test_similarity_refuses_bad_options(options, message):
    code = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=message):
        losses.similarity_loss(code, code, jnp.ones(2, bool), **options)


def test_ramp_rises_to_one():
    values = [float(losses.ramp_up(jnp.float32(p), share=0.5)) for p in (0, 0.25, 0.5, 1)]
    assert values == pytest.approx([np.exp(-5), np.exp(-1.25), 1, 1])
    assert losses.ramp_up(jnp.float32(0), share=0.0) == 1


def labels_by_sorting(score, where, prior, share):
    """Thresholds by sorting each class's scores, in plain numpy; without ties."""
    rows = np.flatnonzero(where)
    label = 1 / (1 + np.exp(-score))
    is_confident = np.zeros(score.shape, bool)
    for c in range(score.shape[1]):
        order = rows[np.argsort(-score[rows, c])]
        there = int(np.floor(share * prior[c] * len(rows) + 0.5))
        absent = int(np.floor(share * (1 - prior[c]) * len(rows) + 0.5))
        both = max(0, there + absent - len(rows))
        chosen = [(r, 1) for r in order[: there - both]]
        chosen += [(r, 0) for r in order[::-1][: absent - both]]
        for row, value in chosen:
            label[row, c], is_confident[row, c] = value, True
    return label, is_confident


@settings(deadline=None, max_examples=25)
@given(seed=seeds, share=st.sampled_from([0.1, 0.5, 0.8]))
def test_multilabel_pseudo_labels_match_the_prior(seed, share):
    rng = np.random.default_rng(seed)
    score, where = rng.normal(size=(20, 3)).astype(np.float32), rng.random(20) < 0.7
    prior = np.array([0.05, 0.3, 0.9], np.float32)
    # Away from a half, where float32 and float64 round apart.
    expected = share * where.sum() * np.concatenate([prior, 1 - prior])
    assume((abs(expected % 1 - 0.5) > 1e-4).all())
    label, is_confident = losses.multilabel_pseudo_labels(
        jnp.array(score), jnp.array(where), jnp.array(prior), share=share
    )
    wanted, is_wanted = labels_by_sorting(score, where, prior, share)
    np.testing.assert_array_equal(is_confident, is_wanted)
    np.testing.assert_allclose(label, wanted, rtol=1e-5)


def test_multilabel_pseudo_labels_are_those_of_the_whole_batch():
    rng = np.random.default_rng(0)
    score, where = rng.normal(size=(20, 3)).astype(np.float32), rng.random(20) < 0.7
    label = functools.partial(
        losses.multilabel_pseudo_labels, prior_C=jnp.array([0.1, 0.3, 0.9]), share=0.5
    )
    one = label(jnp.array(score), jnp.array(where))
    four = jax.pmap(functools.partial(label, axis_name="batch"), axis_name="batch")(
        score.reshape(4, 5, 3), where.reshape(4, 5)
    )
    for found, wanted in zip(four, one, strict=True):
        np.testing.assert_array_equal(found.reshape(20, 3), wanted)


def test_equal_scores_are_not_believed():
    label, is_confident = losses.multilabel_pseudo_labels(
        jnp.zeros((4, 2)), jnp.ones(4, bool), jnp.array([0.5, 0.5]), share=1.0
    )
    assert not is_confident.any()
    np.testing.assert_array_equal(label, np.full((4, 2), 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.pseudo_labels(two, threshold=0.0), r"threshold is 0.0; a probability in"),
        (lambda: losses.pseudo_labels(two, threshold=1.01), r"threshold is 1.01; a probability in"),
        (
            lambda: losses.multilabel_pseudo_labels(two, two[:, 0] > 0, two[0], share=0.0),
            "share is 0.0; a share of the rows",
        ),
        (lambda: losses.ramp_up(jnp.float32(0), share=1.5), "ramp is 1.5; a share of the steps"),
    ],
)
def test_settings_of_unlabelled_rows_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Errors.

picture = jnp.ones((2, 4, 4, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.multilabel_margin_loss(two, two, exponent=3),
            r"exponent is 3; eq. \(5\) has 1 \(printed\) or 2",
        ),
        (
            lambda: losses.reconstruction_loss(picture, picture, kind="mae"),
            "reconstruction kind is 'mae'; it must be 'mse' or 'bce'",
        ),
        (
            lambda: losses.weight_penalty(params, parts=("decoder",)),
            "there is no part 'decoder'; there are classifier, encoder",
        ),
        (
            lambda: losses.weight_penalty({"encoder": {"bias": jnp.ones(2)}}, parts=("encoder",)),
            r"no leaf named 'kernel' in \('encoder',\): nothing to penalise",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: losses.softmax_cross_entropy(two, four),
        lambda: losses.multilabel_margin_loss(two, four),
        lambda: losses.reconstruction_loss(picture, picture[:, :2]),
        lambda: losses.masked_mean(two[:, 0], jnp.ones(3, bool)),
    ],
)
def test_unequal_shapes_are_refused(call):
    with pytest.raises(AssertionError):
        call()
