"""Grey of more than 8 bits, brought to 8 by the range that its file names."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dsh_jax.pictures.errors import UnreadableError

BITS, SAMPLE_FORMAT = 258, 339  # tags of TIFF
LEAST, MOST = (340, 280), (341, 281)  # SMinSampleValue, MinSampleValue; SMax…, Max…
UNSIGNED = 1  # of SAMPLE_FORMAT, and what it is without the tag


def is_deep(picture: Image.Image) -> bool:
    """Return whether a picture's pixels are whole numbers of more than 8 bits, or floats."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def grey(picture: Image.Image) -> np.ndarray:
    """Return a deep picture as grey of 8 bits.

    `round(255 (v − black) / (white − black))`

    Args:
      picture: of mode I, I;16 or F.

    Returns:
      uint8 [H, W].

    Raises:
      UnreadableError: where nothing says which values are black and white.
    """
    black, white = _range(picture)
    value_HxW = np.asarray(picture)
    if picture.mode == "I" and white > 2**31:  # Pillow's are signed
        value_HxW = value_HxW.astype(np.uint32)
    return to_8_bits(value_HxW, black, white)


def to_8_bits(value_HxW: np.ndarray, black: float, white: float) -> np.ndarray:
    """Return values scaled from black … white to 0 … 255, rounded; what is outside is cut.

    Args:
      value_HxW: numbers; one that is none (NaN) becomes black.
      black, white: the range; black may be the larger.

    Returns:
      uint8 [H, W].
    """
    scaled_HxW = (value_HxW.astype(np.float64) - black) * (255 / (white - black))
    return np.nan_to_num(np.rint(scaled_HxW), nan=0.0).clip(0, 255).astype(np.uint8)


def most_of_16_bits(named: float | None) -> int:
    """Return the value of white in 16 bits.

    Args:
      named: the largest value by the tags, or None; it counts where it is that of fewer bits, such
        as 4095, for others are those that were met in the picture.
    """
    return int(named) if named in [2**bits - 1 for bits in range(9, 16)] else 65535


def _range(picture: Image.Image) -> tuple[float, float]:
    """Return the values of black and white."""
    tags = getattr(picture, "tag_v2", {})
    named = [next((tags[tag] for tag in pair if tag in tags), None) for pair in (LEAST, MOST)]
    low, high = (value[0] if isinstance(value, tuple) else value for value in named)
    if picture.mode.startswith("I;16"):
        if picture.format == "FITS":  # which holds measurements
            raise UnreadableError(_no_range("16-bit whole numbers, with a sign"))
        return 0, most_of_16_bits(high)
    if picture.mode == "I" and picture.format in ("PPM", "PNG"):  # of 16 bits for Pillow
        return 0, 65535
    if low is not None and high is not None and low < high:
        return low, high
    bits = tags.get(BITS, (32,))[0]
    has_sign = not tags or tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] != UNSIGNED
    whole = f"{bits}-bit whole numbers{', with a sign' if has_sign else ''}"
    kind = "floats" if picture.mode == "F" else whole
    raise UnreadableError(_no_range(kind))


def _no_range(kind: str) -> str:
    return (
        f"its pixels are {kind}, and nothing in it says which values are black and white: save it "
        "as 8 or 16 bits without a sign"
    )
