"""List files, read as others write them and written as we read them."""

import os

import numpy as np
import photographs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.lists import lists, write_lists
from dsh_jax.data.source import Source

NAMES = ["a/0.jpg", "a/1.jpg", "b/2.jpg", "b/3.jpg"]
TRAIN = "a/0.jpg 1 0 1\na/1.jpg 0 0 1\n"
QUERY = "b/3.jpg 1 1 0\n"
DATABASE = "a/1.jpg 0 0 1\nb/2.jpg 0 1 0\n"


@pytest.fixture
def folder(tmp_path):
    """Four pictures and three lists of them."""
    photographs.write_many(tmp_path, NAMES, size=(4, 4))
    for name, text in {"train": TRAIN, "test": QUERY, "database": DATABASE}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def rows(source):
    """Path to labels and parts."""
    return {
        name: (
            source.label_NxC[row].tolist(),
            {p for p, is_in in source.official.items() if is_in[row]},
        )
        for row, name in enumerate(source.images.name_N.tolist())
    }


def test_a_row_for_each_path_with_its_labels_and_lists(folder):
    source = lists(folder, image_size=4)
    assert rows(source) == {
        "a/0.jpg": ([1, 0, 1], {"train"}),
        "a/1.jpg": ([0, 0, 1], {"train", "database"}),
        "b/2.jpg": ([0, 1, 0], {"database"}),
        "b/3.jpg": ([1, 1, 0], {"query"}),
    }
    assert source.label_names == ("class 0", "class 1", "class 2")
    assert source.multilabel
    assert source.images.take(np.arange(4)).shape == (4, 4, 4, 3)


def test_class_numbers_and_names(folder):
    (folder / "train.txt").write_text("a/0.jpg 2\na/1.jpg 0\n")
    (folder / "database.txt").write_text("a/1.jpg 0\n")
    (folder / "test.txt").write_text("b/3.jpg 1\n")
    (folder / "classes.txt").write_text("cat\ndog\nowl\n")
    source = lists(folder, image_size=4)
    assert source.label_names == ("cat", "dog", "owl")
    assert rows(source)["a/0.jpg"][0] == [0, 0, 1]
    assert not source.multilabel


def test_rows_with_one_label_each_are_single_label(folder):
    (folder / "train.txt").write_text("a/0.jpg 1 0 0\n")
    (folder / "test.txt").unlink()
    source = lists(folder, image_size=4)
    assert not source.multilabel
    assert set(source.official) == {"train", "database"}


def test_lists_elsewhere_with_prefixes_backslashes_blanks_and_other_names(tmp_path):
    photographs.write_many(tmp_path / "images", ["a/0.jpg", "b c/3.jpg"], size=(4, 4))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "nus_Train.txt").write_text("C:\\data\\a\\0.jpg  1 0 \r\n\r\n")
    (tmp_path / "lists" / "nus_query.TXT".lower()).write_text("./b c/3.jpg\t0\t1\n")
    source = lists(
        tmp_path / "images", labels_path=tmp_path / "lists", path_prefix="C:\\data\\", image_size=4
    )
    assert rows(source) == {"a/0.jpg": ([1, 0], {"train"}), "b c/3.jpg": ([0, 1], {"query"})}


def test_missing_files_and_duplicates_are_errors_or_counted(folder):
    (folder / "a" / "0.jpg").unlink()
    (folder / "train.txt").write_text(TRAIN + "a/1.jpg 0 0 1\n")
    with pytest.raises(ValueError, match=r"1 of 5 files are named more than once: a/1.jpg"):
        lists(folder, image_size=4)
    with pytest.raises(ValueError, match=r"1 of 4 files are missing: a/0.jpg"):
        lists(folder, image_size=4, skip="duplicate")
    source = lists(folder, image_size=4, skip="duplicate,missing")
    assert source.left_out == {"duplicate": ("a/1.jpg",), "missing": ("a/0.jpg",)}
    assert rows(source)["a/1.jpg"] == ([0, 0, 1], {"train", "database"})
    assert len(source) == 3


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train.txt", TRAIN + "b/2.jpg 0 1\n", r"train.txt line 3 has 2 labels, but 3 are wanted"),
        (
            "database.txt",
            "b/2.jpg 1 0 0 0\n",
            r"database.txt line 1 has 4 labels, but 3 are wanted",
        ),
        ("train.txt", "a/0.jpg\n", r"train.txt line 1 is 'a/0.jpg'; wanted `<path> <0 or 1"),
        ("train.txt", "\n", r"train.txt names no image: fill it, or remove it"),
        ("train.txt", "a/0.jpg 2 0 1\n", r"train.txt line 1 has the label 2; wanted 0 or 1 of"),
        (
            "train.txt",
            "a/1.jpg 1 1 1\n",
            r"1 lines give a path other labels than before, .*a/1.jpg",
        ),
        ("test.txt", "a/1.jpg 0 0 1\n", r"1 queries are also in train, such as a/1.jpg"),
        ("test.txt", "b/2.jpg 0 1 0\n", r"1 queries are also in database, such as b/2.jpg"),
        (
            "train.txt",
            "/data/a/0.jpg 1 0 1\n",
            r"has the absolute path /data/a/0.jpg: set data.path",
        ),
        ("classes.txt", "x\ny\n", r"has 3 labels, but there are 2 label names"),
        ("query.txt", QUERY, r"several lists for one part: query.txt, test.txt"),
    ],
)
def test_bad_lists_are_refused(folder, file, text, message):
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        lists(folder, image_size=4)


def test_a_class_number_beyond_the_names_is_refused(folder):
    for name in ("train", "test", "database"):
        (folder / f"{name}.txt").write_text(
            f"{NAMES[('train', 'test', 'database').index(name)]} 3\n"
        )
    (folder / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match=r"has the label 3; wanted a class number below 2"):
        lists(folder, image_size=4)


def test_a_folder_without_lists_says_what_it_holds(tmp_path):
    (tmp_path / "readme.md").write_text("")
    with pytest.raises(
        ValueError, match=r"holds readme.md; wanted are train.txt, database.txt and"
    ):
        lists(tmp_path, image_size=4)
    with pytest.raises(ValueError, match=r"none holds nothing; wanted are"):
        lists(tmp_path / "none", image_size=4)


def test_text_that_is_not_utf8_is_refused(folder):
    (folder / "train.txt").write_bytes(b"a/\xff.jpg 1 0 1\n")
    with pytest.raises(ValueError, match=r"train.txt cannot be read as UTF-8 text"):
        lists(folder, image_size=4)


# Writing.


def source_of(names, label, label_names):
    images = ArrayImages(np.zeros((len(names), 1, 1, 3), np.uint8), np.array(names))
    return Source("made", images, label, tuple(label_names), multilabel=True)


word = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=5)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), classes=st.integers(2, 5), count=st.integers(1, 8))
def test_what_is_written_is_read_again(tmp_path_factory, data, classes, count):
    folder = tmp_path_factory.mktemp("lists")
    stems = data.draw(st.lists(word, min_size=count, max_size=count, unique=True))
    names = [f"d {i}/{stem}.jpg" for i, stem in enumerate(stems)]
    label = np.array(data.draw(
        st.lists(st.lists(st.integers(0, 1), min_size=classes, max_size=classes), min_size=count,
                 max_size=count)
    ), np.uint8)  # fmt: skip
    part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    source = source_of(names, label, [f"label {c}" for c in range(classes)])
    queries = np.flatnonzero(part == 2)
    parts = {"train": np.flatnonzero(part == 0), "database": np.flatnonzero(part < 2)}
    parts = {name: rows for name, rows in (parts | {"query": queries}).items() if len(rows)}
    write_lists(source, parts, folder)
    for name in names:
        os.makedirs(os.path.dirname(folder / name), exist_ok=True)
        (folder / name).write_bytes(b"")
    again = lists(folder, image_size=4)
    assert again.label_names == source.label_names
    wanted = {
        name: (label[row].tolist(), {p for p, members in parts.items() if row in members})
        for row, name in enumerate(names)
    }
    assert rows(again) == wanted


@pytest.mark.parametrize(
    ("change", "parts", "message"),
    [
        ({"names": None}, {"train": [0]}, r"images of made have no names, so lists cannot name"),
        ({}, {"test": [0]}, r"parts must be of .*, but \['test'\] are not so"),
        ({}, {"train": []}, r"parts must be of .*, but \['train'\] are not so"),
        ({"label_names": ["x", " y"]}, {"train": [0]}, r"cannot hold the label name ' y'"),
        ({"names": ["a/../b.jpg"]}, {"train": [0]}, r"a list cannot hold the name 'a/../b.jpg'"),
        ({"names": ["a/b 1.jpg 1"]}, {"train": [0]}, r"a list cannot hold the name"),
    ],
)
def test_what_lists_cannot_hold_is_not_written(tmp_path, change, parts, message):
    settings = {"names": ["a.jpg"], "label_names": ["x", "y"]} | change
    source = source_of(
        settings["names"] or ["a"], np.ones((1, 2), np.uint8), settings["label_names"]
    )
    if settings["names"] is None:
        source = Source(
            "made", ArrayImages(np.zeros((1, 1, 1, 3), np.uint8)), source.label_NxC, "xy"
        )
    with pytest.raises(ValueError, match=message):
        write_lists(
            source, {part: np.array(rows, int) for part, rows in parts.items()}, tmp_path / "x"
        )
    assert not (tmp_path / "x").exists()


def test_a_single_label_cannot_be_written(tmp_path):
    source = source_of(["a.jpg"], np.ones((1, 1), np.uint8), ["x"])
    with pytest.raises(ValueError, match="lists need two labels or more"):
        write_lists(source, {"train": np.array([0])}, tmp_path)
