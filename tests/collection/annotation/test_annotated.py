"""Copies that carry their codes are those of the pictures that were encoded."""

import os

import numpy as np
import pytest
from etils import epath
from PIL import Image

from dsh_jax.collection import annotation, file_state, image_codes
from dsh_jax.collection.annotation import annotated, stored_codes
from dsh_jax.collection.image_codes import ImageCodes

MODEL = "0123456789abcdef"


@pytest.fixture
def found(tmp_path):
    """Codes of six pictures, one of them of a kind that cannot carry a code."""
    rng = np.random.default_rng(0)
    names = ("a.jpg", "b.png", "c/d.webp", "e.bmp", "f.png", "g.jpg")
    root = tmp_path / "pictures"
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 9 + number, 3), np.uint8)
        Image.fromarray(pixels).save(root / name)
        age(root / name)
    found = ImageCodes(
        packed_NxW=rng.integers(0, 256, (6, 2), np.uint8),
        names=names,
        size_Nx2=np.array([(9 + number, 8) for number in range(6)], np.int32),
        bits=16,
        fingerprint=MODEL,
        root=str(root),
    )
    return image_codes.with_states(
        found, {name: file_state.read(str(root / name))[0] for name in names}
    )


def age(path, seconds=0):
    """Make a file one that was changed long ago."""
    os.utime(path, ns=(10**18 + seconds * 10**9,) * 2)


def replace(path, seconds=1):
    """Put another picture under a name."""
    Image.fromarray(np.full((8, 8, 3), seconds, np.uint8)).save(path)
    age(path, seconds)


def test_copies_carry_codes_and_make_the_index_again(found, tmp_path):
    copies = annotated.annotate_files(found, tmp_path / "copies")
    assert copies.failures.keys() == {"e.bmp"}
    assert (copies.whole, copies.stale, copies.vanished, copies.mended) == (5, {}, {}, {})
    index, notes = stored_codes.index_of(tmp_path / "copies", fingerprint=MODEL)
    assert notes == ()
    kept = [row for row, name in enumerate(found.names) if name != "e.bmp"]
    assert index.names == tuple(found.names[row] for row in kept)
    np.testing.assert_array_equal(index.packed_NxW, found.packed_NxW[kept])
    np.testing.assert_array_equal(index.size_Nx2, found.size_Nx2[kept])
    image_codes.check(index)
    for name in index.names:
        first, copy = (Image.open(f"{root}/{name}") for root in (found.root, index.root))
        np.testing.assert_array_equal(np.asarray(first), np.asarray(copy))


def test_the_same_call_writes_only_what_is_missing_or_of_another_code(found, tmp_path):
    copies = tmp_path / "copies"
    annotated.annotate_files(found, copies)
    before = {path: path.stat().st_mtime_ns for path in copies.rglob("*.*g")}
    (copies / "a.jpg").unlink()
    changed = found.packed_NxW.copy()
    changed[4] ^= 255
    annotated.annotate_files(found._replace(packed_NxW=changed), copies)
    after = {path: path.stat().st_mtime_ns for path in copies.rglob("*.*g")}
    same = {path.name for path in before if before[path] == after[path]}
    assert same == {"b.png", "g.jpg"}
    assert annotation.read(copies / "f.png").code == changed[4].tobytes()


def test_originals_are_never_written_over(found, tmp_path):
    with pytest.raises(ValueError, match="holds the images themselves"):
        annotated.annotate_files(found, found.root)
    outside = found._replace(names=("/elsewhere/a.jpg", *found.names[1:]))
    failures = annotated.annotate_files(outside, tmp_path / "copies").failures
    assert failures["/elsewhere/a.jpg"] == "it lies outside of the images' folder"


def test_vanished_images_are_named_and_the_others_copied(found, tmp_path):
    root, copies = tmp_path / "pictures", tmp_path / "copies"
    annotated.annotate_files(found, copies)
    (root / "a.jpg").unlink()
    (root / "b.png").unlink()
    (root / "b.png").mkdir()
    (copies / "g.jpg").unlink()
    made = annotated.annotate_files(found, copies)
    assert made.vanished == {"a.jpg": "there is no such file", "b.png": "it is a folder now"}
    assert made.whole == 3
    assert made.stale == {}
    # A copy of an image that is gone is the last one.
    assert annotation.read(copies / "a.jpg").code == found.packed_NxW[0].tobytes()
    assert annotation.read(copies / "g.jpg").code == found.packed_NxW[5].tobytes()


def test_only_the_picture_that_was_encoded_is_copied(found, tmp_path):
    root, copies = tmp_path / "pictures", tmp_path / "copies"
    annotated.annotate_files(found, copies)
    before = (copies / "a.jpg").read_bytes()
    (copies / "f.png").unlink()
    replace(root / "a.jpg")
    replace(root / "f.png")
    age(root / "b.png", seconds=7)  # the same picture
    made = annotated.annotate_files(found, copies)
    assert made.stale.keys() == {"a.jpg", "f.png"}
    assert made.stale["a.jpg"].startswith("it has changed since it was encoded: encode it again")
    assert made.whole == 3
    assert (copies / "a.jpg").read_bytes() == before
    assert not (copies / "f.png").exists()


def test_a_picture_of_the_same_size_and_time_is_found_out_before_it_is_written(found, tmp_path):
    data = (tmp_path / "pictures" / "a.jpg").read_bytes()
    (tmp_path / "pictures" / "a.jpg").write_bytes(data[:-2] + b"\xff\xd8")
    age(tmp_path / "pictures" / "a.jpg")
    made = annotated.annotate_files(found, tmp_path / "copies")
    assert list(made.stale) == ["a.jpg"]
    assert not (tmp_path / "copies" / "a.jpg").exists()


def test_another_picture_with_the_same_code_is_copied_anew(found, tmp_path):
    root, copies = tmp_path / "pictures", tmp_path / "copies"
    annotated.annotate_files(found, copies)
    replace(root / "b.png")
    state, _ = file_state.read(str(root / "b.png"))
    annotated.annotate_files(image_codes.with_states(found, {"b.png": state}), copies)
    with Image.open(copies / "b.png") as copy:
        assert copy.size == (8, 8)


def test_damaged_copies_and_those_of_before_are_replaced(found, tmp_path):
    copies = tmp_path / "copies"
    annotated.annotate_files(found, copies)
    wanted = {path: path.read_bytes() for path in copies.rglob("*.*g")}
    (copies / "a.jpg").write_bytes(wanted[copies / "a.jpg"][:100])
    (copies / "f.png").write_bytes(b"text")
    annotation.annotate(  # without the hash of its image
        tmp_path / "pictures" / "b.png",
        copies / "b.png",
        code=found.packed_NxW[1],
        bits=16,
        fingerprint=MODEL,
    )
    assert annotated.annotate_files(found, copies).whole == 5
    assert {path: path.read_bytes() for path in copies.rglob("*.*g")} == wanted


def test_codes_without_a_hash_are_not_written(found, tmp_path):
    bare = found._replace(stat_Nx2=None, digest_Nx16=None)
    made = annotated.annotate_files(bare, tmp_path / "copies")
    assert made.stale.keys() == set(found.names)
    assert made.stale["a.jpg"] == "no hash of what was encoded was kept: encode it again"
    assert not list((tmp_path / "copies").rglob("*.*"))


def test_one_file_that_cannot_be_read_or_written_does_not_stop_the_others(
    found, tmp_path, monkeypatch
):
    copies = tmp_path / "copies"
    (copies / "b.png").mkdir(parents=True)  # in the way
    (copies / "c").write_text("in the way")

    def refuse(path):
        if path.name == "g.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = type(epath.Path(copies)).read_bytes
    monkeypatch.setattr(type(epath.Path(copies)), "read_bytes", refuse)
    made = annotated.annotate_files(found, copies)
    assert made.stale.keys() == {"b.png", "c/d.webp", "g.jpg"}
    assert "Permission denied" in made.stale["g.jpg"]
    assert made.whole == 2
    assert [path.name for path in copies.rglob(".*")] == []


def test_a_disk_that_is_full_ends_it(found, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(type(epath.Path(tmp_path)), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        annotated.annotate_files(found, tmp_path / "copies")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file: name a folder for copies"):
        annotated.annotate_files(found, tmp_path / "file")
