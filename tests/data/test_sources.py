"""The dispatch by name, the digits, and what is said where settings do not fit."""

import numpy as np
import pytest
from PIL import Image

from dsh_jax.data import sources

# Digits.


def test_digits_are_upscaled_to_32_by_32_in_full_range():
    digits = sources.load("digits")
    image = digits.images.take(np.arange(len(digits)))
    assert image.shape == (1797, 32, 32, 1)
    assert image.dtype == np.uint8
    assert image.min() == 0
    assert image.max() == 255
    assert digits.label_names == tuple("0123456789")
    assert not digits.multilabel


def test_each_digit_has_one_label():
    digits = sources.digits()
    assert digits.label_NxC.dtype == np.uint8
    np.testing.assert_array_equal(digits.label_NxC.sum(1), np.ones(1797))
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(digits.label_NxC.sum(0, dtype=int), counts)
    # The file begins with the digits in order.
    np.testing.assert_array_equal(digits.label_NxC[:10].argmax(1), np.arange(10))


def test_the_last_360_digits_are_the_official_queries():
    official = sources.digits().official
    is_query = official["query"]
    assert is_query.dtype == bool
    np.testing.assert_array_equal(official["train"], ~is_query)
    np.testing.assert_array_equal(np.flatnonzero(is_query), np.arange(1437, 1797))


# The dispatch.


def save_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 8), "red").save(path)


@pytest.fixture
def cats_and_dogs(tmp_path):
    """The same two images as folder, lists, table and array."""
    for name in ("cat/1.png", "dog/2.png"):
        save_image(tmp_path / "images" / name)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classes.txt").write_text("cat\ndog\n")
    (lists / "train.txt").write_text("/old/cat/1.png 1 0\n/old/dog/2.png 0 1\n")
    (lists / "table.csv").write_text("path,labels\n/old/cat/1.png,cat\n/old/dog/2.png,dog+cat\n")
    images = np.zeros((2, 4, 4), np.uint8)
    names = np.array(["cat", "dog"])
    np.savez(tmp_path / "array.npz", images=images, labels=np.arange(2), label_names=names)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "settings", "label"),
    [
        ("folder", {"data_dir": "images"}, [[1, 0], [0, 1]]),
        ("lists", {"data_dir": "images", "labels_path": "lists"}, [[1, 0], [0, 1]]),
        (
            "csv",
            {"data_dir": "images", "labels_path": "lists/table.csv", "separator": "+"},
            [[1, 0], [1, 1]],
        ),
        ("npz", {"data_dir": "array.npz"}, [[1, 0], [0, 1]]),
    ],
)
def test_each_layout_is_read_by_its_name(cats_and_dogs, monkeypatch, name, settings, label):
    monkeypatch.chdir(cats_and_dogs)
    source = sources.load(name, image_size=4, path_prefix="/old", **settings)
    assert source.name == name
    assert source.label_names == ("cat", "dog")
    assert source.images.shape[:2] == (4, 4)
    np.testing.assert_array_equal(source.label_NxC, label)


def test_fit_and_skip_reach_the_files(cats_and_dogs):
    lists = cats_and_dogs / "lists"
    settings = {"data_dir": str(cats_and_dogs / "images"), "labels_path": str(lists)}
    with (lists / "train.txt").open("a") as file:
        file.write("cat/9.png 1 0\n")
    source = sources.load(
        "lists", image_size=4, path_prefix="/old", fit="crop", skip="missing", **settings
    )
    assert source.images.fit == "crop"
    assert len(source) == 2
    assert "1 of 3 files are missing: cat/9.png" in source.notes[0]


@pytest.mark.parametrize(
    ("name", "concepts", "message"),
    [
        ("mirflickr", 0, r"not mirflickr and mirflickr25k_annotations_v080: set data.data_dir"),
        ("mirflickr", 25, r"data.concepts is 25; MIRFLICKR has \[14, 24, 38\]"),
        ("nuswide", 0, "not ImageList/Imagelist.txt and Groundtruth/AllLabels: set data.data_dir"),
        ("nuswide", 22, "data.concepts is 22; NUS-WIDE has 81"),
        ("cifar-python", 0, "lacks data_batch_1, .*: set data.data_dir to cifar-10-batches-py or"),
        ("cifar-bin", 0, "lacks data_batch_1.bin, .*: set data.data_dir to cifar-10-batches-bin"),
        ("idx", 0, r"lacks train-images-idx3-ubyte\[.gz\]: set data.data_dir to the folder"),
    ],
)
def test_a_set_that_is_not_there_is_refused(tmp_path, name, concepts, message):
    with pytest.raises(ValueError, match=message):
        sources.load(name, data_dir=str(tmp_path), image_size=4, concepts=concepts)


@pytest.mark.parametrize("name", ["mirflickr", "nuswide", "lists", "folder", "csv", "npz", "idx"])
@pytest.mark.parametrize("data_dir", ["", "nowhere"])
def test_a_data_dir_that_is_empty_or_does_not_exist_is_refused(name, data_dir):
    message = f"data.data_dir is '{data_dir}', which does not exist: .* the files of {name} are"
    with pytest.raises(ValueError, match=message):
        sources.load(name, data_dir=data_dir, image_size=4)


def test_photographs_need_an_image_size(cats_and_dogs):
    with pytest.raises(ValueError, match=r"data.image_size is 0, but photographs differ in size"):
        sources.load("folder", data_dir=str(cats_and_dogs / "images"))


def test_arrays_keep_their_size(cats_and_dogs):
    assert sources.load("digits", image_size=32).images.shape == (32, 32, 1)
    message = "data.image_size is 8, but the images of npz are arrays of 4×4 pixels: leave it 0"
    with pytest.raises(ValueError, match=message):
        sources.load("npz", data_dir=str(cats_and_dogs / "array.npz"), image_size=8)


def test_an_unknown_name_is_answered_with_all_of_ours(tmp_path):
    message = (
        "unknown data set 'mirflicker': data.name must be one of digits, mirflickr, nuswide, "
        "lists, folder, csv, parquet, webdataset, npz, cifar-python, cifar-bin, idx, or a .*; near "
        "ones: mirflickr"
    )
    with pytest.raises(ValueError, match=message):
        sources.load("mirflicker", data_dir=str(tmp_path))
