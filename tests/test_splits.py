"""Splits: disjoint, stratified, seeded; the paper's counts; errors that say what to do."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.data import sources, splits

seeds = st.integers(0, 2**32 - 1)
PARTS = ("labelled", "unlabelled", "validation", "query", "unseen")
# Rows of each class in the pooled 70,000.
MNIST_ROWS = (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)


def labels_only(rows_per_class, name="fake", query_share=0.2, seed=0):
    """A source whose images are one black pixel each, its rows in random order."""
    label = np.repeat(np.arange(len(rows_per_class)), rows_per_class)
    label = np.random.default_rng(seed).permutation(label)
    return sources.Source(
        name=name,
        image_NxHxWxC=np.zeros((len(label), 1, 1, 1), np.uint8),
        label_NxC=sources.multi_hot(label, len(rows_per_class)),
        label_names=tuple(map(str, range(len(rows_per_class)))),
        is_official_query_N=np.arange(len(label)) < query_share * len(label),
    )


def split_of(source, **options):
    defaults = {"protocol": "official", "seed": 0, "validation": 0.1, "unseen": 0.2}
    return splits.make_split(source, **(defaults | options))


def per_class(source, rows):
    return source.label_NxC[rows].sum(0, dtype=int).tolist()


def sizes(split):
    return {part: len(getattr(split, part)) for part in PARTS}


even = labels_only([100] * 5)


# What holds for every split.


@settings(deadline=None, max_examples=50)
@given(
    seed=seeds,
    rows=st.lists(st.integers(20, 60), min_size=2, max_size=5),
    protocol=st.sampled_from(["official", "paper"]),
    validation=st.floats(0, 0.4),
    unseen=st.floats(0, 0.4),
    label_fraction=st.floats(0.01, 1),
)
def test_every_row_is_used_at_most_once_and_no_query_trains(
    seed, rows, protocol, validation, unseen, label_fraction
):
    source = labels_only(rows, seed=seed)
    split = split_of(
        source, protocol=protocol, seed=seed, validation=validation, unseen=unseen,
        label_fraction=label_fraction,
    )  # fmt: skip
    parts = [getattr(split, part) for part in PARTS]
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    assert set(together) <= set(range(len(source)))
    assert len(split.labelled) >= 1
    for part in parts:
        assert part.dtype == np.int64
        assert np.all(np.diff(part) > 0)
    np.testing.assert_array_equal(split.train, np.sort(np.concatenate(parts[:2])))
    if protocol == "official":
        assert len(together) == len(source)  # and at least once
        np.testing.assert_array_equal(split.query, np.flatnonzero(source.is_official_query_N))


def test_sizes_worked_by_hand():
    split = split_of(even, label_fraction=0.25)
    # 500 rows: 100 queries; of 400, a tenth and a fifth are carved out; a quarter of 280 is read.
    assert sizes(split) == {
        "query": 100, "validation": 40, "unseen": 80, "labelled": 70, "unlabelled": 210,
    }  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(seed=seeds, fraction=st.sampled_from([0.1, 0.5, 0.73]))
def test_parts_hold_the_classes_in_equal_shares(seed, fraction):
    source = labels_only([100, 200, 60, 140], query_share=0, seed=seed)
    split = split_of(source, seed=seed, label_fraction=fraction)
    total = np.array(per_class(source, split.train))
    # A stratified sample misses a class's share by less than one row.
    wanted = total * len(split.labelled) / len(split.train)
    assert np.all(np.abs(per_class(source, split.labelled) - wanted) < 1)
    wanted = np.array([10, 20, 6, 14])
    np.testing.assert_array_equal(per_class(source, split.validation), wanted)
    assert np.all(np.abs(per_class(source, split.unseen) - 2 * wanted) <= 1)


def test_seeds_give_the_same_split_again_and_other_seeds_others():
    first, again, other = (split_of(even, seed=seed) for seed in (0, 0, 1))
    assert first.hash == again.hash
    assert first.hash != other.hash
    for part in PARTS:
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))


def test_labels_withheld_do_not_move_the_other_parts():
    all_read, few_read = (split_of(even, label_fraction=share) for share in (1.0, 0.1))
    for part in ("train", "query", "validation", "unseen"):
        np.testing.assert_array_equal(getattr(all_read, part), getattr(few_read, part))


# How many labels.


def test_every_label_is_read_by_default():
    split = split_of(even)
    assert len(split.unlabelled) == 0
    np.testing.assert_array_equal(split.labelled, split.train)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_labels_per_class_are_exact(count):
    split = split_of(even, labels_per_class=count)
    assert per_class(even, split.labelled) == [count] * 5
    assert len(split.unlabelled) == 280 - 5 * count


@pytest.mark.parametrize(("fraction", "wanted"), [(0.5, 140), (0.1, 28), (1e-6, 1)])
def test_label_fraction_is_a_share_of_the_training_rows_and_never_none(fraction, wanted):
    assert len(split_of(even, label_fraction=fraction).labelled) == wanted


# The paper's protocol.


@pytest.mark.parametrize("name", ["mnist", "mnist:3.0.1", "Mnist"])
def test_paper_protocol_of_mnist(name):
    source = labels_only(MNIST_ROWS, name)
    split = split_of(source, protocol="paper", validation=0, unseen=0)
    assert per_class(source, split.train) == [6000] * 10
    assert len(split.query) == 1000
    assert len(split.unseen) == 9000
    # Whole numbers aside, the queries hold the classes as the rows left over do.
    left = np.array(MNIST_ROWS) - 6000
    assert np.all(np.abs(per_class(source, split.query) - left / 10) < 1)


def test_paper_protocol_of_cifar10():
    source = labels_only([6000] * 10, "cifar10")
    split = split_of(source, protocol="paper", validation=0.05, unseen=0.1)
    assert per_class(source, split.train) == [4750] * 10  # 5,000 less validation
    assert per_class(source, split.validation) == [250] * 10
    assert per_class(source, split.query) == [100] * 10
    assert per_class(source, split.unseen) == [900] * 10


def test_paper_protocol_elsewhere_trains_on_five_sixths_of_the_rarest_class():
    source = labels_only([60, 90, 120])
    split = split_of(source, protocol="paper", validation=0, unseen=0)
    assert per_class(source, split.train) == [50, 50, 50]
    assert sizes(split) == {
        "labelled": 150, "unlabelled": 0, "validation": 0, "query": 60, "unseen": 60,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", ["official", "paper"])
def test_the_number_of_queries_can_be_set(protocol):
    assert len(split_of(even, protocol=protocol, queries=10).query) == 10


def test_official_queries_that_are_thinned_out_go_nowhere_else():
    split = split_of(even, queries=10)
    assert sizes(split) == sizes(split_of(even)) | {"query": 10}
    assert even.is_official_query_N[split.query].all()


# Classes of multi-label rows.


def multilabel_rows():
    """The rarest of a row's classes owns it: 4 rows each, though 12, 8 and 4 hold the class."""
    return np.array([[1, 0, 0]] * 4 + [[1, 1, 0]] * 4 + [[1, 0, 1]] * 2 + [[1, 0, 1]] * 2)


def test_a_multilabel_row_counts_for_its_rarest_class():
    label = multilabel_rows()
    for count in (1, 4):
        chosen = splits.take_per_class(np.arange(12), label, count, np.random.default_rng(0))
        owners = np.repeat([0, 1, 2], 4)[chosen]
        np.testing.assert_array_equal(np.bincount(owners), [count] * 3)


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(3)), seed=seeds)
def test_the_owner_of_a_row_does_not_depend_on_the_order_of_the_classes(order, seed):
    # Row 0 has no label, hence no class. Taking all that a class owns leaves nothing to chance.
    label = np.concatenate([[[0, 0, 0]], multilabel_rows()])
    rng = np.random.default_rng(seed)
    chosen = splits.take_per_class(np.arange(13), label[:, order], 4, rng)
    np.testing.assert_array_equal(chosen, np.arange(1, 13))


def test_take_per_class_chooses_among_the_given_rows():
    rows = np.flatnonzero(~even.is_official_query_N)
    chosen = splits.take_per_class(rows, even.label_NxC, 20, np.random.default_rng(0))
    assert per_class(even, chosen) == [20] * 5
    assert set(chosen) <= set(rows)
    others = splits.take_per_class(rows, even.label_NxC, 20, np.random.default_rng(1))
    assert 0 < len(set(chosen) - set(others)) < 100  # at random


# Hash and file.


def test_the_hash_of_a_known_split_never_changes():
    # Results name their split by its hash: a new hash means that old numbers cannot be compared.
    split = split_of(sources.digits(), validation=0.05, unseen=0.1)
    assert sizes(split) == {
        "labelled": 1221, "unlabelled": 0, "validation": 72, "query": 360, "unseen": 144,
    }  # fmt: skip
    assert split.hash == "0fb5613223f8"
    assert split_of(sources.digits(), validation=0.05, unseen=0.1).hash == split.hash


def test_the_hash_depends_on_each_row_and_on_its_part_but_not_on_the_type():
    split = split_of(even)
    same = splits.Split(**{p: getattr(split, p).astype(np.int32) for p in PARTS})
    assert same.hash == split.hash
    fewer = dataclasses.replace(split, unseen=split.unseen[1:])
    swapped = dataclasses.replace(split, unseen=split.validation, validation=split.unseen)
    assert len({split.hash, fewer.hash, swapped.hash}) == 3


def test_a_saved_split_is_read_back(tmp_path):
    split = split_of(even, labels_per_class=3, unseen=0)
    splits.save(split, tmp_path / "split.npz")
    loaded = splits.load(tmp_path / "split.npz")
    for part in PARTS:
        np.testing.assert_array_equal(getattr(loaded, part), getattr(split, part))
    assert loaded.hash == split.hash


def test_description_names_sizes_and_hash():
    split = split_of(labels_only([6000] * 10, "cifar10"), protocol="paper", validation=0)
    assert split.describe() == (
        "labelled 50,000, unlabelled 0, validation 0, query 1,000, unseen 9,000 "
        f"(hash {split.hash})"
    )


# Errors.


def parts_with(**changed):
    empty = np.array([], np.int64)
    return splits.Split(**(dict.fromkeys(PARTS, empty) | changed))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split_of(even, protocol="random"), "protocol is 'random'; known: official, paper"),
        (
            lambda: split_of(even, validation=-0.1),
            "validation is -0.1 and unseen is 0.2; each must be at least 0 and their sum below 1",
        ),
        (lambda: split_of(even, validation=0.5, unseen=0.5), "their sum below 1"),
        (lambda: split_of(even, label_fraction=0), r"label_fraction is 0; it must be in \(0, 1\]"),
        (lambda: split_of(even, label_fraction=1.1), "label_fraction is 1.1"),
        (
            lambda: split_of(even, labels_per_class=5, label_fraction=0.5),
            "labels_per_class is 5 and label_fraction 0.5: set one of them",
        ),
        (lambda: split_of(even, labels_per_class=-1), "labels_per_class to at least 1"),
        (
            lambda: split_of(labels_only([50, 20], query_share=0), labels_per_class=30),
            "30 rows of each class are wanted, but class 1 has only 14: ask for at most 14",
        ),
        (
            lambda: split_of(even, queries=101),
            "data.queries is 101, but fake has 100 official queries",
        ),
        (
            lambda: split_of(even, protocol="paper", queries=86),
            "data.queries is 86, but the paper's protocol leaves 85 rows of fake outside training",
        ),
        (
            lambda: parts_with(query=np.array([3, 5]), unseen=np.array([4, 5])),
            "query and unseen share 1 rows, e.g. row 5: the parts of a split must be disjoint",
        ),
        (
            lambda: parts_with(labelled=np.array([1, 2, 2])),
            "the split's part 'labelled' holds a row twice",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
