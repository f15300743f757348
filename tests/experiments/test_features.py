"""The command that writes features, as a user types it."""

import numpy as np
import pytest
from commands import command, last_line

from dsh_jax.data import sources
from dsh_jax.methods import features

DIGITS = "--config=configs/digits.py"


def test_pixels_of_a_data_set_are_written_in_its_order(tmp_path):
    out = tmp_path / "pixels.npy"
    process = command("features", DIGITS, "--kind=pixels", f"--out={out}")
    assert process.returncode == 0, process.stderr
    digits = sources.digits()
    assert f"{out}: pixels, 1,797 rows of 1,024 numbers" in last_line(process.stdout)
    assert f"data {digits.fingerprint}" in process.stdout
    wanted = digits.images.take(np.arange(1797)).reshape(1797, -1) / np.float32(255)
    np.testing.assert_allclose(features.load_features(out, 1797), wanted, rtol=1e-6)


def test_fc7_of_a_run_is_written(folder, tmp_path):
    out = tmp_path / "encoder.npy"
    process = command("features", f"--workdir={folder}", "--kind=encoder", f"--out={out}")
    assert process.returncode == 0, process.stderr
    found = features.load_features(out, 1797)
    assert found.shape == (1797, 8)  # fc_dim of the run
    assert found.min() == 0
    assert found.std() > 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ([DIGITS, "--kind=gist", "--weights=x.mat"], "--kind=gist: leave out --weights"),
        (["--kind=encoder", "--workdir=absent"], "absent holds no config.json"),
    ],
)
def test_flags_that_do_not_fit_are_one_clear_line(flag, message, tmp_path):
    process = command("features", *flag, f"--out={tmp_path / 'features.npy'}")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert message in last_line(process.stderr)
    assert not list(tmp_path.iterdir())
