"""Limits of the page's server, by sockets."""

import contextlib
import socket
import sys
import time

import pytest

from dsh_jax.page import server


async def hello(scope, receive, send):
    headers = [(b"content-length", b"5"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


@contextlib.contextmanager
def serving():
    """Yield the address of a server that runs beside the test."""
    with server.listen("127.0.0.1", 0) as listening, server.serving(hello, listening):
        yield listening.getsockname()


def answer(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts)


def test_a_port_that_is_taken_is_said():
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} .*: pass another --port"):
            server.listen("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    with pytest.raises(ValueError, match=r"cannot listen at 203\.0\.113\.9"):
        server.listen("203.0.113.9", 0)  # an address for documentation


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with (
        server.listen("127.0.0.1", 0) as listening,
        pytest.raises(ValueError, match=r"uvicorn .*: pip install -e .\[serve\]"),
        server.serving(hello, listening),
    ):
        pytest.fail("it serves")


def test_connections_beyond_the_limit_are_closed_and_silent_ones_end(monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 4)
    monkeypatch.setattr(server, "HEAD_SECONDS", 2)
    with serving() as address, contextlib.ExitStack() as stack:
        open_ = [
            stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(5)
        ]
        with contextlib.suppress(ConnectionResetError):
            assert open_[4].recv(1) == b""
        assert answer(open_[0]).endswith(b"hello")  # the others live on
        for silent in open_[1:4]:
            with contextlib.suppress(ConnectionResetError):
                assert silent.recv(1) == b""
        with socket.create_connection(address, timeout=30) as later:
            assert answer(later).endswith(b"hello")


def test_a_connection_that_asks_for_ever_ends(monkeypatch):
    monkeypatch.setattr(server, "LONGEST_SECONDS", 1)
    with serving() as address, socket.create_connection(address, timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(600):
                slow.sendall(b"a: b\r\n")
                time.sleep(0.05)
            pytest.fail("it is still open")
