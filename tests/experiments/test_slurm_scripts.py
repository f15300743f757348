"""The scripts for Slurm, and processes that srun starts, on a real Slurm of this machine."""

import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import slurm_cluster
from commands import ROOT, environment
from etils import epath
from processes import SUPPORT, params_of, train_together

from dsh_jax.training.records import read_metrics
from experiments.console import REQUEUE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing() or "there"),
]
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}


def srun(folder, stop_step=0):
    """Train as two processes, each on a node of its own with two devices."""
    command = ["srun", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2", sys.executable]
    command += [str(SUPPORT / "endless_run.py"), str(folder), "short", str(stop_step)]
    env = environment() | TWO_DEVICES | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert ended.returncode == (REQUEUE if stop_step else 0), ended.stderr[-3000:]


def test_processes_that_srun_starts_train_what_one_process_does(cluster, tmp_path):
    folders = {name: tmp_path / name / "run" for name in ("one", "srun", "there", "back")}
    for folder in folders.values():
        folder.parent.mkdir()
    train_together(folders["one"], [4])
    srun(folders["srun"])
    # A checkpoint of either goes on in the other.
    srun(folders["there"], stop_step=6)
    train_together(folders["there"], [4])
    train_together(folders["back"], [4], stop_step=6)
    srun(folders["back"])
    wanted = params_of(folders["one"])
    for name in ("srun", "there", "back"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
            params_of(folders[name]),
            wanted,
        )
    records = [read_metrics(folders[name] / "metrics.jsonl") for name in ("one", "srun")]
    assert [r["step"] for r in records[0]] == [r["step"] for r in records[1]]


@pytest.fixture
def checkout(tmp_path):
    """A folder as the scripts expect it: the project, and its environment in .venv."""
    for name in ("dsh_jax", "configs", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "runs").mkdir()
    return tmp_path


def sbatch(checkout, script, *flags, **variables):
    """Queue a script with less than it asks for; return the job's number."""
    # The nodes of a cluster hold other variables than those that were here.
    env = environment() | TWO_DEVICES | {"CONFIG": "configs/digits.py:smoke"} | variables
    command = ["sbatch", "--parsable", "--gpus-per-node=2", "--cpus-per-task=2", "--mem=1G",
               "--time=10", "--signal=USR2@30", *flags]  # fmt: skip
    command.append(str(ROOT / "experiments" / "slurm" / script))
    queued = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert queued.returncode == 0, queued.stderr
    return queued.stdout.strip()


def wait_for_job(job, checkout):
    """Return the states in which a job, or each of an array, ended."""
    command = ["sacct", "--noheader", "--parsable2", "-X", "--format=State", "--jobs", job]
    end = time.monotonic() + 400
    while True:
        states = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[:-1]
        if states and not {"PENDING", "RUNNING", "REQUEUED", "COMPLETING"} & set(states):
            return states
        logs = "".join(path.read_text()[-2000:] for path in (checkout / "runs").glob("*.log"))
        assert time.monotonic() < end, f"{states}\n{logs}"
        time.sleep(0.5)


def logs_of(checkout):
    return "".join(path.read_text() for path in (checkout / "runs").glob("*.log"))


@pytest.mark.parametrize(("script", "nodes"), [("node.sbatch", 1), ("nodes.sbatch", 2)])
def test_scripts_of_one_run(cluster, checkout, script, nodes):
    job = sbatch(checkout, script, f"--nodes={nodes}", BATCH="64", WORKDIR="runs/one")
    assert wait_for_job(job, checkout) == ["COMPLETED"], logs_of(checkout)
    records = read_metrics(epath.Path(checkout / "runs" / "one") / "metrics.jsonl")
    assert sum("eval/map" in record for record in records) == 1
    assert (checkout / "runs" / "one" / "report.html").exists()


def test_script_of_an_array(cluster, checkout):
    sweep = {"SWEEP": "model.bits=8,12;seed=0", "WORKDIR": "runs/sweep"}
    job = sbatch(checkout, "array.sbatch", "--array=0-1", **sweep)
    assert wait_for_job(job, checkout) == ["COMPLETED", "COMPLETED"], logs_of(checkout)
    for bits in (8, 12):
        folder = epath.Path(checkout) / "runs" / "sweep" / f"model.bits={bits},seed=0"
        assert any("eval/map" in record for record in read_metrics(folder / "metrics.jsonl"))


def test_a_script_whose_run_is_stopped_queues_itself_again(cluster, checkout):
    job = sbatch(checkout, "node.sbatch", "--nodes=1", BATCH="64", WORKDIR="runs/one")
    metrics = epath.Path(checkout / "runs" / "one" / "metrics.jsonl")
    end = time.monotonic() + 200
    while not read_metrics(metrics):
        assert time.monotonic() < end, logs_of(checkout)
        time.sleep(0.1)
    subprocess.run(["scancel", "--signal=USR2", job], check=True)  # as --signal does before the end
    assert wait_for_job(job, checkout) == ["COMPLETED"], logs_of(checkout)
    said = logs_of(checkout)
    assert "SIGUSR2: saving after this step" in said
    assert "resuming " in said
    assert any("eval/map" in record for record in read_metrics(metrics))
