"""The parts of the page's server that need no Gradio."""

import asyncio
import os
import socket
import tempfile

import pytest

from dsh_jax.page import server


def test_all_that_is_written_goes_with_the_folder(tmp_path, monkeypatch):
    for name in (*server.SETTINGS, *server.FOLDERS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    with server.temporary_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.stat().mode & 0o077 == 0
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert {os.environ[name] for name in server.FOLDERS} == {str(folder)}
        assert tempfile.gettempdir() == str(folder)
        (folder / "upload.png").write_text("")
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_said():
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} .*: pass another --port"):
            server.listen("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    with pytest.raises(ValueError, match=r"cannot listen at 203\.0\.113\.9"):
        server.listen("203.0.113.9", 0)  # an address for documentation


def test_old_files_are_forgotten(tmp_path):
    old, new = tmp_path / "deep" / "old", tmp_path / "new"
    old.parent.mkdir()
    for path in (old, new):
        path.write_text("")
    os.utime(old, (0, 0))
    server.forget(tmp_path, 600)
    assert not old.exists()
    assert new.exists()


def test_every_answer_forbids_other_hosts():
    sent = []

    async def application(scope, receive, send):
        headers = [(b"a", b"b")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"c"})

    async def send(message):
        sent.append(message)

    asyncio.run(server.with_policy(application)({"type": "http"}, None, send))
    start, body = sent
    assert start["headers"] == [
        (b"a", b"b"),
        (b"content-security-policy", server.POLICY.encode()),
    ]
    assert "http" not in server.POLICY
    assert body == {"type": "http.response.body", "body": b"c"}
