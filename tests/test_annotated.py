"""Copies that carry their codes make the index that the model made."""

import numpy as np
import pytest
from PIL import Image

from dsh_jax import annotated, annotation, image_codes
from dsh_jax.image_codes import ImageCodes

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
    return ImageCodes(
        packed_NxW=rng.integers(0, 256, (6, 2), np.uint8),
        names=names,
        size_Nx2=np.array([(9 + number, 8) for number in range(6)], np.int32),
        bits=16,
        fingerprint=MODEL,
        root=str(root),
    )


def test_copies_carry_codes_and_make_the_index_again(found, tmp_path):
    failures = annotated.annotate_files(found, tmp_path / "copies")
    assert failures.keys() == {"e.bmp"}
    index, notes = annotated.index_of(tmp_path / "copies", fingerprint=MODEL)
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
    failures = annotated.annotate_files(outside, tmp_path / "copies")
    assert failures["/elsewhere/a.jpg"] == "it lies outside of the images' folder"


def test_codes_of_another_model_are_refused(found, tmp_path):
    annotated.annotate_files(found, tmp_path / "copies")
    with pytest.raises(ValueError, match="model 0123456789abcdef, but wanted is ffff"):
        annotated.index_of(tmp_path / "copies", fingerprint="f" * 16)
