"""What the page answers: an image that was sent, one of the index, a code cut to fewer bits.

A file that is sent has no name on the disk, so that nothing of it can stay. Every answer is made
by one thread, in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np
from PIL import Image

from dsh_jax.page import callers, elements
from dsh_jax.page.document import SCRIPT, STYLE, document
from dsh_jax.page.lookup import Lookup

UPLOADS = 16  # files that are taken at once; more wait
UPLOAD_SECONDS = 60  # for a file to arrive
LONGEST_NAME = 255  # of a file, characters that are shown
HEADERS = {
    "cache-control": "no-store",
    "connection": "close",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def application(
    lookup: Lookup, *, names: Set[str], most_bytes: int, most_pixels: int
) -> Callable[..., Any]:
    """Return the page as an ASGI application.

    The limit of pixels is Pillow's, and so that of the whole process.

    Args:
      lookup: what the page shows.
      names: by which the server may be called, see `callers.own_names`.
      most_bytes: of a file, at most.
      most_pixels: of an image, at most; it is held against the header, before anything is decoded.

    Returns:
      The application.

    Raises:
      ValueError: where Starlette is missing.
    """
    try:
        from starlette.applications import Starlette
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, PlainTextResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise ValueError(
            f"Starlette cannot be imported ({error}): pip install -e .[serve]"
        ) from error
    Image.MAX_IMAGE_PIXELS = most_pixels
    uploads, worker = asyncio.Semaphore(UPLOADS), ThreadPoolExecutor(1)
    whole = lookup.encoder.bits
    page = document(lookup.name, lookup.heading(), whole, most_bytes, most_pixels)

    def answer(packed_1xW: np.ndarray | None, shown: str) -> dict[str, str | bool]:
        seen = packed_1xW is not None
        return {
            "code": packed_1xW.tobytes().hex() if seen else "",
            "pictures": shown,
            "found": lookup.found(packed_1xW, whole) if seen else "",
            "cuttable": seen and lookup.is_searchable and whole > 1,
        }

    async def in_turn(function: Callable[[], Any]) -> Any:
        return JSONResponse(await asyncio.get_running_loop().run_in_executor(worker, function))

    async def look(request):
        name = request.query_params.get("name", "")[:LONGEST_NAME] or "image"
        too_large = JSONResponse(
            answer(None, elements.refusal(name, f"it has more than {most_bytes:,} bytes")), 413
        )
        if int(request.headers.get("content-length", "0")) > most_bytes:  # h11 takes only digits
            return too_large
        async with uploads:
            with nameless_file() as (file, path):
                try:
                    async with asyncio.timeout(UPLOAD_SECONDS):
                        async for part in request.stream():
                            if file.tell() + len(part) > most_bytes:
                                return too_large
                            file.write(part)
                except TimeoutError:
                    return PlainTextResponse("The file did not arrive in time.\n", 408)
                except ClientDisconnect:
                    return Response(status_code=400)  # for nobody
                file.flush()
                return await in_turn(lambda: answer(*lookup.look(path, name)))

    async def row(request):
        count = len(lookup.index.names) if lookup.index is not None else 0
        row = whole_number(request.query_params.get("row", ""), count)
        if row is None:
            return PlainTextResponse(f"The index has no such image; it has {count:,}.\n", 404)
        return await in_turn(lambda: answer(*lookup.look_at_row(row)))

    async def found(request):
        packed_1xW = code_of(request.query_params.get("code", ""), whole)
        bits = whole_number(request.query_params.get("bits", ""), whole + 1)
        if packed_1xW is None or not bits:
            return PlainTextResponse(f"That is no code, or no length: {whole} bits at most.\n", 400)
        return await in_turn(lambda: {"found": lookup.found(packed_1xW, bits)})

    def fixed(text: str, kind: str) -> Callable[[Any], Any]:
        async def respond(request):
            return Response(text, media_type=kind)

        return respond

    routes = [
        Route("/", fixed(page, "text/html")),
        Route("/page.css", fixed(STYLE, "text/css")),
        Route("/page.js", fixed(SCRIPT, "text/javascript")),
        Route("/look", look, methods=["POST"]),
        Route("/row", row),
        Route("/found", found),
    ]
    return guarded(Starlette(routes=routes), names)


def guarded(app: Callable[..., Any], names: Set[str]) -> Callable[..., Any]:
    """Return an ASGI application that answers only its own pages, which ask no other host.

    Args:
      app: the application.
      names: see `callers.own_names`.
    """
    policy = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def guarded_application(scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *policy]
            await send(message)

        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        why = callers.refusal(scope["path"], headers, names)
        if not why:
            return await app(scope, receive, send_with_policy)
        kind = [(b"content-type", b"text/plain; charset=utf-8")]
        await send_with_policy({"type": "http.response.start", "status": 403, "headers": kind})
        await send_with_policy({"type": "http.response.body", "body": why.encode()})

    return guarded_application


@contextlib.contextmanager
def nameless_file() -> Iterator[tuple[IO[bytes], str]]:
    """Make a file that no folder lists, gone with the process, however that ends; on Linux.

    Yields:
      (the file, a path by which this process can open it again).
    """
    with tempfile.TemporaryFile() as file:
        yield file, f"/proc/self/fd/{file.fileno()}"


def whole_number(text: str, below: int) -> int | None:
    """Return the number that a text is, if that is from 0 to `below` - 1."""
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    return int(text) if is_number and int(text) < below else None


def code_of(text: str, bits: int) -> np.ndarray | None:
    """Return a code from its bytes in hex, packed_1xW uint8, or None where it is none of K bits."""
    try:
        packed_W = np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError:
        return None
    if len(packed_W) != -(-bits // 8) or np.unpackbits(packed_W, bitorder="little")[bits:].any():
        return None
    return packed_W[None]
