"""List files read, written, read again; and every way in which they can be wrong."""

import tempfile

import numpy as np
import pytest
from etils import epath
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from dsh_jax.data.images import ArrayImages, FileImages
from dsh_jax.data.lists import lists, write_lists
from dsh_jax.data.source import Source


def write(folder, images=("a.jpg", "b.jpg", "sub/c d 1.jpg"), **texts):
    """Write images, and a list for each other argument."""
    folder.mkdir(exist_ok=True)
    for image in images:
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(path)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


# Reading.


def test_rows_stand_in_the_order_of_first_mention(tmp_path):
    write(
        tmp_path,
        query="sub/c d 1.jpg 1 1 1\n",
        database="a.jpg 0 1 0\nb.jpg 1 0 1\n",
        train="b.jpg 1 0 1\n",
    )
    source = lists(tmp_path, image_size=4)
    assert source.images.name_N.tolist() == ["b.jpg", "a.jpg", "sub/c d 1.jpg"]
    np.testing.assert_array_equal(source.label_NxC, [[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    assert source.label_NxC.dtype == np.uint8
    assert source.label_names == ("class 0", "class 1", "class 2")
    assert source.multilabel
    assert set(source.official) == {"train", "database", "query"}
    np.testing.assert_array_equal(source.official["train"], [True, False, False])
    np.testing.assert_array_equal(source.official["database"], [True, True, False])
    np.testing.assert_array_equal(source.official["query"], [False, False, True])
    assert source.images.take(np.arange(3)).shape == (3, 4, 4, 3)


def test_class_numbers_are_one_label_each(tmp_path):
    write(tmp_path, train="a.jpg 1\nb.jpg 0\n", query="sub/c d 1.jpg 2\n")
    source = lists(tmp_path, image_size=4)
    np.testing.assert_array_equal(source.label_NxC, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert not source.multilabel
    assert set(source.official) == {"train", "query"}


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((1, 2, 3), r"from 1 to 3, but none of 0, .* 0 to 2 for these 3: subtract 1 from each, or"),
        ((5, 6, 5), r"from 5 to 6, but none of 0, 1, 2, 3, 4, .*: subtract 5 from each, or name"),
        ((0, 2, 2), r"the lists in .* have class numbers from 0 to 2, but none of 1, which would"),
        ((0, 999, 1), r"none of 2, 3, 4, 5, 6, …, .* number the classes anew, or name every"),
        ((1, 1, 1), r"from 1 to 1, but none of 0"),
    ],
)
def test_class_numbers_from_1_or_with_gaps_are_refused_unless_named(tmp_path, numbers, message):
    first, second, third = numbers
    write(
        tmp_path,
        train=f"a.jpg {first}\nb.jpg {second}\n",
        query=f"sub/c d 1.jpg {third}\n",
    )
    with pytest.raises(ValueError, match=message):
        lists(tmp_path, image_size=4)
    names = [f"name {c}" for c in range(max(numbers) + 1)]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    source = lists(tmp_path, image_size=4)
    assert source.label_names == tuple(names)
    assert source.label_NxC[:, first].any()


def test_numbers_from_1_are_told_from_their_names(tmp_path):
    write(tmp_path, train="a.jpg 1\nb.jpg 2\n", classes="cat\ndog\n")
    with pytest.raises(
        ValueError, match=r"label 2; wanted .* below 2. The numbers start at 1: sub"
    ):
        lists(tmp_path, image_size=4)


def test_rows_of_one_label_each_are_no_multi_label_set(tmp_path):
    write(tmp_path, train="a.jpg 1 0\nb.jpg 0 1\n")
    assert not lists(tmp_path, image_size=4).multilabel
    write(tmp_path, train="a.jpg 1 0\nb.jpg 0 0\n")
    assert lists(tmp_path, image_size=4).multilabel


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("test", "query"),
        ("Query", "query"),
        ("TRAIN", "train"),
        ("nus_DB", "database"),
        ("coco_64_Query", "query"),
        ("mir_Train", "train"),
    ],
)
def test_names_of_lists(tmp_path, file, part):
    write(tmp_path, **{file: "a.jpg 1 0\n", "readme": "No list.", "trainval": "Nor this."})
    assert set(lists(tmp_path, image_size=4).official) == {part}


@pytest.mark.parametrize("file", ["classes", "labels"])
def test_label_names_stand_beside_the_lists(tmp_path, file):
    write(tmp_path, train="a.jpg 1\n", **{file: "cat\r\nsea dog\r\n\r\nowl\r\n"})
    source = lists(tmp_path, image_size=4)
    assert source.label_names == ("cat", "sea dog", "owl")
    np.testing.assert_array_equal(source.label_NxC, [[0, 1, 0]])


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("sub\\c d 1.jpg", ""),
        ("./sub//c d 1.jpg", ""),
        ("/home/me/data/sub/c d 1.jpg", "/home/me/data"),
        ("/home/me/data/sub/c d 1.jpg", "/home/me/data/"),
        ("C:\\data\\sub\\c d 1.jpg", "C:\\data\\"),
        ("  sub/c d 1.jpg", "other/"),
    ],
)
def test_paths_are_rewritten(tmp_path, path, prefix):
    write(tmp_path, train=f"{path}  1 0 \r\n\r\n")
    source = lists(tmp_path, image_size=4, path_prefix=prefix)
    assert source.images.name_N.tolist() == ["sub/c d 1.jpg"]


def test_hidden_files_are_no_lists(tmp_path):
    write(tmp_path, train="a.jpg 1 0\n", **{"._train": "What macOS leaves beside it."})
    assert len(lists(tmp_path, image_size=4)) == 1


def test_lists_may_stand_elsewhere(tmp_path):
    write(tmp_path / "images")
    write(tmp_path / "lists", images=(), train="a.jpg 1 0\n")
    assert len(lists(tmp_path / "images", labels_path=tmp_path / "lists", image_size=4)) == 1


def test_missing_images_and_duplicates_are_refused_or_counted(tmp_path):
    write(
        tmp_path,
        train="a.jpg 1 0\nno.jpg 0 1\na.jpg 1 0\n",
        database="a.jpg 1 0\nb.jpg 0 1\nb.jpg 0 1\n",
    )
    with pytest.raises(ValueError, match=r"2 of 5 files are named more than once: a.jpg, b.jpg"):
        lists(tmp_path, image_size=4)
    with pytest.raises(ValueError, match=r"1 of 3 files are missing: no.jpg"):
        lists(tmp_path, image_size=4, skip="duplicate")
    source = lists(tmp_path, image_size=4, skip="duplicate,missing")
    assert source.images.name_N.tolist() == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(source.official["train"], [True, False])
    np.testing.assert_array_equal(source.official["database"], [True, True])
    assert len(source.notes) == 2


# Errors.


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"train": "a.jpg 1 0\n", "database": "b.jpg 1 0\n\na.jpg 1 0 0\n"},
            r"database.txt line 3 has 3 labels, but 2 are wanted, as on .*train.txt line 1",
        ),
        ({"train": "a.jpg 1 0\nb.jpg\n"}, r"train.txt line 2 is 'b.jpg'; wanted `<path> <0 or 1"),
        ({"train": "a.jpg 1 x\n"}, r"train.txt line 1 is 'a.jpg 1 x'; wanted"),
        ({"train": "a.jpg 1 2\n"}, r"train.txt line 1 has the label 2; wanted 0 or 1 of each"),
        ({"train": "a.jpg \u0661\n"}, r"train.txt line 1 is .*; wanted"),
        ({"train": "a.jpg\u00a01\n"}, r"train.txt line 1 is .*; wanted"),
        ({"train": "a.jpg 1 -1\n"}, r"train.txt line 1 is 'a.jpg 1 -1'; wanted"),
        ({"train": "a.jpg 70000\n"}, r"line 1 has the label 70000; wanted a class number below"),
        (
            {"train": "a.jpg 0\nb.jpg 2\n", "classes": "cat\ndog\n"},
            r"train.txt line 2 has the label 2; wanted a class number below 2",
        ),
        (
            {"train": "a.jpg 1 0\n", "classes": "cat\n"},
            r"train.txt line 1 has 2 labels, but there are 1 label names in classes.txt or labels",
        ),
        (
            {"train": "a.jpg 1 0\n", "database": "b.jpg 0 1\n./a.jpg 1 1\n"},
            r"1 lines give a path other labels.*se.txt line 2 and .*train.txt line 1 for a.jpg",
        ),
        ({"train": "a.jpg 1 0\na.jpg 0 1\n"}, r"1 lines give a path other labels than before"),
        (
            {"query": "a.jpg 1 0\nb.jpg 1 0\n", "train": "b.jpg 1 0\na.jpg 1 0\n"},
            "lists: 2 queries are also in train, such as a.jpg",
        ),
        (
            {"test": "a.jpg 1 0\n", "database": "b.jpg 1 0\na.jpg 1 0\n"},
            "lists: 1 queries are also in database, such as a.jpg",
        ),
        (
            {"train": "/data/a.jpg 1 0\n"},
            r"train.txt line 1 has the absolute path /data/a.jpg: set",
        ),
        ({"train": "D:\\a.jpg 1 0\n"}, r"has the absolute path D:/a.jpg: set data.path_prefix"),
        ({"train": "a.jpg 1 0\n", "query": "\n"}, r"query.txt names no image: fill it, or remove"),
        (
            {"train": "a.jpg 1 0\n", "TRAIN": "b.jpg 1 0\n"},
            r"several lists for one part: TRAIN.txt, train.txt. Keep one of each",
        ),
        (
            {"query": "a.jpg 1 0\n", "x_test": "b.jpg 1 0\n"},
            r"several lists for one part: query.txt, x_test.txt",
        ),
        ({"trainval": ""}, r"holds a.jpg, b.jpg, sub, trainval.txt; wanted are train.txt, data"),
    ],
)
def test_lists_that_are_wrong_are_refused(tmp_path, texts, message):
    write(tmp_path, **texts)
    with pytest.raises(ValueError, match=message):
        lists(tmp_path, image_size=4)


def test_a_list_that_is_no_text_or_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere holds nothing; wanted are train.txt"):
        lists(tmp_path, labels_path=tmp_path / "nowhere", image_size=4)
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe 1\n")
    with pytest.raises(ValueError, match=r"train.txt cannot be read as UTF-8 text"):
        lists(tmp_path, image_size=4)


# Writing.


def source_of(name_N, label_NxC, label_names):
    images = FileImages("root", np.asarray(name_N), 4)
    return Source("made", images, np.asarray(label_NxC, np.uint8), label_names, multilabel=True)


def test_what_is_written_by_hand(tmp_path):
    source = source_of(["a.jpg", "b c.jpg"], [[1, 0], [1, 1]], ("cat", "dog"))
    write_lists(source, {"query": np.array([1]), "database": np.array([0])}, tmp_path / "new")
    texts = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert texts == {
        "query.txt": "b c.jpg 1 1\n",
        "database.txt": "a.jpg 1 0\n",
        "classes.txt": "cat\ndog\n",
    }


LETTERS = st.sampled_from("aB1 é雪-_.\x85")
WORDS = st.text(LETTERS, min_size=1, max_size=6).filter(lambda text: text.strip() == text)
PATHS = st.lists(WORDS, min_size=1, max_size=3).map(lambda parts: "/".join([*parts, "x.jpg"]))


@st.composite
def split_sources(draw):
    """A source, and its rows in train and database, either or neither, or in query."""
    paths = draw(
        st.lists(PATHS, min_size=3, max_size=8, unique_by=lambda path: str(epath.Path(path)))
    )
    paths = [path for path in paths if not {".", ".."} & set(path.split("/"))]
    names = draw(st.lists(WORDS, min_size=2, max_size=4))
    label = draw(
        st.lists(
            st.lists(st.integers(0, 1), min_size=len(names), max_size=len(names)),
            min_size=len(paths),
            max_size=len(paths),
        )
    )
    member = draw(
        st.lists(
            st.sampled_from([(), ("train",), ("database",), ("train", "database"), ("query",)]),
            min_size=len(paths),
            max_size=len(paths),
        )
    )
    rows = {
        part: np.array([row for row, parts in enumerate(member) if part in parts], int)
        for part in ("train", "database", "query")
    }
    parts = {part: own for part, own in rows.items() if len(own)}
    return paths, label, tuple(names), parts


@settings(deadline=None, max_examples=60)
@given(drawn=split_sources())
def test_lists_that_were_written_are_read_as_they_were(drawn):
    paths, label, names, parts = drawn
    assume(parts)
    source = source_of(paths, label, names)
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            (epath.Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (epath.Path(folder) / path).touch()
        write_lists(source, parts, epath.Path(folder) / "lists")
        again = lists(folder, labels_path=epath.Path(folder) / "lists", image_size=4)
    assert again.label_names == names
    assert set(again.official) == set(parts)
    label_of = dict(zip(paths, label, strict=True))
    for name, row in zip(again.images.name_N.tolist(), again.label_NxC.tolist(), strict=True):
        assert row == label_of[name]
    for part, rows in parts.items():
        found = again.images.name_N[again.official[part]].tolist()
        assert sorted(found) == sorted(paths[row] for row in rows)
    assert again.multilabel == bool((again.label_NxC.sum(1) != 1).any())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parts": {"validation": [0]}}, r"parts must be of .*, but \['validation'\] are not so"),
        ({"parts": {"train": []}}, r"and hold rows, but \['train'\] are not so"),
        ({"name": ["a\nb.jpg"]}, r"a list cannot hold the name 'a\\nb.jpg'"),
        ({"name": ["a 1"]}, "a list cannot hold the name 'a 1'"),
        ({"name": ["./a.jpg"]}, r"a list cannot hold the name './a.jpg'"),
        ({"name": [" a.jpg"]}, "a list cannot hold the name ' a.jpg'"),
        ({"name": ["a.jpg "]}, "a list cannot hold the name 'a.jpg '"),
        ({"name": ["/a.jpg"]}, "train has the absolute path /a.jpg"),
        ({"name": ["a\\b.jpg"]}, "a list cannot hold the name"),
        ({"names": ("cat", " dog")}, r"classes.txt cannot hold the label name ' dog'"),
        ({"names": ("cat", "")}, r"classes.txt cannot hold the label name ''"),
        ({"names": ("cat",), "label": [[1]]}, "lists need two labels or more"),
    ],
)
def test_what_lists_cannot_hold_is_refused_and_nothing_written(tmp_path, changed, message):
    made = {"name": ["a.jpg"], "label": [[1, 0]], "names": ("cat", "dog"), "parts": {"train": [0]}}
    made |= changed
    source = source_of(made["name"], made["label"], made["names"])
    with pytest.raises(ValueError, match=message):
        write_lists(source, made["parts"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_images_without_names_cannot_be_listed(tmp_path):
    images = ArrayImages(np.zeros((1, 2, 2, 1), np.uint8))
    source = Source("made", images, np.eye(1, 2, dtype=np.uint8), ("cat", "dog"))
    with pytest.raises(ValueError, match="the images of made have no names, so lists cannot name"):
        write_lists(source, {"train": np.array([0])}, tmp_path)
