"""XMP in a PNG file is found in whatever chunk it stands, and is one packet in the copy."""

import struct
import zlib

import pytest
from programs import what_programs_say
from xmp_pictures import FOREIGN, FOUND, OURS, decoded, encoded, parts

from dsh_jax.collection.annotation import annotate, jpeg, png, read, xmp

PLAIN, RAW, APP1 = b"XML:com.adobe.xmp\0", b"Raw profile type xmp\0", b"Raw profile type APP1\0"


def chunk(kind, body, checksum=0):
    crc = zlib.crc32(kind + body) ^ checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def profile(data, name=b"xmp", length=None):
    """Bytes as ImageMagick writes them: 72 digits a line behind their name and number."""
    digits = data.hex().encode()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return b"\n%s\n%8d\n%s\n" % (name, length or len(data), b"\n".join(lines))


def compressed(text):
    return b"\0" + zlib.compress(text)


def carriers(packet):
    """Chunks that carry a packet."""
    segment = profile(jpeg.HEADER + packet, b"generic profile")
    return {
        "iTXt": chunk(b"iTXt", PLAIN + b"\0\0\0\0" + packet),
        "iTXt, compressed": chunk(b"iTXt", PLAIN + b"\1\0en\0XMP\0" + zlib.compress(packet)),
        "tEXt": chunk(b"tEXt", PLAIN + packet),
        "zTXt": chunk(b"zTXt", PLAIN + compressed(packet)),
        "profile in tEXt": chunk(b"tEXt", RAW + profile(packet)),
        "profile in zTXt": chunk(b"zTXt", RAW + compressed(profile(packet))),
        "profile in iTXt": chunk(b"iTXt", RAW + b"\0\0\0\0" + profile(packet)),
        "profile in iTXt, compressed": chunk(
            b"iTXt", RAW + b"\1\0\0\0" + zlib.compress(profile(packet))
        ),
        "in capitals": chunk(b"tEXt", RAW + profile(packet).upper().replace(b"XMP", b"xmp")),
        "with its header": chunk(b"tEXt", RAW + profile(jpeg.HEADER + packet)),
        "segment in zTXt": chunk(b"zTXt", APP1 + compressed(segment)),
        "segment in tEXt": chunk(b"tEXt", APP1 + segment),
        "keyword in small letters": chunk(b"tEXt", RAW.lower() + profile(packet)),
        "draft": chunk(b"tXMP", packet),
    }


EMPTY_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
EXIF = chunk(b"zTXt", APP1 + compressed(profile(EMPTY_EXIF, b"exif")))
TITLE = chunk(b"tEXt", b"Title\0a title")


def with_chunks(*chunks):
    image = encoded("rgb.png")
    return image[:33] + b"".join(chunks) + image[33:]


@pytest.mark.parametrize("name", carriers(b""))
def test_the_packet_of_any_chunk_is_merged_and_stands_alone(name, tmp_path):
    before = with_chunks(TITLE, carriers(FOREIGN)[name], EXIF)
    assert png.packets(before) == [FOREIGN]
    (tmp_path / "a.png").write_bytes(before)
    assert annotate(tmp_path / "a.png", tmp_path / "b.png", **OURS) == 0
    after = (tmp_path / "b.png").read_bytes()
    assert read(tmp_path / "b.png") == FOUND
    # Every other chunk stays, byte for byte; the packet is FOREIGN and ours.
    wanted = [part for part in parts(before) if part != carriers(FOREIGN)[name]]
    assert parts(after) == wanted
    (packet,) = png.packets(after)
    assert packet == xmp.merge(FOREIGN, xmp.properties(packet))
    assert after.index(b"iTXt" + PLAIN) < after.index(b"IDAT")
    assert decoded(after) == decoded(before)
    for said in what_programs_say(tmp_path / "b.png"):
        assert "cat" in said
        assert "a50c" in said


@pytest.mark.parametrize("name", carriers(b""))
def test_our_codes_are_read_from_any_chunk(name, tmp_path):
    values = {"code": "a50c", "bits": "12", "model": OURS["fingerprint"], "version": "1"}
    (tmp_path / "a.png").write_bytes(with_chunks(carriers(xmp.merge(FOREIGN, values))[name]))
    assert read(tmp_path / "a.png") == FOUND


@pytest.mark.parametrize("name", carriers(b""))
def test_a_second_packet_is_never_made(name, tmp_path):
    same = with_chunks(carriers(FOREIGN)[name], carriers(FOREIGN)["iTXt"])
    (tmp_path / "a.png").write_bytes(same)
    annotate(tmp_path / "a.png", tmp_path / "b.png", **OURS)
    assert len(png.packets((tmp_path / "b.png").read_bytes())) == 1
    other = FOREIGN.replace(b"cat", b"dog")
    (tmp_path / "a.png").write_bytes(with_chunks(carriers(FOREIGN)[name], carriers(other)["iTXt"]))
    with pytest.raises(ValueError, match=r"a.png: the file has 2 XMP packets that differ; .*keep"):
        annotate(tmp_path / "a.png", tmp_path / "c.png", **OURS)
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize(
    ("carrier", "why"),
    [
        (chunk(b"tEXt", RAW + profile(FOREIGN, length=9)), "should have 9 bytes, but has"),
        (chunk(b"zTXt", RAW + compressed(profile(FOREIGN, length=10**6))), "should have 1,000,000"),
        (chunk(b"tEXt", RAW + profile(FOREIGN)[:-2]), "should have"),
        (chunk(b"tEXt", RAW + profile(FOREIGN)[:-3] + b"zz\n"), "is no hexadecimal number"),
        (chunk(b"tEXt", RAW + b"\nxmp\n"), "is no hexadecimal number"),
        (chunk(b"tEXt", RAW), "is no hexadecimal number"),
        (chunk(b"zTXt", RAW + compressed(profile(FOREIGN)), checksum=1), "checksum of its XMP"),
        (chunk(b"tEXt", PLAIN + FOREIGN, checksum=1), "checksum of its XMP packet is wrong"),
        (chunk(b"zTXt", RAW + compressed(profile(FOREIGN))[:-9]), "is cut, or larger than"),
        (chunk(b"zTXt", RAW + b"\0no"), "cannot be decompressed"),
        (chunk(b"zTXt", RAW + b"\1" + zlib.compress(b"")), "zTXt chunk of its XMP packet is malf"),
        (chunk(b"zTXt", RAW), "zTXt chunk of its XMP packet is malformed"),
        (chunk(b"zTXt", RAW + compressed(bytes(20 << 20))), "is cut, or larger than 12,582,912"),
    ],
    ids=range(13),
)
def test_a_damaged_carrier_is_refused_with_advice_that_loses_nothing(carrier, why, tmp_path):
    (tmp_path / "a.png").write_bytes(with_chunks(carrier))
    advice = r"keep it as it is \(exiftool -a -b -xmp FILE > FILE.xmp\), then write what can be"
    with pytest.raises(ValueError, match=f"a.png: .*{why}.*{advice}"):
        annotate(tmp_path / "a.png", tmp_path / "b.png", **OURS)
    assert not (tmp_path / "b.png").exists()


def test_latin_text_is_what_its_chunk_says(tmp_path):
    packet = FOREIGN[FOREIGN.index(b"<x:") :].replace(b"cat", b"ch\xe9ri")
    (tmp_path / "a.png").write_bytes(with_chunks(chunk(b"tEXt", PLAIN + packet)))
    annotate(tmp_path / "a.png", tmp_path / "b.png", **OURS)
    (merged,) = png.packets((tmp_path / "b.png").read_bytes())
    assert "chéri" in merged.decode()
    for said in what_programs_say(tmp_path / "b.png"):
        assert "chéri" in said


def test_profiles_of_other_things_are_left_alone():
    damaged = chunk(b"zTXt", APP1 + b"\0no")
    iptc = chunk(b"zTXt", b"Raw profile type iptc\0" + compressed(profile(b"\x1c\2")))
    before = with_chunks(EXIF, damaged, iptc, chunk(b"tEXt", APP1), chunk(b"tEXt", PLAIN[:-1]))
    assert png.packets(before) == []
    assert parts(png.with_packet(before, FOREIGN)) == parts(before)
