"""Files become a source: nothing missing, nothing twice, or counted where that was asked for."""

import numpy as np
import photographs
import pytest

from dsh_jax.data import files
from dsh_jax.data.pipeline import evaluation_batches
from dsh_jax.data.source import multi_hot

NAMES = [f"{folder}/{row}.jpg" for row, folder in enumerate("ababab")]


def source_of(folder, names=NAMES, skip="", **options):
    label = multi_hot(np.arange(len(names)) % 2, 2)
    settings = {"official": {}, "multilabel": False, "image_size": 4} | options
    return files.file_source("pets", folder, names, label, ("cat", "dog"), skip=skip, **settings)


@pytest.fixture
def folder(tmp_path):
    """Six pictures in two folders."""
    photographs.write_many(tmp_path, NAMES)
    return tmp_path


def test_files_that_are_there_are_all_taken(folder):
    source = source_of(folder, notes=["Read."])
    assert len(source) == 6
    assert source.notes == ("Read.",)
    assert source.images.take(np.arange(6)).shape == (6, 4, 4, 3)


def test_missing_files_are_named(folder):
    (folder / NAMES[2]).unlink()
    wanted = [*NAMES, "nowhere/7.jpg"]
    with pytest.raises(
        ValueError,
        match=r"pets: 2 of 7 files are missing: a/2.jpg, nowhere/7.jpg \(under .*\). Mend .* "
        "set data.skip=missing to go on without them",
    ):
        source_of(folder, wanted)
    source = source_of(folder, wanted, skip="missing", official={"query": np.arange(7) < 3})
    np.testing.assert_array_equal(source.official["query"], [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(source.label_NxC.argmax(1), [0, 1, 1, 0, 1])
    assert source.notes == ("Left out: 2 of 7 files are missing: a/2.jpg, nowhere/7.jpg.",)
    assert source.left_out == {"missing": ("a/2.jpg", "nowhere/7.jpg")}


def test_long_lists_of_files_are_cut(folder):
    with pytest.raises(ValueError, match=r"missing: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, … \(under"):
        source_of(folder, [f"{i}.jpg" for i in range(9)])


def test_names_that_stand_twice_are_named(folder):
    with pytest.raises(ValueError, match=r"1 of 7 files are named more than once: b/1.jpg"):
        source_of(folder, [*NAMES, NAMES[1]])
    source = source_of(folder, [*NAMES, NAMES[1]], skip="duplicate")
    assert source.images.name_N.tolist() == NAMES


def test_nothing_left_is_an_error_even_where_skipping_is_allowed(tmp_path):
    with pytest.raises(ValueError, match=r"6 of 6 files are missing.*; nothing is left"):
        source_of(tmp_path, skip="missing")


@pytest.mark.parametrize("way", ["cut", "emptied", "text"])
def test_corrupt_files_are_found_and_named_when_training_meets_one(folder, way):
    for row in (1, 4):
        path = folder / NAMES[row]
        content = {"cut": path.read_bytes()[:-50], "emptied": b"", "text": b"not a picture"}[way]
        path.write_bytes(content)
    source = source_of(folder)
    np.testing.assert_array_equal(files.broken(source), [1, 4])
    with pytest.raises(
        ValueError, match=r"2 of 6 files cannot be read or decoded: b/1.jpg, a/4.jpg"
    ):
        list(evaluation_batches(source, np.arange(6), batch=3, devices=1))


def test_a_file_that_vanishes_while_training_is_named(folder):
    source = source_of(folder)
    (folder / NAMES[5]).unlink()
    with pytest.raises(ValueError, match=r"1 of 6 files cannot be read or decoded: b/5.jpg"):
        list(evaluation_batches(source, np.arange(6), batch=3, devices=1))


def test_decode_all_fills_an_array_row_by_row(folder):
    source = source_of(folder)
    array = np.zeros((6, 4, 4, 3), np.uint8)
    assert not len(files.decode_all(source.images, array))
    np.testing.assert_array_equal(array, source.images.take(np.arange(6)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: files.parse_skip("missing,torn"),
            "data.skip is 'missing,torn'; it must be",
        ),
        (lambda folder: source_of(folder / "none"), "none is not a folder: set data.data_dir"),
        (lambda folder: source_of(folder, image_size=0), "data.image_size is 0"),
    ],
)
def test_errors_say_what_to_do(folder, make, message):
    with pytest.raises(ValueError, match=message):
        make(folder)


def test_skip_takes_a_comma_list():
    assert files.parse_skip("") == frozenset()
    assert files.parse_skip(" missing, corrupt") == {"missing", "corrupt"}
