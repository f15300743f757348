"""A folder held by one process alone: by the system's lock, or by a beating file without one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import threading
import time
from collections.abc import Iterator

from absl import logging
from etils import epath

LOCK = ".lock"
HELD = ".held"  # where the file system has no locks
BEAT = 10.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one, after which a process is taken for gone
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(workdir: epath.PathLike) -> Iterator[None]:
    """Hold a folder, which is made where it is not there, for this process alone.

    The lock is the system's: it goes when the process goes, however that ends. On a file system
    without such locks (Lustre without flock, NFS without its lock service) a file takes its place,
    which the process touches as long as it lives; one that is not touched for a minute counts no
    more.

    Args:
      workdir: the folder.

    Raises:
      ValueError: where another process holds it, or the folder cannot be written.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+")  # noqa: SIM115 (held until the end)
    except OSError as error:
        raise ValueError(
            f"the workdir {folder} cannot be written ({error.strerror}): choose another, or mend "
            "its rights."
        ) from error
    with file, contextlib.ExitStack() as stack:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _in_use(folder, file.read()) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logging.info("%s has no locks (%s): a file takes their place", folder, error.strerror)
            stack.enter_context(_beating(folder))
        file.truncate(0)
        file.write(_owner())
        file.flush()
        yield


def _owner() -> str:
    return f"process {os.getpid()} on {platform.node()}\n"


def _in_use(folder: epath.Path, owner: str) -> ValueError:
    return ValueError(
        f"{folder} is in use by {owner.strip() or 'another process'}: wait for it, stop it, or "
        "choose another workdir."
    )


@contextlib.contextmanager
def _beating(folder: epath.Path) -> Iterator[None]:
    """Hold a folder by a file that only one process can make, touching it again and again."""
    path = folder / HELD
    while not _made(path):
        _wait_for_silence(folder, path)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            with contextlib.suppress(OSError):  # the disk may be back at the next beat
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True, name="lock")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def _made(path: epath.Path) -> bool:
    """Return whether this process has made the file: it was not there."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with open(descriptor, "w") as file:
        file.write(_owner())
    return True


def _wait_for_silence(folder: epath.Path, path: epath.Path) -> None:
    """Remove the file of a process that is gone; raise a ValueError where it lives.

    Whether it is touched is seen by its own times: no two machines' clocks are compared.
    """
    try:
        owner, seen = path.read_text(), os.stat(path).st_mtime_ns
        until = time.monotonic() + SILENCE
        while not _is_gone(owner) and time.monotonic() < until:
            time.sleep(min(1.0, SILENCE / 10))
            if os.stat(path).st_mtime_ns != seen:
                raise _in_use(folder, owner)
        # Moved before it is removed: of two processes that wait, one alone can move it.
        gone = folder / f"{HELD}.{os.getpid()}.{platform.node()}"
        path.rename(gone)
        gone.unlink()
    except FileNotFoundError:
        return  # it was let go, or another process has found it first
    logging.warning("%s was held by %s, which is gone", folder, owner.strip() or "a process")


def _is_gone(owner: str) -> bool:
    """Return whether the owner was a process of this machine that has ended."""
    words = owner.split()
    if len(words) != 4 or words[3] != platform.node() or not words[1].isdigit():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
