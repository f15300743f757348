"""Arrays of images in the files in which people have them."""

import gzip
import os
import pickle

import numpy as np
import pytest

from dsh_jax.data.arrays import cifar_bin, cifar_python, idx, npz

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (4, 5, 6, 3), np.uint8)


def save(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


# npz.


def test_npz_with_class_numbers(tmp_path):
    source = npz(save(tmp_path, images=IMAGE[..., 0], labels=np.array([2, 0, 1, 2])))
    assert source.images.shape == (5, 6, 1)
    np.testing.assert_array_equal(source.images.take(np.arange(4))[..., 0], IMAGE[..., 0])
    np.testing.assert_array_equal(source.label_NxC.argmax(1), [2, 0, 1, 2])
    assert source.label_names == ("class 0", "class 1", "class 2")
    assert (source.official, source.multilabel) == ({}, False)


def test_npz_with_several_labels_names_and_a_split(tmp_path):
    label = np.array([[1, 1], [0, 1], [0, 0], [1, 0]])
    split = np.array(["train", "query", "", "database"])
    path = save(tmp_path, images=IMAGE, labels=label, label_names=np.array(["x", "y"]), split=split)
    source = npz(path)
    np.testing.assert_array_equal(source.label_NxC, label)
    assert source.label_names == ("x", "y")
    assert source.multilabel
    assert {part: np.flatnonzero(is_in).tolist() for part, is_in in source.official.items()} == {
        "train": [0], "query": [1], "database": [3]
    }  # fmt: skip


NUMBERS = np.arange(4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGE}, r"holds \['images'\]; wanted are `images` and `labels`"),
        (
            {"images": IMAGE / 255, "labels": NUMBERS},
            r"`images` are float64 of shape \(4, 5, 6, 3\)",
        ),
        ({"images": IMAGE[..., :2], "labels": NUMBERS}, r"shape \(4, 5, 6, 2\); wanted are uint8"),
        ({"images": IMAGE, "labels": NUMBERS / 2}, r"`labels` are float64 of shape \(4,\); wanted"),
        ({"images": IMAGE, "labels": np.full((4, 2), 3)}, r"`labels` are int64 of shape \(4, 2\)"),
        ({"images": IMAGE, "labels": NUMBERS[:3]}, r"npz: 4 images but 3 labels"),
        ({"images": IMAGE, "labels": NUMBERS - 1}, r"row 0 has the label -1"),
        (
            {"images": IMAGE, "labels": NUMBERS, "split": np.array(["test"] * 4)},
            r"`split` holds \['test'\]; wanted are",
        ),
        (
            {"images": IMAGE, "labels": np.eye(4, 3, dtype=int), "label_names": np.array(["x"])},
            r"labels have 3 columns, but there are 1 label names",
        ),
        ({"images": np.array([{}]), "labels": NUMBERS}, r"cannot be read as .npz file"),
    ],
)
def test_bad_npz_files_are_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        npz(save(tmp_path, **arrays))


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK torn")
    with pytest.raises(ValueError, match=r"x.npz cannot be read as .npz file"):
        npz(tmp_path / "x.npz")


# CIFAR-10.

BATCHES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
PLANES = RNG.integers(0, 256, (6, 2, 3072), np.uint8)
LABELS = RNG.integers(0, 3, (6, 2))


def write_python(folder, protocol=2):
    folder.mkdir()
    for i, name in enumerate(BATCHES):
        batch = {b"data": PLANES[i], b"labels": LABELS[i].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    meta = {b"label_names": [b"cat", b"dog", b"owl"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    return folder


def write_bin(folder):
    folder.mkdir()
    for i, name in enumerate(BATCHES):
        records = np.concatenate([LABELS[i][:, None].astype(np.uint8), PLANES[i]], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("cat\ndog\nowl\n\n")
    return folder


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("read", "write", "name"),
    [
        (cifar_python, write_python, "cifar-10-batches-py"),
        (cifar_bin, write_bin, "cifar-10-batches-bin"),
    ],
)
def test_cifar_batches_become_rows_in_their_order(tmp_path, read, write, name, inside):
    folder = write(tmp_path / name)
    source = read(folder if inside else tmp_path)
    assert source.images.shape == (32, 32, 3)
    image = source.images.take(np.arange(12)).reshape(6, 2, 32, 32, 3)
    # The first 1,024 bytes are the red plane, row by row.
    np.testing.assert_array_equal(image[3, 1, 0, :, 0], PLANES[3, 1, :32])
    np.testing.assert_array_equal(image[3, 1, 2, 5, 1], PLANES[3, 1, 1024 + 2 * 32 + 5])
    np.testing.assert_array_equal(source.label_NxC.argmax(1), LABELS.ravel())
    assert source.label_names == ("cat", "dog", "owl")
    np.testing.assert_array_equal(np.flatnonzero(source.official["query"]), [10, 11])
    np.testing.assert_array_equal(source.official["train"], ~source.official["query"])


def test_a_batch_that_is_not_there_is_named(tmp_path):
    (write_python(tmp_path / "cifar-10-batches-py") / "data_batch_3").unlink()
    with pytest.raises(ValueError, match=r"lacks data_batch_3: set data.data_dir to cifar-10"):
        cifar_python(tmp_path)


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(ValueError, match=r"data_batch_1 cannot be read \(it asks for posix.mkdir"):
        cifar_python(tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2", b"", r"data_batch_2 cannot be read .*: unpack it afresh"),
        (
            "data_batch_2",
            pickle.dumps({b"data": PLANES[0, :, :7], b"labels": [0, 1]}),
            r"holds `data` uint8 \(2, 7\) and `labels` int64 \(2,\); wanted are uint8 \[N, 3072\]",
        ),
        (
            "data_batch_2",
            pickle.dumps({b"data": PLANES[0], b"labels": [0]}),
            r"`labels` int64 \(1,\)",
        ),
        ("batches.meta", pickle.dumps({}), r"batches.meta has no list `label_names`"),
    ],
)
def test_bad_python_batches_are_refused(tmp_path, name, content, message):
    (write_python(tmp_path / "cifar-10-batches-py") / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        cifar_python(tmp_path)


def test_a_cut_binary_batch_is_refused(tmp_path):
    folder = write_bin(tmp_path / "cifar-10-batches-bin")
    (folder / "test_batch.bin").write_bytes(b"0" * 3072)
    with pytest.raises(
        ValueError, match=r"test_batch.bin has 3,072 bytes; wanted is a multiple of 3,073"
    ):
        cifar_bin(tmp_path)


# IDX.


def write_idx(folder, zipped=False):
    parts = {"train": slice(0, 3), "t10k": slice(3, 4)}
    for stem, part in parts.items():
        image, label = IMAGE[part, ..., 0], NUMBERS[part].astype(np.uint8)
        for kind, axes, array in (("images", 3, image), ("labels", 1, label)):
            shape = np.array(array.shape, ">i4").tobytes()
            data = bytes((0, 0, 8, axes)) + shape + array.tobytes()
            name = f"{stem}-{kind}-idx{axes}-ubyte"
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_train_before_query(tmp_path, zipped):
    source = idx(write_idx(tmp_path, zipped))
    np.testing.assert_array_equal(source.images.take(np.arange(4)), IMAGE[..., :1])
    np.testing.assert_array_equal(source.label_NxC.argmax(1), NUMBERS)
    np.testing.assert_array_equal(source.official["query"], [False, False, False, True])
    assert source.label_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], r"train-images-idx3-ubyte begins with .* wanted is 00 00 08 03"),
        (lambda data: b"\0\0\x0d" + data[3:], r"begins with 00 00 0d 03"),
        (lambda data: b"", r"begins with  and has 0 bytes"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, change, message):
    path = write_idx(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        idx(tmp_path)


def test_idx_files_that_do_not_fit_or_are_not_there_are_named(tmp_path):
    folder = write_idx(tmp_path)
    labels = bytes((0, 0, 8, 1, 0, 0, 0, 2, 0, 1))
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(ValueError, match=r"train has images \(3, 5, 6\) and labels \(2,\)"):
        idx(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(
        ValueError, match=r"lacks train-labels-idx1-ubyte\[.gz\]: set data.data_dir"
    ):
        idx(folder)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"idx1-ubyte.gz cannot be read"):
        idx(folder)
