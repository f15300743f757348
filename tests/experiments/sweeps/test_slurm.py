"""A sweep as a job array of a real Slurm: a run that fails, one queued again, one cancelled."""

import json
import subprocess
import sys
import time

import pytest
import slurm_cluster
from commands import ROOT, SMALL, environment

from dsh_jax.training.records import read_metrics

pytest.importorskip("submitit")
pytestmark = [
    pytest.mark.slow,  # five minutes on two cores
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing() or "there"),
]
STEPS = 200


def arguments(workdir, *flags):
    """The sweep command of a tiny config."""
    small = SMALL | {"training.hashing_steps": STEPS, "training.log_every_steps": 10}
    sizes = [f"--config.{name}={value}" for name, value in small.items()]
    return [
        *(sys.executable, "-m", "experiments.sweep", "--config=configs/digits.py:smoke", *sizes),
        *(f"--workdir={workdir}", "--launcher=slurm", "--hours=0.5", "--cpus=2", *flags),
    ]


def wait_for(condition, process):
    """Wait until a condition holds; the process must still run."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def job_of(workdir, name):
    return json.loads((workdir / "jobs.json").read_text())[name]


def steps(workdir, name):
    records = read_metrics(workdir / name / "metrics.jsonl")
    return max((record["step"] for record in records), default=0)


def test_twelve_points_of_which_one_fails_and_one_is_queued_again(cluster, tmp_path):
    bits = ",".join(["8"] * 11 + ["0"])
    seeds = ",".join(map(str, range(12)))
    flags = (f"--sweep=model.bits={bits};seed={seeds}", "--config.sweep_kind=zip")
    command = arguments(tmp_path, *flags)
    moved, failed = "model.bits=8,seed=1", "model.bits=0,seed=11"
    started = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_for(lambda: 0 < steps(tmp_path, moved) < STEPS, started)
    subprocess.run(["scontrol", "requeue", job_of(tmp_path, moved)], check=True)
    stdout, stderr = started.communicate()
    assert started.returncode == 1, stderr

    assert "1 of 12 runs have no result:" in stdout
    assert f"- {failed}: failed, exit code 1: error: model.bits is 0; a code needs" in stdout
    assert stdout.count("  finished  ") == 11
    log = (tmp_path / "logs" / f"{moved}.log").read_text()
    assert log.count("\n$ ") == 2
    assert "SIGTERM: saving after this step" in log
    assert "resuming " in log
    assert steps(tmp_path, moved) == STEPS

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")}
    assert len(before) == 11
    again = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert again.returncode == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/metrics.jsonl")} == before
    starts = {p.name: p.read_text().count("\n$ ") for p in (tmp_path / "logs").glob("*.log")}
    assert sorted(starts.values()) == [1] * 10 + [2, 2]  # the moved one, the failed one
    assert starts[f"{failed}.log"] == 2


def test_a_cancelled_job_is_not_queued_again_and_the_same_command_ends_it(cluster, tmp_path):
    command = arguments(tmp_path, "--sweep=seed=0,1")
    queued = subprocess.run(
        [*command, "--nowait"], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert queued.returncode == 0, queued.stderr
    assert "2 of 2 runs are in the queue" in queued.stdout
    # The same command finds the jobs that are there.
    waiting = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_for(lambda: steps(tmp_path, "seed=0") > 0, waiting)
    subprocess.run(["scancel", job_of(tmp_path, "seed=0")], check=True)
    stdout, stderr = waiting.communicate()
    assert waiting.returncode == 1, stderr
    assert "- seed=0: stopped, after step " in stdout
    assert (tmp_path / "logs" / "seed=1.log").read_text().count("\n$ ") == 1

    again = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "resuming " in (tmp_path / "logs" / "seed=0.log").read_text()
