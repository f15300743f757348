"""Files as PyTorch writes them, made here without it: read in both forms, refused, damaged."""

import contextlib
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from dsh_jax.network.torch_file import DTYPES, MAGIC, read_torch


class Storage:
    """The numbers under a tensor."""

    def __init__(self, array, key):
        self.array, self.key = array, key


class Tensor:
    """A view of a storage; shape and strides may lie."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


@pytest.fixture(autouse=True)
def named(monkeypatch):
    """Modules under PyTorch's names, for a pickle to point at."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in DTYPES:
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_):
        raise AssertionError("the real function is not to be called")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


class Pickler(pickle.Pickler):
    """Writes tensors and storages as PyTorch does."""

    def __init__(self, file, *, is_zip):
        super().__init__(file, protocol=2)
        self.is_zip, self.storages = is_zip, {}

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj
        name = next(name for name, dtype in DTYPES.items() if dtype == obj.array.dtype)
        found = ("storage", getattr(sys.modules["torch"], name), obj.key, "cpu", obj.array.size)
        return found if self.is_zip else (*found, None)

    def reducer_override(self, obj):
        if not isinstance(obj, Tensor):
            return NotImplemented
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (obj.storage, obj.offset, obj.shape, obj.strides, False, OrderedDict())


def tensor(array, key):
    array = np.asarray(array)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    flat = np.lib.stride_tricks.as_strided(array, (array.size,), (array.itemsize,))
    return Tensor(Storage(flat, key), 0, array.shape, strides)


def zipped(found, **more):
    program, content = io.BytesIO(), io.BytesIO()
    pickler = Pickler(program, is_zip=True)
    pickler.dump(found)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model/data.pkl", program.getvalue())
        archive.writestr("model/byteorder", "little")
        for key, storage in pickler.storages.items():
            archive.writestr(f"model/data/{key}", storage.array.tobytes())
        for name, text in more.items():
            archive.writestr(f"model/{name}", text)
    return content.getvalue()


def in_pickles(found):
    content = io.BytesIO()
    for head in (MAGIC, 1001, {"little_endian": True}):
        pickle.dump(head, content, protocol=2)
    pickler = Pickler(content, is_zip=False)
    pickler.dump(found)
    pickle.dump(list(pickler.storages), content, protocol=2)
    for storage in pickler.storages.values():
        content.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())
    return content.getvalue()


FORMS = {"zip": zipped, "pickles": in_pickles}
forms = pytest.mark.parametrize("form", FORMS)


def read(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return read_torch(path)


@forms
def test_reads_every_type_shape_and_order(tmp_path, form):
    generator = np.random.default_rng(0)
    arrays = {
        "kernel": generator.normal(size=(2, 3, 3, 4)).astype("<f4"),
        "turned": generator.normal(size=(5, 3)).astype("<f8").T,
        "half": generator.normal(size=7).astype("<f2"),
        "brain": generator.normal(size=7).astype(ml_dtypes.bfloat16),
        "steps": np.array(12, "<i8"),
        "nothing": np.zeros((0, 3), "<f4"),
        "flags": np.array([True, False]),
        "bytes": np.arange(5, dtype="u1"),
    }
    tensors = OrderedDict((name, tensor(array, name)) for name, array in arrays.items())
    found = read(tmp_path, FORMS[form](tensors))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@forms
def test_tensors_may_share_their_numbers_and_begin_later(tmp_path, form):
    storage = Storage(np.arange(12, dtype="<f4"), "0")
    parts = {"head": Tensor(storage, 0, (4,), (1,)), "tail": Tensor(storage, 4, (2, 3), (3, 1))}
    found = read(tmp_path, FORMS[form](parts))
    np.testing.assert_array_equal(found["head"], [0, 1, 2, 3])
    np.testing.assert_array_equal(found["tail"], [[4, 5, 6], [7, 8, 9]])


@forms
@pytest.mark.parametrize("inner", ["state_dict", "model"])
def test_looks_into_what_training_programs_write(tmp_path, form, inner):
    whole = {"epoch": 3, inner: {"w": tensor(np.ones(2, "<f4"), "0")}, "name": "net"}
    assert list(read(tmp_path, FORMS[form](whole))) == ["w"]


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@forms
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(os.system, "touch {}/ran"), "system"),
        (Call(eval, "open('{}/ran', 'w')"), "eval"),
        (Call(getattr, OrderedDict, "clear"), "getattr"),
        (Call(np.zeros, 3), "zeros"),
    ],
)
def test_refuses_to_run_anything(tmp_path, form, call, name):
    text = [str(a).format(tmp_path) if isinstance(a, str) else a for a in call.arguments]
    content = FORMS[form]({"w": tensor(np.ones(2, "<f4"), "0"), "x": Call(call.function, *text)})
    with pytest.raises(ValueError, match=f"weights.pth is refused: it wants .*{name}"):
        read(tmp_path, content)
    assert not (tmp_path / "ran").exists()


@forms
def test_a_file_cut_anywhere_ends_in_an_error(tmp_path, form):
    content = FORMS[form]({"w": tensor(np.arange(50, dtype="<f4"), "0"), "b": 3})
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(ValueError, match=r"weights.pth is (no file of torch.save|refused)"):
            read(tmp_path, content[:length])


def test_bytes_changed_anywhere_end_in_an_error_or_in_arrays(tmp_path):
    content = in_pickles({"w": tensor(np.arange(50, dtype="<f4"), "0")})
    generator = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(content)
        changed[generator.integers(len(changed))] = generator.integers(256)
        with contextlib.suppress(ValueError):  # any other error fails
            found = read(tmp_path, bytes(changed))
            assert all(isinstance(array, np.ndarray) for array in found.values())


@forms
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (2, (3,), (1,)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2, 2), (-1, 1)),
        (0, (10**12,), (0,)),
        (0, (2,), (1, 1)),
        (0, ("2",), (1,)),
        (0.0, (2,), (1,)),
    ],
)
def test_a_tensor_that_lies_about_its_numbers_is_refused(tmp_path, form, offset, shape, strides):
    bad = Tensor(Storage(np.arange(4, dtype="<f4"), "0"), offset, shape, strides)
    with pytest.raises(ValueError, match=r"no file of torch\.save, or damaged"):
        read(tmp_path, FORMS[form]({"w": bad}))


def test_big_endian_and_foreign_archives_are_refused(tmp_path):
    good = {"w": tensor(np.ones(2, "<f4"), "0")}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(ValueError, match=r"no file of torch\.save"):
        read(tmp_path, content.getvalue())
    swapped = zipped(good).replace(b"little", b"bigbig")
    with pytest.raises(ValueError, match=r"no file of torch\.save"):
        read(tmp_path, swapped)


@forms
@pytest.mark.parametrize("found", [{}, {"epoch": 3}, [1, 2], 7])
def test_a_file_without_named_arrays_says_what_to_save(tmp_path, form, found):
    with pytest.raises(ValueError, match="save a model's state_dict"):
        read(tmp_path, FORMS[form](found))
