"""An index against plain loops: searched, counted, grown, saved; what it keeps and refuses."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_codes import random_codes

from dsh_jax import retrieval
from dsh_jax.codes import pack_bits
from dsh_jax.retrieval import Index, counting, index, nearest

seeds = st.integers(0, 2**32 - 1)


def single(rng, rows, classes=5):
    """One label a row, but for some without any."""
    return np.eye(classes + 1, dtype=np.uint8)[rng.integers(0, classes + 1, rows), :classes]


def several(rng, rows, classes=5):
    return (rng.random((rows, classes)) < 0.3).astype(np.uint8)


def distances(query, database):
    return np.bitwise_count(query[:, None] ^ database[None]).sum(axis=-1, dtype=np.int32)


def counts_of(distance_QxR, query_label, label, bits):
    """Counts of all and of the relevant items, by bincount."""
    shares = query_label.astype(int) @ label.T.astype(int) > 0
    return [
        np.stack(
            [np.bincount(row[where], minlength=bits + 1) for row, where in zip(*both, strict=True)]
        )
        for both in (
            (distance_QxR, np.ones_like(shares)),
            (distance_QxR, shares),
        )
    ]


@settings(deadline=None, max_examples=25)
@given(
    seed=seeds,
    bits=st.sampled_from([1, 8, 24, 40]),
    items=st.integers(1, 60),
    labels=st.sampled_from([single, several]),
    method=st.sampled_from(["auto", "class_planes"]),
)
def test_counts_are_those_of_a_loop_whatever_the_labels(seed, bits, items, labels, method):
    rng = np.random.default_rng(seed)
    query, database = (
        np.asarray(pack_bits(rng.integers(0, 2, (rows, bits)) & rng.integers(0, 2, (rows, bits))))
        for rows in (7, items)
    )
    query_label, label = labels(rng, 7), labels(rng, items)
    made = Index(database, bits, label)
    if method == "class_planes" and made.labels.class_R is None:
        method = "bit_planes"
    total, at_least = made.counts(query, query_label, method=method, database_block=8)
    wanted = counts_of(distances(query, database), query_label, label, bits)
    np.testing.assert_array_equal(total, wanted[0])
    np.testing.assert_array_equal(at_least[0], wanted[1])


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_items_in_classes_count_as_in_order(classes):
    rng = np.random.default_rng(classes)
    query, database = random_codes(rng, 30, 6), random_codes(rng, 3001, 6)
    query_label, label = several(rng, 30, classes), single(rng, 3001, classes)
    made = Index(database, 48, label)
    in_order, in_classes = (
        made.counts(query, query_label, shared=(1, 2), method=method, query_block=16)
        for method in ("bit_planes", "class_planes")
    )
    jax.tree.map(np.testing.assert_array_equal, in_classes, in_order)
    assert not in_order[1][1].any()  # no item shares two labels


@settings(deadline=None, max_examples=20)
@given(seed=seeds, radius=st.integers(0, 16), items=st.integers(1, 40))
def test_within_finds_every_item_of_the_ball_in_order(seed, radius, items):
    rng = np.random.default_rng(seed)
    query, database = random_codes(rng, 5, 2), random_codes(rng, items, 2)
    start, distance, row = Index(database, 16).within(query, radius)
    for q, away in enumerate(distances(query, database)):
        order = np.argsort(away, kind="stable")
        wanted = order[away[order] <= radius]
        mine = slice(start[q], start[q + 1])
        np.testing.assert_array_equal(row[mine], wanted)
        np.testing.assert_array_equal(distance[mine], away[wanted])


def test_k_beyond_the_database_is_padded_as_faiss_does():
    faiss = pytest.importorskip("faiss", reason="FAISS is not installed")
    packed = np.random.default_rng(0).integers(0, 256, (5, 4), dtype=np.uint8)
    flat = faiss.IndexBinaryFlat(32)
    flat.add(packed)
    for k in (5, 9):
        found = Index(packed, 32).search(packed[:2], k, pad=True)
        for ours, theirs in zip(found, flat.search(packed[:2], k), strict=True):
            assert ours.dtype == np.int32
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="k=9, but the database has 5 items"):
        Index(packed, 32).search(packed[:2], 9)


def test_within_searches_in_blocks_that_fit(monkeypatch):
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 9, 2), random_codes(rng, 100, 2)
    whole = Index(database, 16).within(query, 8)
    monkeypatch.setattr(index, "MOST_FOUND", 130)
    jax.tree.map(np.testing.assert_array_equal, Index(database, 16).within(query, 8), whole)


@pytest.mark.parametrize(("first", "then"), [(single, single), (single, several)])
def test_an_index_that_grew_is_one_of_all_rows(first, then):
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 4, 3), random_codes(rng, 50, 3)
    label = np.concatenate([first(rng, 20), then(rng, 30)])
    grown, whole = Index(database[:20], 24, label[:20]), Index(database, 24, label)
    grown.search(query, 3)
    grown.add(database[20:], label[20:])
    assert len(grown) == 50
    jax.tree.map(
        np.testing.assert_array_equal,
        (grown.search(query, 40), grown.counts(query, label[:4])),
        (whole.search(query, 40), whole.counts(query, label[:4])),
    )


@pytest.mark.parametrize("labels", [single, several, None])
def test_a_saved_index_is_mapped_and_answers_the_same(tmp_path, labels):
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 4, 3), random_codes(rng, 50, 3)
    label = None if labels is None else labels(rng, 50)
    made = Index(database, 24, label)
    made.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert isinstance(loaded.packed_RxW.base, np.memmap)
    jax.tree.map(np.testing.assert_array_equal, loaded.search(query, 9), made.search(query, 9))
    if labels is not None:
        answers = [one.counts(query, label[:4]) for one in (loaded, made)]
        jax.tree.map(np.testing.assert_array_equal, *answers)


def test_a_loaded_index_is_saved_where_it_was_loaded_from(tmp_path):
    rng = np.random.default_rng(0)
    database, label = random_codes(rng, 5000, 3), several(rng, 5000)
    Index(database, 24, label).save(tmp_path)
    loaded = Index.load(tmp_path)
    loaded.save(tmp_path)
    for kept in (loaded, Index.load(tmp_path)):
        np.testing.assert_array_equal(kept.packed_RxW, database)
        np.testing.assert_array_equal(kept.labels.form, Index(database, 24, label).labels.form)


def test_a_save_that_is_stopped_leaves_the_index_before_it(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    before, label = random_codes(rng, 50, 3), single(rng, 50)
    Index(before, 24, label).save(tmp_path)
    write = np.save

    def stopped(file, array):
        if array.ndim == 1:  # the labels, which are written after the codes
            raise KeyboardInterrupt
        write(file, array)

    monkeypatch.setattr(np, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        Index(random_codes(rng, 50, 3), 24, single(rng, 50)).save(tmp_path)
    np.testing.assert_array_equal(Index.load(tmp_path).packed_RxW, before)


def test_a_database_is_arranged_once_unless_it_is_too_large_to_keep(monkeypatch):
    rng = np.random.default_rng(0)
    query, database, label = random_codes(rng, 4, 3), random_codes(rng, 50, 3), single(rng, 50)
    arranged = []
    for module, name in ((nearest, "shards"), (counting, "blocks")):
        whole = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, _f=whole, **k: arranged.append(1) or _f(*a, **k)
        )
    made = Index(database, 24, label)
    for _ in range(3):
        made.search(query, 2, method="direct")
        made.counts(query, label[:4])
    assert len(arranged) == 2
    monkeypatch.setattr(index, "MOST_HELD", 49)
    large = Index(database, 24, label)
    answers = [
        (large.search(query, 2, method="direct"), large.counts(query, label[:4])) for _ in range(2)
    ]
    assert len(arranged) == 6
    jax.tree.map(np.testing.assert_array_equal, *answers)
    assert not large._held


def test_queries_of_one_code_and_label_are_counted_once(monkeypatch):
    rng = np.random.default_rng(0)
    database, label = random_codes(rng, 50, 3), single(rng, 50)
    which = rng.integers(0, 5, 40)
    counted = []
    count = counting.count
    monkeypatch.setattr(
        counting,
        "count",
        lambda query, *a, **k: counted.append(len(query)) or count(query, *a, **k),
    )
    found = Index(database, 24, label).counts(database[which], label[which])
    assert counted == [5]
    wanted = counts_of(distances(database[which], database), label[which], label, 24)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1][0], wanted[1])


def test_some_of_the_devices_do_for_an_index():
    rng = np.random.default_rng(0)
    query, database, label = random_codes(rng, 4, 3), random_codes(rng, 50, 3), single(rng, 50)
    few = Index(database, 24, label, devices=jax.local_devices()[:2])
    every = Index(database, 24, label)
    jax.tree.map(
        np.testing.assert_array_equal,
        (few.search(query, 9, method="direct"), few.counts(query, label[:4])),
        (every.search(query, 9, method="direct"), every.counts(query, label[:4])),
    )


code, one = np.zeros((4, 2), np.uint8), np.ones((4, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Index(code, 12).counts(code, one), "the index has no labels to count by"),
        (lambda: Index(code + 255, 12), "database has codes with bits beyond the first 12"),
        (lambda: Index(code, 24), "database has 2 bytes a row, but bits=24"),
        (lambda: Index(code, 12, one[:3]), r"database labels .*; wanted \(4, classes\)"),
        (lambda: Index(code, 12).search(code[:, :1], 1), "query has 1 bytes a row, database 2;"),
        (lambda: Index(code, 12).within(code, 13), "radius=13; pass one from 0 to the 12 bits"),
        (lambda: Index(code, 12).add(code, one), "the index has no labels: pass them"),
        (lambda: Index(code, 12, one).add(code), "the index has labels: pass them"),
        (lambda: Index(code, 12, one).add(code, one[:, :2]), "labels of 2 classes cannot follow"),
        (
            lambda: Index(code, 12, one).counts(code, one, method="class_planes"),
            "some row has several labels",
        ),
        (lambda: Index(code, 12, one).counts(code, one, method="x"), "method='x' for 12 bits"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no index: it has no index.json; write one with"):
        Index.load(tmp_path)


def test_one_call_is_an_index_of_one_call():
    rng = np.random.default_rng(0)
    query, database, label = random_codes(rng, 4, 3), random_codes(rng, 50, 3), single(rng, 50)
    made = Index(database, 24, label)
    total, relevant = retrieval.distance_counts(query, label[:4], database, label, bits=24)
    jax.tree.map(
        np.testing.assert_array_equal,
        (retrieval.search(query, database, 5), (total, relevant[None])),
        (made.search(query, 5), made.counts(query, label[:4])),
    )
