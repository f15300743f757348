"""Memory is asked for once, before a command starts, with its arguments as they were."""

import os
import subprocess
import sys

import pytest
from commands import ROOT

PROGRAM = (
    "import os, sys; from experiments import memory; memory.keep(); "
    "print(os.environ['GLIBC_TUNABLES'], os.getpid(), sys.argv[1:])"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these settings")


def started(**variables):
    env = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--a=1 2", "--b"],
        cwd=ROOT,
        env=env | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    text, _ = process.communicate()
    return process, text.strip()


@linux
def test_a_command_starts_again_with_memory_kept_in_the_same_process():
    process, text = started()
    assert process.returncode == 0
    assert text.startswith("glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:")
    assert text.endswith(f" {process.pid} ['--a=1 2', '--b']")


@linux
def test_settings_of_the_user_stay():
    _, text = started(GLIBC_TUNABLES="glibc.malloc.check=0")
    assert text.startswith("glibc.malloc.check=0 ")
