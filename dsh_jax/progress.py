"""Progress of long work, said now and then."""

import time

from absl import logging

EVERY = 20  # seconds, and before the first line


def log_progress(work: str, share: float, started: float) -> None:
    """Log how much is done and how long the rest will take, unless it is a matter of seconds.

    Args:
      work: what is done, such as "counting distances".
      share: of the work that is done, above 0 up to 1.
      started: when, by `time.monotonic`.
    """
    elapsed = time.monotonic() - started
    if elapsed > EVERY:
        left = elapsed * (1 - share) / share
        logging.log_every_n_seconds(
            logging.INFO, "%s: %.0f %%, %.0f s left", EVERY, work, 100 * share, left
        )
