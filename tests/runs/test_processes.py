"""Several processes train one run: the same parameters as one process with as many devices."""

import os
import re

import jax
import numpy as np
import pytest
from processes import params_of, train_together

from dsh_jax import parallel
from dsh_jax.training.records import read_metrics


def test_one_process_holds_everything():
    assert (parallel.process_index(), parallel.process_count()) == (0, 1)
    assert parallel.global_device_count() == parallel.device_count() == 4
    value = np.arange(7, dtype=np.float64)
    np.testing.assert_array_equal(value[parallel.own_part(7)], value)
    assert parallel.join_parts(value, 7) is value
    assert parallel.sum_over_processes(value) is value
    parallel.wait_for_all("here")
    parallel.disconnect()


@pytest.mark.parametrize("rows", [2, 7, 8, 100])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_parts_hold_every_row_once(monkeypatch, rows, processes):
    monkeypatch.setattr(parallel.processes, "process_count", lambda: processes)
    parts = []
    for process in range(processes):
        monkeypatch.setattr(parallel.processes, "process_index", lambda p=process: p)
        parts.append(np.arange(rows)[parallel.own_part(rows)])
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1

    padded = [np.pad(part, (0, -(-rows // processes) - len(part))) for part in parts]
    everything = np.stack([part.view(np.uint8) for part in padded])
    monkeypatch.setattr(
        parallel.processes.multihost_utils, "process_allgather", lambda _: everything
    )
    np.testing.assert_array_equal(parallel.join_parts(parts[-1], rows), np.arange(rows))


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, None),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NODELIST": "n1"}, None),
        ({"SLURM_STEP_NUM_TASKS": "2"}, None),  # no step
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "n[1-2]"}, {}),
        (
            {
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_STEP_NUM_NODES": "2",
                "SLURM_STEP_NODELIST": "n[1-2]",
                "CUDA_VISIBLE_DEVICES": "4,5,6",
            },
            {"local_device_ids": [0, 1, 2]},
        ),
    ],
)
def test_steps_of_slurm_are_recognised(monkeypatch, variables, options):
    calls = []
    for name in [*os.environ]:
        if name.startswith(("SLURM_", "CUDA_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: calls.append(given))
    assert parallel.connect() == (options is not None)
    assert calls == ([] if options is None else [{"initialization_timeout": 120, **options}])


@pytest.mark.slow
def test_two_processes_of_two_devices_train_what_one_of_four_does(tmp_path):
    folders = {name: tmp_path / name / "run" for name in ("one", "two", "there", "back", "fed")}
    train_together(folders["one"], [4])
    train_together(folders["two"], [2, 2])
    # A checkpoint of either goes on in the other.
    train_together(folders["there"], [2, 2], stop_step=6)
    train_together(folders["there"], [4])
    train_together(folders["back"], [4], stop_step=6)
    train_together(folders["back"], [2, 2])
    train_together(folders["fed"], [2, 2], variant="short_fed")
    wanted = params_of(folders["one"])
    for name in ("two", "there", "back", "fed"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
            params_of(folders[name]),
            wanted,
        )
        one, other = (read_metrics(folders[n] / "metrics.jsonl") for n in ("one", name))
        # Process 0 alone writes: no record twice.
        assert [r["step"] for r in one] == [r["step"] for r in other]
        for record, twin in zip(one, other, strict=True):
            for key in (name for name in record if not re.match("images_per_second|speed/", name)):
                assert record[key] == pytest.approx(twin[key], abs=1e-4), (name, key)
