"""The sweep command: what it prints, runs, leaves out and collects."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import tiny
from commands import FORCED, ROOT, SMALL, command, last_line
from etils import epath
from sweeping import SIZES, rows_of

from configs import digits
from dsh_jax import parallel
from dsh_jax.training import records, run_folder, writers
from experiments.console import REQUEUE
from experiments.sweeps import local, slurm
from experiments.sweeps import runs as sweep_runs
from experiments.sweeps.local import Local
from experiments.sweeps.runs import Run, drive, is_finished, make_run
from experiments.sweeps.search import Search
from experiments.sweeps.slurm import Slurm
from experiments.sweeps.status import log_lines, read_record, status_row


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(sweep_runs, "EVERY", 0.02)
    monkeypatch.setattr(slurm, "LOOK", 0.1)


def python_run(folder, name, code):
    """A run whose command is a line of Python."""
    folder = epath.Path(folder)
    return Run(
        name=name,
        point={"seed": 0},
        command=[sys.executable, "-c", code],
        folder=folder / name,
        log=folder / "logs" / f"{name}.log",
        end=folder / "logs" / f"{name}.end",
    )


def drive_all(launcher, runs, jobs):
    """Return how each run ended, and the most that ran at a time."""
    waiting, ends, most = list(runs), {}, [0]

    def next_runs(free):
        new = waiting[:free]
        del waiting[:free]
        return new

    drive(
        launcher,
        next_runs,
        lambda one, how: ends.update({one.name: how}),
        jobs=jobs,
        show=lambda launcher: most.append(len(launcher.running)),
    )
    return ends, max(most)


def test_print_is_what_a_person_would_type(tmp_path):
    file = tmp_path / "swept.py"
    file.write_text(
        "from configs import mnist\n\n\ndef get_config(variant):\n"
        "    config = mnist.get_config(variant)\n"
        "    groups = ((1,) * 5, (2,) * 5)\n"
        "    config.sweep = (('model.bits', (12,)), ('model.convs_per_group', groups))\n"
        "    return config\n"
    )
    flags = [f"--config={file}:modern", "--config.loss.z=0.5", f"--workdir={tmp_path}/sweep"]
    shown = command("sweep", *flags)
    assert shown.returncode == 0, shown.stderr
    lines = [shlex.split(line) for line in shown.stdout.splitlines()]
    assert lines[1] == [
        *("python", "-m", "experiments.train", f"--config={file}:modern"),
        *("--config.loss.z=0.5", "--config.sweep=()", "--config.model.bits=12"),
        "--config.model.convs_per_group=(2, 2, 2, 2, 2)",
        f"--workdir={tmp_path}/sweep/model.bits=12,model.convs_per_group=2+2+2+2+2",
    ]
    assert len(lines) == 2
    assert not (tmp_path / "sweep").exists()


def test_a_mistake_is_one_clear_line(tmp_path):
    flags = ["--config=configs/digits.py:smoke", f"--workdir={tmp_path}", "--sweep=model.bit=12"]
    shown = command("sweep", *flags)
    assert shown.returncode == 1
    wanted = "error: the config has no 'model.bit'; did you mean model.bits"
    assert last_line(shown.stderr).startswith(wanted)
    assert "Traceback" not in shown.stderr


FAILURE = "exit code 1: error: model.bits is 0; a code needs at least 1 bit, e.g. 48."
ONE_FAILS = ["--config=configs/digits.py:smoke", *SIZES, "--sweep=model.bits=8,0",
             "--launcher=local", "--jobs=2"]  # fmt: skip


def test_local_sweep_runs_what_is_not_finished_and_reports_its_failure(tmp_path):
    folder = epath.Path(tmp_path)
    config = digits.get_config("smoke")
    config.update_from_flattened_dict(SMALL | {"model.bits": 8})
    write_result(folder, "model.bits=8", config, **{"eval/map": 0.5, "eval/accuracy": 0.25})
    shown = command("sweep", *ONE_FAILS, f"--workdir={folder}")
    assert shown.returncode == 1, shown.stderr
    assert f"- model.bits=0: failed, {FAILURE}\n" in shown.stdout
    assert "| 8 | 1 | 0.5000 |\n" in shown.stdout
    assert (folder / "sweep.md").read_text() in shown.stdout
    assert {path.name for path in (folder / "logs").iterdir()} == {
        *("model.bits=0.log", "model.bits=0.end")
    }
    finished, failed = rows_of(folder)
    assert [finished["state"], finished["reason"]] == ["finished", ""]
    assert [finished["eval/map"], finished["eval/accuracy"]] == ["0.5", "0.25"]
    assert [failed["state"], failed["reason"], failed["eval/map"]] == ["failed", FAILURE, ""]
    assert (folder / "sweep.png").stat().length > 10_000

    # The folder alone tells the same.
    table = (folder / "sweep.csv").read_text()
    (folder / "sweep.csv").unlink()
    again = command("sweep", f"--workdir={folder}", "--collect")
    assert again.returncode == 0, again.stderr
    assert (folder / "sweep.csv").read_text() == table


@pytest.mark.slow  # a minute
def test_local_sweep_trains_and_then_leaves_its_results_alone(tmp_path):
    folder = epath.Path(tmp_path)
    first = command("sweep", *ONE_FAILS, f"--workdir={folder}")
    assert first.returncode == 1, first.stderr
    assert "model.bits=8  finished  20  0." in first.stdout
    (record,) = (r for r in records.read_metrics(folder / "model.bits=8" / "metrics.jsonl")
                 if "eval/map" in r)  # fmt: skip
    assert float(rows_of(folder)[0]["eval/map"]) == record["eval/map"]

    again = command("sweep", *ONE_FAILS, f"--workdir={folder}")
    assert again.returncode == 1
    starts = {path.name: path.read_text().count("\n$ ") for path in (folder / "logs").glob("*.log")}
    assert starts == {"model.bits=8.log": 1, "model.bits=0.log": 2}


def test_runs_end_by_their_exit_codes_and_not_more_at_a_time_than_jobs(tmp_path):
    codes = {"good": 0, "bad": 3, "saved": REQUEUE, "late": 0}
    runs = [
        python_run(tmp_path, name, f"import sys, time; time.sleep(0.2); sys.exit({code})")
        for name, code in codes.items()
    ]
    ends, most = drive_all(Local(2), runs, jobs=2)
    assert ends == {
        "good": "",
        "bad": "exit code 3",
        "saved": "stopped; the same command goes on",
        "late": "",
    }
    assert most == 2
    states = {
        one.name: read_record(one.name, one.point, epath.Path(tmp_path)).state for one in runs
    }
    assert states == {"good": "failed", "bad": "failed", "saved": "stopped", "late": "failed"}
    assert read_record("good", {}, epath.Path(tmp_path)).reason == "no result"


def test_gpus_are_handed_out_in_turn(tmp_path):
    code = "import os, time; time.sleep(0.3); print('gpu', os.environ['CUDA_VISIBLE_DEVICES'])"
    runs = [python_run(tmp_path, f"run{number}", code) for number in range(4)]
    drive_all(Local(4, ["3", "5"]), runs, jobs=4)
    assert [log_lines(one.log) for one in runs] == [["gpu 3"], ["gpu 5"], ["gpu 3"], ["gpu 5"]]


def test_runs_that_share_a_gpu_share_its_memory(tmp_path, monkeypatch):
    monkeypatch.delenv(local.SHARE, raising=False)
    code = f"import os, time; time.sleep(0.3); print(os.environ.get('{local.SHARE}'))"
    runs = [python_run(tmp_path, f"run{number}", code) for number in range(3)]
    drive_all(Local(3, ["0", "1"]), runs, jobs=3)
    assert [log_lines(one.log) for one in runs] == [["0.450"]] * 3
    drive_all(Local(2, ["0", "1"]), runs[:2], jobs=2)
    assert [log_lines(one.log) for one in runs[:2]] == [["None"]] * 2


def test_each_run_has_one_of_the_machines_gpus(tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidia10", "nvidia9", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(parallel.processes, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local.gpus_of([], 3) == ["0", "9", "10"]
    assert local.gpus_of(["2"], 1) == ["2"]
    assert local.gpus_of(["all"], 1) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert local.gpus_of([], 2) == ["4", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.gpus_of([], 2) == []


def test_idle_gpus_are_said(caplog):
    with caplog.at_level("WARNING"):
        local.gpus_of(["0", "1", "2", "3"], 1)
    assert "3 of 4 GPUs stand idle" in caplog.text
    assert "--jobs=4" in caplog.text


def test_interrupted_launcher_lets_its_runs_save(tmp_path):
    handler = "lambda *_: (print('saved'), sys.exit(85))"
    code = f"import signal, sys, time; signal.signal(signal.SIGTERM, {handler}); "
    code += "print('ready', flush=True); time.sleep(60)"
    runs = [python_run(tmp_path, f"run{number}", code) for number in range(2)]

    def interrupt(launcher):
        if all(log_lines(one.log) == ["ready"] for one in runs):
            raise KeyboardInterrupt

    launcher = Local(2)
    waiting = list(runs)
    with pytest.raises(KeyboardInterrupt):
        drive(
            launcher,
            lambda free: [waiting.pop() for _ in waiting[:free]],
            lambda one, how: None,
            jobs=2,
            show=interrupt,
        )
    assert not launcher.running
    for one in runs:
        assert log_lines(one.log) == ["ready", "saved"]
        assert read_record(one.name, one.point, epath.Path(tmp_path)).state == "stopped"


@pytest.mark.slow  # half a minute
def test_sigterm_ends_the_command_after_its_runs_have_saved(tmp_path):
    sizes = [*SIZES, "--config.training.hashing_steps=100000"]
    env = {name: value for name, value in os.environ.items() if name not in FORCED}
    env |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    flags = ["--sweep=model.bits=8", "--launcher=local", f"--workdir={tmp_path}"]
    started = subprocess.Popen(
        [sys.executable, "-m", "experiments.sweep", "--config=configs/digits.py:smoke",
         *sizes, *flags], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not records.read_metrics(epath.Path(tmp_path) / "model.bits=8" / "metrics.jsonl"):
        assert started.poll() is None
        time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    stdout, _ = started.communicate(timeout=60)
    assert started.returncode == REQUEUE
    assert last_line(stdout) == "stopped; the same command goes on"
    assert read_record("model.bits=8", {}, epath.Path(tmp_path)).state == "stopped"


def write_result(folder, name, config, **metrics):
    """Write a finished run."""
    opened = run_folder.open_run(config, folder / name)
    writers.JsonLines(opened / "metrics.jsonl", bool).write_scalars(20, metrics)


def test_finished_is_a_result_of_the_same_config(tmp_path):
    folder = epath.Path(tmp_path)
    config, point = tiny.config(), {"model.bits": 8}
    one = make_run(point, folder, python="python", config_file="c.py", overrides={})
    assert not is_finished(one, config)
    write_result(folder, one.name, tiny.config(model__bits=8), **{"valid/map": 0.5})
    assert not is_finished(one, config)
    write_result(folder, one.name, tiny.config(model__bits=8), **{"eval/map": 0.5})
    assert is_finished(one, config)
    assert not is_finished(one, tiny.config(loss__x=3.0))
    config.sweep = (("model.bits", (8, 12)),)
    config.sweep_kind = "zip"
    assert is_finished(one, config)
    one.end.parent.mkdir()
    one.end.write_text("exit code 1\n")  # refused, or broken in its report
    assert not is_finished(one, config)


def test_row_of_a_run_has_its_progress(tmp_path):
    folder = epath.Path(tmp_path)
    one = python_run(folder, "a", "")
    one.log.parent.mkdir()
    one.log.write_text("\n$ old\nerror: old\n\n$ new\nnotes: 9.0 steps/s, 5.0% (5/100), ETA: 2m\n")
    record = read_record("a", {}, folder)
    assert record.state == "unfinished"
    running = type(record)("a", {}, "running", metrics=record.metrics)
    assert status_row(running, one.log) == ["a", "running", "5/100", "2m", ""]
    assert log_lines(one.log) == ["notes: 9.0 steps/s, 5.0% (5/100), ETA: 2m"]


def test_seconds_are_those_of_the_steps(tmp_path):
    file = epath.Path(tmp_path) / "a" / "metrics.jsonl"
    file.parent.mkdir()
    writer = writers.JsonLines(file, bool)
    writer.write_scalars(100, {"speed/step_ms": 20.0})
    writer.write_scalars(100, {"valid/map": 0.5})
    writer.write_scalars(150, {"speed/step_ms": 40.0})
    writer.write_scalars(151, {"train/loss": 1.0})  # one step alone has no time
    assert read_record("a", {}, epath.Path(tmp_path)).metrics["train/seconds"] == 4.0


class Pretender:
    """A launcher whose runs end at once with a validation mAP that grows with the setting."""

    def __init__(self, folder):
        self.folder, self.running, self.started = folder, {}, []

    def start(self, runs):
        self.running |= {one.name: one for one in runs}
        self.started += [one.name for one in runs]

    def poll(self):
        ended, self.running = list(self.running.values()), {}
        for one in ended:
            value = 1 - (one.point["loss.z"] - 0.7) ** 2
            scalars = {"valid/map": value, "eval/map": 1 - value}
            write_result(self.folder, one.name, tiny.config(), **scalars)
        return [(one, "" if one.point["loss.z"] < 0.9 else "exit code 1") for one in ended]

    def state(self, name):
        return "running"

    def stop(self):
        pass


def make_search(folder, trials):
    def make(point):
        return make_run(point, folder, python="python", config_file="c.py", overrides={})

    return Search(
        (("loss.z", ("uniform", 0.0, 1.0)), ("model.convs_per_group", ((1, 1), (2, 2)))),
        trials=trials,
        study="test",
        seed=0,
        workdir=folder,
        make=make,
        is_finished=lambda one: (one.folder / "metrics.jsonl").exists(),
    )


def test_search_finds_the_best_validation_map_and_goes_on_where_it_stopped(tmp_path):
    pytest.importorskip("optuna")
    folder = epath.Path(tmp_path)
    asker, launcher = make_search(folder, 12), Pretender(folder)
    # Two are under way when the search dies.
    lost = asker.next_runs(2)
    assert len(lost) == 2
    again = make_search(folder, 12)
    drive(launcher, again.next_runs, again.ended, jobs=3, show=lambda _: None)
    assert len(launcher.started) == 12
    assert [one.name for one in lost] == launcher.started[:2]
    best = max(
        read_record(name, {}, folder).metrics["valid/map"]
        for name in launcher.started
        if float(name.partition("=")[2].partition(",")[0]) < 0.9
    )
    assert f"validation mAP {best:.4f}" in again.best()
    assert make_search(folder, 12).next_runs(3) == []
    assert len(make_search(folder, 14).next_runs(3)) == 2


def test_submitit_on_this_machine_gives_the_ends_of_runs(tmp_path):
    pytest.importorskip("submitit")
    launcher = Slurm(
        epath.Path(tmp_path), cluster="local", parameters={"timeout_min": 5}, requeue=True
    )
    runs = [python_run(tmp_path, f"run{code}", f"exit({code})") for code in (2, REQUEUE)]
    ends, _ = drive_all(launcher, runs, jobs=2)
    assert ends == {"run2": "exit code 2", "run85": "stopped; the same command goes on"}


@pytest.mark.parametrize(
    ("said", "most"),
    [("MaxArraySize            = 4\nMaxJobCount = 9\n", 4), ("no cluster", 1001)],
)
def test_slurm_says_how_large_an_array_may_be(monkeypatch, said, most):
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(slurm.subprocess, "run", lambda *args, **kwargs: done)
    assert slurm.largest_array() == most


def test_more_runs_than_an_array_takes_are_several_arrays(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")

    class Executor:
        """Queues nothing; remembers what it was asked for."""

        def __init__(self, folder, cluster):
            self.sizes, self.parallel = [], 0

        def update_parameters(self, **parameters):
            self.parallel = parameters["slurm_array_parallelism"]

        def map_array(self, function, runs, requeue):
            self.sizes.append(len(runs))
            array = f"{100 + len(self.sizes)}"
            return [submitit.SlurmJob(tmp_path, f"{array}_{i}") for i in range(len(runs))]

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    monkeypatch.setattr(slurm, "largest_array", lambda: 4)
    parameters = {"slurm_array_parallelism": 6}
    launcher = Slurm(epath.Path(tmp_path), cluster="slurm", parameters=parameters, requeue=True)
    launcher.start([python_run(tmp_path, f"run{i}", "") for i in range(10)])
    assert launcher._executor.sizes == [4, 4, 2]
    assert launcher._executor.parallel == 2
    ids = json.loads((tmp_path / "jobs.json").read_text())
    assert [ids[f"run{i}"] for i in (0, 3, 4, 9)] == ["101_0", "101_3", "102_0", "103_1"]


def test_unknown_parameters_of_submitit_are_a_clear_error(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(ValueError, match="submitit refuses: "):
        Slurm(epath.Path(tmp_path), cluster="local", parameters={"hours": 5}, requeue=True)
