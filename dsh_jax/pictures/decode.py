"""A file, or a picture of Pillow, as it is seen: upright, on white, RGB of 8 bits.

- Upright: an orientation of 2 to 8 is applied wherever Pillow finds one: Exif in JPEG, MPO, PNG,
  WebP and AVIF, tags of TIFF, XMP. Any other value is as 1.
- On white: alpha is composited on white, whether of pixels, of a palette or of one colour.
- 8 bits: deeper grey by the range that the file names, see `depth`; of deeper colours the upper 8.
- All else as Pillow converts it; of several pictures the first one, on its canvas.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from dsh_jax.pictures import depth, kinds, tiff
from dsh_jax.pictures.errors import UnreadableError, one_line

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # those that swap width and height


def check_regular(path: str | bytes) -> None:
    """Raise `UnreadableError` where a path is no file, or one that would be waited for for ever."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableError("it is no regular file")
    except FileNotFoundError:
        raise UnreadableError("there is no such file") from None


def open_picture(path: str | bytes) -> Image.Image:
    """Open an image file; of most only the header is read.

    Args:
      path: of the file.

    Returns:
      A picture of Pillow, to be closed.

    Raises:
      UnreadableError: where there is no such file, or it is no image, or has more pixels than
        `Image.MAX_IMAGE_PIXELS`: it may be made to fill the memory.
    """
    check_regular(path)
    try:
        picture = _opened(path)
    except UnidentifiedImageError:
        why = "it is no image that Pillow knows" if os.path.getsize(path) else "it is empty"
        raise UnreadableError(why) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"it has too many pixels: {one_line(error)}") from None
    except UnreadableError:
        raise
    except Exception as error:  # a damaged header may raise anything
        raise UnreadableError(f"it cannot be opened: {one_line(error)}") from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit and picture.width * picture.height > limit:
        picture.close()
        raise UnreadableError(
            f"it has too many pixels: {picture.width:,}×{picture.height:,}, over Pillow's limit of "
            f"{limit:,}"
        )
    return picture


def _opened(path: str | bytes) -> Image.Image:
    with open(path, "rb") as file:
        if file.read(3) == kinds.JPEG_START:
            # Not Image.open: it also looks for the other pictures of an MPO, and warns.
            return JpegImagePlugin.JpegImageFile(os.fspath(path))
        grey = tiff.deep_grey(file)
    return Image.open(path, formats=kinds.formats()) if grey is None else grey


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever a damaged file raises into `UnreadableError`."""
    try:
        yield
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(f"it cannot be decoded: {one_line(error)}") from error


def orientation(picture: Image.Image) -> int:
    """Return how an open picture is to be turned, 1 to 8; 1 where nothing sensible is said."""
    try:
        value = picture.getexif().get(kinds.ORIENTATION, 1)
        return value if value in TURNS else 1
    except Exception:  # what cannot be read says nothing
        return 1


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Return (width, height) of an open picture as it is seen, pixels; most are not decoded.

    Raises:
      UnreadableError: for a damaged file.
    """
    with decoding():
        if picture.format == "PNG" and "exif" not in picture.info:
            picture.load()  # it may stand behind the pixels
        # Pillow turns TIFFs itself.
        turned = picture.format != "TIFF" and orientation(picture) in SIDEWAYS
    return picture.size[::-1] if turned else picture.size


def rgb(picture: Image.Image) -> np.ndarray:
    """Return a picture of Pillow as it is seen.

    Args:
      picture: of any mode.

    Returns:
      uint8 [H, W, 3].

    Raises:
      UnreadableError: for a damaged file, and for numbers without a range, see `depth`.
    """
    with decoding():
        if picture.format == "TIFF":
            picture.filename = ""  # mapped into memory, Pillow turns it before it knows its shape
        hidden_HxW = _hidden(picture)
        picture.load()
        seen = _on_white(picture, hidden_HxW)
        turn = TURNS.get(orientation(picture))
        return np.asarray(seen if turn is None else seen.transpose(turn))


def _on_white(picture: Image.Image, hidden_HxW: np.ndarray | None) -> Image.Image:
    """Return a picture as RGB, transparency composited on white."""
    if picture.mode == "P" and picture.palette is None:
        picture = picture.copy()  # of ICNS: a copy finds it
    if depth.is_deep(picture):
        seen = Image.fromarray(depth.grey(picture)).convert("RGB")
    elif hidden_HxW is not None or not picture.has_transparency_data:
        seen = picture.convert("RGB")
    else:
        straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)
        seen = picture.convert(straight).convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        seen = Image.alpha_composite(white, seen).convert("RGB")
    if hidden_HxW is not None:
        seen.paste("white", mask=Image.fromarray(hidden_HxW))
    return seen


def _hidden(picture: Image.Image) -> np.ndarray | None:
    """Return which pixels have the one colour that stands for none, bool [H, W], or None."""
    colour, mode = picture.info.get("transparency"), picture.mode
    tile = getattr(picture, "tile", None)
    rawmode = tile[0].args if tile else None  # it is gone once the picture is loaded
    if mode == "RGB" and isinstance(colour, tuple):
        value = np.asarray(picture) if rawmode != "RGB;16B" else _colours_of_16_bits(picture)
        return (value == colour).all(axis=-1)
    if not isinstance(colour, int) or not (mode in ("1", "L") or mode.startswith("I;16")):
        return None
    # Greys of 2 and 4 bits are spread over 8, but Pillow leaves the colour as it stands.
    colour *= {"L;2": 85, "L;4": 17}.get(rawmode, 1)
    return np.asarray(picture.convert("L") if mode == "1" else picture) == colour


def _colours_of_16_bits(picture: PngImagePlugin.PngImageFile) -> np.ndarray:
    """Return the pixels of an open PNG of deep colours, uint16 [H, W, 3]: Pillow halves them."""
    picture.fp.seek(0)
    lower = PngImagePlugin.PngImageFile(picture.fp)
    lower.tile = [lower.tile[0]._replace(args="RGB;16L")]  # the other byte of each two
    low_HxWx3 = np.asarray(lower).astype(np.uint16)
    return low_HxWx3 + 256 * np.asarray(picture).astype(np.uint16)
