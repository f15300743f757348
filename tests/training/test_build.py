"""A config becomes data, network and stages, or an error that says how to mend it."""

import pytest
import tiny

from dsh_jax.training import build


def spans(config):
    return [(stage.name, stage.start, stage.stop) for stage in build.build(config).stages]


def test_two_stages_follow_each_other():
    assert spans(tiny.config()) == [("autoencoder", 0, 4), ("hashing", 4, 10)]


def test_joint_training_is_one_stage():
    assert spans(tiny.joint()) == [("joint", 0, 10)]


def test_epochs_are_of_training_rows_over_batch_rounded_up():
    epochs = {"training__hashing_steps": 0, "training__hashing_epochs": 1.5}
    run = build.build(tiny.config(training__mode="joint", **epochs))
    assert run.steps_per_epoch == -(-len(run.split.train) // 16)
    assert run.stages[0].stop == round(1.5 * run.steps_per_epoch)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model__bits": 0}, r"model\.bits is 0; a code needs at least 1 bit"),
        ({"training__batch_size": 18}, "batch of 18 does not divide by 4 devices: .* e.g. 16"),
        ({"training__batch_size": 0}, "batch of 0 does not divide by 4 devices"),
        ({"training__labelled_share": 0.0}, r"labelled_share is 0\.0; it must be in \(0, 1\]"),
        ({"training__mode": "three_stage"}, "'three_stage'; it must be 'joint' or 'two_stage'"),
        ({"training__autoencoder_steps": 0}, "its autoencoder stage has no steps: set training"),
        ({"training__hashing_steps": 0}, r"training has no steps: set training\.hashing_epochs"),
        ({"training__hashing_epochs": 1.0}, r"hashing_steps is 6 and hashing_epochs is 1\.0"),
        ({"evaluation__validate_every_epochs": 1.0}, "validate_every_steps is 4 and validate_ev"),
        (
            {"optimizer__held_norms": True, "model__batch_norm": False},
            "held_norms is True, but without model.batch_norm a kernel's norm means",
        ),
        ({"optimizer__name": "lion"}, "optimizer is 'lion'; known: 'sgd', 'adam', 'adamw'"),
        ({"optimizer__schedule": "square"}, "schedule is 'square'; known: constant, cosine, lin"),
        ({"evaluation__views": 3}, r"evaluation\.views is 3; it must be 1, 2 or 6"),
        ({"augment__flip_by_epoch": True}, r"set augment\.flip_by_epoch=False, or augment\.flip="),
        ({"optimizer__weight_decay_in": "both"}, "weight_decay_in is 'both'; it must be"),
        ({"optimizer__weight_decay_kernels": "none"}, "weight_decay_kernels is 'none'; it must"),
        ({"loss__beta": 0.0}, "beta > 0"),
        ({"loss__applied_to": "logit"}, "applied_to is 'logit'"),
        ({"loss__reduction": "max"}, "reduction is 'max'; it must be 'mean' or 'sum'"),
        ({"loss__reconstruction": "l1"}, "reconstruction kind is 'l1'; it must be 'mse' or 'bce'"),
        ({"loss__multilabel": "hinge"}, "multilabel_loss is 'hinge'; it must be 'margin' or 'bce'"),
        ({"data__cache": "ram"}, "data.cache is 'ram'"),
        ({"data__split_path": "none.npz"}, "none.npz is not a file; wanted is the split.npz"),
        ({"data__protocol": "mine"}, "protocol is 'mine'; known: .*official, paper"),
    ],
)
def test_bad_settings_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        build.build(tiny.config(**changed))


def test_small_images_are_padded():
    model = build.make_model(tiny.config(), tiny.source(side=28))
    assert model.shape == (32, 32, 1)


def test_small_images_that_may_not_be_padded_are_refused():
    message = r"the images of noise are 28×28; five 2×2 pools need at least 32×32: set data\.pad_"
    with pytest.raises(ValueError, match=message):
        build.make_model(tiny.config(data__pad_small=False), tiny.source(side=28))


def test_state_has_the_optimizer_of_the_stage_that_made_it(monkeypatch):
    run = build.build(tiny.config())
    first, second = (stage.optimizer for stage in run.stages)
    monkeypatch.setattr(build, "create_state", lambda model, optimizer, **options: optimizer)
    made = [run.initial_state(step) for step in (0, 4, 5, 10)]
    assert made == [first, first, second, second]


def test_averages_are_kept_only_where_they_decay():
    assert build.build(tiny.config()).state_shapes(0).ema is not None
    assert build.build(tiny.config(training__ema_decay=0.0)).state_shapes(0).ema is None
