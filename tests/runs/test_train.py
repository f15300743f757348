"""A run that was stopped anywhere ends as one that was not."""

import contextlib
import os
import shutil
import signal

import chex
import jax
import numpy as np
import pytest
import tiny
from clu import periodic_actions
from etils import epath

from dsh_jax import parallel
from dsh_jax.augment import pad_small, to_unit
from dsh_jax.data import splits
from dsh_jax.network.whitening import whitening_kernel
from dsh_jax.runs import train
from dsh_jax.training import build, stages
from dsh_jax.training.checkpoint import Checkpoints
from dsh_jax.training.records import read_metrics


def last_state(config, folder):
    """Return the number and the state of the latest checkpoint."""
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        step = checkpoints.latest_step()
        return step, checkpoints.restore(step, build.build(config).state_shapes(step))


def training_records(folder):
    """Return step and loss of the training records, in their order."""
    records = read_metrics(folder / "metrics.jsonl")
    return [(r["step"], r["train/loss"]) for r in records if "train/loss" in r]


def assert_same_end(config, folder, other):
    """Compare every bit of two runs' last states, and their losses."""
    (step, state), (other_step, other_state) = last_state(config, folder), last_state(config, other)
    assert step == other_step == int(state.step) == 10
    assert jax.tree.structure(state) == jax.tree.structure(other_state)
    for one, another in zip(jax.tree.leaves(state), jax.tree.leaves(other_state), strict=True):
        assert one.tobytes() == another.tobytes()
    assert training_records(folder) == training_records(other)


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    """A two-stage run stopped inside the first stage, at its end, and inside the second."""
    folder = epath.Path(tmp_path_factory.mktemp("stopped"))
    config, run = tiny.config(), build.build(tiny.config())
    results = [train.train(config, folder, described=run, stop_step=step) for step in (2, 4, 7)]
    # The last time from the config alone, as another process would.
    return folder, [*results, train.train(config, folder)]


def test_stopped_run_is_complete_only_at_its_end(stopped_run):
    _, results = stopped_run
    assert results == [False, False, False, True]


def test_stopped_two_stage_run_ends_bit_for_bit_as_one_in_one_go(stopped_run):
    folder, _ = stopped_run
    assert_same_end(tiny.config(), folder, tiny.finished_run())


def test_training_records_have_neither_gaps_nor_repeats(stopped_run):
    folder, _ = stopped_run
    assert [step for step, _ in training_records(folder)] == list(range(1, 11))


FAST = {
    "model__whitening": 2,
    "model__nonlinearity": "gelu",
    "model__norm_momentum": 0.6,
    "model__norm_scale": False,
    "model__pool_before_norm": True,
    "model__kernel_init": "dirac",
    "model__conv_precision": "bfloat16",
    "augment__shift_border": "reflect",
    "augment__flip": True,
    "augment__flip_by_epoch": True,
    "model__filters": (64, 256, 256),
    "model__convs_per_group": (2, 1, 1),
    "model__pools": 3,
    "model__global_pool": True,
    "optimizer__name": "muon",
    "optimizer__held_norms": True,
    "optimizer__schedule": "linear",
    "optimizer__warmup": 0.0,
    "optimizer__learning_rate": 0.1,
    "evaluation__views": 2,
}


@pytest.fixture(scope="module")
def fast_runs(tmp_path_factory):
    """A run with every part of the fast recipe, in one go, and one that is stopped."""
    config, run = tiny.joint(**FAST), build.build(tiny.joint(**FAST))
    whole, stopped = (epath.Path(tmp_path_factory.mktemp(name)) for name in ("fast", "halted"))
    assert train.train(config, whole, described=run)
    assert not train.train(config, stopped, described=run, stop_step=3)
    assert train.train(config, stopped)
    return config, run, whole, stopped


def test_the_fast_recipe_stopped_and_resumed_ends_bit_for_bit_as_in_one_go(fast_runs):
    config, _, whole, stopped = fast_runs
    assert_same_end(config, stopped, whole)


def test_whitening_stays_that_of_the_training_rows(fast_runs):
    config, run, whole, _ = fast_runs
    image = to_unit(run.source.images.take(run.split.train))
    wanted = whitening_kernel(np.asarray(pad_small(image)), 2)
    _, state = last_state(config, whole)
    for stats in (state.batch_stats, state.ema["batch_stats"]):
        found = np.abs(stats["encoder"]["whitening"]["kernel"])
        np.testing.assert_allclose(found, np.abs(wanted), rtol=2e-3, atol=2e-3 * wanted.max())
    assert state.params["encoder"]["whitening"]["bias"].any()


def test_averages_differ_from_the_weights_that_they_follow(stopped_run):
    folder, _ = stopped_run
    _, state = last_state(tiny.config(), folder)
    average, weight = state.ema["params"]["classifier"]["kernel"], state.params["classifier"]
    assert not np.array_equal(average, weight["kernel"])


@pytest.fixture(scope="module")
def joint_run(tmp_path_factory):
    """The folder of a joint run in one go, and how often its step was traced."""
    folder = epath.Path(tmp_path_factory.mktemp("joint"))
    traces = []

    def counted(*args, **kwargs):
        traces.append(1)
        return original(*args, **kwargs)

    original = stages.train_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "train_step", counted)
        assert train.train(tiny.joint(), folder)
    return folder, len(traces)


def test_a_stage_compiles_once(joint_run):
    _, traces = joint_run
    assert traces == 1


@pytest.fixture(scope="module")
def unlucky_run(tmp_path_factory):
    """A joint run that met a NaN at step 7 and SIGTERM at step 9: (folder, error, results)."""
    folder = epath.Path(tmp_path_factory.mktemp("unlucky"))

    def broken(*args, start_step, **kwargs):
        batches = original(*args, start_step=start_step, **kwargs)
        for step, batch in enumerate(batches, start=start_step + 1):
            if step == 7:
                batch["label"] = batch["label"] * np.nan
            yield batch

    class Signalling:
        def __init__(self, **kwargs):
            pass

        def __call__(self, step):
            if step == 9:
                os.kill(os.getpid(), signal.SIGTERM)

    original, run = build.pipeline.train_batches, build.build(tiny.joint(data__resident="off"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.pipeline, "train_batches", broken)
        with pytest.raises(FloatingPointError) as error:
            train.train(tiny.joint(), folder, described=run)
    recorded = [step for step, _ in training_records(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(periodic_actions, "ReportProgress", Signalling)
        interrupted = train.train(tiny.joint(), folder, described=run)
    saved, _ = last_state(tiny.joint(), folder)
    return {
        "folder": folder,
        "error": str(error.value),
        "recorded": recorded,
        "interrupted": interrupted,
        "saved": saved,
        "completed": train.train(tiny.joint(), folder),
    }


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_term(unlucky_run):
    assert unlucky_run["error"].startswith("step 7: accuracy is nan, classification is nan. Lower")


def test_the_steps_before_it_are_recorded(unlucky_run):
    assert unlucky_run["recorded"] == [1, 2, 3, 4, 5, 6]


def test_a_signal_saves_and_stops(unlucky_run):
    assert unlucky_run["interrupted"] is False
    assert unlucky_run["saved"] == 9


def test_the_same_command_completes_the_run_as_if_nothing_had_happened(unlucky_run, joint_run):
    assert unlucky_run["completed"] is True
    assert_same_end(tiny.joint(), unlucky_run["folder"], joint_run[0])


@pytest.fixture(scope="module")
def chunked_run(tmp_path_factory):
    """The joint run in programs of three steps where nothing is due between them."""
    config = tiny.joint(training__log_every_steps=3)
    folder = epath.Path(tmp_path_factory.mktemp("chunked"))
    counts, original = [], parallel.parallel_steps

    def counted(step, sample, count):
        counts.append(count)
        return original(step, sample, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "scans_fast", lambda: True)
        patch.setattr(parallel, "parallel_steps", counted)
        assert not train.train(config, folder, stop_step=3)
        assert train.train(config, folder)
    return config, folder, counts


def test_several_steps_in_one_program_are_those_steps(chunked_run, joint_run):
    config, folder, counts = chunked_run
    assert counts == [3, 1]  # compiled: from 0 to 3, and one by one from the resume on
    (step, state), (_, wanted) = last_state(config, folder), last_state(config, joint_run[0])
    assert step == 10
    chex.assert_trees_all_close(state, wanted, rtol=1e-3, atol=1e-4)


def test_their_records_are_the_means_of_all_steps(chunked_run, joint_run):
    records, single = training_records(chunked_run[1]), dict(training_records(joint_run[0]))
    parts = {3: (1, 2, 3), 6: (4, 5, 6), 9: (7, 8, 9), 10: (10,)}
    wanted = [(last, np.mean([single[step] for step in part])) for last, part in parts.items()]
    np.testing.assert_allclose(records, wanted, rtol=1e-4)


def test_signals_are_given_back(unlucky_run):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_folder_holds_all_that_tells_what_was_run():
    folder = tiny.finished_run()
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *("config.json", "environment.json", "metrics.jsonl", "split.npz"),
        *("checkpoints", "tensorboard"),
    }
    assert splits.load(folder / "split.npz").hash == tiny.run().split.hash


def test_best_checkpoint_is_that_of_the_highest_validation_map():
    folder = tiny.finished_run()
    records = read_metrics(folder / "metrics.jsonl")
    validated = {r["step"]: r["valid/map"] for r in records if "valid/map" in r}
    assert validated.keys() == {8, 10}  # the autoencoder's codes mean nothing yet
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        assert checkpoints.best_step() == max(validated, key=validated.get)


def test_training_a_complete_run_again_changes_nothing(tmp_path):
    folder = epath.Path(tmp_path / "copy")
    shutil.copytree(tiny.finished_run(), folder)
    before = read_metrics(folder / "metrics.jsonl")
    assert train.train(tiny.config(), folder, described=tiny.run())
    assert read_metrics(folder / "metrics.jsonl") == before


def test_training_drops_an_evaluation_of_older_weights(tmp_path):
    folder = epath.Path(tmp_path / "copy")
    shutil.copytree(tiny.finished_run(), folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "eval/map": 0.5}\n')
    assert train.train(tiny.config(), folder, described=tiny.run())
    assert not any("eval/map" in record for record in read_metrics(folder / "metrics.jsonl"))


def test_data_that_changed_since_are_refused(tmp_path):
    folder = epath.Path(tmp_path / "copy")
    shutil.copytree(tiny.finished_run(), folder)
    other = build.load_split(tiny.config(data__split_seed=1), tiny.run().source)
    splits.save(other, folder / "split.npz")
    with pytest.raises(ValueError, match=f"trained on the split {other.hash}, but the data now"):
        train.train(tiny.config(), folder)
    assert splits.load(folder / "split.npz").hash == other.hash


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model__activation": "relu"}, "activation is 'relu'"),
        ({"model__decode_from": "logit"}, "decode_from is 'logit'"),
        ({"evaluation__validate_every_epochs": 1.0}, "validate_every_steps is 4 and"),
        ({"loss__exponent": 3, "loss__reduction": "max"}, "reduction is 'max'"),
    ],
)
def test_a_bad_setting_leaves_no_folder_behind(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        train.train(tiny.config(**changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_without_rows_says_nothing():
    config = tiny.config(data__validation=0.0)
    assert train.Validator(config, build.build(config))(None) == {}
