"""A run that is asked to stop saves first."""

from __future__ import annotations

import signal
import threading

from absl import logging

REQUEUE = 85  # exit code of a run that was asked to stop and can go on
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interruption:
    """Turns the first SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 into a flag.

    Attributes:
      asked: whether a signal has come.
    """

    def __init__(self):
        self.asked = False
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number, frame):
        del frame
        logging.warning("%s: saving after this step …", signal.Signals(number).name)
        self.asked = True
        self.restore()  # a second signal stops at once

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
