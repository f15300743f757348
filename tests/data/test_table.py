"""CSV tables of images."""

import numpy as np
import pytest
from PIL import Image

from dsh_jax.data.table import table


@pytest.fixture
def made(tmp_path):
    """Three images; write the table beside them."""
    for name in ("a.jpg", "b, c.jpg", "sub/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(path)
    return tmp_path


def read(folder, text, **settings):
    (folder / "table.csv").write_text(text)
    return table(folder, labels_path=folder / "table.csv", image_size=4, **settings)


def test_rows_keep_their_order_and_labels_are_sorted(made):
    text = 'path,labels\nsub/d.jpg,sea|dog\n"b, c.jpg", owl |\na.jpg,\n'
    source = read(made, text)
    assert source.images.name_N.tolist() == ["sub/d.jpg", "b, c.jpg", "a.jpg"]
    assert source.label_names == ("dog", "owl", "sea")
    np.testing.assert_array_equal(source.label_NxC, [[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    assert source.multilabel
    assert source.official == {}
    assert source.images.take(np.arange(3)).shape == (3, 4, 4, 3)


def test_one_label_a_row_is_no_multi_label_set(made):
    source = read(made, "path,labels\na.jpg,sea|dog\nsub/d.jpg,cat\n", separator=";")
    assert source.label_names == ("cat", "sea|dog")
    assert not source.multilabel


def names_of(made, *labels):
    """The label names and notes of a table of these cells."""
    files = ("a.jpg", '"b, c.jpg"', "sub/d.jpg")
    rows = [f"{file},{label}" for file, label in zip(files, labels, strict=False)]
    source = read(made, "\n".join(["path,labels", *rows]))
    return source.label_names, source.notes


@pytest.mark.parametrize("name", ["nan", "NaN", "N/A", "n/a", "NULL", "None", "#N/A", "<NA>", "-"])
def test_labels_that_may_mean_none_are_literal_and_named(made, name):
    names, notes = names_of(made, "cat", f" {name} ", f"cat|{name}")
    assert names == tuple(sorted(["cat", name]))
    (note,) = notes
    assert note.startswith(f"Labels that may mean that there is none: {name!r} (2 rows). Each is")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Cat", "cat"),
        ("sea  dog", "sea dog"),
        ("Straße", "STRASSE"),
        ("\u212aelvin", "kelvin"),  # the sign of the unit
        ("\uff23at", "cat"),  # full width
        ("e\u0301cole", "\u00c9cole"),  # an accent of its own, or not
        ("ca\u200bt", "cat"),  # a blank of no width
        ("İ", "i̇"),
    ],
)
def test_labels_that_look_alike_are_literal_and_named(made, first, second):
    names, notes = names_of(made, first, second, "dog")
    assert names == tuple(sorted([first, second, "dog"]))
    (note,) = notes
    both = " and ".join(f"{name!r} (1 rows)" for name in sorted([first, second]))
    assert note.startswith(f"Labels that differ in case or blanks only: {both}. Each is taken")


def test_labels_that_differ_are_not_named(made):
    assert names_of(made, "cat", "cats", "nana|none of these|NaN value")[1] == ()
    assert names_of(made, "cat ", " cat", "cat") == (("cat",), ())


def test_the_split_column_is_official(made):
    text = "id,split,labels,path\n7,train|database,cat,a.jpg\n8,,cat,sub/d.jpg\n9,query,dog,{}\n"
    source = read(made, text.format('"b, c.jpg"'))
    assert set(source.official) == {"train", "database", "query"}
    np.testing.assert_array_equal(source.official["train"], [True, False, False])
    np.testing.assert_array_equal(source.official["database"], [True, False, False])
    np.testing.assert_array_equal(source.official["query"], [False, False, True])
    assert set(read(made, "path,labels,split\na.jpg,cat,query\n").official) == {"query"}


def test_paths_are_rewritten_and_blank_lines_do_not_count(made):
    text = "\ufeffpath,labels\r\n\r\nC:\\old\\sub\\d.jpg,cat\r\n\r\n"
    source = read(made, text, path_prefix="C:\\old\\")
    assert source.images.name_N.tolist() == ["sub/d.jpg"]


def test_missing_images_and_duplicates_are_refused_or_counted(made):
    text = "path,labels\na.jpg,cat\nno.jpg,dog\na.jpg,cat\n"
    with pytest.raises(ValueError, match=r"csv: 1 of 3 files are named more than once: a.jpg"):
        read(made, text)
    source = read(made, text, skip="duplicate,missing")
    assert source.images.name_N.tolist() == ["a.jpg"]
    assert len(source.notes) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"table.csv has the columns \[\] and 0 rows; wanted are `path` and `labels`"),
        ("path,label\na.jpg,cat\n", r"has the columns \['path', 'label'\] and 1 rows; wanted are"),
        ("path,labels,path\na.jpg,cat,b\n", r"wanted are `path` and `labels`, once each"),
        ("path,labels\n", r"columns \['path', 'labels'\] and 0 rows; .* a row for each image"),
        ("path,labels\na.jpg,cat\nb, c.jpg,dog\n", "table.csv line 3 has 3 fields, but .* 2: mend"),
        ("path,labels\na.jpg\n", "table.csv line 2 has 1 fields, but the first line 2"),
        ("path,labels\na.jpg,cat\n ,dog\n", "table.csv line 3 has no path"),
        ('path,labels\n"a.jpg,cat\n', "table.csv line 2 is no CSV"),
        ("path,labels\na.jpg,\n", "table.csv has no row with a label"),
        ("path,labels\n/x/a.jpg,cat\n", "table.csv line 2 has the absolute path /x/a.jpg: set"),
        (
            "path,labels,split\na.jpg,cat,train\nsub/d.jpg,cat,test\n",
            "table.csv line 3 has the split 'test'; wanted is one of train, database, query",
        ),
        ("path,labels,split\na.jpg,cat,train|query\n", "csv: 1 queries are also in train, such as"),
        ("path,labels\nno.jpg,cat\n", r"csv: 1 of 1 files are missing: no.jpg"),
    ],
)
def test_a_table_that_is_wrong_is_refused(made, text, message):
    with pytest.raises(ValueError, match=message):
        read(made, text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels_path": ""}, "data.labels_path is '' and data.separator .*: set them to the CSV"),
        ({"labels_path": "t.csv", "separator": ""}, "and data.separator '': set them"),
        ({"labels_path": "nowhere.csv"}, r"nowhere.csv cannot be read .*No such file"),
    ],
)
def test_settings_that_name_no_table_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, image_size=4, **settings)
