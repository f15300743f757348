"""Files of every kind, made for a test, each with the picture that it must give.

What is wanted is made from the pixels that went in, or by Pillow alone; never by the library.
"""

import io
import itertools
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 48, 40
NOT_READ = {"EPS", "PDF", "PALM", "BUFR", "GRIB", "HDF5", "WMF"}  # that Pillow only writes
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
DEEP = ("I;16", "I;16B", "I", "F")
LOSSLESS = {"WEBP": {"lossless": True}, "JPEG2000": {"irreversible": False}}


def photo(height=HEIGHT, width=WIDTH):
    """A smooth picture, no two of whose sides or corners are alike: uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    blue = 127 + 100 * np.sin(x / 7) * np.cos(y / 9)
    return np.stack([red, green, blue], -1).round().astype(np.uint8)


def grey():
    """Its luma, by Pillow."""
    return np.asarray(Image.fromarray(photo()).convert("L"))


def alpha():
    """Alpha that has every value, with a clear and an opaque part."""
    x = np.arange(WIDTH)[None].repeat(HEIGHT, 0)
    return ((x - 8) * 255 / (WIDTH - 17)).clip(0, 255).round().astype(np.uint8)


def on_white(colour, alpha_HxW):
    """Return colours [H, W, 3 or nothing] over white, float."""
    share = alpha_HxW[..., None] / 255
    colour = colour if colour.ndim == 3 else colour[..., None].repeat(3, -1)
    return colour * share + 255 * (1 - share)


def three(grey_HxW):
    return np.asarray(grey_HxW)[..., None].repeat(3, -1).astype(float)


# Where the pixel of each place of the upright picture is stored, by the Exif standard's words: what
# the stored first row and first column are.
STORED = {
    1: lambda image: image,  # top, left
    2: lambda image: image[:, ::-1],  # top, right
    3: lambda image: image[::-1, ::-1],  # bottom, right
    4: lambda image: image[::-1],  # bottom, left
    5: lambda image: image.swapaxes(0, 1),  # left, top
    6: lambda image: image[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda image: image[::-1].swapaxes(0, 1),  # left, bottom
}


def exif(orientation, order="<"):
    """Return an Exif block, as it stands in a PNG, with one entry."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return head + struct.pack(order + "HHHLHHL", 1, 0x0112, 3, 1, orientation, 0, 0)


def saved(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def by_pillow(data):
    """Return what Pillow makes of a file of 8 bits, float [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "La":
            upright = upright.convert("LA")
        seen = np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    return on_white(seen[..., :3], seen[..., 3]) if seen.shape[-1] == 4 else seen.astype(float)


def insert(jpeg, segment, marker=0xE1, before=None):
    """Return a JPEG with a segment after its start, or before the first marker `before`."""
    at = 2
    while before and jpeg[at + 1] != before:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    whole = bytes([0xFF, marker]) + (len(segment) + 2).to_bytes(2) + segment
    return jpeg[:at] + whole + jpeg[at:]


def png(rows_HxB, width, depth, colour, *chunks, interlaced=False):
    """Return a PNG of rows of bytes, or of several images of them, with chunks before its data."""

    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    passes = rows_HxB if interlaced else [rows_HxB]
    height = HEIGHT if interlaced else len(rows_HxB)
    data = b"".join(b"\0" + bytes(row) for image in passes for row in image)
    head = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = [
        chunk(b"IHDR", head),
        *(chunk(*one) for one in chunks),
        chunk(b"IDAT", zlib.compress(data)),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*body, chunk(b"IEND", b"")])


def adam7(image):
    """Return the seven pictures that an interlaced PNG holds."""
    starts = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    return [image[y::dy, x::dx].reshape(len(image[y::dy]), -1) for y, x, dy, dx in starts]


def packed(value_HxW, bits):
    """Return rows of bytes that hold numbers one behind the other, highest bits first."""
    bit = (value_HxW[..., None].astype(np.int64) >> np.arange(bits)[::-1]) & 1
    return np.packbits(bit.reshape(len(value_HxW), -1).astype(np.uint8), axis=1)


def tiff(data, width, height, bits, *, photometric=1, order="<", more=(), compression=1):
    """Return a TIFF of one strip of bytes, with further (tag, type, value)."""
    data = {1: bytes, 8: zlib.compress}[compression](data)
    tags = {256: (4, width), 257: (4, height), 258: (3, bits), 259: (3, compression)}
    tags |= {262: (3, photometric), 273: (4, 8), 277: (3, 1), 278: (4, height), 279: (4, len(data))}
    tags |= {tag: (kind, value) for tag, kind, value in more}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8 + len(data))
    entries = b"".join(
        struct.pack(order + "HHL", tag, kind, 1)
        + struct.pack(order + {3: "HH", 4: "L"}[kind], value, *[0] * (kind == 3))
        for tag, (kind, value) in sorted(tags.items())
    )
    return head + data + struct.pack(order + "H", len(tags)) + entries + b"\0\0\0\0"


def written_by_pillow():
    """Every format that Pillow writes and reads, in every mode that it writes it in."""
    Image.init()
    for form, mode in itertools.product(sorted(set(Image.SAVE) - NOT_READ), MODES):
        picture = Image.fromarray(photo())
        if mode == "PA":
            picture = picture.quantize(32).convert("PA")
            picture.putalpha(Image.fromarray(alpha()))
        else:
            picture = picture.convert("RGB" if mode == "RGBX" else mode)
            if mode in ("LA", "RGBA"):
                picture.putalpha(Image.fromarray(alpha()))
            picture = picture.convert(mode)
        try:
            data = saved(picture, form, **LOSSLESS.get(form, {}))
        except (OSError, ValueError, KeyError):
            continue
        wanted = None if form == "SPIDER" else by_pillow(data)  # it holds floats
        yield f"{form}-{mode}", data, wanted


def deep_by_pillow():
    """Whole numbers of 16 bits are read from every format; wider ones and floats are refused."""
    for form, mode in itertools.product(sorted(set(Image.SAVE) - NOT_READ), DEEP):
        wide = grey().astype(np.uint16) * 257
        picture = Image.frombytes("I;16", (WIDTH, HEIGHT), wide.tobytes())
        if mode == "I;16B":
            picture = Image.frombytes("I;16B", (WIDTH, HEIGHT), wide.astype(">u2").tobytes())
        elif mode != "I;16":
            picture = Image.fromarray(wide.astype({"I": np.int32, "F": np.float32}[mode]))
        try:
            data = saved(picture, form, **LOSSLESS.get(form, {}))
        except (OSError, ValueError, KeyError):
            continue
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            if opened.mode in (*DEEP, "I;16L"):
                has_range = opened.mode[0] == "I" and (opened.mode != "I" or form in ("PNG", "PPM"))
                wanted = three(np.asarray(opened) / 257) if has_range else None
            else:
                wanted = by_pillow(data)  # it has no more than 8 bits
        yield f"{form}-{mode.replace(';', '')}", data, wanted


def turned():
    """Every orientation where it may stand, in both orders of bytes, and those that are none."""
    for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9):
        stored = Image.fromarray(np.ascontiguousarray(STORED.get(value, STORED[1])(photo())))
        wanted = photo().astype(float)
        for order in "<>":
            block = exif(value, order)
            name = f"{value}{'I' if order == '<' else 'M'}"
            jpeg = saved(stored, "JPEG", quality=95)
            lossy = by_pillow(insert(jpeg, b"Exif\0\0" + block))
            assert np.abs(lossy - wanted).mean() < 8  # the table above and Pillow agree
            yield f"jpeg-exif-{name}", insert(jpeg, b"Exif\0\0" + block), lossy
            yield f"jpeg-late-{name}", insert(jpeg, b"Exif\0\0" + block, before=0xDA), lossy
            yield f"png-exif-{name}", saved(stored, "PNG", exif=block), wanted
            yield f"webp-exif-{name}", saved(stored, "WEBP", lossless=True, exif=block), wanted
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate") if 1 <= value <= 8 else (None,):
            data = saved(stored, "TIFF", tiffinfo={274: value}, compression=compression)
            yield f"tiff-{value}-{compression}", data, wanted
        data = saved(stored, "MPO", save_all=True, append_images=[stored], quality=95)
        data = insert(data, b"Exif\0\0" + exif(value))
        yield f"mpo-{value}", data, by_pillow(data)
        if 1 <= value <= 8:
            data = saved(stored, "AVIF", quality=100, subsampling="4:4:4", exif=exif(value))
            yield f"avif-{value}", data, by_pillow(data)
            xmp = f'<x:xmpmeta><a tiff:Orientation="{value}"/></x:xmpmeta>'.encode()
            jpeg = saved(stored, "JPEG", quality=95)
            data = insert(jpeg, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
            yield f"jpeg-xmp-{value}", data, by_pillow(data)


def transparent():
    """Transparency of every kind, over white."""
    colour, share, luma = photo(), alpha(), grey()
    rgba = Image.fromarray(np.dstack([colour, share]))
    la = Image.fromarray(np.dstack([luma, share]))
    over = on_white(colour, share)
    hidden = share < 128
    for form, options in (
        ("PNG", {}),
        ("WEBP", {"lossless": True, "exact": True}),
        ("TIFF", {}),
        ("TGA", {}),
        ("QOI", {}),
    ):
        yield f"rgba-{form}", saved(rgba, form, **options), over
    for form in ("PNG", "TIFF", "TGA"):
        yield f"la-{form}", saved(la, form), on_white(luma, share)
    half = rgba.copy()
    half.putalpha(Image.fromarray(np.uint8(255) * ~hidden))
    wanted = on_white(colour, np.where(hidden, 0, 255))
    many = [half, rgba.rotate(180)]
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = saved(half, form, save_all=True, append_images=many[1:], duration=50, **options)
        yield f"animated-{form}", data, wanted
    index = np.where(hidden, 0, 1 + colour[..., 0] // 4).astype(np.uint8)
    palette = Image.fromarray(index)
    palette = Image.frombytes("P", palette.size, palette.tobytes())
    ramp = np.array([[255, 0, 255], *([4 * i, 2 * i, 255 - 3 * i] for i in range(64))], np.uint8)
    palette.putpalette(ramp.tobytes())
    wanted = np.where(hidden[..., None], 255, ramp[index]).astype(float)
    for form in ("PNG", "GIF"):
        yield f"palette-one-{form}", saved(palette, form, transparency=0), wanted
    level = np.arange(65, dtype=np.uint8) * 3
    data = saved(palette, "PNG", transparency=level.tobytes())
    yield "palette-levels-PNG", data, on_white(ramp[index], level[index])
    yield (
        "animated-GIF",
        saved(palette, "GIF", save_all=True, append_images=[palette.rotate(180)], transparency=0),
        wanted,
    )
    key = np.where(hidden, 77, np.where(luma == 77, 78, luma)).astype(np.uint8)
    wanted = three(np.where(hidden, 255, key))
    yield "grey-key", saved(Image.fromarray(key), "PNG", transparency=77), wanted
    both = key.astype(">u2") * 257
    chunk = b"tRNS", (77 * 257).to_bytes(2)
    yield "grey16-key", png(both.view(np.uint8), WIDTH, 16, 0, chunk), wanted
    for bits in (2, 4):
        top = 2**bits - 1
        few = np.where(hidden, 1, np.where(luma < 128, 0, top)).astype(np.uint8)
        data = png(packed(few, bits), WIDTH, bits, 0, (b"tRNS", (1).to_bytes(2)))
        yield f"grey{bits}-key", data, three(np.where(hidden, 255, few * (255 // top)))
    bilevel = Image.fromarray(luma > 127)
    yield "bilevel-key", saved(bilevel, "PNG", transparency=0), np.full((HEIGHT, WIDTH, 3), 255.0)
    rgb = np.where(hidden[..., None], np.uint8([9, 8, 7]), colour)
    wanted = np.where(hidden[..., None], 255, rgb).astype(float)
    yield "rgb-key", saved(Image.fromarray(rgb), "PNG", transparency=(9, 8, 7)), wanted
    wanted = wanted.copy()
    # Of 16 bits: colours that differ from the transparent one in their lower byte alone are seen.
    wide = rgb.astype(np.uint16) * 257
    wide[0, :] = (9 * 257, 8 * 257, 7 * 257 + 1)
    wanted[0] = (9, 8, 7)
    chunk = b"tRNS", struct.pack(">3H", 9 * 257, 8 * 257, 7 * 257)
    rows = wide.astype(">u2").reshape(HEIGHT, -1).view(np.uint8)
    yield "rgb16-key", png(rows, WIDTH, 16, 2, chunk), wanted
    wide = np.dstack([colour, share]).astype(">u2") * 257
    yield "rgba16", png(wide.reshape(HEIGHT, -1).view(np.uint8), WIDTH, 16, 6), over
    wide = np.dstack([luma, share]).astype(">u2") * 257
    yield "la16", png(wide.reshape(HEIGHT, -1).view(np.uint8), WIDTH, 16, 4), on_white(luma, share)
    associated = np.dstack([(colour * (share[..., None] / 255)).round().astype(np.uint8), share])
    strip = saved(Image.fromarray(np.dstack([colour, share])), "TIFF")
    data = saved(Image.fromarray(associated), "TIFF", tiffinfo={338: 1})
    assert data != strip
    yield "associated-TIFF", data, by_pillow(data)


def deep():
    """Grey of every depth gives the picture of its 8 bits."""
    luma = grey()
    wanted = three(luma)
    for maxval in (1, 3, 7, 15, 100, 255, 256, 1000, 1023, 4095, 16383, 65535):
        value = np.rint(luma * (maxval / 255)).astype(np.uint16)
        exact = three(value * (255 / maxval))
        text = " ".join(map(str, value.ravel())).encode()
        head = f"{WIDTH} {HEIGHT} {maxval}\n".encode()
        binary = value.astype(">u2" if maxval > 255 else np.uint8).tobytes()
        yield f"pgm-{maxval}", b"P5 " + head + binary, exact
        yield f"pgm-text-{maxval}", b"P2 " + head + text, exact
        value = np.rint(photo() * (maxval / 255)).astype(np.uint16)
        binary = value.astype(">u2" if maxval > 255 else np.uint8).tobytes()
        text = " ".join(map(str, value.ravel())).encode()
        yield f"ppm-{maxval}", b"P6 " + head + binary, value * (255 / maxval)
        yield f"ppm-text-{maxval}", b"P3 " + head + text, value * (255 / maxval)
    for bits, photometric, order in itertools.product(range(9, 17), (0, 1), "<>"):
        top = 2**bits - 1
        value = np.rint(luma * (top / 255)).astype(np.uint16)
        value = value if photometric else top - value
        words = value.astype(f"{order}u2").tobytes()
        ways = {"words": words} if bits == 16 else {"words": words, "packed": packed(value, bits)}
        name = f"{bits}-{'white' if photometric == 0 else 'black'}-{'I' if order == '<' else 'M'}"
        for (way, data), compression in itertools.product(ways.items(), (1, 8)):
            file = tiff(
                bytes(data),
                WIDTH,
                HEIGHT,
                bits,
                photometric=photometric,
                order=order,
                compression=compression,
            )
            yield f"tiff-{way}-{name}-{compression}", file, wanted
    stored = np.ascontiguousarray(STORED[6](luma)).astype("<u2") * 257
    for photometric, value in ((1, stored), (0, 65535 - stored)):
        data = tiff(value.tobytes(), HEIGHT, WIDTH, 16, photometric=photometric, more=[(274, 3, 6)])
        yield f"tiff-turned-{photometric}", data, wanted
    stored = np.rint(STORED[8](luma) * (4095 / 255)).astype(np.uint16)
    for form, mode in itertools.product(("L", "RGBA", "CMYK"), (6, 7)):
        picture = Image.fromarray(np.ascontiguousarray(STORED[mode](photo()))).convert(form)
        data = saved(picture, "TIFF", tiffinfo={274: mode})
        yield f"tiff-mapped-{form}-{mode}", data, by_pillow(data)
    data = tiff(bytes(packed(stored, 12)), HEIGHT, WIDTH, 12, more=[(274, 3, 8)])
    yield "tiff-turned-12", data, wanted
    for bits in (10, 12, 14):
        value = np.rint(luma * ((2**bits - 1) / 255)).astype("<u2").tobytes()
        for tag in (281, 341):
            file = tiff(value, WIDTH, HEIGHT, 16, more=[(tag, 3, 2**bits - 1)])
            yield f"tiff-most-{bits}-{tag}", file, wanted
    named = [(340, 4, 1000), (341, 4, 1000 + 255 * 3000)]
    value = (luma.astype("<u4") * 3000 + 1000).tobytes()
    yield "tiff-32-named", tiff(value, WIDTH, HEIGHT, 32, more=named), wanted
    yield "tiff-32", tiff(value, WIDTH, HEIGHT, 32), None
    signed = luma.astype("<i2").tobytes()
    yield "tiff-16-signed", tiff(signed, WIDTH, HEIGHT, 16, more=[(339, 3, 2)]), None
    floats = luma.astype("<f4").tobytes()
    yield "tiff-float", tiff(floats, WIDTH, HEIGHT, 32, more=[(339, 3, 3)]), None
    yield "pfm", f"Pf {WIDTH} {HEIGHT} -1.0\n".encode() + floats, None
    for bits in (1, 2, 4, 8, 16):
        top = 2**bits - 1
        value = np.rint(luma * (top / 255)).astype(np.uint16)
        rows = value.astype(">u2").view(np.uint8) if bits == 16 else packed(value, bits)
        yield f"png-grey-{bits}", png(rows, WIDTH, bits, 0), three(value * (255 / top))
        if bits < 16:
            colours = np.random.default_rng(bits).integers(0, 256, (2**bits, 3), np.uint8)
            data = png(rows, WIDTH, bits, 3, (b"PLTE", colours.tobytes()))
            yield f"png-palette-{bits}", data, colours[value].astype(float)
    wide = photo().astype(">u2") * 257
    rows = wide.reshape(HEIGHT, -1).view(np.uint8)
    yield "png-rgb-16", png(rows, WIDTH, 16, 2), photo().astype(float)
    yield "png-interlaced-grey", png(adam7(luma), WIDTH, 8, 0, interlaced=True), wanted
    yield (
        "png-interlaced-rgb",
        png(adam7(photo()), WIDTH, 8, 2, interlaced=True),
        photo().astype(float),
    )


def of_several():
    """Files of several pictures: the first one, on its canvas."""
    first, second = Image.fromarray(photo()), Image.fromarray(255 - photo())
    wanted = photo().astype(float)
    many = {"save_all": True, "append_images": [second]}
    yield "two.tiff", saved(first, "TIFF", **many), wanted
    yield "two.png", saved(first, "PNG", **many), wanted
    yield (
        "two-default.png",
        saved(second, "PNG", default_image=True, save_all=True, append_images=[first, second]),
        255 - wanted,
    )
    yield "two.webp", saved(first, "WEBP", lossless=True, **many), wanted
    for form in ("GIF", "AVIF", "MPO"):
        data = saved(first, form, **many)
        yield f"two.{form.lower()}", data, by_pillow(data)
    for transparency in ({}, {"transparency": 0}):
        data = bytearray(saved(first.quantize(64), "GIF", **transparency))
        # The canvas grows to twice the frame.
        data[6:10] = struct.pack("<HH", 2 * WIDTH, 2 * HEIGHT)
        yield f"small-first-{len(transparency)}.gif", bytes(data), by_pillow(bytes(data))
    data = saved(first.convert("RGBA"), "ICO", sizes=[(16, 16), (32, 32)])
    yield "sizes.ico", data, by_pillow(data)


def jpegs():
    """JPEGs that a careless reader takes for plain ones, and plain ones."""
    picture = Image.fromarray(photo())
    plain = saved(picture, "JPEG", quality=95)
    for subsampling, progressive in itertools.product((0, 1, 2), (False, True)):
        data = saved(picture, "JPEG", subsampling=subsampling, progressive=progressive)
        yield f"jpeg-{subsampling}-{progressive}", data, by_pillow(data)
    files = {
        "restarts": saved(picture, "JPEG", restart_marker_rows=1),
        "rgb": saved(picture, "JPEG", keep_rgb=True),
        "cmyk": saved(picture.convert("CMYK"), "JPEG"),
        "comment": saved(picture, "JPEG", comment=b"\xff\xd9 tiff:Orientation"),
        "profile": saved(picture, "JPEG", icc_profile=b"p" * 70_000),
        "no-exif": insert(plain, b"Exif\0\0"),
        "torn-exif": insert(plain, b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\x01\x03"),
        "junk-exif": insert(plain, b"Exif\0\0" + b"\x12\x01" * 40),
        "exif-not-exif": insert(plain, exif(6)),
        "two-exif": insert(insert(plain, b"Exif\0\0" + exif(1)), b"Exif\0\0" + exif(6)),
        "photoshop": insert(plain, b"Photoshop 3.0\x008BIM" + b"\x04\x04\0\0\0\0\0\0", marker=0xED),
        "trailing": plain + b"more bytes",
        "fill": plain[:2] + b"\xff\xff\xff" + plain[2:],
        "adobe-ycck": insert(
            saved(picture.convert("CMYK"), "JPEG"), b"Adobe\0\x64\0\0\0\0\x02", marker=0xEE
        ),
    }
    yield "jpeg-plain", plain, by_pillow(plain)
    for name, data in files.items():
        yield f"jpeg-{name}", data, by_pillow(data)


def every():
    """Yield (name, bytes, wanted float [H, W, 3] or None where the file must be refused)."""
    groups = written_by_pillow, deep_by_pillow, turned, transparent, deep, of_several, jpegs
    for group in groups:
        yield from group()
