"""A run that is asked to stop saves first."""

from __future__ import annotations

import os
import signal
import threading

from absl import logging

from dsh_jax import parallel

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interruption:
    """Turns the first SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 into a flag.

    Of several processes, all stop after the same step, though one may have the signal first.
    Create it after `parallel.connect`, which takes signals, too.

    Attributes:
      asked: whether a signal has come.
    """

    def __init__(self):
        self.asked = False
        self._several = parallel.process_count() > 1
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # JAX watches SIGTERM for several processes, and tells them all.
                if not (self._several and number == signal.SIGTERM):
                    self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number, frame):
        del frame
        logging.warning("%s: saving after this step …", signal.Signals(number).name)
        self.restore()  # a second signal stops at once
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.asked = True

    def reached(self, step: int) -> bool:
        """Return whether to stop after this step; every process calls it at every step.

        Args:
          step: training steps done.

        Returns:
          The same in all processes.
        """
        if self._several:
            self.asked = self.asked or parallel.asked_to_stop(step)
        return self.asked

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
