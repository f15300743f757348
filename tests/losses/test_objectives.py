"""The objectives: weighed by hand, on one device and on four, of arrays and of outputs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from dsh_jax import losses
from dsh_jax.losses import objectives
from dsh_jax.losses.objectives import autoencoder_objective, hashing_objective
from dsh_jax.network import Outputs

seeds = st.integers(0, 2**32 - 1)


def batch_of(seed, rows=8, bits=6, classes=3, labelled=None):
    rng = np.random.default_rng(seed)
    score, bcoding = rng.normal(size=(rows, classes)), rng.random((rows, bits))
    label = np.eye(classes)[rng.integers(0, classes, rows)]
    is_labelled = rng.random(rows) < 0.5 if labelled is None else np.array(labelled)
    return *(jnp.array(a, jnp.float32) for a in (score, bcoding, label)), jnp.array(is_labelled)


def test_objective_weighs_its_terms():
    score, bcoding, label, is_labelled = batch_of(0)
    image = jnp.full((8, 2, 2, 1), 0.5)
    total, terms = objectives.dsh_objective(
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
    terms = objectives.dsh_objective(*batch_of(0))[1]
    assert set(terms) == {"classification", "binarization", "balance"}


def test_printed_sums_are_the_sums_over_rows_and_bits():
    score, bcoding, label, is_labelled = batch_of(1)
    total, terms = objectives.dsh_objective(score, bcoding, label, is_labelled, reduction="sum")
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
        terms = objectives.dsh_objective(
            score, bcoding, label, is_labelled, multilabel=True, exponent=exponent
        )[1]
        wanted = losses.multilabel_margin_loss(score[chosen], label[chosen], exponent=exponent)
        assert terms["classification"] == pytest.approx(float(wanted.mean()))


def test_multilabel_cross_entropy_takes_the_place_of_equation_5():
    score, bcoding, label, is_labelled = batch_of(2)
    terms = objectives.dsh_objective(
        score, bcoding, label, is_labelled, multilabel=True, multilabel_loss="bce"
    )[1]
    chosen = np.flatnonzero(is_labelled)
    wanted = losses.multilabel_cross_entropy(score[chosen], label[chosen])
    assert terms["classification"] == pytest.approx(float(wanted.mean()))


@functools.partial(jax.jit, static_argnames=("multilabel", "reduction"))
def value_and_grads(*arrays, **options):
    """The objective with its terms, and its gradients by score and activations."""
    objective = functools.partial(objectives.dsh_objective, **options)
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
        lambda s: objectives.dsh_objective(s, bcoding, label, nowhere, multilabel=multilabel),
        has_aux=True,
    )(score)
    assert terms["classification"] == 0
    assert np.isfinite(total)
    np.testing.assert_array_equal(slope, np.zeros_like(slope))


def test_objective_gradient_agrees_with_finite_differences():
    score, bcoding, label, is_labelled = batch_of(4)

    def total(s, b):
        return objectives.dsh_objective(
            s, b, label, is_labelled, bit_balance=1.0, decorrelation=1.0
        )[0]

    check_grads(
        jax.jit(total), (score, bcoding), order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2
    )


# Four devices.


@functools.cache
def shared_objective(reduction, axis_name):
    """Compile the objective and gradients of two layers, whose weights every device holds."""

    def objective(weights, feature, label, is_labelled):
        bcoding = jax.nn.sigmoid(feature @ weights["bcoding"])
        return objectives.dsh_objective(
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

two = jnp.ones((2, 3))
everywhere = jnp.ones(2, bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: objectives.dsh_objective(two, two, two, everywhere, reduction="max"),
            "reduction is 'max'; it must be 'mean' or 'sum'",
        ),
        (
            lambda: objectives.dsh_objective(two, two, two, everywhere, r=0.5),
            "r is 0.5, .* but an image or its decoding is missing: pass both, or set r=0",
        ),
        (
            lambda: objectives.dsh_objective(
                two, two, two, everywhere, multilabel=True, exponent=0
            ),
            "exponent is 0",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Of the network's outputs.

OUTPUTS = Outputs(
    feature=np.zeros((2, 3), np.float32),
    logit=np.zeros((2, 4), np.float32),
    bcoding=np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.float32),
    score=np.zeros((2, 10), np.float32),
    decoded=np.full((2, 2, 2, 1), 0.5, np.float32),
)
BATCH = {"label": np.eye(10, dtype=np.float32)[:2], "is_labelled": np.array([True, False])}


@pytest.mark.parametrize(
    ("applied_to", "binarization", "balance"),
    [("bcoding", -0.25, 0.125), ("sigmoid", 0.0, 0.0)],
)
def test_objective_reads_bcoding_or_the_sigmoid(applied_to, binarization, balance):
    objective = hashing_objective(multilabel=False, applied_to=applied_to)
    _, terms = objective(OUTPUTS, None, BATCH, None)
    np.testing.assert_allclose(terms["binarization"], binarization)
    np.testing.assert_allclose(terms["balance"], balance)
    np.testing.assert_allclose(terms["classification"], np.log(10), rtol=1e-6)


def test_objective_is_the_margin_loss_for_multi_label_data():
    objective = hashing_objective(multilabel=True, applied_to="bcoding")
    _, terms = objective(OUTPUTS, None, BATCH, None)
    assert float(terms["classification"]) == 0.5  # |1 − 0| / 2


def test_objective_refuses_another_activation():
    with pytest.raises(ValueError, match="applied_to is 'logit'; it must be 'bcoding' or"):
        hashing_objective(multilabel=False, applied_to="logit")


def test_reconstruction_fades_in_a_straight_line():
    image = np.stack([np.zeros((2, 2, 1)), np.ones((2, 2, 1))]).astype(np.float32)
    faded = hashing_objective(
        multilabel=False, applied_to="bcoding", x=0, y=0, z=0, r=8.0, reconstruction_end=0.25
    )
    for progress, weight in ((0.0, 8.0), (0.5, 5.0), (1.0, 2.0)):
        total, terms = faded(OUTPUTS, image, BATCH | {"progress": progress}, None)
        assert float(terms["reconstruction"]) == 0.25
        assert float(total) == pytest.approx(weight / 4)
    with pytest.raises(ValueError, match=r"reconstruction_end is 1.5; it must be in \[0, 1\]"):
        hashing_objective(multilabel=False, applied_to="bcoding", reconstruction_end=1.5)


def test_autoencoder_reads_every_row_and_no_label():
    image = np.stack([np.zeros((2, 2, 1)), np.ones((2, 2, 1))])
    total, terms = autoencoder_objective(reconstruction="mse")(OUTPUTS, image, {}, None)
    assert float(total) == 0.25
    assert terms.keys() == {"reconstruction"}
