"""Strict switches for every test: four forced devices, no silent rank promotion, no network."""

import os

# The number of host devices is fixed when JAX starts: this must stand before any import of it.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import gc
import pathlib
import shutil

import jax
import pytest
import tiny
from etils import epath

from dsh_jax import evaluate


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget compiled programs before there are too many.

    Each holds some of the 65,530 memory maps that Linux gives a process, which dies without more.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 25_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def quick():
    """Compile quickly, for every test of a module that uses this."""
    with tiny.quick_compilation():
        yield


@pytest.fixture(scope="module")
def run(quick):
    """What the tiny config describes."""
    return tiny.run()


@pytest.fixture(scope="module")
def folder(quick, tmp_path_factory):
    """A copy of a trained run, the module's own."""
    copy = epath.Path(tmp_path_factory.mktemp("trained")) / "run"
    shutil.copytree(tiny.finished_run(), copy)
    return copy


@pytest.fixture(scope="module")
def evaluation(run, folder):
    """The evaluation of that run."""
    return evaluate.evaluate_run(tiny.config(), run, folder)
