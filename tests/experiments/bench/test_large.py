"""A large index is written block by block, and answers as one in memory does."""

import numpy as np
from etils import epath

from dsh_jax import retrieval
from experiments.bench import large


def test_every_block_of_the_map_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "BLOCK", 300)
    large.write(epath.Path(tmp_path), 1000, np.random.default_rng(0))
    index = retrieval.Index.load(tmp_path)
    assert len(index) == 1000
    assert len(np.unique(np.asarray(index.packed_RxW), axis=0)) == 1000
    total_QxD, shared_TxQxD = index.counts(index.packed_RxW[:5], np.eye(10, dtype=bool)[:5])
    assert (total_QxD.sum(axis=1) == 1000).all()
    of_class_C = np.bincount(np.load(tmp_path / "labels.npy"), minlength=10)
    np.testing.assert_array_equal(shared_TxQxD[0].sum(axis=1), of_class_C[:5])


def test_each_size_is_searched_and_counted(monkeypatch):
    monkeypatch.setattr(large, "SMALL", 500)
    found = large.bench_sizes(1500, queries=3)
    assert list(found) == [
        "search, k = 100, 500 codes",
        "counts, 500 codes",
        "search, k = 100, 1,500 codes",
        "counts, 1,500 codes",
    ]
    assert all(row["ns_per_pair"] > 0 and row["mb"] >= 0 for row in found.values())


def test_memory_that_is_taken_is_seen():
    with large.peak_memory() as peak:
        np.ones(40_000_000, np.uint8).sum()
    assert 30 < peak[0] < 400
