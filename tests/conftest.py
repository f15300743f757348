"""Strict switches for every test: four forced devices, no silent rank promotion, no network."""

import os

# The number of host devices is fixed when JAX starts: this must stand before any import of it.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import shutil

import pytest
import tiny
from etils import epath

from dsh_jax import evaluate


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
