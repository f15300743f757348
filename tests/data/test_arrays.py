"""Arrays in .npz files and IDX files: read, and refused where damaged."""

import gzip

import numpy as np
import pytest

from dsh_jax.data.arrays import idx, npz

RNG = np.random.default_rng(0)

# .npz.


def save(folder, **arrays):
    made = {"images": RNG.integers(0, 256, (3, 4, 5), np.uint8), "labels": np.array([1, 0, 1])}
    made |= arrays
    path = folder / "set.npz"
    np.savez(path, **{name: array for name, array in made.items() if array is not None})
    return path, made


def test_an_npz_of_integer_labels(tmp_path):
    path, made = save(tmp_path)
    source = npz(path)
    np.testing.assert_array_equal(source.images.image_NxHxWxC[..., 0], made["images"])
    np.testing.assert_array_equal(source.label_NxC, [[0, 1], [1, 0], [0, 1]])
    assert source.label_names == ("class 0", "class 1")
    assert not source.multilabel
    assert source.official == {}


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_an_npz_of_multi_hot_labels_with_names_and_a_split(tmp_path, dtype):
    label = np.array([[1, 1], [0, 1], [0, 0]], dtype)
    names, split = np.array(["cat", "dog"]), np.array(["query", "", "train"])
    image = np.zeros((3, 4, 4, 3), np.uint8)
    path, _ = save(tmp_path, images=image, labels=label, label_names=names, split=split)
    source = npz(path)
    assert source.images.shape == (4, 4, 3)
    assert source.label_NxC.dtype == np.uint8
    np.testing.assert_array_equal(source.label_NxC, label)
    assert source.label_names == ("cat", "dog")
    assert source.multilabel
    assert set(source.official) == {"train", "query"}
    np.testing.assert_array_equal(source.official["query"], [True, False, False])
    np.testing.assert_array_equal(source.official["train"], [False, False, True])


def test_text_of_an_npz_may_be_bytes(tmp_path):
    names = np.array([name.encode() for name in ("cat", "dog", "hibou grand-duc é")])
    path, _ = save(tmp_path, label_names=names, split=np.array([b"query", b"", b"train"]))
    source = npz(path)
    assert source.label_names == ("cat", "dog", "hibou grand-duc é")
    np.testing.assert_array_equal(source.official["query"], [True, False, False])


def test_label_names_give_the_number_of_classes(tmp_path):
    path, _ = save(tmp_path, label_names=np.array(list("abcde")))
    assert npz(path).label_NxC.shape == (3, 5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": None}, r"set.npz holds \['images'\]; wanted are `images` and `labels`"),
        ({"images": np.zeros((3, 4, 4))}, r"`images` are float64 of shape \(3, 4, 4\); wanted are"),
        ({"images": np.zeros((3, 4), np.uint8)}, r"`images` are uint8 of shape \(3, 4\)"),
        ({"images": np.zeros((3, 3, 4, 4), np.uint8)}, r"`images` are uint8 of shape \(3, 3, 4, 4"),
        ({"labels": np.zeros(3)}, r"`labels` are float64 of shape \(3,\); wanted are integer"),
        ({"labels": np.array([[0], [1], [0]])}, r"`labels` are int64 of shape \(3, 1\)"),
        ({"labels": np.array([[0, 2]] * 3)}, r"`labels` are int64 of shape \(3, 2\); .* 0 and 1"),
        ({"labels": np.zeros(0, int)}, r"`labels` are int64 of shape \(0,\)"),
        ({"labels": np.array([0, -1, 1])}, r"row 1 has the label -1"),
        (
            {"labels": np.array([1, 2, 1])},
            r"set.npz: `labels` have class numbers from 1 to 2, but none of 0, which .* wanted are "
            r"0 to 1 for these 2: subtract 1 from each, or name every number in `label_names`",
        ),
        (
            {"labels": np.array([1, 2, 1]), "label_names": np.array(["cat", "dog"])},
            r"set.npz: `labels` go from 1 to 2; wanted are 0 to 1: subtract 1 from each",
        ),
        (
            {"labels": np.array([0, 9, 9])},
            r"from 0 to 9, but none of 1, 2, 3, 4, 5, …, which .*: number the classes anew, or",
        ),
        ({"labels": np.array([0, 1])}, "npz: 3 images but 2 labels"),
        ({"label_names": np.array(["a"])}, r"row 0 has the label 1; it must be in \[0, 1\)"),
        (
            {"labels": np.eye(3, dtype=int), "label_names": np.array(["a"])},
            "labels have 3 columns, but there are 1 label names",
        ),
        ({"split": np.array(["train", "test", ""])}, r"`split` holds \['test'\]; wanted are"),
        ({"labels": np.array([0, 1, 10_000])}, "`labels` go up to 10,000; .* numbers below 10,000"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, r"shape \(0, 4, 4\); .* none of them 0"),
        ({"label_names": np.array("a")}, r"`label_names` are of shape \(\); wanted is one axis"),
        ({"split": np.array([["train"]] * 3)}, r"`split` are of shape \(3, 1\); wanted is one"),
        ({"split": np.array(["train"])}, "npz: 3 images but 1 train"),
        ({"images": np.array([None] * 3)}, r"set.npz cannot be read as .npz file"),
    ],
)
def test_an_npz_that_is_wrong_is_refused(tmp_path, arrays, message):
    path, _ = save(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message):
        npz(path)


def test_an_npz_that_is_damaged_missing_or_something_else_is_refused(tmp_path):
    path, _ = save(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"set.npz cannot be read as .npz file"):
        npz(path)
    np.save(tmp_path / "other.npy", np.zeros(3))
    for other in (tmp_path / "nowhere.npz", tmp_path, tmp_path / "other.npy"):
        with pytest.raises(ValueError, match=r"cannot be read as .npz file .*: set data.data_dir"):
            npz(other)


def test_a_compressed_npz_with_any_byte_changed_is_refused_in_words(tmp_path):
    path, made = save(tmp_path, images=RNG.integers(0, 9, (3, 20, 20), np.uint8))
    np.savez_compressed(path, **made)
    data = path.read_bytes()
    refused, places = 0, range(0, len(data), 2)
    for at in places:
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            npz(path)
        except ValueError:
            refused += 1
    # Dates and the like may be anything.
    assert refused > 0.7 * len(places)


# IDX.


def write_idx(folder, ending=""):
    made = {}
    for stem, rows in (("train", 4), ("t10k", 2)):
        image = RNG.integers(0, 256, (rows, 3, 5), np.uint8)
        label = np.arange(rows, dtype=np.uint8)
        for name, array in (("images-idx3", image), ("labels-idx1", label)):
            head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
            data = head + array.tobytes()
            path = folder / f"{stem}-{name}-ubyte{ending}"
            path.write_bytes(gzip.compress(data) if ending else data)
        made[stem] = image, label
    return made


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files(tmp_path, ending):
    made = write_idx(tmp_path, ending)
    source = idx(tmp_path)
    image = np.concatenate([made["train"][0], made["t10k"][0]])
    np.testing.assert_array_equal(source.images.image_NxHxWxC, image[..., None])
    np.testing.assert_array_equal(source.label_NxC.argmax(1), [0, 1, 2, 3, 0, 1])
    assert source.label_names == tuple("0123")
    np.testing.assert_array_equal(source.official["query"], [False] * 4 + [True] * 2)
    np.testing.assert_array_equal(source.official["train"], [True] * 4 + [False] * 2)


def test_idx_labels_that_do_not_occur_are_no_classes(tmp_path):
    write_idx(tmp_path)
    assert idx(tmp_path).notes == ()
    for stem, label in (("train", [1, 26, 3, 3]), ("t10k", [1, 3])):
        head = bytes((0, 0, 8, 1)) + np.array([len(label)], ">i4").tobytes()
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(head + bytes(label))
    source = idx(tmp_path)
    assert source.label_names == ("1", "3", "26")
    np.testing.assert_array_equal(source.label_NxC.argmax(1), [0, 2, 1, 1, 0, 1])
    assert source.notes == ("Of the labels from 0 to 26, 3 occur: only these are classes.",)


def test_idx_files_with_a_dot_in_their_names(tmp_path):
    write_idx(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(idx(tmp_path)) == 6


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("t10k-labels-idx1-ubyte", None, r"lacks t10k-labels-idx1-ubyte\[.gz\]: set data.data_dir"),
        (
            "t10k-labels-idx1-ubyte",
            b"\0\0\x08\1\0\0\0\2\0",
            r"begins with 00 00 08 01 and has 9 bytes; wanted is 00 00 08 01 and then 1 lengths",
        ),
        ("t10k-labels-idx1-ubyte", b"\0\0\x0d\1\0\0\0\0", "begins with 00 00 0d 01 and has 8"),
        ("train-images-idx3-ubyte", b"\0\0\x08\3\0", "begins with 00 00 08 03 and has 5 bytes"),
        (
            "train-images-idx3-ubyte",
            b"\0\0\x08\3" + b"\xff" * 8 + b"\0\0\0\1\7",
            "begins with 00 00 08 03 and has 17 bytes",
        ),
        (
            "train-images-idx3-ubyte",
            b"\0\0\x08\3" + bytes(12),
            r"train has images \(0, 0, 0\) and labels \(4,\); wanted are one or more",
        ),
        ("train-images-idx3-ubyte", b"", "begins with  and has 0 bytes"),
        (
            "t10k-labels-idx1-ubyte",
            b"\0\0\x08\1\0\0\0\1\0",
            r"t10k has images \(2, 3, 5\) and labels \(1,\); wanted are one or more, as",
        ),
        (
            "t10k-images-idx3-ubyte",
            b"\0\0\x08\3\0\0\0\2\0\0\0\1\0\0\0\1\7\7",
            r"t10k has images \(2, 1, 1\) .* images like \(3, 5\)",
        ),
    ],
)
def test_idx_files_that_are_missing_or_damaged_are_refused(tmp_path, file, data, message):
    write_idx(tmp_path)
    (tmp_path / file).unlink()
    if data is not None:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        idx(tmp_path)


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: b"x" + data[1:]])
def test_a_compressed_file_that_is_damaged_is_refused(tmp_path, change):
    write_idx(tmp_path, ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz cannot be read \(.*: fetch"):
        idx(tmp_path)
