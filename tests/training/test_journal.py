"""Records of metrics go on without gaps or repeats; one number that is not finite stops."""

import contextlib
import json

import jax
import jax.numpy as jnp
import pytest

from dsh_jax.training.checkpoint import Checkpoints
from dsh_jax.training.journal import NOT_VALIDATED, Journal

STATE = {"weight": jnp.arange(3.0)}


def journal(folder):
    return contextlib.closing(Journal(folder, lambda step: jax.eval_shape(lambda: STATE)))


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_record_is_the_mean_since_the_last(tmp_path):
    with journal(tmp_path) as one:
        assert one.saved is None
        one.note(1, {"loss": jnp.float32(3)})
        one.note(2, {"loss": jnp.float32(1)})
        assert one.record(2, {"images_per_second": 7.0}) == {"loss": 2.0}
        one.note(3, {"loss": jnp.float32(5)})
        assert one.record(3, {}) == {"loss": 5.0}
    first, second = records(tmp_path)
    assert first == {"step": 2, "train/loss": 2.0, "images_per_second": 7.0}
    assert second == {"step": 3, "train/loss": 5.0}


def test_what_no_record_holds_is_saved_and_what_comes_again_is_dropped(tmp_path):
    with journal(tmp_path) as one:
        one.note(1, {"loss": 3.0})
        one.record(1, {})
        one.note(2, {"loss": 10.0})
        one.save(2, STATE, {})
        one.note(3, {"loss": 20.0})
        one.record(3, {})  # after the save: to be written again
    with journal(tmp_path) as one:
        assert one.saved.step == 2
        assert one.saved.extra["window"] == {"loss": [10.0]}
        one.note(3, {"loss": 30.0})
        assert one.record(3, {}) == {"loss": 20.0}
    assert [(r["step"], r["train/loss"]) for r in records(tmp_path)] == [(1, 3.0), (3, 20.0)]


def test_an_evaluation_of_older_weights_goes_when_training_goes_on(tmp_path):
    with journal(tmp_path) as one:
        one.save(2, STATE, {})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "eval/map": 0.5}\n')
    with journal(tmp_path):
        pass
    assert records(tmp_path) == []


def test_a_validation_is_written_and_decides_which_is_best(tmp_path):
    with journal(tmp_path) as one:
        one.save(1, STATE, {"map": 0.75, "accuracy": 1.0})
        one.save(2, STATE, {})
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        best = checkpoints.restore_best(lambda step: jax.eval_shape(lambda: STATE))
    assert best.step == 1
    assert NOT_VALIDATED < 0
    assert records(tmp_path) == [{"step": 1, "valid/map": 0.75, "valid/accuracy": 1.0}]


def test_not_finite_is_an_error_that_names_step_and_metric(tmp_path):
    with journal(tmp_path) as one, pytest.raises(FloatingPointError, match=r"step 4: loss is nan"):
        one.note(4, {"accuracy": 1.0, "loss": float("nan")})
