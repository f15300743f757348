"""Protocols: their sizes, nothing shared, the same images in any order, every label, errors."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.data import protocols, splits
from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source, multi_hot

seeds = st.integers(0, 2**32 - 1)
# Rows of each class in the pooled 70,000.
MNIST_ROWS = (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)


def source_of(label, *, name="fake", multilabel=False, named=False, **official):
    """A source whose images are one black pixel each."""
    rows, classes = label.shape
    names = np.array([f"im{row}.jpg" for row in range(rows)]) if named else None
    return Source(
        name=name,
        images=ArrayImages(np.zeros((rows, 1, 1, 1), np.uint8), names),
        label_NxC=label,
        label_names=tuple(f"c{c}" for c in range(classes)),
        official=official,
        multilabel=multilabel,
    )


def single(rows_per_class, name="fake", query_share=0.2, seed=0, **options):
    """Rows of single labels in random order, the first of them official queries."""
    label = np.repeat(np.arange(len(rows_per_class)), rows_per_class)
    label = np.random.default_rng(seed).permutation(label)
    query = {"query": np.arange(len(label)) < query_share * len(label)} if query_share else {}
    label_NxC = multi_hot(label, len(rows_per_class))
    return source_of(label_NxC, name=name, **options, **query)


def multi(rows, classes, share=0.1, seed=0, least=0, **options):
    """Rows of several labels, each class in `least` rows or more, some rows without a label."""
    rng = np.random.default_rng(seed)
    label = (rng.random((rows, classes), np.float32) < share).astype(np.uint8)
    for c in range(classes):
        label[rng.permutation(rows)[:least], c] = 1
    return source_of(label, multilabel=True, **options)


def split_of(source, protocol="official", **options):
    defaults = {"seed": 0, "validation": 0.1, "unseen": 0.2}
    return protocols.make_split(source, protocol=protocol, **(defaults | options))


def per_class(source, rows):
    return source.label_NxC[rows].sum(0, dtype=int).tolist()


def sizes(split):
    return {part: len(getattr(split, part)) for part in splits.PARTS}


def some_source(kind, seed):
    """A small source that every protocol fits with 12 queries and 36 training rows."""
    if kind == "single":
        return single([60, 50, 45, 70, 55, 52], seed=seed, named=True)
    source = multi(500, 6, share=0.08, least=40, seed=seed, named=True)
    rng = np.random.default_rng(seed)
    query = rng.random(500) < 0.2
    lists = {"query": query, "train": ~query & (rng.random(500) < 0.4), "database": ~query}
    return source_of(source.label_NxC, multilabel=True, named=True, **lists)


even = single([100] * 5)


# What holds for every split.


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    kind=st.sampled_from(["single", "multi"]),
    # nus-21 wants 21 classes; it draws as cifar-1 does.
    protocol=st.sampled_from(sorted(set(protocols.PROTOCOLS) - {"nus-21"})),
    validation=st.floats(0, 0.4),
    unseen=st.floats(0, 0.4),
    label_fraction=st.floats(0.01, 1),
    label_less=st.sampled_from(sorted(protocols.LABEL_LESS)),
    shuffled=st.randoms(use_true_random=False),
)
def test_queries_are_apart_and_the_same_images_are_chosen_in_any_order(
    seed, kind, protocol, validation, unseen, label_fraction, label_less, shuffled
):
    if (kind, protocol) == ("multi", "unseen-classes"):
        return
    source = some_source(kind, seed % 100)
    options = {
        "seed": seed, "validation": validation, "unseen": unseen, "queries": 12,
        "train_rows": 36, "label_fraction": label_fraction, "label_less": label_less,
    }  # fmt: skip
    split = split_of(source, protocol, **options)
    parts = {part: getattr(split, part) for part in splits.PARTS}
    apart = np.concatenate([rows for part, rows in parts.items() if part != "database"])
    assert len(np.unique(apart)) == len(apart)
    assert not np.isin(split.query, split.database).any()
    for rows in parts.values():
        assert rows.dtype == np.int64
        assert np.all(np.diff(rows) > 0)
        assert np.isin(rows, np.arange(len(source))).all()
    assert not len(split.unseen) or "unseen" in split.databases()
    assert (len(split.query), split.data) == (12, source.fingerprint)
    assert len(split.labelled) >= 1
    if protocol in ("ssdh", "mir-ssdh"):
        assert len(split.labelled) + len(split.validation) <= 36
        assert np.isin(split.database, split.unlabelled).all()
    else:
        assert len(split.train) + len(split.validation) <= 36

    order = np.array(shuffled.sample(range(len(source)), len(source)))
    turned = source.select(order)
    again = split_of(turned, protocol, **options)
    for part, rows in parts.items():
        found = turned.images.name_N[getattr(again, part)]
        np.testing.assert_array_equal(np.sort(found), np.sort(source.images.name_N[rows]))
    assert again.notes == split.notes


@settings(deadline=None, max_examples=20)
@given(seed=seeds, fraction=st.sampled_from([0.1, 0.5, 0.73]))
def test_parts_hold_the_classes_in_equal_shares(seed, fraction):
    source = single([101, 201, 61, 141], seed=seed, query_share=0)
    source = source_of(source.label_NxC, query=np.arange(504) < 4)
    split = split_of(source, seed=seed, label_fraction=fraction)
    total = np.array(per_class(source, split.train))
    # A stratified sample misses a class's share by less than one row.
    wanted = total * len(split.labelled) / len(split.train)
    assert np.all(np.abs(per_class(source, split.labelled) - wanted) < 1)
    pool = np.array(per_class(source, np.arange(4, 504)))
    assert np.all(np.abs(per_class(source, split.validation) - pool / 10) < 1)
    assert np.all(np.abs(per_class(source, split.unseen) - pool / 5) < 2)


def test_seeds_give_the_same_split_again_and_other_seeds_others():
    first, again, other = (split_of(even, seed=seed) for seed in (0, 0, 1))
    assert first.hash == again.hash
    assert first.hash != other.hash


def test_the_hash_of_a_known_split_never_changes():
    # Results name their split by its hash: a new hash means that old numbers cannot be compared.
    assert split_of(single([30, 40, 50])).hash == "e0566f0d93f0"


def test_labels_withheld_do_not_move_the_other_parts():
    all_read, few_read = (split_of(even, label_fraction=share) for share in (1.0, 0.1))
    for part in ("train", "query", "validation", "unseen", "database"):
        np.testing.assert_array_equal(getattr(all_read, part), getattr(few_read, part))


# How many labels.


def test_sizes_worked_by_hand():
    split = split_of(even, label_fraction=0.25)
    # 500 rows: 100 queries; of 400, a tenth and a fifth are carved out; a quarter of 280 is read.
    assert sizes(split) == {
        "query": 100, "validation": 40, "unseen": 80, "labelled": 70, "unlabelled": 210,
        "database": 280,
    }  # fmt: skip


def test_every_label_is_read_by_default():
    split = split_of(even)
    assert len(split.unlabelled) == 0
    np.testing.assert_array_equal(split.labelled, split.train)
    rows = per_class(even, split.train)
    few, most = np.argmin(rows), np.argmax(rows)
    assert split.notes == (
        f"Labelled rows of a class: {rows[few]} (c{few}) to {rows[most]} (c{most}).",
    )


@pytest.mark.parametrize("count", [1, 7, 40])
def test_labels_per_class_are_exact_for_single_labels(count):
    split = split_of(even, labels_per_class=count)
    assert per_class(even, split.labelled) == [count] * 5
    assert len(split.unlabelled) == 280 - 5 * count


@pytest.mark.parametrize(("fraction", "wanted"), [(0.5, 140), (0.1, 28), (1e-6, 1)])
def test_label_fraction_is_a_share_of_the_training_rows_and_never_none(fraction, wanted):
    assert len(split_of(even, label_fraction=fraction).labelled) == wanted


rare = multi(4500, 30, share=0.03, least=10, named=True)


@pytest.mark.parametrize("labels", [{"labels_per_class": 2}, {"label_fraction": 0.05}])
def test_every_label_of_the_training_rows_is_read(labels):
    split = split_of(rare, "random", queries=300, train_rows=2000, **labels)
    trained = np.array(per_class(rare, split.train))
    labelled = np.array(per_class(rare, split.labelled))
    least = labels.get("labels_per_class", 1)
    assert trained.min() >= least
    assert labelled.min() >= least
    assert len(split.labelled) <= 0.05 * 1800
    few, most = labelled.argmin(), labelled.argmax()
    note = f"Labelled rows of a class: {labelled[few]} (c{few}) to {labelled[most]} (c{most})."
    assert split.notes[-1] == note


def test_validation_takes_no_label_away_from_training():
    label = np.concatenate([np.eye(20, dtype=np.uint8), np.zeros((80, 20), np.uint8)])
    label[20:, 0] = 1  # all classes but the first have one row
    split = split_of(
        source_of(label, query=np.arange(100) >= 90), validation=0.3, unseen=0.3, seed=1
    )
    assert sizes(split)["validation"] == sizes(split)["unseen"] == 27
    assert per_class(source_of(label), split.labelled)[1:] == [1] * 19


# The data set's own lists.


def lists(rows=100, **ranges):
    """Single labels of 4 classes in turn, with official lists given as ranges of rows."""
    label = multi_hot(np.arange(rows) % 4, 4)
    masks = {part: np.isin(np.arange(rows), chosen) for part, chosen in ranges.items()}
    return source_of(label, **masks)


def test_official_without_other_lists_trains_on_all_but_the_queries_and_ranks_them():
    source = lists(query=range(20))
    split = split_of(source)
    assert sizes(split) | {"labelled": 56} == sizes(split)
    np.testing.assert_array_equal(split.query, np.arange(20))
    parts = [split.labelled, split.validation, split.unseen]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(20, 100))
    assert list(split.databases()) == ["train", "unseen"]


def test_official_list_of_train_leaves_the_others_alone():
    split = split_of(lists(query=range(20), train=range(40, 80)))
    parts = [split.labelled, split.validation, split.unseen]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(40, 80))


def test_official_list_of_the_database_is_ranked_as_it_is():
    split = split_of(lists(query=range(20), train=range(20, 60), database=range(40, 100)))
    assert sizes(split) == {
        "labelled": 36, "unlabelled": 0, "validation": 4, "query": 20, "unseen": 40, "database": 60,
    }  # fmt: skip
    np.testing.assert_array_equal(split.database, np.arange(40, 100))
    np.testing.assert_array_equal(split.unseen, np.arange(60, 100))
    assert list(split.databases()) == ["protocol", "train", "unseen"]


def test_official_rows_that_are_thinned_out_go_nowhere_else():
    split = split_of(even, queries=10, train_rows=100)
    assert sizes(split) == {
        "labelled": 70, "unlabelled": 0, "validation": 10, "query": 10, "unseen": 20,
        "database": 70,
    }  # fmt: skip
    assert even.official["query"][split.query].all()
    assert not even.official["query"][split.train].any()


# The paper's protocol.


@pytest.mark.parametrize("name", ["mnist", "mnist:3.0.1", "Mnist"])
def test_paper_protocol_of_mnist(name):
    source = single(MNIST_ROWS, name)
    split = split_of(source, "paper", validation=0, unseen=0)
    assert per_class(source, split.train) == [6000] * 10
    assert len(split.query) == 1000
    assert len(split.unseen) == 9000
    assert list(split.databases()) == ["train", "unseen"]
    # Whole numbers aside, the queries hold the classes as the rows left over do.
    left = np.array(MNIST_ROWS) - 6000
    assert np.all(np.abs(per_class(source, split.query) - left / 10) < 1)


cifar = single([6000] * 10, "cifar10")


def test_paper_protocol_of_cifar10():
    split = split_of(cifar, "paper", validation=0.05, unseen=0.1)
    assert per_class(cifar, split.train) == [4750] * 10  # 5,000 less validation
    assert per_class(cifar, split.validation) == [250] * 10
    assert per_class(cifar, split.query) == [100] * 10
    assert per_class(cifar, split.unseen) == [900] * 10


def test_paper_protocol_elsewhere_trains_on_five_sixths_of_the_rarest_class():
    source = single([60, 90, 120])
    split = split_of(source, "paper", validation=0, unseen=0)
    assert per_class(source, split.train) == [50, 50, 50]
    assert sizes(split) == {
        "labelled": 150, "unlabelled": 0, "validation": 0, "query": 60, "unseen": 60,
        "database": 150,
    }  # fmt: skip


# Protocols of single labels.


@pytest.mark.parametrize(
    ("protocol", "labelled", "unlabelled", "query", "unseen", "database", "columns"),
    [
        ("cifar-0", 450, 0, 100, 5400, 5400, ["unseen"]),
        ("cifar-1", 450, 0, 100, 5400, 5900, ["protocol", "train", "unseen"]),
        ("cifar-2", 4500, 0, 1000, 0, 5000, ["protocol", "train"]),
        ("ssdh", 450, 5400, 100, 0, 5400, ["protocol", "train"]),
    ],
)
def test_protocols_that_pool_and_draw_so_many_of_each_class(
    protocol, labelled, unlabelled, query, unseen, database, columns
):
    split = split_of(cifar, protocol)
    assert per_class(cifar, split.labelled) == [labelled] * 10
    assert per_class(cifar, split.unlabelled) == [unlabelled] * 10
    assert per_class(cifar, split.validation) == [labelled // 9] * 10
    assert per_class(cifar, split.query) == [query] * 10
    assert per_class(cifar, split.unseen) == [unseen] * 10
    assert per_class(cifar, split.database) == [database] * 10
    assert list(split.databases()) == columns
    if database > 5400:  # the training rows are ranked, and so are those kept for validation
        assert np.isin(split.validation, split.database).all()
    fewer = split_of(cifar, protocol, queries=20, train_rows=30)
    assert per_class(cifar, fewer.query) == [2] * 10
    assert len(fewer.labelled) + len(fewer.validation) == 30


def test_nus_21_draws_as_many_of_each_concept_and_refuses_other_concepts():
    source = single([800] * 21, "nuswide")
    split = split_of(source, "nus-21")
    assert per_class(source, split.query) == [100] * 21
    assert per_class(source, split.labelled) == [450] * 21
    assert per_class(source, split.validation) == [50] * 21
    assert per_class(source, split.database) == [700] * 21
    assert list(split.databases()) == ["protocol", "train", "unseen"]
    with pytest.raises(ValueError, match=r"10 classes.*21 most frequent.*data\.concepts=21"):
        split_of(cifar, "nus-21")


def test_setting_two_without_validation_ranks_its_training_rows():
    assert list(split_of(cifar, "cifar-2", validation=0).databases()) == ["train"]


def test_unseen_classes_are_in_no_training_part():
    split = split_of(cifar, "unseen-classes")
    held = np.flatnonzero(per_class(cifar, split.database))
    assert len(held) == 3
    assert split.notes[0] == (
        f"Classes held out of training, for queries and database: c{held[0]}, c{held[1]}, "
        f"c{held[2]}."
    )
    is_held = cifar.label_NxC[:, held].any(1)
    seen = np.concatenate([split.labelled, split.validation])
    np.testing.assert_array_equal(np.sort(seen), np.flatnonzero(~is_held))
    np.testing.assert_array_equal(split.query, np.flatnonzero(is_held & cifar.official["query"]))
    np.testing.assert_array_equal(split.unseen, np.flatnonzero(is_held & ~cifar.official["query"]))
    assert list(split.databases()) == ["unseen"]
    others = [split_of(cifar, "unseen-classes", seed=seed).notes[0] for seed in range(1, 4)]
    assert len({split.notes[0], *others}) > 1


def test_a_fifth_of_the_unseen_classes_are_queries_where_none_are_listed():
    source = single([50] * 5, query_share=0)
    split = split_of(source, "unseen-classes", labels_per_class=4)
    # Two of five classes are held out.
    assert sorted(per_class(source, split.query)) == [0, 0, 0, 10, 10]
    assert sorted(per_class(source, split.database)) == [0, 0, 0, 40, 40]
    assert sorted(per_class(source, split.labelled)) == [0, 0, 4, 4, 4]


# Protocols of several labels.


@pytest.mark.parametrize(
    ("protocol", "sizes_wanted", "columns"),
    [
        # labelled, unlabelled, validation, query, unseen, database
        ("mir-ssdh", (4500, 19000, 500, 1000, 0, 19000), ["protocol", "train"]),
        ("mir-4000", (3600, 0, 400, 1000, 20000, 20000), ["unseen"]),
        ("mir-2000q", (4500, 0, 500, 2000, 18000, 23000), ["protocol", "train", "unseen"]),
        ("nus-81", (9000, 0, 1000, 5000, 10000, 20000), ["protocol", "train", "unseen"]),
    ],
)
def test_protocols_that_pool_and_draw_at_random(protocol, sizes_wanted, columns):
    source = multi(25_000, 24, named=True)
    split = split_of(source, protocol, label_less="keep")
    assert tuple(sizes(split).values()) == sizes_wanted
    assert list(split.databases()) == columns
    drawn = np.mean([per_class(source, split.query), per_class(source, split.labelled)], 1)
    share = drawn / [len(split.query), len(split.labelled)]
    np.testing.assert_allclose(share, source.label_NxC.mean(), atol=0.01)


def test_random_ranks_all_but_the_queries():
    split = split_of(even, "random", queries=50, train_rows=100, validation=0)
    assert tuple(sizes(split).values()) == (100, 0, 0, 50, 350, 450)


# The full size of NUS-WIDE.


@pytest.fixture(scope="module")
def nus():
    """269,648 rows × 81 labels, each in 700 rows or more."""
    return multi(269_648, 81, share=0.024, least=700, name="nuswide", named=True)


def peak_bytes(call):
    tracemalloc.start()
    result = call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return result, peak


def test_nus_81_at_its_full_size(nus):
    split, peak = peak_bytes(lambda: split_of(nus, "nus-81", label_fraction=0.05))
    rows = np.count_nonzero(nus.label_NxC.any(1))
    assert peak < 500e6
    assert tuple(sizes(split).values()) == (450, 8550, 1000, 5000, rows - 15_000, rows - 5000)
    assert min(per_class(nus, split.labelled)) >= 1


def test_nus_21_at_its_full_size(nus):
    top = source_of(nus.label_NxC[:, :21], multilabel=True, named=True)
    split, peak = peak_bytes(lambda: split_of(top, "nus-21"))
    rows = np.count_nonzero(top.label_NxC.any(1))
    assert peak < 500e6
    assert tuple(sizes(split).values()) == (9450, 0, 1050, 2100, rows - 12_600, rows - 2100)
    assert min(per_class(top, split.query)) >= 100


# Rows without a label.


def bare(share=0.2, **official):
    """300 rows of several labels, a share of them without any."""
    source = multi(300, 4, share=0.2, least=40, named=True)
    label = source.label_NxC.copy()
    label[np.random.default_rng(1).permutation(300)[: int(share * 300)]] = 0
    return source_of(label, multilabel=True, named=True, **official)


def bare_rows(source, rows):
    return np.count_nonzero(~source.label_NxC[rows].any(1))


@pytest.mark.parametrize("protocol", ["official", "paper", "cifar-1", "cifar-2", "ssdh", "random"])
@pytest.mark.parametrize("label_less", ["drop", "database", "keep"])
def test_rows_without_a_label_are_where_they_may_be_and_counted(protocol, label_less):
    source = bare(query=np.arange(300) % 5 == 0)
    split = split_of(source, protocol, label_less=label_less, queries=16, train_rows=40)
    count = bare_rows(source, np.arange(300))
    without = {part: bare_rows(source, getattr(split, part)) for part in splits.PARTS}
    may = {"drop": (), "database": ("database", "unlabelled", "unseen"), "keep": splits.PARTS}
    assert all(part in may[label_less] or not n for part, n in without.items())
    if label_less != "drop":
        assert sum(without.values()) > 0
    what = {
        "drop": "left out", "keep": "allowed in every part",
        "database": "allowed in the database and among unlabelled rows only",
    }[label_less]  # fmt: skip
    note = f"{count} of 300 rows have no label: {what} (data.label_less={label_less})."
    assert note in split.notes


def test_rows_without_a_label_train_unlabelled_where_everything_trains():
    source = bare(query=np.arange(300) % 5 == 0)
    split = split_of(source, label_less="database", validation=0, unseen=0)
    train = np.flatnonzero(~source.official["query"])
    has_label = source.label_NxC[train].any(1)
    np.testing.assert_array_equal(split.labelled, train[has_label])
    np.testing.assert_array_equal(split.unlabelled, train[~has_label])


def test_queries_without_a_relevant_item_and_classes_without_a_row_are_counted():
    label = np.repeat([0, 1, 2, 4], [40, 40, 40, 3])
    is_query = np.r_[np.arange(120) % 10 == 0, True, True, True]
    source = Source(
        name="fake",
        images=ArrayImages(np.zeros((len(label), 1, 1, 1), np.uint8)),
        label_NxC=multi_hot(label, 5),
        label_names=tuple("abcde"),
        official={"query": is_query, "train": ~is_query},
    )
    notes = split_of(source).notes
    assert "1 of 5 classes have no row: d." in notes
    assert (
        "3 of 15 queries have no relevant item: they share no label with a row of the database. "
        "Each counts 0 in mAP."
    ) in notes
    assert not any("no relevant" in note or "no row" in note for note in split_of(even).notes)


def test_nothing_is_said_of_rows_without_a_label_where_there_are_none():
    assert not any("no label" in note for note in split_of(even).notes)


# Errors.


def refused(source, *words, **options):
    return source, options, words


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        refused(even, "protocol is 'other'; known: cifar-0, cifar-1, ", protocol="other"),
        refused(even, "label_less is 'no'; known: drop, database, keep", label_less="no"),
        refused(
            even,
            "validation is -0.1 and unseen is 0.2; each must be at least 0 and their sum below 1",
            validation=-0.1,
        ),
        refused(even, "their sum below 1", validation=0.5, unseen=0.5),
        refused(even, "queries is -1 and train_rows is 0; each must be at least 1", queries=-1),
        refused(even, "label_fraction is 0; it must be in (0, 1]", label_fraction=0),
        refused(even, "label_fraction is 1.1", label_fraction=1.1),
        refused(
            even,
            "labels_per_class is 5 and label_fraction 0.5: set one of them",
            labels_per_class=5,
            label_fraction=0.5,
        ),
        refused(even, "labels_per_class to at least 1", labels_per_class=-1),
        refused(
            single([50, 21], query_share=0.01),
            "30 rows of each class are wanted, but class 1 has only 14: ask for at most 14",
            labels_per_class=30,
        ),
        refused(
            single([50, 20], query_share=0),
            "data.protocol=official does not fit fake (70 rows, 2 classes): it lists no queries of "
            "its own: set data.protocol to one that draws them: cifar-0, cifar-1, ",
            "nus-81, paper, random",
        ),
        refused(
            lists(query=range(20), train=range(15, 60)),
            "5 of its queries are also listed as train: take them out",
        ),
        refused(even, "data.queries is 101, but fake has 100 official queries", queries=101),
        refused(
            even,
            "data.train_rows is 401, but fake has 400 official training rows",
            train_rows=401,
        ),
        refused(
            even,
            "data.queries is 86, but the paper's protocol leaves 85 rows of fake outside training",
            protocol="paper",
            queries=86,
        ),
        refused(
            even,
            "data.protocol=cifar-0 does not fit fake (500 rows, 5 classes): 500 rows of each class "
            "are wanted, but class 0 has only 0: ask for at most 0. data.train_rows is 5 times "
            "that; or set data.protocol=random",
            protocol="cifar-0",
        ),
        refused(
            even,
            "data.queries is 12, but the protocol takes as many rows of each of 5 classes: set it "
            "to a multiple of 5",
            protocol="cifar-0",
            queries=12,
        ),
        refused(
            even,
            "data.protocol=cifar-2 leaves no training rows of fake (500 rows): ask for less in "
            "data.queries",
            protocol="cifar-2",
            queries=500,
        ),
        refused(
            even,
            "data.protocol=cifar-0 leaves no database rows of fake",
            protocol="cifar-0",
            queries=250,
            train_rows=250,
        ),
        refused(
            even,
            "data.protocol=nus-81 does not fit fake (500 rows, 5 classes): 5,000 queries and "
            "10,000 training rows are wanted, but only 500 rows can be drawn: set data.queries and "
            "data.train_rows to fewer",
            protocol="nus-81",
        ),
        refused(
            even,
            "data.queries is 5 and data.train_rows 0, and this protocol has no numbers of its own",
            protocol="random",
            queries=5,
        ),
        refused(multi(100, 4), "its rows may hold several labels", protocol="unseen-classes"),
        refused(single([20]), "only 1 classes have rows", protocol="unseen-classes"),
    ],
)
def test_errors_say_what_to_do(source, options, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        split_of(source, **options)
    for part in words:
        assert part in str(error.value)
