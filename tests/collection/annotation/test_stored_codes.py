"""A folder of images gives the codes in them; what is damaged or foreign is named and skipped."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from dsh_jax.collection import annotation, file_state, image_codes
from dsh_jax.collection.annotation import jpeg, xmp
from dsh_jax.collection.annotation.stored_codes import index_of

MODEL, OTHER = "0123456789abcdef", "f" * 16
RGB = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)


def picture(kind):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, kind)
    return buffer.getvalue()


def annotated(path, code=b"\x01\x00", *, bits=12, fingerprint=MODEL, kind="JPEG"):
    """Write an image with a code."""
    source = path.parent / ".source"
    source.write_bytes(picture(kind))
    annotation.annotate(source, path, code=code, bits=bits, fingerprint=fingerprint)
    source.unlink()


@pytest.fixture
def folder(tmp_path):
    """Two images with codes, two files without, and such that do not count."""
    (tmp_path / "b").mkdir()
    annotated(tmp_path / "b" / "1.png", b"\x01\x00", kind="PNG")
    annotated(tmp_path / "a.jpg", b"\x02\x00")
    (tmp_path / "c.webp").write_bytes(picture("WEBP"))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.jpg").write_bytes(b"\xff\xd8\xff no image")
    os.mkfifo(tmp_path / "pipe")  # waits for ever where it is read
    return tmp_path


def test_a_folder_gives_its_codes(folder):
    for path in (folder / "a.jpg", folder / "b" / "1.png"):
        os.utime(path, ns=(0, 10**18))
    found, notes = index_of(folder)
    image_codes.check(found)
    assert found.names == ("a.jpg", "b/1.png")
    np.testing.assert_array_equal(found.packed_NxW, np.array([[2, 0], [1, 0]], np.uint8))
    assert (found.bits, found.fingerprint, found.root) == (12, MODEL, str(folder))
    assert found.size_Nx2.tolist() == [[13, 9], [13, 9]]
    assert not found.failures
    assert notes == ("2 files have no code: c.webp, notes.txt.",)
    for name, state in zip(found.names, image_codes.states(found), strict=True):
        data = (folder / name).read_bytes()
        assert state == (len(data), 10**18, file_state.digest(data))
    assert index_of(folder, fingerprint=MODEL)[0].names == found.names


def with_values(**changed):
    """A JPEG whose annotation has these values."""
    values = {"code": "0100", "bits": "12", "model": MODEL, "version": "1"} | changed
    return jpeg.with_packet(picture("JPEG"), xmp.merge(None, values))


def with_packet(packet):
    return jpeg.with_packet(picture("JPEG"), packet)


def bad_files():
    good, other = with_values(), with_packet(xmp.EMPTY)
    end = 22 + int.from_bytes(other[22:24], "big")  # of the segment behind JFIF
    return {
        "cut in its head.jpg": (good[:200], "the file is damaged"),
        "cut in its pixels.jpg": (good[:-40], "image file is truncated"),
        "cut.png": (picture("PNG")[:-20], "the file is damaged or cut"),
        "cut.webp": (picture("WEBP")[:-20], "the file is damaged or cut"),
        "broken.jpg": (with_packet(b"<a><b></a>"), "not well-formed XML"),
        "no xmp.jpg": (with_packet(b"<a/>"), "has no rdf:RDF"),
        "another version.jpg": (with_values(version="2"), "version '2'"),
        "no digits.jpg": (with_values(code="01xx"), "the code '01xx'"),
        "other bits.jpg": (with_values(bits="99"), "2 bytes, but bits=99"),
        "named otherwise.jpg": (with_values(model="mine"), "of the model 'mine'"),
        "another model.jpg": (with_values(model=OTHER), "of the model ffff"),
        "two.jpg": (good[:20] + other[20:end] + good[20:], "2 XMP packets that differ"),
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_is_named_and_skipped_or_stopped_at(name, folder):
    data, why = bad_files()[name]
    (folder / name).write_bytes(data)
    found, _ = index_of(folder)
    assert found.names == ("a.jpg", "b/1.png")
    assert list(found.failures) == [name]
    assert why in found.failures[name]
    image_codes.save(folder / "codes.npz", found)
    with pytest.raises(ValueError, match=f"{name}: .*Leave --strict out to go on"):
        index_of(folder, strict=True)


def test_the_model_of_most_is_taken_however_the_files_are_sorted(folder):
    annotated(folder / "0.jpg", fingerprint=OTHER)
    found, _ = index_of(folder)
    assert (found.fingerprint, found.names) == (MODEL, ("a.jpg", "b/1.png"))
    assert (
        "of the model ffffffffffffffff, but wanted are 12 bits of 0123" in found.failures["0.jpg"]
    )
    found, _ = index_of(folder, fingerprint=OTHER)
    assert (found.fingerprint, found.names) == (OTHER, ("0.jpg",))
    assert "the one asked for" in found.failures["a.jpg"]
    annotated(folder / "z.jpg", fingerprint=OTHER)
    with pytest.raises(ValueError, match=r"holds 2 codes each of 12 bits of the model .* pass the"):
        index_of(folder)
    with pytest.raises(ValueError, match="holds no code of the model aaaa, but 4 of others"):
        index_of(folder, fingerprint="aaaa")


def test_files_that_cannot_be_opened_are_skipped(folder, monkeypatch):
    real = file_state.read_whole

    def refuse(path):
        if path.endswith("a.jpg"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(file_state, "read_whole", refuse)
    found, _ = index_of(folder)
    assert (found.names, found.failures) == (("b/1.png",), {"a.jpg": "Permission denied"})


def test_folders_without_codes_are_refused(tmp_path):
    (tmp_path / "some").mkdir()
    for number in range(6):
        (tmp_path / "some" / f"{number}.jpg").write_bytes(picture("JPEG"))
    with pytest.raises(
        ValueError,
        match=r"holds no image with a code. 6 files have no code: (\S+, ){5}…\. Annotate images",
    ):
        index_of(tmp_path / "some")
    (tmp_path / "some" / "torn.png").write_bytes(picture("PNG")[:-20])
    with pytest.raises(ValueError, match=r"1 cannot be read, such as torn\.png: byte"):
        index_of(tmp_path / "some")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image with a code. It holds no file. Annotate"):
        index_of(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"absent cannot be read \(No such file or directory\)"):
        index_of(tmp_path / "absent")
