"""How fast training steps follow each other."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from dsh_jax import parallel


class Pace:
    """The time from step to step, pauses left out.

    Args:
      batch_size: images of a step.
      clock: in seconds; None for the one on the wall.
    """

    def __init__(self, batch_size: int, clock: Callable[[], float] | None = None):
        self._batch_size = batch_size
        self._clock = clock or time.monotonic
        self._seconds: list[float] = []
        self._last = self._clock()

    def step(self, count: int = 1) -> None:
        """Note the end of a step, or of several that were made together.

        Args:
          count: how many.
        """
        now = self._clock()
        self._seconds += [(now - self._last) / count] * count
        self._last = now

    def pause(self) -> float:
        """Leave out the time since the last step, such as that of compiling, and return it."""
        before, self._last = self._last, self._clock()
        return self._last - before

    def scalars(self) -> dict[str, float]:
        """Return the speed since the last call.

        Returns:
          `images_per_second`, the median and the longest `speed/step_ms`, and, where the devices
          tell, the most memory that one has held; nothing where no step was timed.
        """
        seconds, self._seconds = np.array(self._seconds), []
        if not len(seconds):
            return {}
        scalars = {
            "images_per_second": self._batch_size / float(seconds.mean()),
            "speed/step_ms": 1e3 * float(np.median(seconds)),
            "speed/step_ms_slowest": 1e3 * float(seconds.max()),
        }
        memory = parallel.peak_memory()
        return scalars | ({"speed/device_memory_gb": memory / 1e9} if memory else {})
