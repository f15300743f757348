"""Our properties in an XMP packet: read, and written with every other byte of the packet kept."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

NAMESPACE = "https://dsh-jax.invalid/ns/1.0/"
PREFIX = "dshjax"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MOST_BYTES = 4 << 20  # of a packet; those of photographs have some 10 KB
MOST_NESTED, MOST_KEPT = 100, 1_000  # elements: above each other; descriptions and ours
# The first processing instruction is the specification's, to the letter.
EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
).encode()

# Verified with exiftool 12.57: the first writes every packet byte for byte, also a broken one.
KEEP = (
    "so that nothing is lost, keep it as it is (exiftool -a -b -xmp FILE > FILE.xmp), then write "
    "what can be read of it as one packet (exiftool -m -xmp:all= -tagsFromFile @ -xmp:all FILE, "
    "which leaves FILE_original too)"
)

SEPARATOR = "\n"  # expat refuses a namespace that holds it
TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*+>""")
ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')""")


def properties(packet: bytes) -> dict[str, str]:
    """Return our properties in a packet.

    They may be attributes or elements, with any prefix: programs that edit packets change both.

    Args:
      packet: XMP in UTF-8.

    Returns:
      Name to value; empty where there are none.

    Raises:
      ValueError: for a broken packet, a property that stands there twice or is no plain text.
    """
    found: dict[str, str] = {}
    for description in _scan(packet)[1]:
        pairs = [(name[1], x) for name, x in description.attributes.items() if _is_ours(name)]
        for element in description.own:
            if element.is_shared:
                raise ValueError(
                    f"{PREFIX}:{element.name[1]} of its XMP packet holds elements; wanted plain "
                    "text: annotate the image again"
                )
            pairs.append((element.name[1], "".join(element.text)))
        for name, value in pairs:
            if name in found:
                raise ValueError(
                    f"its XMP packet has {PREFIX}:{name} twice; wanted once: annotate the image "
                    "again"
                )
            found[name] = value.strip()
    return found


def merge(packet: bytes | None, values: Mapping[str, str]) -> bytes:
    """Return a packet with these as our only properties; all other bytes are those it had.

    Args:
      packet: XMP in UTF-8, or None to make one.
      values: name to text.

    Returns:
      The new packet.

    Raises:
      ValueError: for a broken packet, or one that would be too large.
    """
    packet = EMPTY if packet is None else packet
    rdf, descriptions = _scan(packet)
    # All descriptions of a packet are about the same thing.
    abouts = (x for d in descriptions for name, x in d.attributes.items() if _is_about(name))
    ours = "".join(f" {PREFIX}:{name}={quoteattr(value)}" for name, value in values.items())
    description = (
        f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(next(abouts, ""))} '
        f'xmlns:{PREFIX}="{NAMESPACE}"{ours}/>'
    ).encode()
    tag = TAG.match(packet, rdf.start)[0]
    if tag.endswith(b"/>"):
        name = tag[1:-2].split()[0]
        after = (rdf.end - 2, rdf.end, b">" + description + b"</" + name + b">")
    else:
        end_tag = packet.rindex(b"<", rdf.start, rdf.end)
        after = (end_tag, end_tag, description)
    pieces, at = [], 0
    for start, end, new in [*(edit for d in descriptions for edit in _cuts(packet, d)), after]:
        pieces += [packet[at:start], new]
        at = end
    merged = b"".join([*pieces, packet[at:]])
    _check_size(merged)
    return merged


def without_padding(packet: bytes) -> bytes:
    """Return a packet without the spaces before its end, which leave room to edit it in place."""
    head, end, tail = packet.rpartition(b"<?xpacket end")
    return head.rstrip() + b"\n" + end + tail if end else packet


@dataclasses.dataclass(slots=True, eq=False)
class _Element:
    """An element and where it stands; `name` and those of attributes are (URI, local, prefix)."""

    name: tuple[str, ...]
    attributes: dict[tuple[str, ...], str]
    start: int
    end: int = 0
    is_shared: bool = False  # it holds elements that are not ours
    own: list[_Element] = dataclasses.field(default_factory=list)
    text: list[str] = dataclasses.field(default_factory=list)


def _scan(packet: bytes) -> tuple[_Element, list[_Element]]:
    """Return a packet's rdf:RDF, and the rdf:Description elements right below it.

    Elements that are neither are not kept, so that memory does not grow with them.
    """
    _check_size(packet)
    packet = packet.rstrip(b"\0")
    parser = expat.ParserCreate("utf-8", SEPARATOR)
    parser.namespace_prefixes = True
    parser.buffer_text = True
    stack: list[_Element] = []
    found: list[_Element] = []
    descriptions: list[_Element] = []
    kept = 0

    def start(name, attributes):
        nonlocal kept
        attributes = {_split(key): value for key, value in attributes.items()}
        element = _Element(_split(name), attributes, parser.CurrentByteIndex)
        if element.name[:2] == (RDF, "RDF"):
            found.append(element)
        elif stack and found and stack[-1] is found[0]:
            if element.name[:2] == (RDF, "Description"):
                descriptions.append(element)
                kept += 1
        elif descriptions and stack[-1] is descriptions[-1] and _is_ours(element.name):
            stack[-1].own.append(element)
            kept += 1
        elif stack:
            stack[-1].is_shared = True
        stack.append(element)
        if len(found) > 1 or len(stack) > MOST_NESTED or kept > MOST_KEPT:
            raise ValueError(
                f"its XMP packet has two rdf:RDF, over {MOST_KEPT:,} descriptions or properties of "
                f"ours, or elements over {MOST_NESTED} deep, which no program writes; {KEEP}"
            )

    def end(name):
        element = stack.pop()
        # Of <a/> the parser has already gone past the end.
        tag_end = TAG.match(packet, element.start).end()
        is_empty = packet[tag_end - 2 : tag_end] == b"/>"
        element.end = tag_end if is_empty else packet.index(b">", parser.CurrentByteIndex) + 1

    def text(data):
        if _is_ours(stack[-1].name):
            stack[-1].text.append(data)

    def refuse(*_):
        raise ValueError(f"its XMP packet declares a document type, which XMP never does; {KEEP}")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, refuse
    try:
        parser.Parse(packet, True)
    except expat.ExpatError as error:
        raise ValueError(
            f"its XMP packet is not well-formed XML in UTF-8 ({error}); {KEEP}"
        ) from error
    if not found:
        raise ValueError(f"its XMP packet has no rdf:RDF, so it is no XMP; {KEEP}")
    return found[0], descriptions


def _cuts(packet: bytes, description: _Element) -> list[tuple[int, int, bytes]]:
    """Return the spans of a description that are ours, each with nothing to stand there instead."""
    names = {f"{name[2]}:{name[1]}" for name in description.attributes if _is_ours(name)}
    if not names and not description.own:
        return []
    others = [n for n in description.attributes if not _is_ours(n) and not _is_about(n)]
    if not others and not description.is_shared:
        return [(description.start, description.end, b"")]
    tag = TAG.match(packet, description.start)
    spans = [
        match.span()
        for match in ATTRIBUTE.finditer(packet, *tag.span())
        if match[1].decode() in names
    ]
    return [(*span, b"") for span in spans + [(own.start, own.end) for own in description.own]]


def _split(name: str) -> tuple[str, ...]:
    """Return a name of expat as (URI, local, prefix); names without a namespace have the URI ""."""
    return tuple(name.split(SEPARATOR)) if SEPARATOR in name else ("", name)


def _is_ours(name: tuple[str, ...]) -> bool:
    return name[0] == NAMESPACE


def _is_about(name: tuple[str, ...]) -> bool:
    return name[0] in ("", RDF) and name[1] == "about"


def _check_size(packet: bytes) -> None:
    if len(packet) > MOST_BYTES:
        raise ValueError(
            f"its XMP packet has {len(packet):,} bytes; wanted at most {MOST_BYTES:,}; {KEEP}"
        )
