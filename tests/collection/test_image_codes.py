"""Codes of images come back from their file as they were, or are refused with the reason."""

import os

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from dsh_jax.collection import image_codes
from dsh_jax.collection.file_state import UNKNOWN, FileState
from dsh_jax.collection.image_codes import ImageCodes

MODEL = {"bits": 12, "fingerprint": "0123456789abcdef"}


def some(*names, value=0, failures=(), **changed):
    """Codes whose bytes are `value` and the row."""
    rows = len(names)
    packed = np.stack([np.arange(rows) + value, np.arange(rows) % 16], axis=1).astype(np.uint8)
    size = np.stack([np.arange(rows) + 100, np.arange(rows) + 50], axis=1).astype(np.int32)
    settings = MODEL | {"root": "/photos", "failures": dict(failures)} | changed
    return ImageCodes(packed, names, size, **settings)


def assert_same(found, wanted):
    assert found.names == wanted.names
    np.testing.assert_array_equal(found.packed_NxW, wanted.packed_NxW)
    np.testing.assert_array_equal(found.size_Nx2, wanted.size_Nx2)
    assert found[3:6] == wanted[3:6]
    assert dict(found.failures) == dict(wanted.failures)


def test_everything_comes_back(tmp_path):
    # A name with a line break, one that is not UTF-8, one longer than the others.
    names = "a.jpg", "b\nc.jpg", os.fsdecode(b"\xff.jpg"), "d/" + "e" * 300
    written = some(*names, failures={"ü.png": "it is empty"})
    image_codes.save(tmp_path / "codes.npz", written)
    assert_same(image_codes.load(tmp_path / "codes.npz"), written)
    assert [path.name for path in tmp_path.iterdir()] == ["codes.npz"]


def known(number):
    """A state whose three values are told by a number."""
    return FileState(100 + number, 10**18 + number, bytes([number]) * 16)


def test_states_of_files_come_back_and_stay_with_their_images(tmp_path):
    path = tmp_path / "codes.npz"
    old = image_codes.with_states(some("a", "b", "c"), {"a": known(1), "c": known(3)})
    image_codes.save(path, old)
    assert image_codes.states(image_codes.load(path)) == [known(1), UNKNOWN, known(3)]
    new = image_codes.with_states(
        some("d", "c", failures={"a": "it is empty"}), {"d": known(4), "c": known(9)}
    )
    joined = image_codes.append(path, new)
    assert joined.names == ("b", "c", "d")
    assert image_codes.states(joined) == [UNKNOWN, known(9), known(4)]
    joined = image_codes.join(joined, some("c"))  # of which nothing is known now
    assert image_codes.states(joined) == [UNKNOWN, UNKNOWN, known(4)]
    assert image_codes.states(image_codes.take(old, [2, 0])) == [known(3), known(1)]


def test_files_of_before_states_were_kept_are_read(tmp_path):
    image_codes.save(tmp_path / "new.npz", some("a", "b"))
    with np.load(tmp_path / "new.npz") as arrays:
        before = {name: x for name, x in arrays.items() if name not in ("stats", "digests")}
    np.savez(tmp_path / "old.npz", **before)
    found = image_codes.load(tmp_path / "old.npz")
    assert_same(found, some("a", "b"))
    assert image_codes.states(found) == [UNKNOWN, UNKNOWN]
    joined = image_codes.append(tmp_path / "old.npz", some("c"))
    assert image_codes.states(joined) == [UNKNOWN] * 3


def test_a_name_that_fails_and_has_a_code_again_comes_behind(tmp_path):
    parts = some("a", "b"), some(failures={"a": "torn"}), some("c"), some("a", value=50)
    joined = image_codes.join(*parts)
    assert (joined.names, joined.failures) == (("b", "c", "a"), {})
    assert joined.packed_NxW[:, 0].tolist() == [1, 0, 50]


def test_an_addition_that_stops_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "codes.npz"
    image_codes.save(path, some("a"))
    before = path.read_bytes()

    def stop(number):
        raise OSError("no space left")

    monkeypatch.setattr(image_codes.os, "fsync", stop)
    with pytest.raises(OSError, match="no space left"):
        image_codes.append(path, some("b"))
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert image_codes.append(path, some("b")).names == ("a", "b")
    assert [one.name for one in tmp_path.iterdir()] == ["codes.npz"]


def test_no_images_have_codes_too(tmp_path):
    nothing = image_codes.empty(**MODEL)
    assert nothing.packed_NxW.shape == (0, 2)
    image_codes.save(tmp_path / "codes.npz", nothing)
    assert_same(image_codes.load(tmp_path / "codes.npz"), nothing)


def test_of_a_name_that_both_have_the_newer_word_holds(tmp_path):
    old = some("a", "b", "c", failures={"d": "it is empty", "e": "it is empty"})
    new = some("d", "b", "f", value=100, failures={"c": "there is no such file"})
    image_codes.save(tmp_path / "codes.npz", old)
    joined = image_codes.append(tmp_path / "codes.npz", new)
    assert joined.names == ("a", "b", "d", "f")  # b keeps its row, c has lost its own
    np.testing.assert_array_equal(joined.packed_NxW, [[0, 0], [101, 1], [100, 0], [102, 2]])
    np.testing.assert_array_equal(joined.size_Nx2[:, 0], [100, 101, 100, 102])
    assert joined.failures == {"e": "it is empty", "c": "there is no such file"}
    assert_same(image_codes.load(tmp_path / "codes.npz"), joined)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcdefg")), min_size=2, max_size=4))
def test_joining_is_that_of_dicts(parts):
    codes = [some(*sorted(part), value=10 * i) for i, part in enumerate(parts)]
    wanted, joined = {}, codes[0]
    for i, part in enumerate(parts):
        wanted |= {name: 10 * i + row for row, name in enumerate(sorted(part))}
    for part in codes[1:]:
        joined = image_codes.check(image_codes.join(joined, part))
    assert dict(zip(joined.names, joined.packed_NxW[:, 0].tolist(), strict=True)) == wanted
    assert list(joined.names) == list(wanted)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fingerprint": "f" * 16}, "of 12 bits of the model ffffffffffffffff, but this model is"),
        ({"bits": 11}, "holds codes of 11 bits"),
        ({"root": "/other"}, "under /photos, those of the addition under /other"),
    ],
)
def test_codes_of_others_are_not_joined(changed, message, tmp_path):
    image_codes.save(tmp_path / "codes.npz", some("a"))
    before = (tmp_path / "codes.npz").read_bytes()
    with pytest.raises(ValueError, match=message):
        image_codes.append(tmp_path / "codes.npz", some("b", **changed))
    assert (tmp_path / "codes.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x._replace(packed_NxW=x.packed_NxW[:, :1]), r"packed_NxW is uint8 .* \(2, 2\)"),
        (lambda x: x._replace(packed_NxW=x.packed_NxW.astype(np.int8)), "packed_NxW is int8"),
        (lambda x: x._replace(size_Nx2=x.size_Nx2[:1]), r"size_Nx2 is int32 of shape \(1, 2\)"),
        (lambda x: x._replace(packed_NxW=x.packed_NxW | 16), "bits beyond bits=12"),
        (
            lambda x: image_codes.with_states(x, {})._replace(stat_Nx2=np.zeros((1, 2), int)),
            r"stat_Nx2 is int64 of shape \(1, 2\); 2 names .* int64 of shape \(2, 2\)",
        ),
        (lambda x: x._replace(stat_Nx2=np.zeros((2, 2), int)), "digest_Nx16 is object"),
        (lambda x: x._replace(names=("a", "a")), "'a' is there twice"),
        (lambda x: x._replace(failures={"b": "torn"}), "'b' is there twice"),
        (lambda x: x._replace(fingerprint="abc"), "fingerprint is 'abc'"),
    ],
)
def test_bad_codes_are_not_written(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        image_codes.save(tmp_path / "codes.npz", change(some("a", "b")))
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "codes.npz"
    with pytest.raises(ValueError, match=r"codes.npz cannot be read as codes of images"):
        image_codes.load(path)
    image_codes.save(path, some("a", "b"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"pass an \.npz of experiments"):
        image_codes.load(path)
    np.savez(path, train_code=np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"lacks packed, sizes, .* it holds train_code"):
        image_codes.load(path)
    np.savez(path, packed=[0], sizes=[0], text=np.zeros(3, np.uint8), bits=12, fingerprint="x")
    with pytest.raises(ValueError, match="is damaged"):
        image_codes.load(path)
