"""The loop is timed around a step that does nothing, whatever feeds it."""

import pytest
import tiny

from experiments.bench import host


@pytest.mark.slow
def test_loop_around_nothing():
    config = tiny.joint()
    found = host.bench_loop(config, steps=4, rounds=2)
    assert found.pop("batch") == 16
    assert found.pop("arrays") > 100  # parameters, their averages and their optimizer's
    sides = ("resident, 4 steps a program", "resident", "tf.data")
    kinds = ("ms", "ms of its processor")
    assert set(found) == {f"{side}, {kind}" for side in sides for kind in kinds}
    assert min(found.values()) > 0
    assert config.training.hashing_steps == 12  # the first record is left out


@pytest.mark.slow
def test_two_processes_start_a_step_of_nothing():
    found = host.bench_processes(steps=3, rounds=1)
    assert min(found.values()) > 0
    assert len(found) == 8
