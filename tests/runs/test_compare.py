"""Runs beside each other, made by hand: what is found to differ, gained, and refused."""

import json

import numpy as np
import pytest
import tiny
from html_pages import Page

from dsh_jax.codes import pack_bits
from dsh_jax.evaluation import results
from dsh_jax.runs import compare

BITS = 8
ONES, ZEROS = np.ones(BITS, np.uint8), np.zeros(BITS, np.uint8)


def write_run(
    folder, query_NxK, *, rows=(3, 5, 9), database=(100, 200, 300), step=7, part="train", **changed
):
    """Write what an evaluated run leaves; classes 0 and 1, the database's codes 0s and 1s."""
    folder.mkdir(parents=True)
    config = tiny.config(model__bits=BITS, **changed)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    label = {"query": np.eye(10)[[0, 0, 1]], part: np.eye(10)[[0, 1, 1]]}
    packed = {
        "query": np.asarray(pack_bits(np.asarray(query_NxK))),
        part: np.asarray(pack_bits(np.stack([ZEROS, ONES, ONES]))),
    }
    row = {"query": np.array(rows), part: np.array(database)}
    results.save_codes(folder, step, packed, label, row, bits=BITS, split_hash="x")
    lines = [
        {"step": 3, "eval/map": 0.1},
        {"step": step, "eval/map": 0.5, "eval/accuracy": 0.75, "eval/dead_bits": 2.0},
        {"step": 9, "train/loss": 0.1},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def folders(tmp_path):
    """All right; the second query wrong; the first and the last one wrong."""
    return [
        write_run(tmp_path / "dhs" / "seed=0", [ZEROS, ZEROS, ONES]),
        write_run(tmp_path / "dpsh" / "seed=0", [ZEROS, ONES, ONES], method="dpsh"),
        write_run(tmp_path / "csq" / "seed=0", [ONES, ZEROS, ZEROS], method="csq", seed=4),
    ]


def test_runs_are_told_apart_by_names_and_settings(folders):
    runs = compare.read_runs(folders)
    assert [run.name for run in runs] == ["dhs/seed=0", "dpsh/seed=0", "csq/seed=0"]
    assert compare.differences(runs) == {
        "method": ["dhs", "dpsh", "csq"],
        "seed": ["0", "0", "4"],
    }
    assert runs[0].code == {"accuracy": 0.75, "dead_bits": 2.0}
    assert runs[0].step == 7  # the evaluation that came last


def test_gains_are_those_of_each_query(folders):
    runs = compare.read_runs(folders)
    # A query of class 0 has one relevant item of three: first or last. One of class 1 has two.
    wrong_of_0, wrong_of_1 = 1 / 3, (1 / 2 + 2 / 3) / 2
    np.testing.assert_allclose(runs[1].results["train"].ap_Q, [1, wrong_of_0, 1], atol=1e-6)
    np.testing.assert_allclose(
        runs[2].results["train"].ap_Q, [wrong_of_0, 1, wrong_of_1], atol=1e-6
    )
    second, third = compare.paired(runs, "train")
    assert second.difference == pytest.approx((wrong_of_0 - 1) / 3, abs=1e-6)
    assert third.difference == pytest.approx((wrong_of_0 + wrong_of_1 - 2) / 3, abs=1e-6)
    assert (second.wins, second.ties, second.losses) == (0, 2, 1)
    assert (third.wins, third.ties, third.losses) == (0, 1, 2)
    np.testing.assert_array_equal(compare.most_different(runs, "train", 2), [0, 1])
    np.testing.assert_array_equal(compare.most_different(runs[::2], "train", 3), [0, 2, 1])


def test_another_database_is_said(folders, tmp_path):
    other = write_run(tmp_path / "other", [ZEROS, ZEROS, ONES], database=(100, 200, 301))
    runs = compare.read_runs([folders[0], other])
    assert compare.notes(runs) == [
        "3 queries of digits; all runs are compared with seed=0.",
        "database=train has other rows in other than in seed=0: what they gain there is not "
        "theirs alone.",
    ]


def test_the_page_shows_every_run(folders, tmp_path):
    page = Page(compare.write_page(folders, tmp_path / "page.html", queries=2).read_text())
    images = [
        dict(attrs) for tag, attrs in page.tags if tag == "img" and "neighbour" in attrs["alt"]
    ]
    assert len(images) == 2 * 3 * 3  # queries, runs, items
    words = " ".join(page.words)
    assert all(name in words for name in ("dhs/seed=0", "dpsh/seed=0: AP 0.333", "csq/seed=0"))
    assert "-0.2222" in words  # what dpsh loses


@pytest.mark.parametrize("count", [0, 1])
def test_one_run_is_refused(folders, count):
    with pytest.raises(ValueError, match=f"{count} folders, {count} different: pass those of two"):
        compare.read_runs(folders[:count])


def test_a_run_twice_is_refused(folders):
    with pytest.raises(ValueError, match="3 folders, 2 different"):
        compare.read_runs([folders[0], folders[1], folders[0]])


def test_other_queries_are_refused(folders, tmp_path):
    other = write_run(tmp_path / "other", [ZEROS, ZEROS, ONES], rows=(3, 5, 8))
    with pytest.raises(ValueError, match="seed=0 and other were evaluated on other queries"):
        compare.read_runs([folders[0], other])


def test_a_run_without_an_evaluation_is_refused(folders):
    (folders[1] / "eval" / "7.npz").unlink()
    with pytest.raises(
        ValueError, match=r"holds no evaluation: python -m experiments.evaluate --w"
    ):
        compare.read_runs(folders)


@pytest.mark.parametrize("kept", [0, 100])
def test_a_damaged_evaluation_is_named(folders, kept):
    file = folders[1] / "eval" / "7.npz"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"7.npz is damaged .*: python -m experiments.evaluate"):
        compare.read_runs(folders)


def test_runs_without_a_common_database_are_refused(folders, tmp_path):
    other = write_run(tmp_path / "other", [ZEROS, ZEROS, ONES], part="unseen")
    with pytest.raises(ValueError, match=r"no database is common to all runs .*; other: unseen"):
        compare.read_runs([folders[0], other])
