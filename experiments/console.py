"""What the commands print: our own messages, and the warnings of others."""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags, logging

# TensorFlow reads them when it is imported: only its errors, not its greetings.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# What those who only use codes do without.
LEFT_OUT = ("tensorflow", "tensorflow_datasets", "tensorboard", "clu")
REQUEUE = 85  # exit code of a command that was asked to stop and can go on


def requeue_when_asked() -> None:
    """End with `REQUEUE` on SIGTERM, SIGUSR1 or SIGUSR2, while there is nothing to save."""

    def end(number, frame):
        os.write(2, f"{signal.Signals(number).name}: there is nothing to save\n".encode())
        os._exit(REQUEUE)  # SystemExit would be swallowed by some imports

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, end)


def quiet() -> None:
    """Show messages of this project and of clu, and of others only from warnings on."""
    logging.set_verbosity(logging.INFO)
    # Of torn metadata: they name no file, and the picture is read all the same.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"PIL\.")

    def is_wanted(record) -> bool:
        own = any(f"{os.sep}{name}{os.sep}" in record.pathname for name in ("dsh_jax", "clu"))
        return record.levelno >= logging.converter.STANDARD_WARNING or own

    logging.get_absl_handler().addFilter(is_wanted)


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Run a command; a mistyped config file, variant or setting ends it with one line too.

    Args:
      main: of the command, see `absl.app.run`.
    """

    def parse(argv):
        try:
            arguments = flags.FLAGS(argv)
            # A config file that is not there is an error only once the config is read.
            if "config" in flags.FLAGS:
                getattr(flags.FLAGS["config"].value, "keys", None)
            return arguments
        # ml_collections raises the others for a file or a setting that is not there.
        except (flags.Error, AttributeError, KeyError, OSError) as error:
            while error.args and isinstance(error.args[0], Exception):
                error = error.args[0]  # the message, not its quotation
            text = str(error.args[0]) if error.args else repr(error)
            if isinstance(error, KeyError):
                text = f"the config has no {text}"
            # Around an error in a config file stands the traceback: its last line says it all.
            if "Traceback" in text:
                text = text.strip().splitlines()[-1]
            sys.exit(f"error: {' '.join(text.split())} (--help lists the flags)")

    app.run(main, flags_parser=parse)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with a one-line message where settings, data or the disk are wrong.

    Every ValueError of the library says what was found, what is wanted and how to mend it; a
    traceback would bury that. `--v=1` shows it all the same.
    """
    try:
        yield
    except (ValueError, FloatingPointError, OSError) as error:
        if logging.get_verbosity() > 0:
            raise
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if error.name not in LEFT_OUT or logging.get_verbosity() > 0:
            raise
        sys.exit(
            f"error: {error.name} is not installed, and training and most data sets need "
            "TensorFlow and its kin: pip install -e . (requirements-encode.txt leaves them out)."
        )
