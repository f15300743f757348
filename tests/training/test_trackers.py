"""What follows a run holds what was written, read back from the real back ends."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from commands import ROOT
from etils import epath

from dsh_jax.training import trackers, writers

IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run of a sweep."""
    folder = epath.Path(tmp_path) / "bits sweep" / "0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"seed": 3, "model": {"bits": 48}}))
    return folder


def follow(folder, names, monkeypatch):
    """Write everything there is, with a resume that repeats a step."""
    monkeypatch.setenv(trackers.VARIABLE, names)
    for steps in ((1, 2, 3), (3, 4)):
        writer = writers.Writers(*trackers.opened(folder))
        for step in steps:
            writer.write_scalars(step, {"train/loss": np.float32(step / 4)})
        writer.write_images(4, {"Query, 5 nearest": IMAGE})
        writer.write_histograms(4, {"eval/bcoding": np.linspace(0, 1, 100)})
        writer.close()


def test_nothing_follows_a_run_unless_it_is_asked_for(folder, monkeypatch):
    monkeypatch.delenv(trackers.VARIABLE, raising=False)
    assert trackers.opened(folder) == []
    assert [path.name for path in folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("wandb,nobody", "DSH_JAX_TRACKERS names nobody; known: wandb, mlflow"),
        ("mlflow", r"names mlflow, which cannot be imported .*: pip install -e \.\[mlflow\]"),
    ],
)
def test_who_is_unknown_or_absent_is_one_clear_error(folder, monkeypatch, names, message):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv(trackers.VARIABLE, names)
    with pytest.raises(ValueError, match=message):
        trackers.opened(folder)


@pytest.mark.filterwarnings("ignore")  # of what MLflow imports
def test_mlflow_holds_the_run_once_with_its_settings_numbers_and_pictures(folder, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: .[mlflow]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    follow(folder, "mlflow", monkeypatch)
    client = mlflow.MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    group = client.get_experiment_by_name("bits sweep")
    (run,) = client.search_runs([group.experiment_id])
    assert run.info.run_name == "0"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "3", "model.bits": "48"}
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert {one.step: one.value for one in history} == {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}
    assert list(pathlib.Path(folder.parent, "mlflow").rglob("*.png"))


OF_A_SWEEP = """
import sys
from etils import epath
from dsh_jax.training import trackers
folder = epath.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / "config.json").write_text('{"seed": 1}')
(writer,) = trackers.opened(folder)
for step in range(20):
    writer.write_scalars(step, {"train/loss": 1.0})
writer.close()
"""


@pytest.mark.filterwarnings("ignore")  # of what MLflow imports
def test_runs_of_a_sweep_may_start_at_once(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: .[mlflow]")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    env |= {trackers.VARIABLE: "mlflow", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", OF_A_SWEEP]
    runs = [
        subprocess.Popen([*command, str(sweep / str(n))], cwd=ROOT, env=env, stderr=subprocess.PIPE)
        for n in range(3)
    ]
    for run in runs:
        _, said = run.communicate()
        assert run.returncode == 0, said
    client = mlflow.MlflowClient(f"sqlite:///{sweep / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("sweep").experiment_id])
    assert sorted(run.info.run_name for run in found) == ["0", "1", "2"]


@pytest.mark.filterwarnings("ignore")  # of what wandb imports
def test_wandb_keeps_the_run_in_its_folder(folder, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: .[wandb]")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    follow(folder, "wandb", monkeypatch)
    name = (folder / trackers.ID).read_text()
    files = sorted((folder / "wandb").glob(f"offline-run-*/run-{name}.wandb"))
    assert files  # one for each start, or one where both fell in the same second
    written = b"".join(path.read_bytes() for path in files)
    for part in (b"bits sweep", b"model.bits", b"train/loss", b"eval/bcoding", b"Query, 5 nearest"):
        assert part in written, part
    assert list(pathlib.Path(folder, "wandb").rglob("*.png"))
