"""The XMP packets in what an image carries as one, and the junk behind them.

Programs that write a shorter packet over a longer one leave the rest of that, others zeros or text.
"""

from __future__ import annotations

import itertools
import re
from xml.parsers import expat

from dsh_jax.collection.annotation import xmp

PADDING = b" \t\r\n\0"
START = re.compile(rb"<\?xpacket\s+begin|<\w+:x[am]pmeta\b|<\w+:RDF\b")  # where one may start
CLOSING = re.compile(rb"""\s*<\?xpacket\s+end\s*=\s*["'][rw]["']\s*\?>""")
MOST_STARTS, MOST_PACKETS = 20, 20  # that are tried, that are looked for


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the packets in the bytes that an image carries as XMP, and what else is behind them.

    Args:
      data: the bytes.

    Returns:
      (packets, junk). Of the packets the first may be broken, for `xmp` to refuse; one that ends as
      it should is as it was. Spaces and zeros are no junk.
    """
    if not data.strip(PADDING):
        return [], b""
    packet, rest = _first(data)
    packets, junk = [packet], []
    while rest and len(packets) < MOST_PACKETS:
        before, packet, rest = _next(rest)
        junk.append(before.strip(PADDING))
        packets += [packet] if packet else []
    return packets + ([rest] if rest else []), b" ".join(filter(None, junk))


def _first(data: bytes) -> tuple[bytes, bytes]:
    """Return the packet that data starts with, and what is behind it if that is none of XML."""
    end = _root_end(data)
    if end is None:
        return data, b""
    closing = CLOSING.match(data, end)
    if closing:
        return data[: closing.end()], data[closing.end() :].strip(PADDING)
    packet, rest = data[:end], data[end:]
    if b"<?xpacket" in packet:  # it stands behind the junk, or was written over
        packet += b'\n<?xpacket end="w"?>'
        rest = CLOSING.sub(b"", rest, count=1)
    return packet, rest.strip(PADDING)


def _next(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what is before the first whole packet in data, it, and what is behind it."""
    for start in itertools.islice(START.finditer(data), MOST_STARTS):
        packet, rest = _first(data[start.start() :])
        try:
            xmp.properties(packet)
        except ValueError:
            continue
        return data[: start.start()], packet, rest
    return data, b"", b""


def _root_end(data: bytes) -> int | None:
    """Return where the outermost element of data ends, where more follows than XML allows there."""
    parser = expat.ParserCreate("utf-8")
    depth, ends, is_begun_again = 0, [], False

    def start(name, attributes):
        nonlocal depth
        depth += 1
        if depth > xmp.MOST_NESTED:
            refuse()

    def end(name):
        nonlocal depth
        depth -= 1
        if not depth:
            at = parser.CurrentByteIndex  # of <a/> it is past the end already
            ends.append(data.index(b">", at) + 1 if data[at : at + 2] == b"</" else at)

    def instruction(target, text):
        nonlocal is_begun_again
        is_begun_again |= bool(ends) and target == "xpacket" and text.startswith("begin")

    def refuse(*_):
        raise ValueError

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.ProcessingInstructionHandler, parser.StartDoctypeDeclHandler = instruction, refuse
    try:
        parser.Parse(data.rstrip(b"\0"), True)
    except expat.ExpatError:
        return ends[0] if ends else None
    except ValueError:
        return None  # `xmp` says why
    return ends[0] if is_begun_again else None
