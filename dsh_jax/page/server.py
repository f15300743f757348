"""The page in a browser, by Gradio: a file is dropped, its code and neighbours are shown.

It needs no network. Nothing is kept: a file that was sent is deleted once it is read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath
from PIL import Image

from dsh_jax.page import elements
from dsh_jax.page.lookup import Lookup

MARGIN = 65_536  # bytes of a request around the file that it carries
KEPT = 600  # seconds that a file may lie
# Gradio compiles its templates: 'unsafe-eval'.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'"
)
# Of Gradio and of the library that it brings along.
SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
FOLDERS = ("GRADIO_TEMP_DIR", "HF_HOME", "TMPDIR", "MPLCONFIGDIR")


@contextlib.contextmanager
def temporary_folder(parent: epath.PathLike) -> Iterator[epath.Path]:
    """Make the folder for all that Gradio writes, and remove it at the end.

    Enter it before Gradio is imported, which reads some of the settings only then.

    Args:
      parent: folder that it is made in.

    Yields:
      Its path.
    """
    with tempfile.TemporaryDirectory(prefix=".serve_", dir=parent) as folder:
        os.environ.update(SETTINGS | dict.fromkeys(FOLDERS, folder))
        tempfile.tempdir = folder
        try:
            yield epath.Path(folder)
        finally:
            tempfile.tempdir = None


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
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"cannot listen at {host}, port {port} ({error.strerror}): pass another --port, or a "
            "--host of this machine."
        ) from error


def application(
    lookup: Lookup, folder: epath.PathLike, *, most_bytes: int, most_pixels: int
) -> Callable[..., Any]:
    """Return the page as an ASGI application.

    The limit of pixels is Pillow's, and so that of the whole process.

    Args:
      lookup: what the page shows.
      folder: see `temporary_folder`.
      most_bytes: of a file, at most.
      most_pixels: of an image, at most; it is held against the header, before anything is decoded.

    Returns:
      The application.

    Raises:
      ValueError: where Gradio is missing.
    """
    gradio, fastapi = _gradio()
    Image.MAX_IMAGE_PIXELS = most_pixels
    limits = f"{most_bytes / 2**20:,.3g} MB, {most_pixels / 1e6:,.3g} million pixels"
    page = _page(gradio, lookup, folder, f"Image, at most {limits}")
    app = gradio.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None, max_body_size=most_bytes + MARGIN),
        page,
        "/",
        footer_links=[],
        run_history=False,
        max_file_size=most_bytes,
        show_error=True,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gradio.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        css=elements.STYLE,
    )
    # Gradio checks that a file was sent, and is no other of this machine, only once it is launched.
    page.has_launched = True
    return with_policy(app)


def with_policy(app: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ASGI application whose pages ask no other host for anything."""

    async def application_with_policy(scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await app(scope, receive, send_with_policy)

    return application_with_policy


def forget(folder: epath.PathLike, seconds: float) -> None:
    """Delete files of a folder, and of those in it, that are older; such as of broken uploads."""
    oldest = time.time() - seconds
    for path in pathlib.Path(folder).rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another answer may delete it first
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()


def serve(app: Callable[..., Any], listening: socket.socket) -> None:
    """Serve an application until the process is asked to end.

    Args:
      app: an ASGI application.
      listening: see `listen`.
    """
    import uvicorn  # which Gradio brings

    # Pages that are open hold a connection: none is waited for.
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=1, server_header=False
    )
    server = uvicorn.Server(config)
    # Nor is there anything to say about it.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _page(gradio: Any, lookup: Lookup, folder: epath.PathLike, label: str) -> Any:
    """Return the elements and what they do."""
    whole = lookup.encoder.bits

    def look(path):
        if path is None:
            return [gradio.skip()] * 5
        try:
            packed_1xW, shown = lookup.look(path)
        finally:
            pathlib.Path(path).unlink(missing_ok=True)
            forget(folder, KEPT)
        found = "" if packed_1xW is None else lookup.found(packed_1xW, whole)
        is_seen = packed_1xW is not None and lookup.is_searchable and whole > 1
        # The place for a file is empty again, ready for the next.
        return None, packed_1xW, shown, gradio.update(value=whole, visible=is_seen), found

    def cut(packed_1xW, bits):
        return gradio.skip() if packed_1xW is None else lookup.found(packed_1xW, bits)

    with gradio.Blocks(title=lookup.name, analytics_enabled=False) as page:
        plain = {"apply_default_css": False, "js_on_load": None}
        gradio.HTML(lookup.heading(), **plain)
        file = gradio.File(label=label, height=160)
        code = gradio.State(None)
        pictures = gradio.HTML("", elem_id="pictures", **plain)
        bits = gradio.Slider(
            1, max(2, whole), whole, step=1, label="Code length: first bits", visible=False,
            elem_id="length",
        )  # fmt: skip
        found = gradio.HTML("", elem_id="found", **plain)
        quiet = {"show_progress": "minimal", "api_visibility": "private"}
        file.upload(look, file, [file, code, pictures, bits, found], **quiet)
        bits.input(cut, [code, bits], found, trigger_mode="always_last", **quiet)
    return page


def _gradio() -> tuple[Any, Any]:
    """Return Gradio and FastAPI, which only this module needs."""
    try:
        import fastapi
        import gradio
    except ImportError as error:
        raise ValueError(f"Gradio cannot be imported ({error}): pip install -e .[serve]") from error
    return gradio, fastapi
