"""Who may ask the page: this server's own pages, by its own names."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Set
from urllib.parse import urlsplit


def own_names(host: str, others: Set[str] = frozenset()) -> frozenset[str]:
    """Return the names by which a server may be called.

    Args:
      host: that it listens at.
      others: such as that of a proxy before it.

    Returns:
      Names in small letters.
    """
    names = {"localhost", host, socket.gethostname(), socket.getfqdn(), *others}
    return frozenset(name.lower() for name in names)


def refusal(path: str, headers: Mapping[str, str], names: Set[str]) -> str:
    """Return why a request is not answered, or nothing.

    A name of another's that leads here (DNS rebinding) would make his pages ours, for a browser. An
    address instead of a name cannot be such.

    Args:
      path: that is asked for.
      headers: of the request, by names in small letters.
      names: see `own_names`.

    Returns:
      A sentence.
    """
    host = headers.get("host", "")
    name = _name(f"//{host}")
    if not name or not (name in names or _is_address(name)):
        return (
            "This server is not called by that name: open it by its address, or pass the name as "
            "--allow_host.\n"
        )
    origin = headers.get("origin")
    if origin is not None and _split(origin) not in (("http", host), ("https", host)):
        return "Pages of other servers may not ask this one.\n"
    # A link to the page may stand anywhere; only browsers send this header, and all of them do.
    if path != "/" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "Pages of other servers may not ask this one.\n"
    return ""


def _split(address: str) -> tuple[str, str] | None:
    """Return (scheme, host and port) of an address, or None where it is none."""
    try:
        return urlsplit(address)[:2]
    except ValueError:
        return None


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
