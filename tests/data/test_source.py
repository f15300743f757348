"""The one form of every data set."""

import dataclasses

import numpy as np
import pytest

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source, multi_hot

PARTS = {
    "name": "made",
    "images": ArrayImages(np.zeros((4, 2, 2, 1), np.uint8), np.array(["d", "a", "c", "b"])),
    "label_NxC": np.eye(4, 2, dtype=np.uint8),
    "label_names": ("x", "y"),
    "official": {"query": np.array([True, False, False, False])},
}
made = Source(**PARTS)


def test_selected_rows_keep_all_that_belongs_to_them():
    few = made.select(np.array([3, 0]), "Two are left out.")
    assert [few.row_name(row) for row in range(2)] == ["b", "d"]
    np.testing.assert_array_equal(few.label_NxC, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(few.official["query"], [False, True])
    assert few.notes == ("Two are left out.",)
    assert len(few) == 2


def test_canonical_order_is_that_of_the_names():
    np.testing.assert_array_equal(made.canonical_order(), [1, 3, 2, 0])
    nameless = dataclasses.replace(made, images=ArrayImages(np.zeros((4, 1, 1, 1), np.uint8)))
    np.testing.assert_array_equal(nameless.canonical_order(), np.arange(4))
    assert nameless.row_name(3) == "row 3"


def test_fingerprint_changes_with_names_and_labels_only():
    same = dataclasses.replace(made, name="other", notes=("a",), official={})
    assert same.fingerprint == made.fingerprint
    assert len(made.fingerprint) == 12
    others = [
        dataclasses.replace(made, label_NxC=1 - made.label_NxC),
        dataclasses.replace(made, label_names=("x", "z")),
        dataclasses.replace(made, images=ArrayImages(np.zeros((4, 2, 2, 1), np.uint8))),
        made.select(np.array([1, 0, 2, 3])),
    ]
    assert len({source.fingerprint for source in (made, *others)}) == 5


def test_multi_hot():
    np.testing.assert_array_equal(multi_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"row 1 has the label -1; it must be in \[0, 3\)"):
        multi_hot(np.array([2, -1]), 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_NxC": np.zeros((3, 2), np.uint8)}, "made: 4 images but 3 labels"),
        ({"official": {"query": np.zeros(5, bool)}}, "made: 4 images but 5 query"),
        ({"official": {"test": np.zeros(4, bool)}}, r"official parts are .*, not \['test'\]"),
        ({"label_names": ("x",)}, "labels have 2 columns, but there are 1 label names"),
        (
            {"images": ArrayImages(np.zeros((4, 2, 2, 1), np.uint8), np.array(["a"]))},
            "made: 4 images but 1 names",
        ),
    ],
)
def test_errors_say_what_does_not_fit(changed, message):
    with pytest.raises(ValueError, match=message):
        Source(**PARTS | changed)
