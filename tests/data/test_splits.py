"""Splits: what may overlap, what an evaluation ranks, hash and file."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsh_jax.data import source, splits
from dsh_jax.data.images import ArrayImages


def parts_with(**changed):
    rows = dict.fromkeys(splits.PARTS, ()) | changed
    data, notes = rows.pop("data", ""), rows.pop("notes", ())
    arrays = {part: np.array(value, np.int64) for part, value in rows.items()}
    return splits.Split(**arrays, data=data, notes=notes)


def example(**changed):
    """Training rows 0 to 3, of which the database holds three, and one validation row."""
    parts = {
        "labelled": [0, 2], "unlabelled": [1, 3], "validation": [4], "query": [5, 6],
        "unseen": [7, 8], "database": [1, 2, 3, 4, 7, 8], "data": "abc", "notes": ("Two.", "É"),
    }  # fmt: skip
    return parts_with(**(parts | changed))


# Parts.


def test_train_is_labelled_and_unlabelled():
    np.testing.assert_array_equal(example().train, [0, 1, 2, 3])


@given(st.lists(st.sampled_from(("none", *splits.PARTS[:5])), max_size=12), st.data())
def test_parts_that_are_disjoint_are_taken_with_any_database_of_no_query(owners, data):
    parts = {part: [i for i, o in enumerate(owners) if o == part] for part in splits.PARTS[:5]}
    others = [i for i, owner in enumerate(owners) if owner != "query"]
    in_database = data.draw(st.lists(st.booleans(), min_size=len(others), max_size=len(others)))
    database = [i for i, is_in in zip(others, in_database, strict=True) if is_in]
    split = parts_with(**parts, database=database)
    np.testing.assert_array_equal(next(iter(split.databases().values())), database)


@pytest.mark.parametrize("first", splits.PARTS)
@pytest.mark.parametrize("second", splits.PARTS)
def test_only_the_database_shares_rows_and_never_with_the_queries(first, second):
    allowed = "database" in (first, second) and "query" not in (first, second)
    shared = {first: [2, 5], second: [1, 5]}
    if first == second or allowed:
        parts_with(**shared)
    else:
        names = sorted((first, second), key=splits.PARTS.index)
        message = f"{names[0]} and {names[1]} share 1 rows, e.g. row 5: the parts of a split must"
        with pytest.raises(ValueError, match=message):
            parts_with(**shared)


@pytest.mark.parametrize("part", splits.PARTS)
def test_no_part_holds_a_row_twice(part):
    with pytest.raises(ValueError, match=f"the split's part '{part}' holds a row twice"):
        parts_with(**{part: [1, 2, 2]})


# Databases.


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, {"protocol": [1, 2, 3, 4, 7, 8], "train": [0, 1, 2, 3], "unseen": [7, 8]}),
        ({"database": [0, 1, 2, 3]}, {"train": [0, 1, 2, 3], "unseen": [7, 8]}),
        ({"database": [7, 8]}, {"unseen": [7, 8]}),
        ({"database": [4, 7, 8]}, {"protocol": [4, 7, 8], "unseen": [7, 8]}),
        ({"database": [0, 1, 2, 3], "unseen": []}, {"train": [0, 1, 2, 3]}),
        ({"database": [0, 1, 4], "unseen": []}, {"protocol": [0, 1, 4], "train": [0, 1, 2, 3]}),
    ],
)
def test_databases_of_an_evaluation_in_order(changed, wanted):
    found = example(**changed).databases()
    assert list(found) == list(wanted)
    for name, rows in wanted.items():
        np.testing.assert_array_equal(found[name], rows)


# Hash, description, file.


def test_the_hash_of_given_rows_never_changes():
    # Results name their split by its hash: a new hash means that old numbers cannot be compared.
    assert example().hash == "4ae3e400665a"


def test_the_hash_depends_on_each_row_its_part_and_the_data_but_not_on_type_and_notes():
    split = example()
    narrow = {part: getattr(split, part).astype(np.int32) for part in splits.PARTS}
    same = splits.Split(**narrow, data="abc")
    assert same.hash == split.hash
    others = [
        dataclasses.replace(split, **{part: getattr(split, part)[1:]}) for part in splits.PARTS
    ]
    swapped = dataclasses.replace(split, unseen=split.validation, validation=split.unseen)
    elsewhere = dataclasses.replace(split, data="abd")
    assert len({s.hash for s in (split, *others, swapped, elsewhere)}) == 9


def test_description_names_sizes_and_hash():
    split = example(unlabelled=range(10, 2010))
    assert split.describe() == (
        "labelled 2, unlabelled 2,000, validation 1, query 2, unseen 2, database 6 "
        f"(hash {split.hash})"
    )


@pytest.mark.parametrize("split", [example(), parts_with(labelled=[3])])
def test_a_saved_split_is_read_back(split, tmp_path):
    splits.save(split, tmp_path / "split.npz")
    loaded = splits.load(tmp_path / "split.npz")
    for part in splits.PARTS:
        np.testing.assert_array_equal(getattr(loaded, part), getattr(split, part))
        assert getattr(loaded, part).dtype == np.int64
    assert (loaded.data, loaded.notes, loaded.hash) == (split.data, split.notes, split.hash)


def test_sizes_hash_and_notes_stand_beside_a_saved_split(tmp_path):
    splits.save(example(), tmp_path / "split.npz")
    assert json.loads((tmp_path / "split.json").read_text()) == {
        "hash": example().hash, "data": "abc", "labelled": 2, "unlabelled": 2, "validation": 1,
        "query": 2, "unseen": 2, "database": 6, "notes": ["Two.", "É"],
    }  # fmt: skip


def test_a_split_is_read_for_its_own_data_only(tmp_path):
    images = ArrayImages(np.zeros((3, 1, 1, 1), np.uint8))
    made = source.Source("made", images, np.eye(3, dtype=np.uint8), ("a", "b", "c"))
    split = parts_with(labelled=[0], query=[1], database=[2], data=made.fingerprint)
    splits.save(split, tmp_path / "split.npz")
    assert splits.load_for(made, tmp_path / "split.npz").hash == split.hash
    turned = made.select(np.array([1, 0, 2]))
    message = f"is a split of the data {made.fingerprint}, but made is now {turned.fingerprint}"
    with pytest.raises(ValueError, match=message):
        splits.load_for(turned, tmp_path / "split.npz")
    splits.save(dataclasses.replace(split, data=""), tmp_path / "nameless.npz")
    with pytest.raises(ValueError, match="is a split of the data without a fingerprint, but made"):
        splits.load_for(made, tmp_path / "nameless.npz")
