"""Many small images as one: on a grid with captions, and beside their augmentations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dsh_jax.augment import network_input

TILE = 96  # pixels that small images are enlarged to, about
GAP = 8
PAPER, INK = "white", "#1c1e21"


def contact_sheet(
    image_NxHxWxC: np.ndarray, captions: Sequence[str] | None = None, *, columns: int = 8
) -> Image.Image:
    """Return images on a grid, row by row, each with its caption below.

    Small images are enlarged by a whole factor, to about 96 pixels; large ones keep their size.
    Captions wider than their image are cut, and end in "…".

    Args:
      image_NxHxWxC: uint8, C = 1 or 3.
      captions: N texts, or None.
      columns: images in a row.

    Returns:
      An RGB image of Pillow; its `save` writes a PNG.

    Raises:
      ValueError: for no image, another type or shape, another number of captions, columns below 1.
    """
    image_NxHxWxC = np.asarray(image_NxHxWxC)
    shape, dtype = image_NxHxWxC.shape, image_NxHxWxC.dtype
    if dtype != np.uint8 or len(shape) != 4 or 0 in shape or shape[3] not in (1, 3):
        raise ValueError(
            f"images are {dtype} of shape {shape}; they must be uint8 of shape [N, H, W, 1 or 3], "
            "N at least 1."
        )
    if captions is not None and len(captions) != len(image_NxHxWxC):
        raise ValueError(f"{len(image_NxHxWxC)} images have {len(captions)} captions.")
    if columns < 1:
        raise ValueError(f"columns is {columns}; it must be at least 1.")
    columns = min(columns, len(image_NxHxWxC))
    times = max(1, round(TILE / max(shape[1:3])))
    height, width = times * shape[1], times * shape[2]
    # Pillow's own font knows no accents.
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
    line = sum(font.getmetrics()) + 2 if captions is not None else 0
    rows = -(-len(image_NxHxWxC) // columns)
    size = GAP + columns * (width + GAP), GAP + rows * (height + line + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, image_HxWxC in enumerate(image_NxHxWxC):
        left = GAP + i % columns * (width + GAP)
        top = GAP + i // columns * (height + line + GAP)
        large = np.broadcast_to(image_HxWxC, (*shape[1:3], 3)).repeat(times, 0).repeat(times, 1)
        sheet.paste(Image.fromarray(large), (left, top))
        if captions is not None:
            text = shorten(captions[i], lambda text: font.getlength(text) <= width)
            draw.text((left, top + height + 2), text, fill=INK, font=font)
    return sheet


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Return the text, or the longest beginning of it that fits with "…" behind.

    Args:
      text: of one line.
      fits: says whether a text is short enough.

    Returns:
      The text, or a beginning with "…"; "…" alone where nothing fits.
    """
    if fits(text):
        return text
    beginnings = (text[:length].rstrip(" ,") + "…" for length in range(len(text) - 1, 0, -1))
    return next(filter(fits, beginnings), "…")


def draws(
    augment: Callable[[jax.Array, jax.Array], jax.Array],
    key: jax.Array,
    image_NxHxWxC: np.ndarray,
    count: int,
) -> np.ndarray:
    """Return images as training sees them: each unchanged, then changed by random draws.

    Args:
      augment: `(key_B, image in [0, 1] [B, H, W, C]) -> image`.
      key: of all draws.
      image_NxHxWxC: uint8; padded like those of training, see `augment.pad_small`.
      count: draws of each image.

    Returns:
      image_NxTxHxWxC, uint8, T = 1 + count.
    """
    image = network_input(jnp.asarray(image_NxHxWxC))
    keys = jax.random.split(key, len(image) * count)
    drawn = jax.jit(augment)(keys, jnp.repeat(image, count, axis=0))
    drawn = drawn.reshape(len(image), count, *image.shape[1:])
    both = jnp.concatenate([image[:, None], drawn], axis=1)
    return np.asarray(jnp.rint(255 * jnp.clip(both, 0, 1)).astype(jnp.uint8))


def augmentation_sheet(
    augment: Callable[[jax.Array, jax.Array], jax.Array],
    key: jax.Array,
    image_NxHxWxC: np.ndarray,
    *,
    count: int = 7,
) -> Image.Image:
    """Return a sheet with a row for each image: the original, then draws of its augmentation.

    Args:
      augment, key, image_NxHxWxC, count: see `draws`.

    Returns:
      An RGB image of Pillow.
    """
    image_NxTxHxWxC = draws(augment, key, image_NxHxWxC, count)
    captions = ["original", *(f"draw {i}" for i in range(1, count + 1))] * len(image_NxTxHxWxC)
    flat = image_NxTxHxWxC.reshape(-1, *image_NxTxHxWxC.shape[2:])
    return contact_sheet(flat, captions, columns=1 + count)
