"""Indexes of FAISS against exact search."""

import sys

import numpy as np
import pytest
from clusters import assert_same, clusters
from hypothesis import given, settings
from hypothesis import strategies as st
from random_codes import random_codes

from dsh_jax import retrieval
from dsh_jax.index import faiss_index

faiss = pytest.importorskip("faiss", reason="FAISS is not installed")


def test_neighbours_by_hand():
    packed_NxW = np.array([[0b111], [0], [0b1], [0b10], [0b1111]], np.uint8)
    index = faiss_index.build(packed_NxW, bits=5)
    found = faiss_index.search(index, np.array([[0], [0b1111]], np.uint8), 4)
    assert_same(
        found, (np.int32([[0, 1, 1, 3], [0, 1, 3, 3]]), np.int32([[1, 2, 3, 0], [4, 0, 2, 3]]))
    )


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([1, 7, 300]),
    width=st.sampled_from([1, 3, 8, 9]),
    share=st.sampled_from([0, 0.3, 1]),
)
def test_flat_is_exact_search_in_its_order(seed, rows, width, share):
    rng = np.random.default_rng(seed)
    packed_NxW, query_QxW = random_codes(rng, rows, width), random_codes(rng, 3, width)
    k = max(1, round(share * rows))
    index = faiss_index.build(packed_NxW, bits=8 * width)
    assert_same(faiss_index.search(index, query_QxW, k), retrieval.search(query_QxW, packed_NxW, k))


@pytest.mark.parametrize("kind", ["ivf", "hash"])
def test_approximate_indexes_find_most_and_with_the_greatest_probe_all(kind):
    packed_NxW = clusters(4000, flipped=0.22)
    query_QxW, k = packed_NxW[::200], 20
    wanted = retrieval.search(query_QxW, packed_NxW, k)
    index = faiss_index.build(packed_NxW, bits=64, kind=kind)
    distance_Qxk, row_Qxk = faiss_index.search(index, query_QxW, k)
    # The distances are true ones, in order, and few are missed.
    code_QxkxW = packed_NxW[row_Qxk] ^ query_QxW[:, None]
    np.testing.assert_array_equal(np.bitwise_count(code_QxkxW).sum(axis=2), distance_Qxk)
    order_Qxk = np.lexsort((row_Qxk, distance_Qxk))
    np.testing.assert_array_equal(order_Qxk, np.tile(np.arange(k), (len(query_QxW), 1)))
    assert 0.6 < np.mean(distance_Qxk == wanted[0]) < 1
    faiss_index.set_probe(index, index.nlist if kind == "ivf" else index.b)
    assert_same(faiss_index.search(index, query_QxW, k), wanted)


@pytest.mark.parametrize("kind", faiss_index.KINDS)
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_few_codes_have_an_index_too(kind, rows, capfd):
    packed_NxW = clusters(rows, width=2)
    index = faiss_index.build(packed_NxW, bits=12, kind=kind)
    assert faiss_index.kind_of(index) == kind
    distance_Qxk, row_Qxk = faiss_index.search(index, packed_NxW[-1:], 1)
    assert distance_Qxk.item() == 0
    np.testing.assert_array_equal(packed_NxW[row_Qxk.item()], packed_NxW[-1])
    assert not capfd.readouterr().err  # FAISS warns of too few


def test_the_cells_follow_from_the_seed():
    packed_NxW = np.random.default_rng(0).integers(0, 256, (2000, 8), np.uint8)
    first, again, other = (
        faiss_index.search(
            faiss_index.build(packed_NxW, bits=64, kind="ivf", seed=seed), packed_NxW[:50], 20
        )
        for seed in (0, 0, 1)
    )
    assert_same(first, again)
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "tree"}, "kind='tree' of an index of FAISS; pass one of flat, ivf, hash"),
        ({"bits": 17}, "has 2 bytes a row, but bits=17 needs 3"),
        ({"packed_NxW": np.zeros((0, 2), np.uint8)}, r"shape \(0, 2\)"),
        ({"packed_NxW": np.zeros((3, 2))}, "type float64"),
    ],
)
def test_other_codes_and_kinds_are_refused(settings, message):
    arguments = {"packed_NxW": np.zeros((3, 2), np.uint8), "bits": 16} | settings
    with pytest.raises(ValueError, match=message):
        faiss_index.build(arguments.pop("packed_NxW"), **arguments)


@pytest.mark.parametrize(
    ("kind", "probe", "message"),
    [
        ("flat", 1, "looks at every code"),
        ("ivf", 0, "probe=0 of an index of kind ivf; pass an integer from 1 to 2"),
        ("ivf", 3, "from 1 to 2"),
        ("hash", 1.5, "from 0 to 3"),
    ],
)
def test_probes_out_of_range_are_refused(kind, probe, message):
    index = faiss_index.build(clusters(100), bits=64, kind=kind)
    with pytest.raises(ValueError, match=message):
        faiss_index.set_probe(index, probe)


def test_other_queries_are_refused():
    index = faiss_index.build(clusters(30), bits=64)
    with pytest.raises(ValueError, match="query has 2 bytes a row, but bits=64 needs 8"):
        faiss_index.search(index, np.zeros((1, 2), np.uint8), 1)
    for k in (0, 31, 1.5):
        with pytest.raises(
            ValueError, match=f"k={k}, but the index has 30 codes; pass k from 1 to"
        ):
            faiss_index.search(index, np.zeros((1, 8), np.uint8), k)
    with pytest.raises(ValueError, match="is IndexBinaryHNSW; pass one of IndexBinaryFlat, "):
        faiss_index.kind_of(faiss.IndexBinaryHNSW(64))


def test_too_small_a_probe_is_said():
    packed_NxW = np.arange(200, dtype=np.uint8)[:, None]
    index = faiss_index.build(packed_NxW, bits=8, kind="hash")
    faiss_index.set_probe(index, 0)
    with pytest.raises(
        ValueError, match=r"hash index looks at 12 codes near query 0, but k=26; set"
    ):
        faiss_index.search(index, packed_NxW[191:192], 26)


def test_without_faiss_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ValueError, match=r"FAISS cannot be imported .*: pip install -e \.\[faiss\]"
    ):
        faiss_index.build(clusters(3), bits=64)
