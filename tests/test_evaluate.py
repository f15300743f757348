"""The numbers of an evaluation follow from the codes that it writes."""

import contextlib
import shutil

import jax
import numpy as np
import pytest
import tiny
from etils import epath

from dsh_jax import build, evaluate, graded, radius_metrics, retrieval
from dsh_jax.checkpoint import Checkpoints
from dsh_jax.data import splits
from dsh_jax.encode import Encoded
from dsh_jax.run import read_metrics

pytestmark = pytest.mark.usefixtures("quick")


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
        *("dead_bits", "distinct_codes", "quantization_gap"),
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
    result = evaluate.retrieve(
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
    text = evaluate.table(evaluation.results, evaluation.code, evaluation.rows)
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
    assert "unseen" not in evaluate.table(one.results, one.code, one.rows)


QUERY = np.array([[0b0000], [0b1111]], np.uint8)
DATABASE = np.array([[0b0000], [0b0001], [0b0011], [0b1111]], np.uint8)
DATABASE_LABEL = np.eye(3, dtype=np.uint8)[[0, 1, 0, 1]]


def test_retrieval_worked_by_hand():
    result = evaluate.retrieve(
        QUERY[:1], np.eye(3)[[0]], DATABASE, DATABASE_LABEL, bits=4, precision_at=(1, 2, 5)
    )
    assert result.metrics == pytest.approx(
        {
            "map": (1 + 2 / 3) / 2,
            "map_low": (1 + 2 / 3) / 2,  # one query has no interval
            "map_high": (1 + 2 / 3) / 2,
            "map_optimistic": (1 + 2 / 3) / 2,
            "map_pessimistic": (1 + 2 / 3) / 2,
            "chance": 1 / 2,
            "precision_within_radius_2": 2 / 3,
            "recall_within_radius_2": 1,
            "map_within_radius_2": (1 + 2 / 3) / 2,
            "precision_at_1": 1,
            "precision_at_2": 0.5,
        }
    )
    np.testing.assert_allclose(result.precision_D, [1, 1 / 2, 2 / 3, 2 / 3, 1 / 2])
    np.testing.assert_allclose(result.recall_D, [1 / 2, 1 / 2, 1, 1, 1])


def test_code_report_worked_by_hand():
    query = Encoded(
        packed_NxW=QUERY,
        bcoding_NxK=np.array([[0.25] * 4, [1.0] * 4], np.float32),
        is_right_N=np.array([True, False]),
        is_right_by_bits_N=np.array([True, True]),
    )
    report, bit_mean = evaluate.code_report(query, bits=4)
    assert report["accuracy"] == 0.5
    assert report["accuracy_by_bits"] == 1.0
    assert report["dead_bits"] == 0
    assert report["distinct_codes"] == 1
    np.testing.assert_array_equal(bit_mean, [0.5] * 4)


def test_multilabel_data_get_graded_metrics():
    rng = np.random.default_rng(0)
    label = (rng.random((70, 5)) < 0.4).astype(np.uint8)
    label[:5] = 1
    code = np.packbits(rng.random((70, 12)) < 0.5, axis=1, bitorder="little")
    arrays = code[:5], label[:5], code[5:], label[5:]
    result = evaluate.retrieve(*arrays, bits=12, precision_at=(10,))
    counts = retrieval.shared_label_counts(*arrays, bits=12)
    wanted = {
        "ndcg_at_65": graded.ndcg_at(*counts, 65),
        "acg_at_65": graded.acg_at(*counts, 65),
        "weighted_map": graded.weighted_average_precision(*counts),
    }
    for name, value_Q in wanted.items():
        assert result.metrics[name] == pytest.approx(float(value_Q.mean()), rel=1e-6)
    low, value, high = (result.metrics[name] for name in ("map_low", "map", "map_high"))
    assert low < value < high
    pooled = radius_metrics.precision_recall_by_radius(counts[0], counts[1][0], average="micro")
    np.testing.assert_array_equal(result.pooled_precision_D, pooled[0])
    assert (
        "ndcg_at_65"
        not in evaluate.retrieve(code[:5], np.eye(5), code[5:], label[5:], bits=12).metrics
    )


def test_evaluations_of_like_sizes_share_compilations():
    rng = np.random.default_rng(0)

    def arrays(queries, items):
        rows = queries + items
        code = np.packbits(rng.random((rows, 40)) < 0.5, axis=1, bitorder="little")
        label = np.eye(10, dtype=np.uint8)[rng.integers(0, 10, rows)]
        return code[:queries], label[:queries], code[queries:], label[queries:]

    first, second = arrays(130, 8000), arrays(200, 7000)
    evaluate.retrieve(*first, bits=40)
    with jax.no_tracing():
        evaluate.retrieve(*second, bits=40)
