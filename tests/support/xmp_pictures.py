"""Pictures with XMP of others and of ours, written and read plainly."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from dsh_jax.collection.annotation import Annotation

BITS = 12


CODE = np.array([0xA5, 0x0C], np.uint8)


OURS = {"code": CODE, "bits": BITS, "fingerprint": "cifar <48> & “é”"}


FOUND = Annotation(b"\xa5\x0c", BITS, OURS["fingerprint"])


RNG = np.random.default_rng(0)


RGB = RNG.integers(0, 256, (9, 13, 3), np.uint8)


RGBA = RNG.integers(0, 256, (9, 13, 4), np.uint8)


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


FOREIGN = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x='adobe:ns:meta/'>
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <!-- said -->
  <rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/"
    dc:source="a &gt; b&#10;c"><dc:subject><rdf:Bag><rdf:li>cat</rdf:li></rdf:Bag>
   </dc:subject></rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
      <?xpacket end="w"?>"""


def exif():
    made = Image.Exif()
    made[0x010E] = "a picture"
    return made


def png_text(**texts):
    made = PngImagePlugin.PngInfo()
    made.add_text("Author", "someone", zip=True)
    made.add_itxt("Title", "Bild", "de", "Titel")
    for text in texts.values():
        made.add_itxt("XML:com.adobe.xmp", text)
    return made


def palette():
    return Image.fromarray(RGB).quantize(7)


def frames(count):
    return [Image.fromarray(np.roll(RGB, i, 0)) for i in range(count)]


PICTURES = {  # name to image, format and options of Pillow
    "baseline.jpg": (Image.fromarray(RGB), "JPEG", {}),
    "progressive.jpg": (
        Image.fromarray(RGB),
        "JPEG",
        {"progressive": True, "exif": exif(), "icc_profile": ICC, "comment": b"said"},
    ),
    "foreign.jpg": (Image.fromarray(RGB[..., 0]), "JPEG", {"xmp": FOREIGN, "exif": exif()}),
    "rgb.png": (Image.fromarray(RGB), "PNG", {"exif": exif(), "icc_profile": ICC}),
    "palette.png": (palette(), "PNG", {"pnginfo": png_text(), "transparency": 2}),
    "deep.png": (Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), "PNG", {}),
    "foreign.png": (Image.fromarray(RGBA), "PNG", {"pnginfo": png_text(a=FOREIGN)}),
    "moving.png": (
        Image.fromarray(RGB),
        "PNG",
        {"save_all": True, "append_images": frames(3), "duration": 70},
    ),
    "lossy.webp": (Image.fromarray(RGB), "WEBP", {}),
    "lossy_alpha.webp": (Image.fromarray(RGBA), "WEBP", {}),
    "lossless.webp": (Image.fromarray(RGB), "WEBP", {"lossless": True}),
    "lossless_alpha.webp": (Image.fromarray(RGBA), "WEBP", {"lossless": True}),
    "foreign.webp": (
        Image.fromarray(RGB),
        "WEBP",
        {"xmp": FOREIGN, "exif": exif(), "icc_profile": ICC},
    ),
    "moving.webp": (
        Image.fromarray(RGB),
        "WEBP",
        {"save_all": True, "append_images": frames(3), "duration": 70, "loop": 2},
    ),
}


def encoded(name):
    image, kind, options = PICTURES[name]
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data):
    """Every frame's mode and pixels."""
    with Image.open(io.BytesIO(data)) as image:
        shown = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            shown.append((image.mode, image.size, image.tobytes(), image.info.get("duration")))
        return shown


def parts(data):
    """Every part of a file in order, without its XMP and the header of an extended WebP."""
    if data[:2] == b"\xff\xd8":
        found, at = [], 2
        while data[at + 1] != 0xDA:
            end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
            found.append(data[at:end])
            at = end
        return [part for part in found if b"ns.adobe.com/xap/1.0/\0" not in part] + [data[at:]]
    if data[:4] == b"RIFF":
        assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
        at, found = 12, []
        while at < len(data):
            size = struct.unpack_from("<I", data, at + 4)[0]
            found.append(data[at : at + 8 + size])
            at += 8 + size + size % 2
        assert at == len(data)
        return [part for part in found if part[:4] not in (b"XMP ", b"VP8X")]
    at, found = 8, []
    while at < len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        assert zlib.crc32(data[at + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0]
        found.append(data[at:end])
        at = end
    return [part for part in found if b"XML:com.adobe.xmp" not in part]


RDF_OPEN = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'


def rdf(content):
    return RDF_OPEN + b">" + content + b"</rdf:RDF>"


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + rdf(
    b"&b;"
)  # expanding is not even begun
