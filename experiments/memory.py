"""Memory that a process keeps: on Linux, where each step takes gigabytes and gives them back.

The C library hands large blocks back to the system as soon as they are free, and the system clears
every page of 4 KiB that it lends again. A training step on a CPU spends much of its time so. Kept
and lent in pages of 2 MiB, memory costs next to nothing. It can only be asked for before a program
starts.
"""

import os
import sys

GIB = 2**30
TUNABLES = {
    "hugetlb": 1,  # ask for large pages
    "mmap_max": 0,  # no block of its own from the system for a large array
    "trim_threshold": 64 * GIB,  # keep what is free
    "top_pad": GIB // 4,  # take more than is wanted
    "arena_max": 1,  # one pool for all threads
}


def keep() -> None:
    """Start this command again with memory kept, unless GLIBC_TUNABLES is set, even to nothing."""
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
        return
    settings = (f"glibc.malloc.{name}={value}" for name, value in TUNABLES.items())
    os.environ["GLIBC_TUNABLES"] = ":".join(settings)
    os.execv(sys.executable, sys.orig_argv)
