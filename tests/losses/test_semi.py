"""What unlabelled rows learn: terms by hand, on four devices, over a resume; bad settings."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dsh_jax import losses, parallel
from dsh_jax.augment import augment
from dsh_jax.losses import semi
from dsh_jax.losses.objectives import hashing_objective
from dsh_jax.network import DSH, Outputs
from dsh_jax.runs import train
from dsh_jax.training import build, step
from dsh_jax.training.checkpoint import Checkpoints
from dsh_jax.training.optimizer import make_optimizer
from dsh_jax.training.records import read_metrics

ON = {
    "semi__threshold_start": 0.1,
    "semi__temperature": 0.5,
    "semi__alignment": True,
    "semi__pseudo_label": 1.0,
    "semi__consistency": 0.5,
    "semi__similarity": 0.5,
    "semi__threshold": 0.11,  # an untrained network is sure of nothing
    "semi__noise": 0.1,
    "semi__ramp": 0.8,
    "strong__cutout": 8,
    "training__labelled_share": 0.25,
}


def outputs_of(score, bcoding):
    score, bcoding = jnp.array(score, jnp.float32), jnp.array(bcoding, jnp.float32)
    return Outputs(bcoding, logit=bcoding, bcoding=bcoding, score=score, decoded=None)


def one_label(threshold=0.7, **options):
    prior_C = np.full(3, 1 / 3, np.float32)
    return semi.labeller(
        multilabel=False, threshold=threshold, confident_share=0.5, prior_C=prior_C, **options
    )


HALFWAY = jnp.float32(0.5)


def nothing(outputs, image, batch, axis_name):
    return jnp.zeros(()), {}


# Three rows: labelled, confident, not confident.
TEACHER = outputs_of(np.log([[10, 1, 1], [1, 10, 1], [1, 2, 1]]), [[1, 1], [1, 0], [0, 0]])
SEEN = outputs_of(np.log([[1, 1, 1], [1, 1, 2], [1, 1, 1]]), [[0, 0], [1, 1], [0.5, 0.5]])
IS_UNLABELLED = jnp.array([False, True, True])
BATCH = {"is_labelled": ~IS_UNLABELLED, "teacher": TEACHER, "progress": jnp.float32(0.5)}


def test_terms_by_hand():
    objective = semi.semi_objective(
        nothing,
        one_label(),
        multilabel=False,
        pseudo_label=3.0,
        consistency=5.0,
        ramp=1.0,
        similarity=7.0,
        similarity_temperature=0.5,
    )
    total, terms = objective(SEEN, None, BATCH, None)
    # Of the two unlabelled rows one is believed: log 4 over both.
    assert terms["pseudo_label"] == pytest.approx(np.log(4) / 2)
    assert terms["consistency"] == pytest.approx((0.5 + 0.25) / 2)
    assert terms["ramp"] == pytest.approx(np.exp(-1.25))
    # <u, v> / (K T) of the two unlabelled rows: 0 and −2 for the first, 0 for the second. Among
    # themselves the teacher's have 2 and 0 (sharpened 4 and 0), 0 and 2.
    far = 1 / (1 + np.exp(4))
    similarity = (np.log(1 + np.exp(-2)) + 2 * far + np.log(2)) / 2
    assert terms["similarity"] == pytest.approx(similarity, rel=1e-5)
    wanted = 3 * np.log(4) / 2 + 5 * 0.375 + 7 * similarity
    assert total == pytest.approx(np.exp(-1.25) * wanted)


def test_the_threshold_rises_in_a_straight_line():
    # The second row's likeliest class has 10/12, the third's 2/4.
    label_of = one_label(threshold=0.9, threshold_start=0.4)
    believed = [
        np.asarray(label_of(TEACHER.score, IS_UNLABELLED, jnp.float32(t), None)[1]).tolist()
        for t in (0, 0.19, 0.21, 0.86, 0.87)
    ]
    row_2 = [False, True, False]
    assert believed == [[False, True, True], [False, True, True], row_2, row_2, [False] * 3]


def test_with_a_temperature_the_label_is_a_distribution():
    label, is_confident = one_label(temperature=0.5)(TEACHER.score, IS_UNLABELLED, HALFWAY, None)
    np.testing.assert_allclose(label[1], np.array([1, 100, 1]) / 102, rtol=1e-5)
    np.testing.assert_array_equal(is_confident, [False, True, False])


def test_alignment_takes_from_the_class_that_is_expected_too_often():
    prior = np.array([0.25, 0.25, 0.5], np.float32)
    score = jnp.log(jnp.array([[9.0, 1, 1], [1, 4, 5], [1, 6, 3]]))
    p = np.array([[0.1, 0.4, 0.5], [0.1, 0.6, 0.3]])
    wanted = p * prior / p.mean(0)
    wanted /= wanted.sum(1, keepdims=True)
    found = jax.nn.softmax(losses.aligned_scores(score, IS_UNLABELLED, prior))[1:]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    no_row = jnp.zeros(3, bool)
    plain = jax.nn.softmax(losses.aligned_scores(score, no_row, prior))
    np.testing.assert_allclose(plain, jax.nn.softmax(score), rtol=1e-5)
    even = one_label(threshold=0.3, alignment=True)(score, IS_UNLABELLED, HALFWAY, None)[0]
    assert (even[1:].argmax(1) == (p / p.mean(0)).argmax(1)).all()


def test_several_labels_learn_the_probability_where_none_is_believed():
    prior_C = np.array([0.5, 0.01, 0.01], np.float32)
    label_of = semi.labeller(multilabel=True, threshold=0.9, confident_share=0.5, prior_C=prior_C)
    objective = semi.semi_objective(
        nothing, label_of, multilabel=True, pseudo_label=1.0, consistency=0.0, ramp=0.0
    )
    _, terms = objective(SEEN, None, BATCH, None)
    # Of two rows the likelier has class 1 with the odds of 10, the other with those of 2: it is
    # believed not to have it. The other classes' scores are equal: neither row has class 2, and of
    # class 0, expected in one of them, nothing is believed.
    label, is_confident = label_of(TEACHER.score, IS_UNLABELLED, HALFWAY, None)
    np.testing.assert_array_equal(is_confident, [[0, 0, 0], [0, 0, 1], [0, 1, 1]])
    np.testing.assert_allclose(label[1:], [[0.5, 10 / 11, 0], [0.5, 0, 0]], rtol=1e-6)
    wanted = losses.multilabel_cross_entropy(SEEN.score[1:], label[1:]).mean()
    assert terms["pseudo_label"] == pytest.approx(float(wanted))
    assert terms.keys() == {"ramp", "pseudo_label"}


def test_confidence_counts_the_unlabelled_rows_alone():
    truth = jnp.array([[0, 0, 1], [0, 1, 0], [0, 1, 0]])
    count = functools.partial(
        semi.confidence, one_label(), TEACHER.score, IS_UNLABELLED, progress=HALFWAY
    )
    assert count(truth) == {"confident": 0.5, "confident_right": 0.5}
    assert count(1 - truth) == {"confident": 0.5, "confident_right": 0.0}
    assert count(None) == {"confident": 0.5}


def test_confidence_counts_labels_where_there_are_several():
    def label_of(score, where, progress, axis_name):
        return jnp.array([[1.0, 0.7, 0.0]] * 3), jnp.array([[True, False, True]] * 3)

    truth = jnp.array([[0, 0, 0], [1, 0, 0], [1, 0, 1]])
    found = semi.confidence(label_of, TEACHER.score, IS_UNLABELLED, truth, HALFWAY)
    assert found == {"confident": pytest.approx(2 / 3), "confident_right": pytest.approx(3 / 6)}


def test_only_believed_unlabelled_rows_have_a_slope():
    def total(score):
        objective = semi.semi_objective(
            nothing, one_label(), multilabel=False, pseudo_label=1.0, consistency=1.0, ramp=0.0
        )
        return objective(outputs_of(score, SEEN.bcoding), None, BATCH, None)[0]

    slope = jax.jit(jax.grad(total))(SEEN.score)
    assert not slope[jnp.array([0, 2])].any()
    np.testing.assert_allclose(slope[1], jnp.array([0.25, 0.25 - 1, 0.5]) / 2, rtol=1e-6)


def test_a_batch_without_unlabelled_rows_stays_finite():
    objective = semi.semi_objective(
        nothing, one_label(), multilabel=False, pseudo_label=1.0, consistency=1.0, ramp=0.0
    )
    total, _ = objective(SEEN, None, BATCH | {"is_labelled": jnp.ones(3, bool)}, None)
    assert total == 0


# A whole step.

SGD = make_optimizer("sgd", lambda step: 0.5, momentum=0.0)


def make_step(axis_name=None):
    model = DSH(bits=12, classes=10, shape=(32, 32, 1), width=1 / 32, fc_dim=8, axis_name=axis_name)
    label_of = one_label(threshold=0.11)
    objective = semi.semi_objective(
        hashing_objective(multilabel=False, applied_to="bcoding", r=0.5, reconstruction_end=0.5),
        label_of,
        multilabel=False,
        pseudo_label=1.0,
        consistency=0.5,
        ramp=1.0,
        similarity=0.5,
    )
    one_step = functools.partial(
        step.train_step,
        model=model,
        optimizer=SGD,
        objective=objective,
        augment=functools.partial(augment, shift_pixels=2),
        strong=functools.partial(augment, shift_pixels=4, cutout_size=8),
        confidence=functools.partial(semi.confidence, label_of),
        beta=step.beta_schedule(beta=1.0, growth=0.0, power=0.5),
        steps=10,
        noise=0.1,
        decode=True,
        ema_decay=0.9,
        axis_name=axis_name,
    )
    return model, one_step


def make_batch():
    """Return four devices' rows, another number of them labelled on each."""
    source = tiny.source(rows=32)
    is_labelled = np.arange(8) < np.array([5, 2, 0, 7])[:, None]
    label = source.label_NxC.astype(np.float32).reshape(4, 8, 10)
    return {
        "image": source.images.image_NxHxWxC.reshape(4, 8, 32, 32, 1),
        "label": label * is_labelled[..., None],
        "is_labelled": is_labelled,
        "truth": label,
    }


@pytest.fixture(scope="module")
def one_device():
    """A step on one device, jitted, its state and batch, and what it gives."""
    model, one_step = make_step()
    state = jax.tree.map(np.array, step.create_state(model, SGD, seed=0, ema=True))
    state = state.replace(step=np.int32(3))
    batch = jax.tree.map(lambda a: a.reshape(32, *a.shape[2:]), make_batch())
    one_step = jax.jit(one_step)
    return one_step, state, batch, jax.device_get(one_step(state, batch))


def test_four_devices_are_one(one_device):
    _, before, _, after = one_device
    _, four_step = make_step(parallel.AXIS)
    found = jax.pmap(four_step, axis_name=parallel.AXIS, in_axes=(None, 0))(before, make_batch())
    assert after[1]["confident"] > 0
    for device in range(4):
        jax.tree.map(
            lambda one, other, d=device: np.testing.assert_allclose(
                np.asarray(one)[d], other, rtol=2e-5, atol=1e-5
            ),
            found,
            after,
        )


def test_the_truth_is_only_counted(one_device):
    one_step, before, batch, (after, metrics) = one_device
    state, wrong = jax.device_get(one_step(before, batch | {"truth": 1 - batch["truth"]}))
    jax.tree.map(np.testing.assert_array_equal, state, after)
    assert {name for name in metrics if wrong[name] != metrics[name]} == {"confident_right"}


def test_the_average_teaches(one_device):
    one_step, before, batch, (_, metrics) = one_device
    other = before.replace(ema=jax.tree.map(lambda a: a * 0.5, before.ema))
    moved = jax.device_get(one_step(other, batch))[1]
    assert moved["classification"] == metrics["classification"]
    assert moved["consistency"] != metrics["consistency"]


# Whole runs.


def test_a_resume_in_the_labels_or_in_the_ramp_changes_no_bit(tmp_path):
    config = tiny.joint(**ON, semi__labels_first_steps=3)
    run = build.build(config)
    folders = tmp_path / "whole", tmp_path / "in_parts"
    assert train.train(config, folders[0], described=run)
    for stop in (2, 3, 8):
        assert not train.train(config, folders[1], described=run, stop_step=stop)
    assert train.train(config, folders[1], described=run)
    states = []
    for folder in folders:
        with contextlib.closing(Checkpoints(folder)) as checkpoints:
            states.append(checkpoints.restore(13, run.state_shapes(13)))
    jax.tree.map(np.testing.assert_array_equal, *states)
    records = [r for r in read_metrics(folders[1] / "metrics.jsonl") if "train/loss" in r]
    assert not any("train/ramp" in record for record in records[:3])
    records = records[3:]
    wanted = {"pseudo_label", "consistency", "similarity", "confident", "ramp"}
    assert {f"train/{name}" for name in wanted} <= set(records[-1])
    ramps = [record["train/ramp"] for record in records]
    np.testing.assert_allclose(
        ramps, np.exp(-5 * (1 - np.minimum(np.arange(10) / 10 / 0.8, 1)) ** 2), rtol=1e-5
    )
    assert any(r["train/confident"] > 0 for r in records)
    assert all(r["train/confident_right"] <= r["train/confident"] for r in records)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data__label_fraction": 1.0}, "the split has none: set data.labels_per_class"),
        ({"training__labelled_share": 1.0}, "labelled_share is 1.0: no batch has one"),
        ({"training__ema_decay": 0.0}, "no average to learn from: set training.ema_decay"),
        ({"method": "dpsh"}, "the method is dpsh: only dhs has such a term"),
        ({"semi__threshold": 0.0}, r"threshold is 0.0; a probability in \(0, 1\]"),
        ({"semi__threshold": 1.5}, "threshold is 1.5"),
        ({"semi__ramp": -0.1}, r"ramp is -0.1; a share of the steps in \[0, 1\]"),
        ({"semi__threshold_start": 1.5}, "semi.threshold_start is 1.5; a probability in"),
        ({"semi__temperature": -1.0}, "temperature is -1.0; at least 0 is wanted"),
        ({"semi__similarity": -1.0}, "semi.similarity is -1.0; a weight is at least 0"),
        ({"semi__similarity_temperature": 0.0}, "temperature is 0.0; above 0 is wanted"),
        ({"semi__pseudo_label": -1.0}, "semi.pseudo_label is -1.0; a weight is at least 0"),
        ({"data__label_fraction": 0.004}, "classes have no labelled row"),
        ({"semi__labels_first_steps": -1}, "labels_first_steps is -1; it must be 0, or above it"),
        (
            {
                "semi__labels_first_steps": 1,
                **{f"semi__{name}": 0.0 for name in ("pseudo_label", "consistency", "similarity")},
            },
            "labels_first_steps is 1; it must be 0, or above it with a term of unlabelled rows",
        ),
        (
            {"semi__labels_first_steps": 1, "training__labelled_share": 0.125},
            "the 2 labelled rows of a batch do not divide by 4 devices",
        ),
    ],
)
def test_bad_settings_are_refused_with_the_mending(changed, message):
    with pytest.raises(ValueError, match=message):
        build.build(tiny.joint(**(ON | changed)))
