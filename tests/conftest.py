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
import tempfile

import jax
import pytest
import tiny
from etils import epath

from dsh_jax.runs import evaluate

HERE = pathlib.Path(__file__).parent


def pytest_configure(config):
    """Keep slow compilations for every process of the tests; the first one makes the folder."""
    name = "JAX_COMPILATION_CACHE_DIR"
    if name not in os.environ:
        os.environ[name] = tempfile.mkdtemp(prefix="dsh_jax_compiled_")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(name), ignore_errors=True))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"  # of commands, too
    jax.config.update("jax_compilation_cache_dir", os.environ[name])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def pytest_collection_modifyitems(items):
    """Begin with what is compiled as users do, then with what trains for longest.

    So a process changes its compilation once, and none is left alone at the end.
    """
    longest = ("runs", "experiments", "training")

    def place(item):
        room = item.path.relative_to(HERE).parts[0]
        return item.get_closest_marker("optimized") is None, room not in longest

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def compilation(request):
    """Compile quickly, but as users do where numbers could depend on the order of additions.

    Forget programs compiled in the other way, and before there are too many: each holds some of the
    65,530 memory maps that Linux gives a process, which dies without more.
    """
    is_quick = request.node.get_closest_marker("optimized") is None
    if jax.config.values["jax_disable_most_optimizations"] != is_quick:
        jax.config.update("jax_disable_most_optimizations", is_quick)
        jax.clear_caches()
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 45_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def run():
    """What the tiny config describes."""
    return tiny.run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of a trained run, the module's own."""
    copy = epath.Path(tmp_path_factory.mktemp("trained")) / "run"
    shutil.copytree(tiny.finished_run(), copy)
    return copy


@pytest.fixture(scope="module")
def evaluation(run, folder):
    """The evaluation of that run."""
    return evaluate.evaluate_run(tiny.config(), run, folder)
