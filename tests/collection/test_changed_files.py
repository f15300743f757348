"""What became of images that have codes; no more is read than must be."""

import os

import numpy as np
import pytest

from dsh_jax.collection import changed_files, file_state, image_codes
from dsh_jax.collection.image_codes import ImageCodes

OLD = 10**18
NAMES = ("a.jpg", "b/c.jpg", "d.jpg", "e.jpg")


@pytest.fixture
def found(tmp_path):
    """Codes of four files, which are there as they were."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, name.encode())
    codes = ImageCodes(
        packed_NxW=np.arange(4, dtype=np.uint8)[:, None],
        names=NAMES,
        size_Nx2=np.ones((4, 2), np.int32),
        bits=8,
        fingerprint="0123456789abcdef",
        root=str(tmp_path),
    )
    states = {name: file_state.read(str(tmp_path / name))[0] for name in NAMES}
    return image_codes.with_states(codes, states)


def write(path, data, mtime=OLD):
    path.write_bytes(data)
    os.utime(path, ns=(mtime, mtime))


def test_each_image_has_one_verdict(found, tmp_path):
    write(tmp_path / "a.jpg", b"replaced")
    (tmp_path / "b" / "c.jpg").unlink()
    os.utime(tmp_path / "d.jpg", ns=(OLD + 7, OLD + 7))
    review = changed_files.review(found, NAMES)
    assert review.changed == ("a.jpg",)
    assert review.vanished == {"b/c.jpg": "there is no such file"}
    state = file_state.FileState(5, OLD + 7, file_state.digest(b"d.jpg"))
    assert review.touched == {"d.jpg": state}
    assert (review.unknown, review.unsure) == ((), {})


def test_images_that_are_not_meant_are_only_looked_for(found, tmp_path, monkeypatch):
    write(tmp_path / "a.jpg", b"replaced")
    os.utime(tmp_path / "d.jpg", ns=(OLD + 7, OLD + 7))
    (tmp_path / "e.jpg").unlink()
    monkeypatch.setattr(file_state, "read", None)
    review = changed_files.review(found, ["b/c.jpg"])
    assert review == ((), (), {}, {"e.jpg": "there is no such file"}, {})


def test_only_a_hash_tells_of_a_change_with_the_same_size_and_time(found, tmp_path):
    write(tmp_path / "a.jpg", b"A.jpg")
    assert changed_files.review(found, NAMES) == ((), (), {}, {}, {})
    assert changed_files.review(found, NAMES, verify=True).changed == ("a.jpg",)


def test_nothing_is_read_where_size_and_time_tell(found, monkeypatch):
    monkeypatch.setattr(file_state, "read", None)
    assert changed_files.review(found, NAMES) == ((), (), {}, {}, {})


def test_of_files_that_nothing_was_kept_of_that_is_said(found):
    bare = found._replace(stat_Nx2=None, digest_Nx16=None)
    assert changed_files.review(bare, NAMES[1:]).unknown == NAMES[1:]


def test_a_file_that_cannot_be_read_has_neither_changed_nor_vanished(found, monkeypatch, tmp_path):
    os.utime(tmp_path / "a.jpg", ns=(0, 0))

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(file_state, "read", refuse)
    review = changed_files.review(found, NAMES)
    assert review == ((), (), {}, {}, {"a.jpg": "it cannot be read: Permission denied"})


def test_another_case_is_the_same_file_only_where_case_does_not_count(found, tmp_path, monkeypatch):
    names = ["A.jpg", "B/c.jpg", *NAMES[2:]]
    write(tmp_path / "A.jpg", b"a.jpg")  # beside a.jpg
    (tmp_path / "b").rename(tmp_path / "B")
    review = changed_files.review(found, names)
    assert review.vanished == {"b/c.jpg": "there is no such file"}
    # On a disk where case does not count, the old names are found, but not listed.
    (tmp_path / "a.jpg").unlink()
    real = os.stat

    def stat(path, **options):
        return real(str(path).replace("a.jpg", "A.jpg").replace("/b/", "/B/"), **options)

    monkeypatch.setattr(file_state.os, "stat", stat)
    review = changed_files.review(found, names)
    assert review.vanished == {"a.jpg": "it is A.jpg now", "b/c.jpg": "it is B/c.jpg now"}


def test_marks_are_words_about_what_a_reader_would_not_expect(found, tmp_path):
    assert changed_files.marks(found, [3, 0], found.root) == ["", ""]
    write(tmp_path / "a.jpg", b"replaced")
    (tmp_path / "d.jpg").unlink()
    os.utime(tmp_path / "e.jpg", ns=(0, 0))
    wanted = ["vanished: there is no such file", "changed since it was encoded", "", ""]
    assert changed_files.marks(found, [2, 0, 3, 1], found.root) == wanted
    # Where the whole folder is away, nothing is known.
    assert changed_files.marks(found, [2, 0], str(tmp_path / "away")) == ["", ""]
    bare = found._replace(stat_Nx2=None, digest_Nx16=None)
    assert changed_files.marks(bare, [2, 0], found.root) == [wanted[0], ""]
