"""The peers give the right numbers, and a side that does not agree is not timed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from etils import epath

from dsh_jax.metrics import ranked
from experiments.bench import retrieval

needs_faiss = pytest.mark.skipif(retrieval.faiss is None, reason="FAISS is not installed")
SHAPE = (5, 700, 21, 12)


def as_floats(data, bits):
    """What the loop takes: codes of -1 and 1, labels of 0 and 1."""
    query, query_label, database, database_label = data
    signs = [
        2.0 * np.unpackbits(code, axis=1, count=bits, bitorder="little") - 1
        for code in (query, database)
    ]
    return signs[0], query_label.astype(float), signs[1], database_label.astype(float)


def counted(data, bits):
    """Our counts and those of numpy's peer."""
    query, query_label, database, database_label = data
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=2)
    relevant = query_label.astype(int) @ database_label.T > 0
    wanted = [
        np.stack(
            [np.bincount(d[r], minlength=bits + 1) for d, r in zip(distance, rows, strict=True)]
        )
        for rows in (np.ones_like(relevant), relevant)
    ]
    words = retrieval.numpy_words
    masks = [words(np.packbits(x, axis=1, bitorder="little"))[0] for x in data[1::2]]
    found = retrieval.numpy_counts(words(query), masks[0], words(database), masks[1], bits)
    return found, wanted


@pytest.mark.parametrize(
    ("items", "classes", "bits"),
    [(700, 10, 12), (700, 21, 24), (70_000, 10, 64), (700, 21, 128), (700, 10, 300)],
)
def test_numpy_counts_are_those_of_a_table(items, classes, bits):
    found, wanted = counted(retrieval.clustered_codes(3, items, classes, bits), bits)
    np.testing.assert_array_equal(found, wanted)


def test_loop_by_hand():
    # Distances 1, 0, 2, 0; relevant are the first and the last: the ranks 2 and 3.
    code = np.array([[1, 1]]), np.array([[1, -1], [1, 1], [-1, -1], [1, 1]])
    label = np.array([[0, 1]]), np.array([[1, 1], [1, 0], [1, 0], [0, 1]])
    found = retrieval.loop_evaluation(code[0], label[0], code[1], label[1], "stable")
    ap, precision, ball, hits, radius_precision, radius_recall = found
    np.testing.assert_allclose(ap, [(1 / 2 + 2 / 3) / 2])
    np.testing.assert_allclose(precision, 2 / retrieval.RANKS[None])
    np.testing.assert_array_equal(ball, [[2, 3, 4]])
    np.testing.assert_array_equal(hits, [[1, 2, 2]])
    np.testing.assert_allclose(radius_precision, [[1 / 2, 2 / 3, 2 / 4]])
    np.testing.assert_allclose(radius_recall, [[1 / 2, 1, 1]])


def test_stable_loop_is_our_ranking_in_the_order_of_the_database():
    *_, bits = SHAPE
    data = retrieval.clustered_codes(*SHAPE)
    relevant = ranked.ranked_relevance(*data, len(data[2]))
    wanted = ranked.average_precision_ranked(relevant, relevant.sum(axis=1))
    ap, precision, *_ = retrieval.loop_evaluation(*as_floats(data, bits), "stable")
    np.testing.assert_allclose(ap, wanted, rtol=1e-6)
    np.testing.assert_allclose(precision[:, 1], ranked.precision_ranked(relevant, 200), rtol=1e-6)


def test_codes_are_clustered():
    query, query_label, database, database_label = retrieval.clustered_codes(50, 5000, 10, 64)
    assert (query.shape, database_label.shape) == ((50, 8), (5000, 10))
    assert (database_label.sum(axis=1) == 1).all()
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=2) / 64
    same = query_label.astype(int) @ database_label.T > 0
    assert distance[same].mean() == pytest.approx(2 * 0.2 * 0.8, abs=0.01)
    assert distance[~same].mean() == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def ours():
    data = retrieval.clustered_codes(*SHAPE)
    return retrieval.metrics_of_counts(*counted(data, SHAPE[-1])[1])


def changed(array, place, by):
    array = array.copy()
    array[place] += by
    return array


def test_evaluations_that_agree_pass(ours):
    loop = retrieval.loop_evaluation(*as_floats(retrieval.clustered_codes(*SHAPE), SHAPE[-1]))
    retrieval.check_evaluation("loop", [x[:2] for x in loop], ours)
    retrieval.check_evaluation("numpy", ours[:2], ours)


@pytest.mark.parametrize("place", [0, 1])
def test_other_counts_of_numpy_are_found_out(ours, place):
    peer = [*ours[:2]]
    peer[place] = changed(peer[place], (1, 3), 1)
    with pytest.raises(AssertionError):
        retrieval.check_evaluation("numpy", peer, ours)


@pytest.mark.parametrize(("place", "by"), [(0, 0.5), (0, -0.5), (2, 1), (3, 1)])
def test_another_evaluation_of_the_loop_is_found_out(ours, place, by):
    data = retrieval.clustered_codes(*SHAPE)
    loop = retrieval.loop_evaluation(*as_floats(data, SHAPE[-1]))
    loop[place] = changed(loop[place], 1, by)
    with pytest.raises(AssertionError):
        retrieval.check_evaluation("loop", loop, ours)


def test_another_ranking_of_faiss_is_found_out(ours):
    total_QxD = ours[0]
    distance = [np.repeat(np.arange(len(total_D)), total_D) for total_D in total_QxD]
    retrieval.check_evaluation("faiss heap", (np.stack(distance), None), ours)
    distance[1][0] += 1
    with pytest.raises(AssertionError):
        retrieval.check_evaluation("faiss heap", (np.stack(distance), None), ours)


@pytest.mark.parametrize(
    ("distance", "index", "agrees"),
    [
        ([1, 2, 2, 3], [7, 4, 5, 1], True),
        ([1, 2, 2, 3], [7, 5, 4, 1], True),  # another order of a tie
        ([1, 2, 2, 3], [7, 4, 5, 6], True),  # another that ties with the last
        ([1, 2, 2, 4], [7, 4, 5, 1], False),
        ([1, 2, 2, 3], [7, 4, 6, 1], False),
    ],
)
def test_only_ties_may_differ_in_a_search(distance, index, agrees):
    ours = np.array([[1, 2, 2, 3]]), np.array([[7, 4, 5, 1]])
    peer = np.array([distance]), np.array([index])
    if agrees:
        retrieval.check_search("faiss heap", peer, ours)
    else:
        with pytest.raises(AssertionError):
            retrieval.check_search("faiss heap", peer, ours)


def test_peers_are_timed_on_as_many_queries_as_are_asked_for(monkeypatch):
    monkeypatch.setattr(retrieval, "faiss", None)
    row = retrieval.bench_map(*SHAPE, rounds=2, loop_queries=2)
    assert {name: side["queries"] for name, side in row.items()} == {
        "ours": 5,
        "loop": 2,
        "loop_stable": 2,
        "stable": 2,
        "numpy": 2,
    }
    for side in row.values():
        assert len(side["seconds"]) == 2
        wanted = 1e9 * sum(side["seconds"]) / 2 / (side["queries"] * 700)
        assert side["ns_per_pair"] == pytest.approx(wanted)
        assert side["ratio"] == pytest.approx(wanted / row["ours"]["ns_per_pair"])
    assert row["ours"]["compile_seconds"] > 0


def test_a_peer_that_disagrees_is_not_timed(monkeypatch):
    monkeypatch.setattr(retrieval, "faiss", None)
    right = retrieval.numpy_counts
    monkeypatch.setattr(
        retrieval, "numpy_counts", lambda *data: [count + 1 for count in right(*data)]
    )
    with pytest.raises(AssertionError):
        retrieval.bench_map(*SHAPE)


@needs_faiss
def test_faiss_is_the_better_of_its_ways():
    row = retrieval.bench_search(5, 700, 10)
    assert [*row] == ["ours", "faiss"]
    assert row["faiss"]["way"] in ("faiss heap", "faiss counting")
    assert row["faiss"]["queries"] == 5


@pytest.mark.slow
def test_command_measures_on_one_core_and_prints_a_table(tmp_path):
    file = tmp_path / "retrieval.json"
    command = [sys.executable, "-m", "experiments.bench", "retrieval", "--quick", "--rounds=1"]
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    process = subprocess.run(
        [*command, f"--json={file}"],
        cwd=epath.Path(__file__).parents[3],
        env=env | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(file.read_text())
    assert result["cores"] == 1
    for grid, cell in [
        ("maps", "20 × 5,000, 21 classes, 64 bits"),
        ("search", "20 × 20,000, k = 10"),
    ]:
        (line,) = [line for line in process.stdout.splitlines() if line.startswith(cell)]
        assert f"{result[grid][cell]['ours']['ns_per_pair']:.3g}" in line
    assert 0 < result["memory_megabytes"] < 1000
    assert f"{result['memory_megabytes']:,.0f} MB" in process.stdout
    assert "maps, 2 of 2" in process.stderr
