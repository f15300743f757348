"""One process holds a folder, whether or not its file system has locks."""

import errno
import os
import platform
import subprocess
import sys

import pytest
from etils import epath

from dsh_jax.training import lock


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without locks, whose processes are waited for in no time."""

    def refuse(*args):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "SILENCE", 0.5)


def hold(tmp_path, owner):
    (tmp_path / lock.HELD).write_text(owner)
    return epath.Path(tmp_path)


def test_a_folder_is_made_held_and_let_go(tmp_path):
    folder = tmp_path / "one" / "run"
    with lock.locked(folder):
        assert (folder / lock.LOCK).read_text() == f"process {os.getpid()} on {platform.node()}\n"
        with pytest.raises(ValueError, match=rf"run is in use by process {os.getpid()} on"):
            lock.locked(folder).__enter__()
    with lock.locked(folder):
        pass


@pytest.mark.usefixtures("no_flock")
def test_without_locks_a_second_process_is_refused(tmp_path):
    with lock.locked(tmp_path):
        with pytest.raises(ValueError, match=rf"is in use by process {os.getpid()} on"):
            lock.locked(tmp_path).__enter__()
        assert (tmp_path / lock.HELD).exists()
    assert not (tmp_path / lock.HELD).exists()
    with lock.locked(tmp_path):
        pass


@pytest.mark.usefixtures("no_flock")
def test_a_silent_process_of_another_machine_is_waited_for(tmp_path):
    folder = hold(tmp_path, "process 1 on elsewhere\n")
    with lock.locked(folder):
        assert (folder / lock.HELD).read_text().startswith(f"process {os.getpid()} ")
    assert [path.name for path in folder.iterdir()] == [lock.LOCK]


def test_an_ended_process_of_this_machine_is_not_waited_for(tmp_path, no_flock, monkeypatch):
    monkeypatch.setattr(lock, "SILENCE", 1e9)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with lock.locked(hold(tmp_path, f"process {ended.pid} on {platform.node()}\n")):
        pass


def test_other_errors_of_a_lock_are_raised(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        lock.locked(tmp_path).__enter__()
