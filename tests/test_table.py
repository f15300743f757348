"""CSV tables of images."""

import numpy as np
import photographs
import pytest

from dsh_jax.data.table import table

TEXT = """path,labels,split,photographer
a/0.jpg,sky|sea,train|database,"Smith, J."
a/1.jpg,sky,query,
b/2.jpg,,,
"""


@pytest.fixture
def folder(tmp_path):
    """Three pictures."""
    photographs.write_many(tmp_path, ["a/0.jpg", "a/1.jpg", "b/2.jpg"], size=(4, 4))
    return tmp_path


def read(folder, text, **options):
    (folder / "labels.csv").write_text(text)
    return table(folder, labels_path=folder / "labels.csv", image_size=4, **options)


def test_rows_labels_and_parts(folder):
    source = read(folder, TEXT)
    assert source.images.name_N.tolist() == ["a/0.jpg", "a/1.jpg", "b/2.jpg"]
    assert source.label_names == ("sea", "sky")
    np.testing.assert_array_equal(source.label_NxC, [[1, 1], [0, 1], [0, 0]])
    assert {part: is_in.tolist() for part, is_in in source.official.items()} == {
        "train": [True, False, False], "database": [True, False, False],
        "query": [False, True, False],
    }  # fmt: skip
    assert source.multilabel


def test_one_label_a_row_is_single_label_and_a_split_may_be_absent(folder):
    source = read(
        folder, "labels,path\r\ncat,a/0.jpg\r\ndog,C:\\x\\a\\1.jpg\r\n", path_prefix="C:\\x"
    )
    assert source.images.name_N.tolist() == ["a/0.jpg", "a/1.jpg"]
    assert source.official == {}
    assert not source.multilabel


def test_another_separator(folder):
    source = read(folder, "path,labels\na/0.jpg,sky; sea\n", separator=";")
    assert source.label_names == ("sea", "sky")


def test_duplicates_and_missing_files_are_errors(folder):
    again = "path,labels\na/0.jpg,x\na/0.jpg,x\n"
    with pytest.raises(ValueError, match=r"1 of 2 files are named more than once: a/0.jpg"):
        read(folder, again)
    assert len(read(folder, again, skip="duplicate")) == 1
    with pytest.raises(ValueError, match=r"1 of 1 files are missing: c.jpg"):
        read(folder, "path,labels\nc.jpg,x\n")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "file,labels\na/0.jpg,x\n",
            {},
            r"has the columns \['file', 'labels'\] and 1 rows; wanted",
        ),
        ("path,labels\n", {}, r"columns \['path', 'labels'\] and 0 rows; wanted"),
        ("", {}, r"has the columns \[\] and 0 rows"),
        ("path,labels\na/0.jpg\n", {}, r"line 2 has 1 fields, but the first line 2: mend it"),
        ("path,labels\n,x\n", {}, r"line 2 has no path"),
        ("path,labels\na/0.jpg,\n", {}, r"has no row with a label"),
        (
            "path,labels,split\na/0.jpg,x,test\n",
            {},
            r"line 2 has the split 'test'; wanted is one of",
        ),
        (
            "path,labels,split\na/0.jpg,x,query|train\n",
            {},
            r"1 queries are also in train, such as a/0.jpg",
        ),
        ("path,labels\n/a/0.jpg,x\n", {}, r"has the absolute path /a/0.jpg: set data.path_prefix"),
        ('path,labels\na/0.jpg,"x\n', {}, r"line 2 is no CSV"),
        (TEXT, {"separator": ""}, r"data.separator '': set them"),
    ],
)
def test_bad_tables_are_refused(folder, text, options, message):
    with pytest.raises(ValueError, match=message):
        read(folder, text, **options)


def test_a_table_must_be_named_and_there(folder):
    with pytest.raises(
        ValueError, match=r"data.labels_path is '' and .*: set them to the CSV file"
    ):
        table(folder, labels_path="", image_size=4)
    with pytest.raises(ValueError, match=r"none.csv cannot be read as UTF-8 text"):
        table(folder, labels_path=folder / "none.csv", image_size=4)
