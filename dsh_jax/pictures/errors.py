"""Why a file gives no picture, in one line."""

from __future__ import annotations


class UnreadableError(ValueError):
    """A file gives no picture; the message is the reason, without the file's name."""


def one_line(error: Exception) -> str:
    """Return an error's first line, or its type where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
