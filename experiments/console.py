"""What the commands print: our own messages, and the warnings of others."""

import contextlib
import os
import sys
from collections.abc import Iterator

from absl import logging

# TensorFlow reads them when it is imported: only its errors, not its greetings.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def quiet() -> None:
    """Show messages of this project and of clu, and of others only from warnings on."""
    logging.set_verbosity(logging.INFO)

    def is_wanted(record) -> bool:
        own = any(f"{os.sep}{name}{os.sep}" in record.pathname for name in ("dsh_jax", "clu"))
        return record.levelno >= logging.converter.STANDARD_WARNING or own

    logging.get_absl_handler().addFilter(is_wanted)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with a one-line message where settings or data are wrong.

    Every ValueError of the library says what was found, what is wanted and how to mend it; a
    traceback would bury that. `--v=1` shows it all the same.
    """
    try:
        yield
    except (ValueError, FloatingPointError) as error:
        if logging.get_verbosity() > 0:
            raise
        sys.exit(f"error: {error}")
