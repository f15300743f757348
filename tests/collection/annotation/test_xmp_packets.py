"""Junk behind a packet is told from packets; nothing of a packet is lost."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import what_programs_say
from xmp_pictures import BOMB, FOREIGN, OURS, decoded, encoded, segment

from dsh_jax.collection.annotation import annotate, jpeg, read, xmp
from dsh_jax.collection.annotation.xmp_packets import split

OTHER = FOREIGN.replace(b"cat", b"dog")
BARE = FOREIGN[FOREIGN.index(b"<x:") : FOREIGN.index(b"</x:xmpmeta>") + 12]
CLOSING = b'<?xpacket end="w"?>'
JUNK = {  # what follows a packet to what is junk of it
    "zeros and text": (b"\0" * 20 + b"text", b"text"),
    "text": (b" some text & more", b"some text & more"),
    "the rest of a longer one": (FOREIGN[-70:], FOREIGN[-70:]),
    "a bracket": (b">", b">"),
    "a cut packet": (OTHER[:200], OTHER[:200]),
    "a cut packet's head": (OTHER[:50], OTHER[:50]),
    "an opened packet": (b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>', None),
    "elements": (b"<a><b></a>", b"<a><b></a>"),
    "bytes": (b"\xff\xfe\x80\n\0", b"\xff\xfe\x80"),
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_told_from_the_packet(name):
    data, junk = JUNK[name]
    found = split(FOREIGN + data)
    assert found == ([FOREIGN], data if junk is None else junk)
    assert split(BARE + data) == ([BARE], found[1])


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0" * 50, b" \r\n\t", b"\n" * 3000])
def test_zeros_and_spaces_are_no_junk(padding):
    for packet in (FOREIGN, BARE):
        assert split(packet + padding) == ([packet + padding], b"")
    assert split(padding) == ([], b"")
    # Zeros behind spaces are none of XML.
    assert split(FOREIGN + b"\0 \0") == ([FOREIGN], b"")


@pytest.mark.parametrize("between", [b"\0" * 9, b"junk", b"</x:xmpmeta>"])
def test_a_packet_keeps_its_closing_instruction(between):
    (packet,), junk = split(FOREIGN.replace(b"      <?xpacket end", between + b"<?xpacket end"))
    assert packet == FOREIGN[: FOREIGN.index(b"</x:xmpmeta>") + 12] + b"\n" + CLOSING
    assert junk == between.strip(b"\0")
    assert xmp.properties(xmp.merge(packet, {"code": "00"})) == {"code": "00"}


def test_comments_are_part_of_a_packet():
    for packet in (BARE + b"<!-- said -->", BARE + b"<!-- said -->" + CLOSING + b"<!-- more -->"):
        assert split(packet) == ([packet], b"")


def test_whole_packets_behind_one_are_packets():
    for second in (OTHER, b"\0\0" + OTHER + b"\0"):
        assert split(FOREIGN + second) == ([FOREIGN, OTHER], b"")
    rest = FOREIGN[-30:]
    found = split(FOREIGN + b"text" + OTHER + rest + BARE + b"end")
    assert found == ([FOREIGN, OTHER, BARE], b"text " + rest + b" end")
    assert split(FOREIGN + OTHER[:80] + OTHER)[0] == [FOREIGN, OTHER]


def test_broken_packets_are_left_to_be_refused():
    for data in (b"text", FOREIGN[:-60], FOREIGN.replace(b"</x:", b"</y:"), BOMB, b"<a>" * 200_000):
        assert split(data) == ([data], b"")


def test_many_packets_are_looked_at_in_bounded_time():
    started = time.monotonic()
    packets, _ = split(BARE * 5_000)
    assert len(packets) == 21  # the last are not parted
    assert b"".join(packets) == BARE * 5_000
    split(FOREIGN + b"<x:xmpmeta " * 300_000)
    assert time.monotonic() - started < 5


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80), st.sampled_from([b"", b"<", b"\0", b"</", b"<?", b"<!--"]))
def test_no_junk_changes_the_packet(junk, head):
    (packet,), found = split(FOREIGN + head + junk)
    assert packet.startswith(FOREIGN)
    assert xmp.properties(packet) == {}
    assert found in head + junk


# In files.


def with_segments(*bodies):
    image = encoded("baseline.jpg")
    return image[:20] + b"".join(segment(0xE1, body) for body in bodies) + image[20:]


@pytest.mark.parametrize("name", JUNK)
def test_the_copy_of_a_jpeg_with_junk_keeps_the_packet_alone(name, tmp_path):
    data, junk = JUNK[name]
    before = with_segments(jpeg.HEADER + FOREIGN + data)
    (tmp_path / "a.jpg").write_bytes(before)
    assert read(tmp_path / "a.jpg") is None
    count = annotate(tmp_path / "a.jpg", tmp_path / "b.jpg", **OURS)
    assert count == len(data if junk is None else junk)
    after = (tmp_path / "b.jpg").read_bytes()
    assert after == jpeg.with_packet(before, xmp.merge(FOREIGN, xmp.properties(packet(after))))
    assert read(tmp_path / "b.jpg").fingerprint == OURS["fingerprint"]
    assert decoded(after) == decoded(before)
    for said in what_programs_say(tmp_path / "b.jpg"):
        assert "cat" in said
        assert "a50c" in said


@pytest.mark.parametrize(
    "header", [jpeg.HEADER[:-1], b"XMP\0://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xap/\0"]
)
def test_a_packet_behind_another_header_is_no_second_one(header, tmp_path):
    (tmp_path / "a.jpg").write_bytes(with_segments(header + FOREIGN))
    annotate(tmp_path / "a.jpg", tmp_path / "b.jpg", **OURS)
    after = (tmp_path / "b.jpg").read_bytes()
    assert after.count(jpeg.HEADER) == after.count(b"<?xpacket begin") == 1
    assert header == jpeg.HEADER[:-1] or header not in after
    assert b"uuid:1" in packet(after)
    (tmp_path / "a.jpg").write_bytes(with_segments(header + FOREIGN, jpeg.HEADER + OTHER))
    with pytest.raises(ValueError, match="has 2 XMP packets that differ"):
        annotate(tmp_path / "a.jpg", tmp_path / "b.jpg", **OURS)


def packet(data):
    (found,) = jpeg.packets(data)
    return found
