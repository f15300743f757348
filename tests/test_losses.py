"""Each term against numbers worked by hand; the whole objective on one device and on four."""

import functools
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from dsh_jax import losses

seeds = st.integers(0, 2**32 - 1)


def gradients_are_right(function, *args):
    check_grads(jax.jit(function), args, order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2)


def test_losses_need_no_tensorflow():
    program = "from dsh_jax import losses; import sys; assert 'tensorflow' not in sys.modules"
    root = Path(__file__).parents[1]
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


def test_weight_penalty_counts_the_kernels_of_the_named_set():
    assert losses.weight_penalty(params) == 9 + 9 + 1 + 4
    assert losses.weight_penalty(params, kernels="classifier") == 1 + 4


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


# The objective.


def batch_of(seed, rows=8, bits=6, classes=3, labelled=None):
    rng = np.random.default_rng(seed)
    score, bcoding = rng.normal(size=(rows, classes)), rng.random((rows, bits))
    label = np.eye(classes)[rng.integers(0, classes, rows)]
    is_labelled = rng.random(rows) < 0.5 if labelled is None else np.array(labelled)
    return *(jnp.array(a, jnp.float32) for a in (score, bcoding, label)), jnp.array(is_labelled)


def test_objective_weighs_its_terms():
    score, bcoding, label, is_labelled = batch_of(0)
    image = jnp.full((8, 2, 2, 1), 0.5)
    total, terms = losses.dsh_objective(
        score, bcoding, label, is_labelled,
        x=2, y=3, z=5, r=7, bit_balance=11, decorrelation=13,
        image_BxHxWxC=image, decoded_BxHxWxC=image / 2,
    )  # fmt: skip
    chosen = np.flatnonzero(is_labelled)
    cross_entropy = losses.softmax_cross_entropy(score[chosen], label[chosen])
    by_hand = {
        "classification": cross_entropy.mean(),
        "binarization": losses.binarization_loss(bcoding).mean(),
        "balance": losses.balance_loss(bcoding).mean(),
        "reconstruction": 1 / 16,
        "bit_balance": losses.bit_balance_loss(bcoding),
        "decorrelation": losses.decorrelation_loss(bcoding),
    }
    assert terms == {name: pytest.approx(float(value)) for name, value in by_hand.items()}
    weighed = zip((2, 3, 5, 7, 11, 13), by_hand.values(), strict=True)
    assert total == pytest.approx(float(sum(weight * value for weight, value in weighed)))


def test_objective_leaves_out_the_terms_that_are_off():
    terms = losses.dsh_objective(*batch_of(0))[1]
    assert set(terms) == {"classification", "binarization", "balance"}


def test_printed_sums_are_the_sums_over_rows_and_bits():
    score, bcoding, label, is_labelled = batch_of(1)
    total, terms = losses.dsh_objective(score, bcoding, label, is_labelled, reduction="sum")
    chosen = np.flatnonzero(is_labelled)
    by_hand = {
        "classification": losses.softmax_cross_entropy(score[chosen], label[chosen]).sum(),
        "binarization": -((bcoding - 0.5) ** 2).sum(),  # K times the sum of the rows' means
        "balance": losses.balance_loss(bcoding).sum(),
    }
    assert terms == {name: pytest.approx(float(value)) for name, value in by_hand.items()}
    bits = bcoding.shape[1]
    rows_sum = bits * losses.binarization_loss(bcoding).sum()
    assert terms["binarization"] == pytest.approx(float(rows_sum))
    weighed = terms["classification"] + 0.1 * terms["binarization"] + 0.1 * terms["balance"]
    assert total == pytest.approx(float(weighed))


def test_multilabel_objective_is_equation_5():
    score, bcoding, label, is_labelled = batch_of(2)
    chosen = np.flatnonzero(is_labelled)
    for exponent in (1, 2):
        terms = losses.dsh_objective(
            score, bcoding, label, is_labelled, multilabel=True, exponent=exponent
        )[1]
        wanted = losses.multilabel_margin_loss(score[chosen], label[chosen], exponent=exponent)
        assert terms["classification"] == pytest.approx(float(wanted.mean()))


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


def test_multilabel_cross_entropy_takes_the_place_of_equation_5():
    score, bcoding, label, is_labelled = batch_of(2)
    terms = losses.dsh_objective(
        score, bcoding, label, is_labelled, multilabel=True, multilabel_loss="bce"
    )[1]
    chosen = np.flatnonzero(is_labelled)
    wanted = losses.multilabel_cross_entropy(score[chosen], label[chosen])
    assert terms["classification"] == pytest.approx(float(wanted.mean()))


@functools.partial(jax.jit, static_argnames=("multilabel", "reduction"))
def value_and_grads(*arrays, **options):
    """The objective with its terms, and its gradients by score and activations."""
    objective = functools.partial(losses.dsh_objective, **options)
    return jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(*arrays)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, multilabel=st.booleans(), reduction=st.sampled_from(["mean", "sum"]))
def test_labels_of_unlabelled_rows_change_no_bit(seed, multilabel, reduction):
    score, bcoding, label, is_labelled = batch_of(seed)
    other = np.random.default_rng(seed + 1).integers(0, 2, label.shape).astype(np.float32)
    other = jnp.where(is_labelled[:, None], label, other)

    options = {"multilabel": multilabel, "reduction": reduction}
    with_label, with_other = (
        value_and_grads(score, bcoding, labels, is_labelled, **options) for labels in (label, other)
    )
    jax.tree.map(np.testing.assert_array_equal, with_label, with_other)


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_batch_without_labels_is_finite_and_does_not_move_the_classifier(multilabel):
    score, bcoding, label, _ = batch_of(3)
    nowhere = jnp.zeros(len(score), bool)
    (total, terms), slope = jax.value_and_grad(
        lambda s: losses.dsh_objective(s, bcoding, label, nowhere, multilabel=multilabel),
        has_aux=True,
    )(score)
    assert terms["classification"] == 0
    assert np.isfinite(total)
    np.testing.assert_array_equal(slope, np.zeros_like(slope))


def test_objective_gradient_agrees_with_finite_differences():
    score, bcoding, label, is_labelled = batch_of(4)
    gradients_are_right(
        lambda s, b: losses.dsh_objective(
            s, b, label, is_labelled, bit_balance=1.0, decorrelation=1.0
        )[0],
        score,
        bcoding,
    )


# Four devices.


@functools.cache
def shared_objective(reduction, axis_name):
    """Compile the objective and gradients of two layers, whose weights every device holds."""

    def objective(weights, feature, label, is_labelled):
        bcoding = jax.nn.sigmoid(feature @ weights["bcoding"])
        return losses.dsh_objective(
            bcoding @ weights["classifier"], bcoding, label, is_labelled,
            bit_balance=2.0, decorrelation=3.0, r=0.5,
            image_BxHxWxC=feature[:, :, None, None],
            decoded_BxHxWxC=jax.nn.sigmoid(bcoding @ weights["decoder"])[:, :, None, None],
            reduction=reduction, axis_name=axis_name,
        )  # fmt: skip

    function = jax.value_and_grad(objective, has_aux=True)
    if axis_name is None:
        return jax.jit(function)
    return jax.pmap(
        lambda *args: jax.lax.pmean(function(*args), axis_name),
        axis_name=axis_name,
        in_axes=(None, 0, 0, 0),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "labelled",
    [
        [True] * 5 + [False] * 15,  # the first device has all of the labelled rows
        [False] * 3 + [True] * 3 + [False] * 13 + [True],  # 2, 1, 0 and 1 of them
        [False] * 20,
    ],
)
def test_four_devices_give_the_value_and_gradient_of_one(reduction, labelled):
    rng = np.random.default_rng(5)
    weights = {
        "bcoding": jnp.array(rng.normal(size=(7, 6)), jnp.float32),
        "classifier": jnp.array(rng.normal(size=(6, 3)), jnp.float32),
        "decoder": jnp.array(rng.normal(size=(6, 7)), jnp.float32),
    }
    feature = jnp.array(rng.random((20, 7)), jnp.float32)
    _, _, label, is_labelled = batch_of(5, rows=20, labelled=labelled)
    rows = feature, label, is_labelled
    spread = jax.tree.map(lambda a: a.reshape(4, 5, *a.shape[1:]), rows)
    one = shared_objective(reduction, None)(weights, *rows)
    four = shared_objective(reduction, "batch")(weights, *spread)
    for device in range(4):
        own = jax.tree.map(lambda a, d=device: a[d], four)
        chex.assert_trees_all_close(own, one, rtol=1e-5, atol=1e-6)


# Errors.

two, four = jnp.ones((2, 3)), jnp.ones((4, 3))
everywhere = jnp.ones(2, bool)
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
            lambda: losses.weight_penalty(params, kernels="encoder"),
            "kernels is 'encoder'; it must be 'all' or 'classifier'",
        ),
        (
            lambda: losses.weight_penalty({"encoder": params["encoder"]}, kernels="classifier"),
            "no leaf named 'kernel' in the set 'classifier': nothing to penalise",
        ),
        (
            lambda: losses.dsh_objective(two, two, two, everywhere, reduction="max"),
            "reduction is 'max'; it must be 'mean' or 'sum'",
        ),
        (
            lambda: losses.dsh_objective(two, two, two, everywhere, r=0.5),
            "r is 0.5, .* but an image or its decoding is missing: pass both, or set r=0",
        ),
        (
            lambda: losses.dsh_objective(two, two, two, everywhere, multilabel=True, exponent=0),
            "exponent is 0",
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
