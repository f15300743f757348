"""What a split holds, counted by hand."""

import numpy as np
import pytest

from dsh_jax.data import summary
from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source
from dsh_jax.data.splits import Split

LABEL = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]], np.uint8)
source = Source(
    "made", ArrayImages(np.zeros((6, 1, 1, 1), np.uint8)), LABEL, ("sky", "cloud", "dog")
)


def rows(*numbers):
    return np.array(numbers, np.int64)


split = Split(
    labelled=rows(0, 1), unlabelled=rows(2), validation=rows(), query=rows(3, 5), unseen=rows(4),
    database=rows(0, 1, 2, 4),
)  # fmt: skip


def test_rows_of_each_class_in_each_part():
    counts = {part: n.tolist() for part, n in summary.class_counts(source, split).items()}
    assert counts == {
        "labelled": [2, 1, 0], "unlabelled": [1, 1, 0], "validation": [0, 0, 0],
        "query": [0, 1, 1], "unseen": [0, 0, 0], "database": [3, 2, 0],
    }  # fmt: skip


def test_table_holds_the_counts_the_rows_and_the_labels_of_a_row():
    head, *lines = (line.split() for line in summary.counts_table(source, split).splitlines())
    assert head == ["class", "labelled", "unlabelled", "validation", "query", "unseen", "database"]
    assert lines == [
        ["sky", "2", "1", "0", "0", "0", "3"],
        ["cloud", "1", "1", "0", "1", "0", "2"],
        ["dog", "0", "0", "0", "1", "0", "0"],
        ["rows", "2", "1", "0", "2", "1", "4"],
        ["labels", "a", "row", "1.50", "2.00", "0.00", "1.00", "0.00", "1.25"],
    ]


def test_co_occurrence_is_the_share_of_the_first_label():
    wanted = [[1, 2 / 3, 0], [2 / 3, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(summary.co_occurrence(LABEL), wanted)
    np.testing.assert_array_equal(summary.co_occurrence(LABEL[:2])[2], 0)


def test_pairs_are_said_with_both_shares():
    text = summary.pairs_table(LABEL, source.label_names)
    assert text == "sky and cloud: 2 rows, 67% of sky, 67% of cloud"


def test_chance_is_the_share_of_relevant_pairs():
    # Row 3 shares with none, row 5 with two of four.
    assert summary.chance(LABEL[[3, 5]], LABEL[[0, 1, 2, 4]]) == pytest.approx(2 / 8)


def test_chance_of_many_rows_is_that_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    query, database = (rng.random((n, 5)) < 0.3 for n in (300, 25_001))
    wanted = ((query[:, None].astype(int) * database[:500]).sum(-1) > 0).mean()
    assert summary.chance(query, database[:500]) == pytest.approx(wanted)
    whole = summary.chance(query, database)
    monkeypatch.setattr(summary, "MOST_QUERIES", 100)
    assert summary.chance(query, database) == pytest.approx(whole, abs=0.05)
