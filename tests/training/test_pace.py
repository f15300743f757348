"""Speed from step to step, pauses left out."""

import pytest

from dsh_jax import parallel
from dsh_jax.training import pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns: `clock(seconds)`."""
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(parallel, "peak_memory", lambda: None)

    def turn(seconds):
        now[0] += seconds

    return turn


def test_steps_are_timed_and_pauses_are_not(clock):
    one = pace.Pace(batch_size=8)
    clock(9.0)
    assert one.pause() == 9.0  # as for compiling
    for seconds in (0.5, 0.25, 1.5):
        clock(seconds)
        one.step()
    clock(60.0)
    assert one.pause() == 60.0
    clock(0.75)
    one.step()
    assert one.scalars() == {
        "images_per_second": 8 / 0.75,  # the mean
        "speed/step_ms": 625.0,  # the median
        "speed/step_ms_slowest": 1500.0,
    }


def test_each_call_tells_of_the_steps_since_the_last(clock):
    one = pace.Pace(batch_size=8)
    assert one.scalars() == {}
    clock(2.0)
    one.step()
    assert one.scalars()["images_per_second"] == 4.0
    assert one.scalars() == {}


def test_memory_of_a_device_that_tells(clock, monkeypatch):
    monkeypatch.setattr(parallel, "peak_memory", lambda: 3_000_000_000)
    one = pace.Pace(batch_size=1)
    clock(1.0)
    one.step()
    assert one.scalars()["speed/device_memory_gb"] == 3.0
