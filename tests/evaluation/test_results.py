"""The numbers of a retrieval, by hand and by the functions that they come from."""

import jax
import numpy as np
import pytest

from dsh_jax import metrics, retrieval
from dsh_jax.evaluation import results
from dsh_jax.metrics import graded

pytestmark = pytest.mark.optimized

QUERY = np.array([[0b0000]], np.uint8)
DATABASE = np.array([[0b0000], [0b0001], [0b0011], [0b1111]], np.uint8)
DATABASE_LABEL = np.eye(3, dtype=np.uint8)[[0, 1, 0, 1]]


def test_retrieval_worked_by_hand():
    result = results.retrieve(
        QUERY, np.eye(3)[[0]], DATABASE, DATABASE_LABEL, bits=4, precision_at=(1, 2, 5)
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


def test_multilabel_data_get_graded_metrics():
    rng = np.random.default_rng(0)
    label = (rng.random((70, 5)) < 0.4).astype(np.uint8)
    label[:5] = 1
    code = np.packbits(rng.random((70, 12)) < 0.5, axis=1, bitorder="little")
    arrays = code[:5], label[:5], code[5:], label[5:]
    result = results.retrieve(*arrays, bits=12, precision_at=(10,))
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
    pooled = metrics.precision_recall_by_radius(counts[0], counts[1][0], average="micro")
    np.testing.assert_array_equal(result.pooled_precision_D, pooled[0])
    assert (
        "ndcg_at_65"
        not in results.retrieve(code[:5], np.eye(5), code[5:], label[5:], bits=12).metrics
    )


def test_evaluations_of_like_sizes_share_compilations():
    rng = np.random.default_rng(0)

    def arrays(queries, items):
        rows = queries + items
        code = np.packbits(rng.random((rows, 40)) < 0.5, axis=1, bitorder="little")
        label = np.eye(10, dtype=np.uint8)[rng.integers(0, 10, rows)]
        return code[:queries], label[:queries], code[queries:], label[queries:]

    first, second = arrays(130, 8000), arrays(200, 7000)
    results.retrieve(*first, bits=40)
    with jax.no_tracing():
        results.retrieve(*second, bits=40)


def test_each_database_is_ranked_under_its_name(tmp_path):
    packed = {"query": QUERY, "protocol": DATABASE, "unseen": DATABASE[1:]}
    label = {"query": np.eye(3)[[0]], "protocol": DATABASE_LABEL, "unseen": DATABASE_LABEL[1:]}
    ranked = results.rank(packed, label, bits=4)
    assert list(ranked) == ["protocol", "unseen"]
    flat = results.named(ranked, {"accuracy": 0.5})
    assert flat["eval/map"] == pytest.approx((1 + 2 / 3) / 2)
    assert flat["eval_unseen/map"] == pytest.approx(1 / 2)
    assert flat["eval/accuracy"] == 0.5
    rows = {part: np.arange(len(codes)) for part, codes in packed.items()}
    text = results.table(ranked, {"accuracy": 0.5}, rows)
    assert "database=protocol (4)" in text
    assert "database=unseen (3)" in text
    assert "no relevant item" not in text
    results.save_codes(tmp_path, 7, packed, label, rows, bits=4, split_hash="abc")
    with np.load(tmp_path / "eval" / "7.npz") as found:
        np.testing.assert_array_equal(found["unseen_code"], DATABASE[1:])
        assert (int(found["bits"]), str(found["split_hash"])) == (4, "abc")


def test_queries_without_a_relevant_item_are_counted_beside_each_database():
    packed = {"query": np.repeat(QUERY, 3, axis=0), "train": DATABASE, "unseen": DATABASE[[1, 3]]}
    label = {
        "query": np.eye(3)[[0, 2, 1]],
        "train": DATABASE_LABEL,
        "unseen": DATABASE_LABEL[[1, 3]],
    }
    ranked = results.rank(packed, label, bits=4)
    assert [result.without_relevant for result in ranked.values()] == [1, 2]
    text = results.table(
        ranked, {}, {part: np.arange(len(codes)) for part, codes in packed.items()}
    )
    # The queries of classes 0 and 1 have 2 relevant items each among the 4, that of 2 has none.
    assert "\n\nmAP 0.444: of the first 4 images found for a query, 1.3 share a label" in text
    assert text.endswith(
        "\ndatabase=train: 1 of 3 queries have no relevant item in it; each counts 0."
        "\ndatabase=unseen: 2 of 3 queries have no relevant item in it; each counts 0."
    )
