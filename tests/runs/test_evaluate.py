"""The numbers of an evaluation follow from the codes that it writes."""

import contextlib
import shutil

import jax
import numpy as np
import pytest
import tiny
from etils import epath

from dsh_jax.data import splits
from dsh_jax.evaluation import results
from dsh_jax.evaluation.encode import Encoded
from dsh_jax.runs import evaluate, gallery
from dsh_jax.training import build
from dsh_jax.training.checkpoint import Checkpoints
from dsh_jax.training.records import read_metrics


@pytest.fixture(scope="module")
def written(evaluation, folder):
    with np.load(folder / "eval" / f"{evaluation.step}.npz") as arrays:
        return dict(arrays)


def evaluations(folder):
    return [r for r in read_metrics(folder / "metrics.jsonl") if "eval/map" in r]


def test_best_checkpoint_is_evaluated_by_its_averages(evaluation, run, folder):
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        step = checkpoints.best_step()
        state = checkpoints.restore(step, run.state_shapes(step))
    assert evaluation.step == step
    jax.tree.map(np.testing.assert_array_equal, evaluation.variables, state.ema)


def test_a_classifier_that_no_method_trains_has_no_accuracy(run, folder, tmp_path):
    copy = epath.Path(shutil.copytree(folder, tmp_path / "run"))
    config = tiny.config(method="dch")
    evaluation = evaluate.evaluate_run(config, run, copy)
    assert not [name for name in evaluation.scalars() if "accuracy" in name]
    assert epath.Path(gallery.report_run(config, run, evaluation, copy)).exists()


def test_every_number_is_recorded_by_its_name(evaluation, folder):
    (record,) = evaluations(folder)
    precision = {f"precision_at_{k}" for k in (100, 200, 400, 500, 600, 800, 1000)}
    names = {
        *("map", "map_low", "map_high", "map_optimistic", "map_pessimistic", "chance"),
        *("precision_within_radius_2", "recall_within_radius_2", "map_within_radius_2"),
        *precision,
    }
    code = {
        *("accuracy", "accuracy_by_bits", "bit_mean_min", "bit_mean_max", "bit_entropy"),
        *("dead_bits", "distinct_codes", "quantization_gap", "near_zero"),
    }
    # The unseen database holds fewer than 200 rows.
    unseen = names - precision | {"precision_at_100"}
    assert set(record) == {
        "step",
        *(f"eval/{name}" for name in names | code),
        *(f"eval_unseen/{name}" for name in unseen),
    }
    assert record == {"step": evaluation.step} | evaluation.scalars()


@pytest.mark.parametrize(("part", "prefix"), [("train", "eval"), ("unseen", "eval_unseen")])
def test_written_codes_give_the_recorded_map(written, folder, part, prefix):
    result = results.retrieve(
        written["query_code"],
        written["query_label"],
        written[f"{part}_code"],
        written[f"{part}_label"],
        bits=int(written["bits"]),
    )
    (record,) = evaluations(folder)
    assert result.metrics["map"] == record[f"{prefix}/map"]


@pytest.mark.parametrize("part", ["query", "train", "unseen"])
def test_written_labels_are_those_of_the_rows(written, run, part):
    row = written[f"{part}_row"]
    np.testing.assert_array_equal(row, getattr(run.split, part))
    np.testing.assert_array_equal(written[f"{part}_label"], run.source.label_NxC[row])
    assert str(written["split_hash"]) == run.split.hash


def test_map_lies_between_its_bounds_and_above_chance(evaluation):
    for result in evaluation.results.values():
        values = result.metrics
        assert values["map_pessimistic"] <= values["map"] <= values["map_optimistic"]
        assert values["map"] == pytest.approx(result.ap_Q.mean())
        assert values["chance"] < values["map"]


def test_second_evaluation_replaces_the_first(evaluation, run, folder):
    before = read_metrics(folder / "metrics.jsonl")
    again = evaluate.evaluate_run(tiny.config(), run, folder)
    assert again.scalars() == evaluation.scalars()
    assert read_metrics(folder / "metrics.jsonl") == before


def test_table_shows_both_databases(evaluation):
    text = results.table(evaluation.results, evaluation.code, evaluation.rows)
    title, first = text.splitlines()[:2]
    assert title.split() == ["database=train", "(1,221)", "database=unseen", "(144)"]
    values = [f"{result.metrics['map']:.4f}" for result in evaluation.results.values()]
    assert first.split() == ["map", *values]
    assert f"{evaluation.code['accuracy']:.4f}" in text


def copy_without(folder, target, name):
    """Return a copy of a run's folder that lacks one of its entries."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(name))
    return epath.Path(target)


@pytest.mark.parametrize(
    ("name", "message"),
    [("split.npz", r"holds no split\.npz"), ("checkpoints", "holds no checkpoint")],
)
def test_folder_that_is_not_trained_is_refused(run, folder, tmp_path, name, message):
    incomplete = copy_without(folder, tmp_path / "run", name)
    with pytest.raises(ValueError, match=f"{message}: train there first"):
        evaluate.evaluate_run(tiny.config(), run, incomplete)


def test_split_that_changed_since_training_is_refused(run, folder, tmp_path):
    changed = copy_without(folder, tmp_path / "run", "split.npz")
    other = build.load_split(tiny.config(data__split_seed=1), run.source)
    splits.save(other, changed / "split.npz")
    with pytest.raises(ValueError, match=f"was trained on the split {other.hash}, but the data"):
        evaluate.evaluate_run(tiny.config(), run, changed)


def test_split_without_unseen_rows_has_one_protocol(evaluation):
    one = evaluate.Evaluation(
        **{**vars(evaluation), "results": {"train": evaluation.results["train"]}}
    )
    assert not any(name.startswith("eval_unseen/") for name in one.scalars())
    assert "unseen" not in results.table(one.results, one.code, one.rows)


QUERY = np.array([[0b0000], [0b1111]], np.uint8)


def test_code_report_worked_by_hand():
    query = Encoded(
        packed_NxW=QUERY,
        bcoding_NxK=np.array([[0.25] * 4, [1.0] * 4], np.float32),
        is_right_N=np.array([True, False]),
        is_right_by_bits_N=np.array([True, True]),
        near_zero_N=np.array([0, 3]),
    )
    report, bit_mean = evaluate.code_report(query, bits=4)
    assert report["accuracy"] == 0.5
    assert report["accuracy_by_bits"] == 1.0
    assert report["near_zero"] == 3 / 8
    assert report["dead_bits"] == 0
    assert report["distinct_codes"] == 1
    np.testing.assert_array_equal(bit_mean, [0.5] * 4)
