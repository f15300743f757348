"""Codes come back from copies of images; pixels and all other metadata stay as they were."""

import contextlib
import io
import os
import re
import shutil
import struct
import subprocess
import tracemalloc
import zlib

import numpy as np
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from xmp_pictures import (
    BOMB,
    FOREIGN,
    FOUND,
    OURS,
    PICTURES,
    RDF_OPEN,
    RGB,
    RNG,
    decoded,
    encoded,
    parts,
    png_text,
    rdf,
    segment,
)

from dsh_jax import codes
from dsh_jax.collection.annotation import Annotation, annotate, jpeg, png, read, webp, xmp

SIMPLE = ("lossy.webp", "lossless.webp", "lossless_alpha.webp")  # without a VP8X chunk


@pytest.fixture(scope="module")
def pictures():
    """Every picture as the bytes of its file."""
    return {name: encoded(name) for name in PICTURES}


def metadata(data):
    """All that Pillow knows besides the XMP."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        info = {
            key: value
            for key, value in image.info.items()
            if key not in ("xmp", "XML:com.adobe.xmp")
        }
        return info, dict(image.getexif()), image.getpalette() if image.mode == "P" else None


def packet_of(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.info.get("xmp")


def copied(data, folder, **changes):
    """The bytes of an annotated copy."""
    (folder / "source").write_bytes(data)
    annotate(folder / "source", folder / "target", **OURS | changes)
    assert (folder / "source").read_bytes() == data
    assert sorted(os.listdir(folder)) == ["source", "target"]
    return (folder / "target").read_bytes()


@pytest.mark.parametrize("name", PICTURES)
def test_a_code_comes_back_and_all_else_stays(name, pictures, tmp_path):
    before = pictures[name]
    after = copied(before, tmp_path)
    assert read(tmp_path / "source") is None
    assert read(tmp_path / "target") == FOUND
    assert xmp.properties(packet_of(after))["code"] == "a50c"
    assert parts(after) == parts(before)
    assert decoded(after) == decoded(before)
    assert metadata(after) == metadata(before)
    assert copied(after, tmp_path) == after
    # Another annotation replaces ours: the file is as if it had been the first.
    other = {"code": b"\x01", "bits": 3, "fingerprint": "other"}
    assert copied(after, tmp_path, **other) == copied(before, tmp_path, **other)
    assert read(tmp_path / "target") == Annotation(b"\x01", 3, "other")


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith("foreign")])
def test_every_byte_of_a_foreign_packet_stays(name, pictures, tmp_path):
    merged = packet_of(copied(pictures[name], tmp_path))
    ours = re.findall(rb"<rdf:Description [^>]*/ns/1.0/.*?/>", merged)
    assert len(ours) == 1
    assert merged.replace(ours[0], b"") == FOREIGN
    assert b'rdf:about="uuid:1"' in ours[0]


@pytest.mark.parametrize("name", [*SIMPLE, "lossy_alpha.webp", "moving.webp"])
def test_the_header_of_an_extended_webp_file_is_right(name, pictures, tmp_path):
    after = copied(pictures[name], tmp_path)
    assert (pictures[name][12:16] != b"VP8X") == (name in SIMPLE)
    assert after[12:20] == b"VP8X" + struct.pack("<I", 10)
    flags, width, height = after[20], after[24:27], after[27:30]
    alpha, moving = 0x10 * ("alpha" in name), 0x02 * ("moving" in name)
    # Of an animation the encoder decides on alpha.
    assert flags & ~(moving and 0x10) == 0x04 | alpha | moving
    assert [int.from_bytes(x, "little") + 1 for x in (width, height)] == [13, 9]


def test_a_packet_stands_where_readers_look(pictures, tmp_path):
    after = copied(pictures["progressive.jpg"], tmp_path)
    assert after.index(b"Exif\0") < after.index(jpeg.HEADER) < after.index(b"ICC_PROFILE")
    bare = pictures["baseline.jpg"]
    no_jfif = bare[:2] + bare[20:]
    assert copied(no_jfif, tmp_path)[6:].startswith(jpeg.HEADER)
    # A PNG packet after the pixels is brought before them.
    image = pictures["rgb.png"]
    body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + FOREIGN
    late = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    after = copied(image[:-12] + late + image[-12:], tmp_path)
    assert after.index(b"XML:com") < after.index(b"IDAT")
    assert after.count(b"XML:com") == 1
    assert b"uuid:1" in packet_of(after)


def test_codes_of_the_library_come_back(pictures, tmp_path):
    bit_NxK = RNG.integers(0, 2, (3, 21), np.uint8)
    packed_NxW = codes.pack_bits(bit_NxK)
    (tmp_path / "source").write_bytes(pictures["baseline.jpg"])
    for row in range(3):
        target = tmp_path / f"{row}.jpg"
        annotate(tmp_path / "source", target, code=packed_NxW[row], bits=21, fingerprint="0123abcd")
        found = read(target)
        packed_1xW = np.frombuffer(found.code, np.uint8)[None]
        np.testing.assert_array_equal(
            codes.unpack_bits(packed_1xW, found.bits), bit_NxK[row : row + 1]
        )


@pytest.mark.parametrize("name", ["foreign.png", "foreign.webp"])
def test_content_decides_not_the_ending(name, pictures, tmp_path):
    (tmp_path / "a.jpg").write_bytes(pictures[name])
    annotate(tmp_path / "a.jpg", tmp_path / "b.jpg", **OURS)
    assert read(tmp_path / "b.jpg") == FOUND
    assert (tmp_path / "b.jpg").read_bytes()[:4] == pictures[name][:4]


def test_what_comes_after_the_image_stays(pictures, tmp_path):
    for name in ("baseline.jpg", "rgb.png", "lossy.webp"):
        after = copied(pictures[name] + b"a trailer", tmp_path)
        assert after.endswith(b"a trailer")
        assert after[: -len(b"a trailer")] == copied(pictures[name], tmp_path)


# Packets.

NEW = {"code": "00", "model": "new"}


def described(content, attributes=b"", prefix=b"q"):
    return (
        b'<rdf:Description rdf:about="" xmlns:dc="d:" xmlns:' + prefix + b'="'
        b"https://dsh-jax.invalid/ns/1.0/" + b'"' + attributes + b">" + content
        + b"</rdf:Description>"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("packet", "had", "kept"),
    [
        (RDF_OPEN + b"/>", {}, rdf(b"")),
        (RDF_OPEN + b" />", {}, RDF_OPEN + b" ></rdf:RDF>"),
        (rdf(b"\n") + b"\0\0", {}, rdf(b"\n") + b"\0\0"),
        (b"\xef\xbb\xbf" + rdf(b""), {}, b"\xef\xbb\xbf" + rdf(b"")),
        # Attributes of ours among others, under another prefix.
        (
            rdf(described(b"", b" q:code='ab>' dc:code=\"q:code='x'\"\n q:bits = \"8\" ")),
            {"code": "ab>", "bits": "8"},
            rdf(described(b"", b" dc:code=\"q:code='x'\" ")),
        ),
        # Elements of ours among others.
        (
            rdf(described(b"<dc:code/> <q:code> a&amp;<![CDATA[>]]><!-- > --></q:code ><q:bits/>")),
            {"code": "a&>", "bits": ""},
            rdf(described(b"<dc:code/> ")),
        ),
        # Only ours, as elements and attributes.
        (
            rdf(b" " + described(b"<q:code>ab</q:code>\n", b' q:bits="8"') + b" "),
            {"code": "ab", "bits": "8"},
            rdf(b"  "),
        ),
        # What is ours by its prefix only, or below another property, is not ours.
        (
            rdf(b'<rdf:Description xmlns:dshjax="other:" dshjax:code="ab"/>'),
            {},
            rdf(b'<rdf:Description xmlns:dshjax="other:" dshjax:code="ab"/>'),
        ),
        (
            rdf(described(b"<dc:a><rdf:Description q:code='ab'/><q:code>ab</q:code></dc:a>")),
            {},
            rdf(described(b"<dc:a><rdf:Description q:code='ab'/><q:code>ab</q:code></dc:a>")),
        ),
        # What looks like an end, and is none.
        (
            rdf(b"<!-- </rdf:RDF> -->" + described(b"<dc:b/>", b' q:bits="8" dc:a="x > y/>"')),
            {"bits": "8"},
            rdf(b"<!-- </rdf:RDF> -->" + described(b"<dc:b/>", b' dc:a="x > y/>"')),
        ),
        # The RDF namespace as the default.
        (
            rdf(b"").replace(b"rdf:RDF", b"RDF").replace(b":rdf", b""),
            {},
            b'<RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></RDF>',
        ),
    ],
)
def test_packets_of_other_programs_are_merged(packet, had, kept):
    assert xmp.properties(packet) == had
    merged = xmp.merge(packet, NEW)
    assert xmp.properties(merged) == NEW
    (ours,) = re.findall(rb'<rdf:Description[^>]* dshjax:code="00" dshjax:model="new"/>', merged)
    assert merged.replace(ours, b"") == kept
    assert xmp.merge(merged, NEW) == merged


@settings(deadline=None, max_examples=50)
@given(
    st.text(
        st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters="\ufffe\uffff")
    ),
    st.sampled_from([None, FOREIGN, rdf(described(b"", b' q:model="old"'))]),
)
def test_any_text_comes_back(text, packet):
    merged = xmp.merge(packet, {"model": text})
    assert xmp.properties(merged) == {"model": text.strip()}


RICH = rdf(
    b"<!-- <q:a> -->"
    + described(b"<q:code>1</q:code><dc:b><rdf:Bag/></dc:b><q:bits/>", b' q:model="x>" dc:a="y"')
    + described(b"<![CDATA[ ]]>", b" q:bits='8'", prefix=b"dshjax")
)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 3), st.binary(max_size=3))))
def test_damaged_packets_are_refused_or_merged(edits):
    packet = RICH
    for at, count, new in edits[:3]:
        packet = packet[:at] + new + packet[at + count :]
    try:
        merged = xmp.merge(packet, NEW)
    except ValueError:
        return
    assert xmp.properties(merged) == NEW
    assert xmp.merge(merged, NEW) == merged


def test_large_packets_lose_their_padding_or_are_refused(pictures, tmp_path):
    spaces = b" " * (jpeg.MOST_BYTES - len(FOREIGN))
    padded = FOREIGN.replace(b"<?xpacket end", spaces + b"<?xpacket end")
    image = jpeg.with_packet(pictures["baseline.jpg"], padded)
    after = copied(image, tmp_path)
    assert len(after) < len(image) - 60_000
    assert b"uuid:1" in packet_of(after)
    full = jpeg.with_packet(pictures["baseline.jpg"], FOREIGN.replace(b"cat", b"x" * 65_000))
    with pytest.raises(ValueError, match=r"would have 65,\d+ bytes, but a JPEG segment holds"):
        copied(full, tmp_path)


def after_jfif(data, *segments):
    return data[:20] + b"".join(segments) + data[20:]


def test_extended_xmp_is_left_alone(pictures, tmp_path):
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<more")
    image = jpeg.with_packet(pictures["baseline.jpg"], FOREIGN)
    image = after_jfif(image, extended)
    after = copied(image, tmp_path)
    assert extended in after
    assert after.count(jpeg.HEADER) == 1


def test_offsets_of_further_pictures_stay_right(pictures, tmp_path):
    index = segment(0xE2, b"MPF\0")
    image = pictures["baseline.jpg"]
    after = copied(after_jfif(image, index), tmp_path)
    assert after.index(jpeg.HEADER) < after.index(b"MPF\0")
    packet = segment(0xE1, jpeg.HEADER + FOREIGN)
    with pytest.raises(ValueError, match="after the index of its further pictures"):
        copied(after_jfif(image, index, packet), tmp_path)


# Files and folders.


def test_the_source_is_never_written(pictures, tmp_path):
    source = tmp_path / "a.jpg"
    source.write_bytes(pictures["baseline.jpg"])
    (tmp_path / "soft.jpg").symlink_to(source)
    (tmp_path / "hard.jpg").hardlink_to(source)
    for name in ("a.jpg", "../" + tmp_path.name + "/a.jpg", "soft.jpg", "hard.jpg"):
        with pytest.raises(ValueError, match="is the source itself; write the copy to another"):
            annotate(source, tmp_path / name, **OURS)
    assert source.read_bytes() == pictures["baseline.jpg"]
    # Where the system cannot tell files apart, their paths do.
    with pytest.raises(ValueError, match="is the source itself"):
        annotate(tmp_path / "absent", tmp_path / "absent", **OURS)


def test_a_target_is_there_in_whole_or_not_at_all(pictures, tmp_path, monkeypatch):
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(pictures["baseline.jpg"])
    target.write_bytes(b"before")

    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(type(epath.Path(target)), "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        annotate(source, target, **OURS)
    monkeypatch.undo()
    assert target.read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "b.jpg"]
    annotate(source, target, **OURS)
    assert read(target) == FOUND


# Errors.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": np.zeros((1, 2), np.uint8)}, r"type uint8 and shape \(1, 2\); pass one row"),
        ({"code": np.zeros(2)}, r"type float64 and shape \(2,\); pass one row of codes.pack_bits"),
        ({"bits": 17}, "2 bytes, but bits=17; wanted"),
        ({"bits": 0, "code": b""}, "0 bytes, but bits=0; wanted .*, bits at least 1"),
        ({"bits": 11}, "last byte is 0x0c, which has ones beyond its 11 bits"),
        ({"fingerprint": ""}, "fingerprint is ''; pass printable"),
        ({"fingerprint": "a\0"}, r"fingerprint is 'a\\x00'"),
        ({"fingerprint": " a"}, "without outer spaces"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes, message, pictures, tmp_path):
    with pytest.raises(ValueError, match=message):
        copied(pictures["baseline.jpg"], tmp_path, **changes)


GOOD = {"code": "a50c", "bits": "12", "model": "m", "version": "1"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"code": "xy"}, "has the code 'xy' of '12' bits; wanted an even number of hexadecimal"),
        ({"code": "a50"}, "'a50' of '12' bits; wanted an even"),
        ({"code": "a5 0c"}, "'a5 0c' of"),
        ({"code": ""}, "the code '' of"),
        ({"code": "a50c00"}, "the code has 3 bytes, but bits=12"),
        ({"code": "a51c"}, "last byte is 0x1c, which has ones beyond"),
        ({"bits": "-12"}, "of '-12' bits"),
        ({"bits": "9" * 5000}, "of '9{40}' bits"),
        ({"version": "2"}, "has code, bits, model, version '2'; wanted .* being '1'"),
        ({"model": None}, "has code, bits, version '1'; wanted code, bits, model, version"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "module"), [("baseline.jpg", jpeg), ("rgb.png", png), ("lossy.webp", webp)]
)
def test_broken_annotations_are_refused_and_replaced(
    kind, module, values, message, pictures, tmp_path
):
    values = {name: x for name, x in (GOOD | values).items() if x is not None}
    path = tmp_path / "a"
    path.write_bytes(module.with_packet(pictures[kind], xmp.merge(None, values)))
    with pytest.raises(ValueError, match=rf"{path}: .*{message}"):
        read(path)
    annotate(path, tmp_path / "b", **OURS)
    assert read(tmp_path / "b") == FOUND


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (
            b"",
            r"not well-formed XML in UTF-8 \(no element found.*\); so that nothing is lost, keep",
        ),
        (b"\xff\xfe<\0a\0", "not well-formed XML in UTF-8"),
        (FOREIGN[:-60], "not well-formed"),
        (BOMB, "declares a document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + rdf(b""), "declares a document type"),
        (rdf(b"&undeclared;"), "not well-formed XML .*undefined entity"),
        (b'<?xml version="1.0" encoding="utf-7"?>' + rdf(b"\xe9"), "not well-formed"),
        (b"<a/>", "has no rdf:RDF"),
        (rdf(rdf(b"")), "two rdf:RDF"),
        (rdf(b"<a>" * 200 + b"</a>" * 200), "elements over 100 deep"),
        (b"<a>" * 200_000, "elements over 100 deep"),
        (rdf(b"<rdf:Description/>" * 200_000), "over 1,000 descriptions or"),
        (rdf(described(b"<q:code/>" * 400_000)), "or properties of ours"),
        (rdf(described(b"<q:code>a</q:code>", b" q:code='a'")), "has dshjax:code twice"),
        (rdf(described(b"<q:code><q:b/></q:code>")), "dshjax:code of its XMP packet holds elem"),
        (rdf(b" " * xmp.MOST_BYTES), r"has 4,194,\d+ bytes; wanted at most 4,194,304"),
    ],
)
def test_broken_packets_are_refused(packet, message):
    with pytest.raises(ValueError, match=message):
        xmp.properties(packet)


def two_packets(pictures, first, second):
    """A JPEG, a PNG and a WebP file with two packets."""
    chunks = [
        b"XMP " + struct.pack("<I", len(packet)) + packet + b"\0" * (len(packet) % 2)
        for packet in (first, second)
    ]
    moving = pictures["moving.webp"] + b"".join(chunks)
    segments = [segment(0xE1, jpeg.HEADER + packet) for packet in (first, second)]
    return (
        after_jfif(pictures["baseline.jpg"], *segments),
        encoded_with(png_text(a=first, b=second)),
        moving[:4] + struct.pack("<I", len(moving) - 8) + moving[8:],
    )


def test_a_file_with_two_packets_that_differ_is_refused(pictures, tmp_path):
    for data in two_packets(pictures, FOREIGN, FOREIGN.replace(b"cat", b"dog")):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(ValueError, match=r"a: the file has 2 XMP packets that differ; .* keep"):
            read(tmp_path / "a")
        with pytest.raises(ValueError, match="the file has 2 XMP packets"):
            annotate(tmp_path / "a", tmp_path / "b", **OURS)


def test_of_two_packets_that_are_the_same_one_is_kept(pictures, tmp_path):
    for data in two_packets(pictures, FOREIGN, FOREIGN):
        after = copied(data, tmp_path)
        assert read(tmp_path / "target") == FOUND
        assert after.count(b"uuid:1") == 2  # ours has it too
        assert parts(after) == parts(data)
        assert decoded(after) == decoded(data)


def encoded_with(info):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def with_itxt(data, rest, checksum=0):
    """A PNG with an XMP chunk of these bytes after the keyword."""
    body = b"iTXtXML:com.adobe.xmp\0" + rest
    crc = zlib.crc32(body) ^ checksum
    return data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", crc) + data[33:]


def test_compressed_packets_are_read_up_to_a_size(pictures, tmp_path):
    image = pictures["rgb.png"]
    after = copied(with_itxt(image, b"\1\0\0\0" + zlib.compress(FOREIGN)), tmp_path)
    assert b"uuid:1" in packet_of(after)
    bomb = with_itxt(image, b"\1\0\0\0" + zlib.compress(bytes(200 << 20), 1))
    (tmp_path / "source").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="is cut, or larger than 4,194,304 bytes"):
        read(tmp_path / "source")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * xmp.MOST_BYTES + 2 * len(bomb)


def jpeg_cases(data):
    return [
        (data[:3], "byte 2 "),
        (data[:-1].split(b"\xff\xda")[0], "is not the segment that must be there"),
        (data[:2] + b"\xff\xd9", "byte 2 .* is not the segment"),
        (data[:4] + b"\0\1" + data[6:], "has the length 1; wanted 2 to"),
        (data[:4] + b"\xff\xff" + data[6:], "has the length 65,535; wanted"),
        (data[:2] + b"\xff" * 1_000_000, "is not the segment"),
    ]


def png_cases(data):
    return [
        (data[:-4], "starts no whole chunk"),
        (data[:8], "byte 8 .*starts no whole chunk"),
        (data[:8] + b"\xff\xff\xff\xff" + data[12:], "starts no whole chunk"),
        (data[:8] + data[33:], "or not IHDR as the first"),
        (data[:33] + data[-12:], "no IDAT chunk"),
        (with_itxt(data, b"\0\0\0\0" + FOREIGN, checksum=1), "checksum of its XMP packet is wrong"),
        (with_itxt(data, b"\0\0\0"), "iTXt chunk of its XMP packet is malformed"),
        (with_itxt(data, b""), "iTXt chunk of its XMP packet is malformed"),
        (with_itxt(data, b"\2\0\0\0"), "iTXt chunk of its XMP packet is malformed"),
        (with_itxt(data, b"\1\0\0\0no"), "cannot be decompressed"),
        (with_itxt(data, b"\1\0\0\0" + zlib.compress(FOREIGN)[:-9]), "is cut, or larger"),
    ]


def webp_cases(data):
    return [
        (data[:-1], "the file is damaged or cut"),
        (data[:12], "the file is damaged or cut"),
        (data[:4] + bytes(4) + data[8:], "the file is damaged or cut"),
        (data[:16] + b"\xff\xff\xff\xff" + data[20:], "ends at byte 4,294,967,315"),
        (data[:12] + b"VP9 " + data[16:], "first chunk of this WebP file is b'VP9 ' and starts no"),
        (b"RIFF\x10\0\0\0WEBPVP8X\4\0\0\0\4\0\0\0", "first chunk .* is b'VP8X' and starts no"),
        (data[:20] + bytes([data[20] | 1]) + data[21:], "first chunk .* is b'VP8 ' and starts no"),
        (data[:23] + b"\0" + data[24:], "first chunk .* is b'VP8 ' and starts no"),
    ]


@pytest.mark.parametrize(
    ("name", "cases"),
    [("baseline.jpg", jpeg_cases), ("rgb.png", png_cases), ("lossy.webp", webp_cases)],
)
def test_damaged_files_are_refused(name, cases, pictures, tmp_path):
    for data, message in cases(pictures[name]):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(ValueError, match=message):
            annotate(tmp_path / "a", tmp_path / "b", **OURS)
    assert os.listdir(tmp_path) == ["a"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.jpg"
    for data in (b"", b"GIF89a and more", b"RIFF\0\0\0\0WAVE", b"\xff\xd8"):
        path.write_bytes(data)
        for call in (read, lambda path: annotate(path, tmp_path / "b", **OURS)):
            with pytest.raises(ValueError, match=r"jpg: .* neither JPEG, PNG nor WebP; convert"):
                call(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for the many files of a property."""
    return tmp_path_factory.mktemp("damaged")


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_no_damage_does_worse_than_a_value_error(pictures, place, data):
    """Files that are accepted give back what was written, whatever else is in them."""
    name = data.draw(st.sampled_from(sorted(pictures)))
    source, target, again = (place / f"{role}-{name}" for role in ("source", "target", "again"))
    source.write_bytes(pictures[name])
    if data.draw(st.booleans()):
        annotate(source, target, **OURS)
        target.replace(source)
    broken = bytearray(source.read_bytes())
    # Heads hold the structure: damage falls there as often as anywhere.
    last = data.draw(st.sampled_from([40, len(broken) - 1]))
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken))) :]
    source.write_bytes(broken)
    with contextlib.suppress(ValueError):
        read(source)
    try:
        annotate(source, target, **OURS)
    except ValueError:
        return
    assert read(target) == FOUND
    annotate(target, again, **OURS)
    assert again.read_bytes() == target.read_bytes()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.sampled_from([jpeg, png, webp]))
def test_no_bytes_do_worse_than_a_value_error(tail, module):
    head = {jpeg: b"\xff\xd8\xff", png: png.SIGNATURE, webp: b"RIFF\x40\0\0\0WEBP"}[module]
    with contextlib.suppress(ValueError):
        module.packets(head + tail)
    with contextlib.suppress(ValueError):
        assert module.packets(module.with_packet(head + tail, FOREIGN))


# Other programs.


@pytest.mark.parametrize("name", PICTURES)
def test_pillow_reads_the_properties(name, pictures, tmp_path):
    pytest.importorskip("defusedxml", reason="Pillow's getxmp needs defusedxml")
    after = copied(pictures[name], tmp_path)
    with Image.open(io.BytesIO(after)) as image:
        image.load()
        description = image.getxmp()["xmpmeta"]["RDF"]["Description"]
    ours = description if isinstance(description, dict) else description[-1]
    assert [ours[key] for key in ("code", "bits", "model")] == ["a50c", "12", OURS["fingerprint"]]


def exiftool(*arguments):
    command = ["exiftool", "-q", "-q", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout.decode()


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("name", ["progressive.jpg", "foreign.png", "lossless_alpha.webp"])
def test_exiftool_reads_and_rewrites_the_properties(name, pictures, tmp_path):
    copied(pictures[name], tmp_path)
    path = (tmp_path / "target").rename(tmp_path / name)
    wanted = f"a50c\n12\n{OURS['fingerprint']}\n1\n"
    tags = [f"-XMP-dshjax:{tag}" for tag in ("Code", "Bits", "Model", "Version")]
    assert exiftool("-s3", *tags, path) == wanted
    warnings = ["-s3", "-a", "-validate", "-warning"]
    assert exiftool(*warnings, path) == exiftool(*warnings, tmp_path / "source")
    exiftool("-overwrite_original", "-XMP-dc:Title=a title", "-XMP-dc:Source=us", path)
    assert read(path) == FOUND
    other = tmp_path / f"other-{name}"
    annotate(path, other, **OURS | {"fingerprint": "other"})
    assert read(other).fingerprint == "other"
    assert exiftool("-s3", "-XMP-dc:Title", "-XMP-dshjax:Model", other) == "a title\nother\n"
    assert decoded(other.read_bytes()) == decoded(pictures[name])
