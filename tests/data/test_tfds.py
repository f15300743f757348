"""TFDS sets, made small, prepared or missing. No test uses a network."""

import functools
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from places import PREPARED
from tensorflow_datasets.core.download import downloader

from dsh_jax.data.tfds import tfds_classification

# Small sets that are prepared on the spot.


class TinyGrey(tfds.core.GeneratorBasedBuilder):
    """Four 2×2 images, of which the last is the test split."""

    VERSION = tfds.core.Version("1.2.0")
    features = {  # noqa: RUF012
        "image": tfds.features.Image(shape=(2, 2, 1)),
        "label": tfds.features.ClassLabel(names=["cat", "dog", "eel"]),
    }
    splits = (("train", 3), ("test", 1))

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(self.features)
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name, rows) for name, rows in self.splits}

    def image(self, split, row):
        return np.full((2, 2, 1), 10 * (row + 1) + 100 * (split == "test"), np.uint8)

    def _generate_examples(self, split, rows):
        for row in range(rows):
            yield row, {"image": self.image(split, row), "label": row % 3}


class TinyValidation(TinyGrey):
    """The same without a test split."""

    splits = (("train", 2), ("validation", 2))


class TinyWhole(TinyGrey):
    """The same in one split."""

    splits = (("test", 2),)


class TinyUnsplit(TinyGrey):
    """The same under a split's name that means nothing to us."""

    splits = (("everything", 2),)


class TinyVarying(TinyGrey):
    """Images of varying size, in colour: the left half red, every fourth column green."""

    features = TinyGrey.features | {"image": tfds.features.Image(shape=(None, None, 3))}

    def image(self, split, row):
        image = np.zeros((8 * (row + 1), 16, 3), np.uint8)
        image[:, :8, 0] = 255
        image[:, ::4, 1] = 255
        return image


class TinyNumbers(TinyGrey):
    """Images with a number, not a class."""

    features = TinyGrey.features | {"label": tfds.features.Scalar(np.int64)}


class TinyUnlabelled(TinyGrey):
    """A set whose test rows have no label, which TFDS writes as -1."""

    def _generate_examples(self, split, rows):
        for row in range(rows):
            label = -1 if split == "test" else row % 3
            yield row, {"image": self.image(split, row), "label": label}


class TinyRemote(TinyGrey):
    """A set to be fetched from a port at which nothing listens."""

    def _split_generators(self, dl_manager):
        dl_manager.download("http://127.0.0.1:9/images.zip")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def test_splits_of_a_tfds_set_are_pooled_and_its_test_rows_are_the_queries(tmp_path):
    source = tfds_classification("tiny_grey", data_dir=str(tmp_path))
    assert source.name == "tiny_grey"
    assert source.label_names == ("cat", "dog", "eel")
    assert len(source) == 4
    assert source.images.shape == (2, 2, 1)
    assert source.images.image_NxHxWxC.dtype == source.label_NxC.dtype == np.uint8
    # TFDS shuffles the rows of a split when it writes them.
    order = np.argsort(source.images.image_NxHxWxC[:, 0, 0, 0])
    np.testing.assert_array_equal(source.images.image_NxHxWxC[order, 1, 1, 0], [10, 20, 30, 110])
    np.testing.assert_array_equal(source.label_NxC[order].argmax(1), [0, 1, 2, 0])
    np.testing.assert_array_equal(source.official["query"][order], [False, False, False, True])
    np.testing.assert_array_equal(source.official["train"][order], [True, True, True, False])


def test_validation_rows_are_the_queries_where_there_is_no_test_split(tmp_path):
    source = tfds_classification("tiny_validation", data_dir=str(tmp_path))
    np.testing.assert_array_equal(source.official["query"], [False, False, True, True])


def test_a_set_of_one_split_has_no_official_one(tmp_path):
    assert tfds_classification("tiny_whole", data_dir=str(tmp_path)).official == {}


def test_prepared_sets_are_found_by_environment_and_read_in_the_same_order(tmp_path, monkeypatch):
    first = tfds_classification("tiny_grey", data_dir=str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(TinyGrey, "_generate_examples", None)  # it must not be prepared again
    again = tfds_classification("tiny_grey:1.2.0")
    np.testing.assert_array_equal(again.images.image_NxHxWxC, first.images.image_NxHxWxC)


def test_data_dir_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    assert len(tfds_classification("tiny_grey", data_dir=str(tmp_path))) == 4


def test_images_are_resized_with_antialiasing(tmp_path):
    source = tfds_classification("tiny_varying", data_dir=str(tmp_path), image_size=4)
    assert source.images.image_NxHxWxC.shape == (4, 4, 4, 3)
    red, green, blue = np.moveaxis(source.images.image_NxHxWxC.astype(int), 3, 0)
    # Each row of pixels: red on the left, black on the right, and the edge blurred evenly.
    np.testing.assert_array_equal(red[..., 0], 255)
    np.testing.assert_array_equal(red[..., 3], 0)
    assert np.all(red[..., 1] > 127)
    np.testing.assert_allclose(red[..., 1] + red[..., 2], 255, atol=1)
    # Reading single columns would find all of the green ones or none.
    assert np.all((green[..., 1:3] > 40) & (green[..., 1:3] < 90))
    assert not blue.any()


def test_images_of_the_wanted_size_are_not_changed(tmp_path):
    kept = tfds_classification("tiny_grey", data_dir=str(tmp_path))
    resized = tfds_classification("tiny_grey", data_dir=str(tmp_path), image_size=2)
    np.testing.assert_array_equal(resized.images.image_NxHxWxC, kept.images.image_NxHxWxC)


# The real ones, where they are prepared.


@functools.cache
def prepared(name):
    if not (PREPARED / name).is_dir():
        pytest.skip(f"{name} is not prepared under {PREPARED}")
    return tfds_classification(name, data_dir=str(PREPARED))


def test_mnist_holds_70_000_digits_of_which_10_000_are_queries():
    mnist = prepared("mnist")
    assert mnist.images.image_NxHxWxC.shape == (70_000, 28, 28, 1)
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    is_query = mnist.official["query"]
    np.testing.assert_array_equal(mnist.label_NxC[~is_query].sum(0, dtype=int), train)
    np.testing.assert_array_equal(mnist.label_NxC[is_query].sum(0, dtype=int), test)
    assert mnist.images.image_NxHxWxC.mean() == pytest.approx(33.4, abs=0.1)


def test_cifar10_holds_60_000_images_of_which_10_000_are_queries():
    cifar10 = prepared("cifar10")
    assert cifar10.images.image_NxHxWxC.shape == (60_000, 32, 32, 3)
    is_query = cifar10.official["query"]
    np.testing.assert_array_equal(cifar10.label_NxC[~is_query].sum(0, dtype=int), [5000] * 10)
    np.testing.assert_array_equal(cifar10.label_NxC[is_query].sum(0, dtype=int), [1000] * 10)
    assert cifar10.label_names[:2] == ("airplane", "automobile")
    # The training images' published mean: 125.3, 123.0, 113.9.
    mean = cifar10.images.image_NxHxWxC[~is_query].mean((0, 1, 2))
    np.testing.assert_allclose(mean, [125.3, 123.0, 113.9], atol=0.1)


# Errors.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashion_mnit", "near ones: fashion_mnist"),
        ("cifar-10", "near ones: cifar10"),
        ("CIFAR10", "near ones: cifar10"),
        ("digit", "near ones: digits"),
        ("xyzzy", "near ones: digits, mnist, cifar10"),
        ("mnist:9.9.9", "near ones: mnist, .* cannot be loaded at version 9.9.9, only: 3.0.1"),
        ("", "near ones: digits, mnist, cifar10"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(tmp_path, name, message):
    wanted = f"unknown data set '{name}': data.name must be one of digits, or a Tensor.*{message}"
    with pytest.raises(ValueError, match=wanted):
        tfds_classification(name, data_dir=str(tmp_path))


def test_a_data_dir_that_does_not_exist_is_named(tmp_path, monkeypatch):
    wrong = str(tmp_path / "wrong")
    message = f"data.data_dir is '{wrong}', which is not a folder: create it to download there"
    with pytest.raises(ValueError, match=message):
        tfds_classification("mnist", data_dir=wrong)
    monkeypatch.setenv("TFDS_DATA_DIR", wrong)
    message = f"TFDS_DATA_DIR is '{wrong}', .* that holds mnist/<version>/dataset_info.json"
    with pytest.raises(ValueError, match=message):
        tfds_classification("mnist")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny_unsplit", r"tiny_unsplit has the splits \['everything'\], none of them train"),
        (
            "tiny_varying",
            r"images of tiny_varying have the shape \(None, None, 3\), .*: set data.image_size",
        ),
        ("tiny_numbers", r"has the features \['image', 'label'\]; .* one class a row"),
        ("glue", r"glue has the features \['idx', 'label', 'sentence'\]; an image-class"),
        ("tiny_unlabelled", "has the label -1"),
    ],
)
def test_a_set_that_does_not_classify_images_is_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        tfds_classification(name, data_dir=str(tmp_path))


def test_a_set_that_cannot_be_fetched_is_refused_in_seconds(tmp_path):
    message = (
        f"tiny_remote is not prepared under {tmp_path}/tiny_remote/1.2.0 and could not be "
        r"downloaded \(ConnectionError: .*where there is none, copy a prepared "
        r"tiny_remote/<version>/ folder from elsewhere and point data.data_dir or TFDS_DATA_DIR"
    )
    begin, retries = time.monotonic(), downloader.MAX_RETRIES
    with pytest.raises(ValueError, match=message):
        tfds_classification("tiny_remote", data_dir=str(tmp_path))
    assert time.monotonic() - begin < 60  # TFDS on its own takes more than 200 seconds
    assert retries == downloader.MAX_RETRIES
