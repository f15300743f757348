"""CIFAR-10 in the files in which it is published."""

import io
import os
import pickle

import numpy as np
import pytest

from dsh_jax.data.cifar import cifar_bin, cifar_python, read_pickle

RNG = np.random.default_rng(0)


BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
CLASSES = [f"class{c}" for c in range(10)]


def cifar_batches():
    """Two images a batch, three in the last, which is the test batch."""
    image = RNG.integers(0, 256, (13, 32, 32, 3), np.uint8)
    label = RNG.integers(0, 10, 13)
    return image, label, np.split(np.arange(13), [2, 4, 6, 8, 10])


class Python2Pickler(pickle._Pickler):
    """Writes as Python 2 does: text and bytes in one way, and numpy's flags as integers."""

    def save(self, item, *args):
        if isinstance(item, (bytes, str)):
            item = item if isinstance(item, bytes) else item.encode()
            self.write(pickle.BINSTRING + len(item).to_bytes(4, "little") + item)
        else:
            super().save(int(item) if isinstance(item, bool) else item, *args)


def python_2_pickle(held):
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(held)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")


def write_python(folder, dump=python_2_pickle, text=str.encode):
    image, label, rows = cifar_batches()
    folder.mkdir()
    for name, own in zip((*BATCHES, "test_batch"), rows, strict=True):
        data = np.ascontiguousarray(image[own].transpose(0, 3, 1, 2).reshape(-1, 3072))
        held = {text("data"): data, text("labels"): label[own].tolist(), text("batch"): text("x")}
        (folder / name).write_bytes(dump(held))
    meta = {text("label_names"): [text(name) for name in CLASSES]}
    (folder / "batches.meta").write_bytes(dump(meta))
    return image, label


def write_binary(folder):
    image, label, rows = cifar_batches()
    folder.mkdir()
    for name, own in zip((*BATCHES, "test_batch"), rows, strict=True):
        data = image[own].transpose(0, 3, 1, 2).reshape(-1, 3072)
        record = np.concatenate([label[own, None].astype(np.uint8), data], axis=1)
        (folder / f"{name}.bin").write_bytes(record.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return image, label


def check_cifar(source, image, label):
    np.testing.assert_array_equal(source.images.image_NxHxWxC, image)
    np.testing.assert_array_equal(source.label_NxC.argmax(1), label)
    assert source.label_names == tuple(CLASSES)
    np.testing.assert_array_equal(source.official["query"], np.arange(13) >= 10)
    np.testing.assert_array_equal(source.official["train"], np.arange(13) < 10)


@pytest.mark.parametrize(
    ("dump", "text"),
    [
        (python_2_pickle, str.encode),
        (lambda held: pickle.dumps(held, 2), str.encode),
        (lambda held: pickle.dumps(held, 4), str),
    ],
)
def test_cifar_of_the_python_version(tmp_path, dump, text):
    image, label = write_python(tmp_path / "cifar-10-batches-py", dump, text)
    check_cifar(cifar_python(tmp_path), image, label)
    check_cifar(cifar_python(tmp_path / "cifar-10-batches-py"), image, label)


def test_cifar_of_the_binary_version(tmp_path):
    image, label = write_binary(tmp_path / "cifar-10-batches-bin")
    check_cifar(cifar_bin(tmp_path), image, label)
    check_cifar(cifar_bin(tmp_path / "cifar-10-batches-bin"), image, label)


def test_missing_files_of_cifar_are_named(tmp_path):
    write_python(tmp_path / "python")
    (tmp_path / "python" / "data_batch_3").unlink()
    (tmp_path / "python" / "batches.meta").unlink()
    with pytest.raises(
        ValueError, match=r"python lacks data_batch_3, batches.meta: set data.data_"
    ):
        cifar_python(tmp_path / "python")
    write_binary(tmp_path / "binary")
    (tmp_path / "binary" / "test_batch.bin").unlink()
    with pytest.raises(
        ValueError, match=r"binary lacks test_batch.bin: set data.data_dir to cifar"
    ):
        cifar_bin(tmp_path / "binary")


def test_a_binary_batch_that_is_cut_short_is_refused(tmp_path):
    write_binary(tmp_path / "binary")
    path = tmp_path / "binary" / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_2.bin has 6,145 bytes; .* multiple of 3,073"):
        cifar_bin(tmp_path / "binary")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            {"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]},
            r"`data` float32 \(2, 3072\)",
        ),
        ({"data": np.zeros((2, 3071), np.uint8), "labels": [0, 1]}, r"`data` uint8 \(2, 3071\)"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, r"`labels` int64 \(1,\); wanted"),
        (
            {"data": np.zeros((2, 3072), np.uint8)},
            r"`labels` object \(\); wanted are uint8 \[N, 30",
        ),
        ([1, 2], "data_batch_4 cannot be read"),
    ],
)
def test_a_pickled_batch_of_something_else_is_refused(tmp_path, held, message):
    write_python(tmp_path / "python")
    (tmp_path / "python" / "data_batch_4").write_bytes(pickle.dumps(held, 2))
    with pytest.raises(ValueError, match=message):
        cifar_python(tmp_path / "python")


def test_a_pickle_without_label_names_is_refused(tmp_path):
    write_python(tmp_path / "python")
    (tmp_path / "python" / "batches.meta").write_bytes(pickle.dumps({"names": []}))
    with pytest.raises(ValueError, match=r"batches.meta has no list `label_names`"):
        cifar_python(tmp_path / "python")


class Runs:
    """What a hostile pickle holds: to load it is to run a program."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_a_program_is_refused(tmp_path, protocol):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Runs(os.mkdir, str(tmp_path / "made"))}, protocol))
    with pytest.raises(ValueError, match=r"asks for (posix|nt).mkdir, which is no plain data"):
        read_pickle(path)
    assert not (tmp_path / "made").exists()
    path.write_bytes(pickle.dumps({"data": Runs(eval, "1")}, protocol))
    with pytest.raises(
        ValueError, match=r"asks for (__builtin__|builtins).eval, which is no plain"
    ):
        read_pickle(path)


def test_a_pickle_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": np.zeros(9, np.uint8)})[:-20])
    with pytest.raises(ValueError, match=r"batch cannot be read \(.*\): unpack it afresh"):
        read_pickle(path)
