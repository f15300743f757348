"""What a stage trains, what decays in it, and that its schedules are its own."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dsh_jax.methods import deep
from dsh_jax.network import Outputs
from dsh_jax.training import build, stages
from dsh_jax.training.step import create_state

NAMES = ("dhs", *deep.OBJECTIVES)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("multilabel", [False, True])
def test_trained_parts_are_those_that_the_objective_reads(method, multilabel):
    """The gradient, output by output, against the list of parts."""
    rng = np.random.default_rng(0)
    rows, bits, classes = 12, 8, 3
    label = jnp.asarray(np.eye(classes, dtype=np.float32)[np.arange(rows) % classes])
    objective = deep.objective(
        method, classes=classes, bits=bits, multilabel=multilabel, options={}
    ) or stages.hashing_objective(multilabel=multilabel, applied_to="bcoding")
    batch = {
        "label": label,
        "is_labelled": jnp.arange(rows) < 9,
        "target": jnp.ones((rows, bits)),
        "key": jax.random.PRNGKey(0),
        "progress": jnp.float32(0),
    }
    half = jnp.asarray(rng.uniform(0.2, 0.8, (rows, bits)), jnp.float32)
    outputs = Outputs(
        feature=half + 0.1, logit=half - 0.5, bcoding=half, code=half,
        score=jnp.asarray(rng.normal(size=(rows, classes)), jnp.float32), decoded=None,
    )  # fmt: skip
    slope = jax.grad(lambda outputs: objective(outputs, None, batch, None)[0])(outputs)
    reads = {
        name: bool(np.any(getattr(slope, name)))
        for name in ("feature", "logit", "bcoding", "code", "score")
    }
    reached = {"encoder"}
    if reads["score"]:
        reached.add("classifier")
    of_code = deep.NETWORKS.get(method, {}).get("classify_from", "code") == "code"
    if reads["logit"] or reads["bcoding"] or reads["code"] or (reads["score"] and of_code):
        reached.add("bcoding")
    assert set(deep.trained_parts(method)) == reached


def hashing_step(config, run, state, done, model=None):
    """The first step of the hashing stage, as if the autoencoder had taken `done` steps."""
    config = config.copy_and_resolve_references()
    config.training.autoencoder_steps = max(done, 1)
    config.optimizer.schedule, config.optimizer.warmup = "constant", 0.0  # one_cycle starts at 0
    config.training.mode = "two_stage" if done else "joint"
    model = (model or run.model).clone(axis_name=None)
    stage = stages.one_device_stages(config, model, 1, False)[-1]
    state = state.replace(step=jnp.int32(done), opt_state=stage.optimizer.init(state.params))
    rows = np.arange(16)
    batch = {
        "image": run.source.images.take(rows),
        "label": run.source.label_NxC[rows].astype(np.float32),
        "is_labelled": np.ones(16, bool),
    }
    return jax.jit(stage.step)(state, batch)


def test_schedules_do_not_count_the_stage_before(run):
    """β of HashNet and the averages' decay: the same after 0 and after 2,000 steps."""
    config = tiny.joint(method="hashnet", augment__shift=0)
    model = run.model.clone(axis_name=None)
    state = create_state(model, run.stages[0].optimizer, seed=0, ema=True)
    at_once, of_once = hashing_step(config, run, state, 0)
    later, of_later = hashing_step(config, run, state, 2000)
    chex.assert_trees_all_close(of_later, of_once, rtol=1e-6)
    chex.assert_trees_all_close(later.ema, at_once.ema, rtol=1e-6)
    chex.assert_trees_all_close(later.params, at_once.params, rtol=1e-6)
    # That the steepness counts at all, and from where: HashNet's √(1 + .005 t).
    steep = tiny.joint(method="hashnet", augment__shift=0, loss__beta=11**0.5)
    _, of_steeper = hashing_step(steep, run, state, 0)
    assert abs(of_steeper["loss"] - of_once["loss"]) > 1e-3


@pytest.fixture(scope="module")
def stepped(run):
    """Return the states before and after the first step of hashing."""

    def stepped(**changed):
        config = tiny.config(**changed)
        model = build.make_model(config, run.source)
        start = create_state(model, run.stages[0].optimizer, seed=0, ema=False)
        after, _ = hashing_step(config, run, start, 4, model)
        return start, after

    return stepped


@pytest.mark.parametrize(
    "changed",
    [
        {"variant": "printed", "model__batch_norm": True},
        {"variant": "intended", "optimizer__weight_decay": 0.5},
        {"variant": "intended", "optimizer__name": "sgd", "optimizer__weight_decay": 0.5},
    ],
    ids=["λ‖W‖² in the loss", "adamw", "sgd"],
)
def test_hashing_without_reconstruction_leaves_the_decoder_alone(stepped, changed):
    before, after = stepped(**changed)
    chex.assert_trees_all_equal(after.params["decoder"], before.params["decoder"])
    for part in ("encoder", "bcoding", "classifier"):
        moved = jax.tree.leaves(
            jax.tree.map(np.array_equal, after.params[part], before.params[part])
        )
        assert not all(moved)


def test_what_a_method_does_not_train_does_not_decay(stepped):
    before, after = stepped(method="csq", optimizer__weight_decay=0.5)
    chex.assert_trees_all_equal(after.params["classifier"], before.params["classifier"])


def test_a_frozen_encoder_stays_whole(stepped):
    before, after = stepped(training__freeze="encoder")
    chex.assert_trees_all_equal(after.params["encoder"], before.params["encoder"])
    chex.assert_trees_all_equal(after.batch_stats["encoder"], before.batch_stats["encoder"])
    assert not np.array_equal(
        after.params["classifier"]["kernel"], before.params["classifier"]["kernel"]
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training__freeze": "decoder"}, "training.freeze is 'decoder'; it must be 'encoder'"),
        (
            {"training__freeze": "encoder", "training__mode": "joint"},
            r"encoder would stay as it was drawn; set training\.mode='two_stage'",
        ),
        (
            {"optimizer__weight_decay_kernels": "all"},
            "weight_decay_kernels is 'all'; it must be 'trained' or 'classifier'",
        ),
        (
            {"optimizer__weight_decay_kernels": "classifier", "method": "csq"},
            "the objective of csq does not reach it",
        ),
    ],
)
def test_bad_settings_say_how_to_mend_them(run, changed, message):
    with pytest.raises(ValueError, match=message):
        stages.make_stages(tiny.config(**changed), run.model, 10, False)
