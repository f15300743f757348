"""A file that is another is known from one that is the same."""

import hashlib
import os

import pytest

from dsh_jax.collection import file_state
from dsh_jax.collection.file_state import FileState, Verdict

OLD = 10**18  # nanoseconds: September 2001


@pytest.fixture
def path(tmp_path):
    """A file that was changed long ago."""
    path = tmp_path / "a.jpg"
    write(path, b"one")
    return path


def write(path, data, mtime=OLD):
    path.write_bytes(data)
    os.utime(path, ns=(OLD, mtime))


def test_the_hash_is_blake2b(path):
    state, _ = file_state.read(str(path))
    assert state == FileState(3, OLD, hashlib.blake2b(b"one", digest_size=16).digest())
    assert file_state.digest(b"one") == state.digest
    assert file_state.read_whole(str(path)) == (state, b"one")


@pytest.mark.parametrize(
    ("data", "mtime", "verdict", "verified"),
    [
        (b"one", OLD, Verdict.SAME, Verdict.SAME),
        (b"one", OLD + 1, Verdict.TOUCHED, Verdict.TOUCHED),
        (b"two", OLD + 1, Verdict.CHANGED, Verdict.CHANGED),
        (b"three", OLD, Verdict.CHANGED, Verdict.CHANGED),
        (b"two", OLD, Verdict.SAME, Verdict.CHANGED),  # only its content tells
        (b"", OLD, Verdict.CHANGED, Verdict.CHANGED),
    ],
)
def test_verdicts(data, mtime, verdict, verified, path):
    kept, _ = file_state.read(str(path))
    write(path, data, mtime)
    found = file_state.compare(str(path), kept)
    assert found.verdict is verdict
    if verdict in (Verdict.SAME, Verdict.TOUCHED):
        assert found.state == kept._replace(mtime=mtime)
    assert file_state.compare(str(path), kept, verify=True).verdict is verified


def test_what_is_not_there_has_vanished_and_what_is_not_to_be_seen_has_not(path, monkeypatch):
    kept, _ = file_state.read(str(path))
    assert file_state.compare(str(path), file_state.UNKNOWN).verdict is Verdict.UNKNOWN
    below = file_state.compare(str(path / "b.jpg"), kept)
    assert below == (Verdict.VANISHED, "there is no such file", file_state.UNKNOWN)
    path.unlink()
    assert file_state.compare(str(path), kept).why == "there is no such file"
    path.symlink_to(path.parent / "away")
    assert file_state.compare(str(path), kept).verdict is Verdict.VANISHED
    path.unlink()
    path.mkdir()
    assert file_state.compare(str(path), kept)[:2] == (Verdict.VANISHED, "it is a folder now")
    path.rmdir()
    os.mkfifo(path)  # waits for ever where it is read
    assert file_state.compare(str(path), kept).why == "it is no regular file now"

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(file_state.os, "stat", refuse)
    found = file_state.compare(str(path), kept)
    assert found[:2] == (Verdict.UNSURE, "it cannot be looked at: Permission denied")


def test_a_link_is_the_file_that_it_leads_to(path, tmp_path):
    link = tmp_path / "link.jpg"
    link.symlink_to(path)
    kept, _ = file_state.read(str(link))
    other = tmp_path / "other.jpg"
    write(other, b"two", OLD + 5)
    assert file_state.compare(str(link), kept).verdict is Verdict.SAME
    link.unlink()
    link.symlink_to(other)
    assert file_state.compare(str(link), kept).verdict is Verdict.CHANGED


def test_the_time_of_a_file_that_was_just_written_is_not_trusted(path):
    path.write_bytes(b"one")
    kept, mark = file_state.read(str(path))
    assert kept.mtime == -1
    stat = os.stat(path)
    write(path, b"two", stat.st_mtime_ns)  # within one tick of a coarse clock
    assert file_state.compare(str(path), kept).verdict is Verdict.CHANGED
    assert not file_state.is_still(str(path), kept, mark)
    write(path, b"one", stat.st_mtime_ns)
    assert file_state.is_still(str(path), kept, mark)


def test_a_change_while_a_file_is_read_is_seen(path):
    kept, mark = file_state.read(str(path))
    assert file_state.is_still(str(path), kept, mark)
    os.chmod(path, 0o600)  # another mark, the same content
    assert file_state.is_still(str(path), kept, mark)
    write(path, b"two")  # the same size and time
    assert not file_state.is_still(str(path), kept, mark)
    path.unlink()
    assert not file_state.is_still(str(path), kept, mark)
