"""The first signal is remembered, the second one stops."""

import os
import signal
import threading

import pytest

from dsh_jax.training.interruption import Interruption


@pytest.fixture
def received():
    """Signals that reach the handlers outside: what would have stopped the program."""
    numbers = []
    before = {
        number: signal.signal(number, lambda number, frame: numbers.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_is_remembered_and_second_stops_at_once(received, number):
    interruption = Interruption()
    assert not interruption.asked
    os.kill(os.getpid(), number)
    assert interruption.asked
    assert received == []
    os.kill(os.getpid(), number)
    assert received == [number]


def test_restore_gives_the_signals_back(received):
    interruption = Interruption()
    interruption.restore()
    interruption.restore()
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert not interruption.asked


def test_other_threads_leave_the_signals_alone(received):
    made = []
    thread = threading.Thread(target=lambda: made.append(Interruption()))
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert not made[0].asked
