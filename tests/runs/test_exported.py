"""An export is the run: the same name, the same codes, with nothing of ours and with everything."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax.export
import numpy as np
import pytest
import safetensors
import tiny

from dsh_jax.evaluation.encode import encode_rows
from dsh_jax.runs import exported
from dsh_jax.training import build

ROWS = np.arange(100)
PACKAGES = ("jax", "jaxlib", "numpy", "numpy.libs", "flatbuffers", "ml_dtypes", "opt_einsum")
PACKAGES += ("scipy", "scipy.libs")


@pytest.fixture(scope="module")
def written(run, folder, tmp_path_factory):
    """The folder of an export."""
    out = tmp_path_factory.mktemp("export") / "model"
    assert str(exported.export_run(tiny.config(), run, folder, out)) == str(out)
    return out


@pytest.fixture(scope="module")
def encoder(run, folder):
    """The encoder of the run itself."""
    return exported.of_run(tiny.config(), run, folder)


@pytest.fixture(scope="module")
def wanted(run, encoder):
    """The codes of some of the run's images, as its evaluation computes them."""
    return encode_rows(run.encoder, encoder.variables, run.source, ROWS, batch=256).packed_NxW


def test_codes_are_those_of_the_evaluation(run, encoder, wanted):
    assert len(np.unique(wanted, axis=0)) > 1
    np.testing.assert_array_equal(encoder.encode(run.source.images.take(ROWS)), wanted)


def test_views_are_part_of_the_encoder_and_of_its_name(folder, encoder):
    config = tiny.config(evaluation__views=6)
    run = build.build(config)
    several = exported.of_run(config, run, folder)
    assert several.fingerprint != encoder.fingerprint
    image = run.source.images.take(ROWS)
    wanted = encode_rows(run.encoder, several.variables, run.source, ROWS, batch=50).packed_NxW
    np.testing.assert_array_equal(several.encode(image), wanted)
    assert (wanted != encoder.encode(image)).any()


def test_an_export_is_the_run(run, encoder, wanted, written):
    loaded = exported.load(written)
    for name in ("fingerprint", "shape", "bits", "fit", "label_names"):
        assert getattr(loaded, name) == getattr(encoder, name)
    assert loaded.label_names == tuple("0123456789")
    assert (written / "fingerprint.txt").read_text().strip() == loaded.fingerprint
    np.testing.assert_array_equal(loaded.encode(run.source.images.take(ROWS)), wanted)


def test_the_artifact_is_for_every_platform_and_batch(run, wanted, written):
    artifact = jax.export.deserialize(bytearray((written / exported.ARTIFACT).read_bytes()))
    assert artifact.platforms == exported.PLATFORMS
    for rows in (1, 7):
        image = run.source.images.take(ROWS[:rows])
        np.testing.assert_array_equal(artifact.call(image), wanted[:rows])


def test_the_example_needs_nothing_of_ours(run, wanted, written, tmp_path):
    copy, packages = tmp_path / "elsewhere", tmp_path / "packages"
    copy.mkdir()
    packages.mkdir()
    for name in (exported.ARTIFACT, "use_it.py"):
        shutil.copy(written / name, copy)
    for name in PACKAGES:
        (packages / name).symlink_to(pathlib.Path(np.__file__).parent.parent / name)
    np.save(copy / "images.npy", run.source.images.take(ROWS))
    program = f"""
import importlib.util, runpy, sys
sys.path.append({str(packages)!r})
assert not any(importlib.util.find_spec(name) for name in ("dsh_jax", "flax", "tensorflow"))
sys.argv = ["use_it.py", "images.npy", "codes.npy"]
runpy.run_path("use_it.py", run_name="__main__")
"""
    kept = ("PATH", "HOME", "JAX_PLATFORMS")
    process = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],  # without its site-packages
        cwd=copy,
        env={name: os.environ[name] for name in kept if name in os.environ},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "wants uint8[batch,32,32,1]" in process.stdout
    np.testing.assert_array_equal(np.load(copy / "codes.npy"), wanted)


def test_safetensors_are_the_same_arrays(encoder, written):
    with (
        np.load(written / "weights.npz") as weights,
        safetensors.safe_open(written / "weights.safetensors", "numpy") as same,
    ):
        assert set(same.keys()) == set(weights)
        for name, array in weights.items():
            np.testing.assert_array_equal(same.get_tensor(name), array, strict=True)
        assert same.metadata() == {"bits": "12", "fingerprint": encoder.fingerprint}


def test_weights_and_config_are_the_runs(encoder, folder, written):
    with np.load(written / "weights.npz") as weights:
        np.testing.assert_array_equal(
            weights["params/encoder/conv1_1/Conv_0/kernel"],
            encoder.variables["params"]["encoder"]["conv1_1"]["Conv_0"]["kernel"],
        )
    saved, ours = ((x / "config.json").read_text() for x in (written, folder))
    assert json.loads(saved) == json.loads(ours)


def test_a_folder_that_is_there_is_not_written_over(run, folder, written, tmp_path):
    with pytest.raises(ValueError, match="is there already: choose another folder"):
        exported.export_run(tiny.config(), run, folder, written)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is there already"):
        exported.export_run(tiny.config(), run, folder, tmp_path / "file")


def changed(written, tmp_path, name, data):
    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    if data is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(data)
    return copy


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("weights.npz", None, r"lacks weights\.npz: it is no export"),
        ("fingerprint.txt", b"f" * 16, "by its weights, but ffffffffffffffff by fingerprint"),
        (exported.ARTIFACT, b"torn", "is damaged"),
        ("config.json", b"{", "is damaged"),
        ("weights.npz", b"torn", "is damaged"),
    ],
)
def test_damage_is_said(name, data, message, written, tmp_path):
    with pytest.raises(ValueError, match=message):
        exported.load(changed(written, tmp_path, name, data))


def test_an_untrained_run_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        exported.of_run(tiny.config(), run, tmp_path)
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        exported.open_run(tmp_path)


def test_a_run_without_a_network_is_refused(folder, tmp_path):
    text = (folder / "config.json").read_text().replace('"method": "dhs"', '"method": "itq"')
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="is a run of itq, which hashes features"):
        exported.open_run(tmp_path)
