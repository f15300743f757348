"""Codes are made, annotated, searched and evaluated where TensorFlow is not installed."""

import subprocess
import sys

import numpy as np
import pytest
from commands import ROOT, environment, fresh
from PIL import Image

from dsh_jax.collection import image_codes
from dsh_jax.runs import exported

ABSENT = ("tensorflow", "tensorflow_datasets", "tensorboard", "clu")
EVERY_MODULE = """
import importlib, pkgutil, dsh_jax
names = [module.name for module in pkgutil.walk_packages(dsh_jax.__path__, "dsh_jax.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
LOADED = """
import sys, dsh_jax
print(dsh_jax.load(sys.argv[1]).encode(sys.argv[2:]).shape)
"""


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """Variables of a Python that has none of them: names of theirs stand before and fail."""
    place = tmp_path_factory.mktemp("absent")
    for name in ABSENT:
        (place / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n")
    return {"PYTHONPATH": f"{place}:{ROOT}"}


def run_python(program, without, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    env = environment() | without
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def test_no_module_imports_it_with_itself(without):
    assert int(run_python(EVERY_MODULE, without)) > 130


def test_codes_are_made_annotated_searched_and_read_back(folder, run, without, tmp_path):
    for row, image in enumerate(run.source.images.take(np.arange(6))):
        path = tmp_path / "photos" / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    codes = tmp_path / "codes.npz"
    flags = [f"--images={tmp_path / 'photos'}", f"--out={codes}", f"--annotate={tmp_path / 'with'}"]
    flags += [f"--export={tmp_path / 'model'}"]
    encoded = fresh("encode", f"--workdir={folder}", *flags, **without)
    assert encoded.returncode == 0, encoded.stderr
    found = image_codes.load(codes)
    paths = [str(tmp_path / "photos" / name) for name in found.names]
    wanted = exported.load(tmp_path / "model").encode(paths)
    np.testing.assert_array_equal(found.packed_NxW, wanted)

    flags = [f"--read_annotations={tmp_path / 'with'}", f"--out={tmp_path / 'again.npz'}"]
    again = fresh("encode", *flags, **without)
    assert again.returncode == 0, again.stderr
    np.testing.assert_array_equal(image_codes.load(tmp_path / "again.npz").packed_NxW, wanted)

    flags = [f"--index={codes}", f"--query={tmp_path / 'photos' / '3.png'}", "--k=2"]
    searched = fresh("search", f"--model={tmp_path / 'model'}", *flags, **without)
    assert searched.returncode == 0, searched.stderr
    assert "3.png" in searched.stdout
    shape = run_python(LOADED, without, tmp_path / "model", tmp_path / "photos" / "3.png")
    assert shape == "(1, 2)\n"


def test_codes_are_evaluated(without, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "query_code": rng.integers(0, 2, (6, 24), np.uint8),
        "query_label": np.arange(6) % 3,
        "database_code": rng.integers(0, 2, (40, 24), np.uint8),
        "database_label": np.arange(40) % 3,
    }
    np.savez(tmp_path / "codes.npz", **arrays)
    evaluated = fresh("evaluate", f"--codes={tmp_path / 'codes.npz'}", **without)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "map_within_radius_2" in evaluated.stdout


def test_what_needs_it_says_so(folder, without, tmp_path):
    flags = ["--config=configs/mnist.py:smoke", f"--workdir={tmp_path / 'run'}"]
    trained = fresh("train", *flags, **without)
    assert trained.returncode == 1
    assert "Traceback" not in trained.stderr
    assert "TensorFlow" in trained.stderr
    assert "pip install" in trained.stderr
