"""Each method's objective and network on the one training step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dsh_jax.losses import objectives
from dsh_jax.methods import deep
from dsh_jax.network import Outputs
from dsh_jax.runs import evaluate, train
from dsh_jax.training import build
from dsh_jax.training.records import read_metrics

ROWS, BITS, CLASSES = 16, 8, 3
rng = np.random.default_rng(0)
LABEL = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, ROWS)]
BATCH = {
    "label": jnp.asarray(LABEL),
    "is_labelled": jnp.arange(ROWS) < 12,
    "target": jnp.where(jnp.asarray(rng.normal(size=(ROWS, BITS))) > 0, 1.0, -1.0),
    "key": jax.random.PRNGKey(1),
}
NAMES = sorted(deep.OBJECTIVES)


def outputs_of(logit):
    bcoding = jax.nn.sigmoid(2 * logit)
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(BITS, CLASSES)), jnp.float32)
    return Outputs(logit, logit, bcoding, bcoding @ weight, None, code=bcoding)


def objective(method, **options):
    return deep.objective(method, classes=CLASSES, bits=BITS, multilabel=False, options=options)


@pytest.mark.parametrize("method", NAMES)
def test_objective_has_a_finite_slope_and_reads_no_hidden_label(method):
    def total(logit, label):
        return objective(method)(outputs_of(logit), None, BATCH | {"label": label}, None)[0]

    logit = jnp.asarray(rng.normal(size=(ROWS, BITS)), jnp.float32)
    value, slope = jax.value_and_grad(total)(logit, BATCH["label"])
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert np.abs(slope).sum() > 0
    other = jnp.asarray(np.roll(LABEL, 1, axis=1))
    hidden = jnp.where(BATCH["is_labelled"][:, None], BATCH["label"], other)
    assert total(logit, hidden) == value


@pytest.mark.parametrize("method", NAMES)
def test_batches_without_labels_stay_finite(method):
    batch = BATCH | {"is_labelled": jnp.zeros(ROWS, bool)}
    logit = jnp.asarray(rng.normal(size=(ROWS, BITS)), jnp.float32)

    def total(logit):
        return objective(method)(outputs_of(logit), None, batch, None)[0]

    value, slope = jax.value_and_grad(total)(logit)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("method", ["dhs", *NAMES])
def test_a_labelled_row_without_a_label_counts_as_not_labelled(method, multilabel):
    """One rule for all methods: supervised terms average over rows that have a label."""
    made = deep.objective(
        method, classes=CLASSES, bits=BITS, multilabel=multilabel, options={}
    ) or objectives.hashing_objective(multilabel=multilabel, applied_to="bcoding")
    logit = jnp.asarray(rng.normal(size=(ROWS, BITS)), jnp.float32)
    bare = jnp.arange(ROWS) == 3
    label = jnp.where(bare[:, None], 0, BATCH["label"])
    known = jnp.arange(ROWS) < 12
    labelled, hidden = (
        made(outputs_of(logit), None, BATCH | {"label": label, "is_labelled": rows}, None)
        for rows in (known, known & ~bare)
    )
    assert float(labelled[0]) == pytest.approx(float(hidden[0]), rel=1e-6)
    for name, term in labelled[1].items():
        assert float(term) == pytest.approx(float(hidden[1][name]), rel=1e-6), name


def test_options_are_the_methods_own():
    logit = jnp.asarray(rng.normal(size=(ROWS, BITS)), jnp.float32)
    outputs = outputs_of(logit)
    plain, terms = objective("dpsh")(outputs, None, BATCH, None)
    heavy, _ = objective("dpsh", weight=2.0)(outputs, None, BATCH, None)
    assert float(heavy - plain) == pytest.approx(1.9 * float(terms["quantization"]), rel=1e-4)
    none, _ = objective("dpsh", weight=0.0)(outputs, None, BATCH, None)
    assert float(none) == pytest.approx(float(terms["pairs"]), rel=1e-6)
    with pytest.raises(ValueError, match=r"deep\.margin is 1\.0, but csq has no such.*weight"):
        objective("csq", margin=1.0)
    with pytest.raises(ValueError, match="method is 'hashnot'; a network is trained by dhs"):
        objective("hashnot")
    assert objective("dhs") is None


def test_cnnh_learns_codes_of_the_labelled_rows_alone():
    labelled = np.array([1, 4, 5, 9])
    target = deep.columns("cnnh", LABEL, labelled, bits=BITS)["target"]
    assert np.all(np.abs(target[labelled]) == 1)
    assert not np.delete(target, labelled, axis=0).any()
    same = LABEL[labelled] @ LABEL[labelled].T > 0
    agreement = target[labelled] @ target[labelled].T
    assert agreement[same].min() > agreement[~same].max()
    assert deep.columns("dhs", LABEL, labelled, bits=BITS) == {}


@pytest.mark.slow  # ten seconds a method
@pytest.mark.parametrize("method", NAMES)
def test_a_method_trains_and_is_evaluated(tmp_path, method):
    config = tiny.joint(method=method)
    run = build.build(config)
    assert train.train(config, tmp_path, described=run)
    losses = [
        r["train/loss"] for r in read_metrics(tmp_path / "metrics.jsonl") if "train/loss" in r
    ]
    assert np.isfinite(losses).all()

    assert 0 < evaluate.evaluate_run(config, run, tmp_path).scalars()["eval/map"] <= 1
