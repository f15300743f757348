"""The server of the page: where it listens, and how much it lets others take."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

CONNECTIONS = 128  # at once; more are closed
HEAD_SECONDS = 10  # for a connection to ask
LONGEST_SECONDS = 180  # of a connection


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
      host: name or address of the interface.
      port: 0 for any that is free.

    Raises:
      ValueError: where it is taken, or the host is none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {host}, port {port} ({error.strerror}): pass another --port, or a "
            "--host of this machine."
        ) from error


@contextlib.contextmanager
def serving(app: Callable[..., Any], listening: socket.socket) -> Iterator[threading.Thread]:
    """Serve an application beside the block, until that ends.

    Args:
      app: an ASGI application that closes a connection with its answer.
      listening: see `listen`.

    Yields:
      The thread that serves; it ends with the block.

    Raises:
      ValueError: where uvicorn is missing.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ValueError(
            f"uvicorn cannot be imported ({error}): pip install -e .[serve]"
        ) from error

    config = uvicorn.Config(
        app,
        http=_bounded(),
        ws="none",
        lifespan="off",
        log_level="error",  # what others send wrongly is answered, and not said
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    server = uvicorn.Server(config)
    # Of answers that are cut short at the end there is nothing to say.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join()


def _bounded() -> type:
    """Return uvicorn's connection, with a limit to their number and to the time of each."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(H11Protocol):
        timers = ()

        def connection_made(self, transport):
            super().connection_made(transport)
            if len(self.connections) > CONNECTIONS:
                transport.abort()
                return

            def end_idle():
                if self.cycle is None:  # nothing was asked
                    transport.abort()

            self.timers = (
                self.loop.call_later(HEAD_SECONDS, end_idle),
                self.loop.call_later(LONGEST_SECONDS, transport.abort),
            )

        def connection_lost(self, exc):
            for timer in self.timers:
                timer.cancel()
            super().connection_lost(exc)

    return Bounded
