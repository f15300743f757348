"""What a browser sees while the model and the index are read: what is done, and for how long."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Set
from typing import Any

from dsh_jax.page.application import guarded
from dsh_jax.page.document import STYLE

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="page.css"></head>
<body><main><h1>{name}</h1><p role="status">{words} {seconds} s</p><progress></progress>
</main></body></html>
"""


class Opening:
    """An ASGI application that tells what is waited for, until `page` is set to another.

    Attributes:
      page: what answers; at first a page that asks for itself again every second.
    """

    def __init__(self, name: str, names: Set[str]):
        """Make it.

        Args:
          name: of the model, for the reader.
          names: by which the server may be called, see `callers.own_names`.
        """
        self._name, self._words, self._since = name, "", time.monotonic()
        self.page: Callable[..., Any] = guarded(self._wait, names)

    def say(self, words: str) -> None:
        """Tell from now on what is done."""
        self._words = words

    async def __call__(self, scope, receive, send):
        """Answer by the page that there is."""
        await self.page(scope, receive, send)

    async def _wait(self, scope, receive, send):
        kind, status, text = "text/plain", 503, "The page is not ready yet.\n"
        if scope["path"] == "/page.css":
            kind, status, text = "text/css", 200, STYLE
        elif scope["path"] == "/":
            seconds = round(time.monotonic() - self._since)
            words = {"name": html.escape(self._name), "words": html.escape(self._words)}
            kind, text = "text/html", PAGE.format(**words, seconds=seconds)
        headers = [(b"content-type", f"{kind}; charset=utf-8".encode())]
        if status == 503:
            headers += [(b"refresh", b"1"), (b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})
