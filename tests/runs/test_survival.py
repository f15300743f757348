"""Runs that are killed, starved of disk, or started twice: nothing is lost, and all is said."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import endless_run
import pytest
import tiny
from absl import logging
from commands import ROOT
from damage import damage
from etils import epath
from speed import without_speed

from dsh_jax.runs import train
from dsh_jax.training import build
from dsh_jax.training.checkpoint import Checkpoints, digest
from dsh_jax.training.lock import locked
from dsh_jax.training.records import read_metrics
from experiments.console import REQUEUE

SUPPORT = epath.Path(__file__).parents[1] / "support"


def start(folder, variant):
    """Start a run as a process of its own."""
    command = [sys.executable, str(SUPPORT / "endless_run.py"), str(folder), variant]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["PYTHONPATH"] = str(ROOT)
    folder.parent.mkdir(exist_ok=True)
    log = (folder.parent / "log").open("a")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)


def end_of(folder, variant):
    """Return the last step, the digest of its state, and every record but its speed."""
    config = endless_run.config(variant)
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        saved = checkpoints.restore_latest(build.build(config).state_shapes)
    records = read_metrics(epath.Path(folder) / "metrics.jsonl")
    return saved.step, digest(saved.state), [without_speed(record) for record in records]


def wait_for(condition, process):
    """Wait until a condition holds or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.slow  # about six minutes
@pytest.mark.parametrize(("variant", "kills"), [("two_stage", 20), ("joint", 8)])
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_an_undisturbed_one(
    tmp_path, variant, kills
):
    assert start(tmp_path / "whole" / "run", variant).wait() == 0
    folder, rng, killed = tmp_path / "killed" / "run", random.Random(variant), 0
    while killed < kills:
        process = start(folder, variant)
        before = (
            (folder / "tensorboard").stat().st_mtime_ns if (folder / "tensorboard").exists() else 0
        )
        # Past the start: this process has opened its own event file.
        wait_for(
            lambda since=before: (
                (folder / "tensorboard").exists()
                and (folder / "tensorboard").stat().st_mtime_ns > since
            ),
            process,
        )
        time.sleep(rng.uniform(0, 1.5 if killed < kills - 1 else 0.2))
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.kill()
        process.wait()
        killed += 1
    assert start(folder, variant).wait() == 0
    assert killed >= kills // 2, "the run ended before it was killed often enough"
    print(f"{variant}: killed {killed} times")
    assert end_of(folder, variant) == end_of(tmp_path / "whole" / "run", variant)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.slow
def test_a_signal_ends_with_the_code_on_which_a_scheduler_starts_again(tmp_path, number):
    folder = tmp_path / "run"
    process = start(folder, "joint")
    wait_for(lambda: len(read_metrics(folder / "metrics.jsonl")) > 2, process)
    process.send_signal(number)
    assert process.wait() == REQUEUE
    assert start(folder, "joint").wait() == 0


def test_a_signal_before_there_is_anything_to_save_ends_with_that_code_too(tmp_path):
    flags = ["--config=configs/digits.py:smoke", f"--workdir={tmp_path / 'run'}"]
    process = subprocess.Popen([sys.executable, "-m", "experiments.train", *flags], cwd=ROOT)
    mask = 1 << (signal.SIGUSR2 - 1)

    def is_caught():
        lines = epath.Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return any(int(line.split()[1], 16) & mask for line in lines if line.startswith("SigCgt"))

    wait_for(is_caught, process)
    process.send_signal(signal.SIGUSR2)
    assert process.wait() == REQUEUE
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in one go, with records that are not at its checkpoints."""
    folder = epath.Path(tmp_path_factory.mktemp("whole")) / "run"
    config = tiny.joint(training__log_every_steps=4)
    assert train.train(config, folder, described=build.build(config))
    return folder


def records(folder):
    """Return the records without their speed, which is never the same."""
    return [without_speed(record) for record in read_metrics(folder / "metrics.jsonl")]


def test_records_do_not_tell_where_a_run_was_stopped(whole, tmp_path):
    config = tiny.joint(training__log_every_steps=4)
    run = build.build(config)
    for step in (1, 3, 6, 9):
        assert not train.train(config, tmp_path / "run", described=run, stop_step=step)
    assert train.train(config, tmp_path / "run", described=run)
    assert records(tmp_path / "run") == records(whole)


# Orbax leaves coroutines behind where it cannot read, which the garbage collector complains of.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped"])
def test_training_goes_on_before_a_damaged_checkpoint(whole, tmp_path, caplog, how):
    logging.get_absl_logger().propagate = True
    config = tiny.joint(training__log_every_steps=4)
    run = build.build(config)
    assert not train.train(config, tmp_path / "run", described=run, stop_step=7)
    damage(tmp_path / "run", 7, how)
    assert train.train(config, tmp_path / "run", described=run)
    assert any("checkpoints/7 is damaged" in message for message in caplog.messages)
    assert records(tmp_path / "run") == records(whole)


def test_a_start_that_was_killed_leaves_a_folder_that_can_be_used(tmp_path, whole):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "environment.json").write_text("{}")
    (folder / ".config.json.unfinished").write_text('{"se')
    config = tiny.joint(training__log_every_steps=4)
    assert train.train(config, folder, described=build.build(config))
    assert records(folder) == records(whole)


def test_two_processes_do_not_share_a_folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    with (
        locked(tmp_path / "run"),
        pytest.raises(ValueError, match=rf"in use by process {os.getpid()} on .*: wait for it"),
    ):
        train.train(tiny.joint(training__log_every_steps=4), tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file/run cannot be written \(.*\): choose another"):
        train.train(tiny.joint(), tmp_path / "file" / "run", described=build.build(tiny.joint()))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_said_and_loses_nothing(whole, small_disk):
    folder, config = small_disk / "run", tiny.joint(training__log_every_steps=4)
    run = build.build(config)
    assert not train.train(config, folder, described=run, stop_step=5)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    with pytest.raises(OSError, match=r"cannot be written|No space left"):
        train.train(config, folder, described=run)
    filler.unlink()
    assert train.train(config, folder, described=run)
    assert records(folder) == records(whole)
    assert json.loads((folder / "split.json").read_text())["hash"] == run.split.hash
