"""The images of the report: queries with their neighbours, reconstructions, augmentations."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

EXACT = 32  # pixels of the widest image that keeps its exact pixels
SHOWN = 96  # pixels of the widest image shown
NOTE = "<p>Solid border, ✓: right. Dashed border, ✗: wrong. d: Hamming distance.</p>"


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Hold queries and their nearest database images.

    Args:
        query_image: uint8 [q, H, W, C], C is 1 or 3.
        query_label: q names, or comma lists of them; long lists are shown shortened.
        neighbour_image: uint8 [q, k, H, W, C], nearest first.
        neighbour_label: q lists of k names.
        distance: int [q, k], Hamming distance to the query.
        relevant: bool [q, k], true where the database image is a right answer; None where the
            labels of queries and database are not the same ones.
    """

    query_image: np.ndarray
    query_label: Sequence[str]
    neighbour_image: np.ndarray
    neighbour_label: Sequence[Sequence[str]]
    distance: np.ndarray
    relevant: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Rebuilt:
    """Hold images and what a decoder made of them.

    Args:
        original, decoded: uint8 [n, H, W, C].
        words: which decoder it was.
    """

    original: np.ndarray
    decoded: np.ndarray
    words: str


def gallery(name: str, shown: Gallery) -> str:
    """Return the elements of a gallery under its title."""
    rows = []
    for i, label in enumerate(shown.query_label):
        cells = "".join(_neighbour(shown, i, j) for j in range(len(shown.neighbour_label[i])))
        found = ""
        if shown.relevant is not None:
            found = f"{int(shown.relevant[i].sum())}/{len(shown.relevant[i])} right"
        rows.append(
            f'<li><div class="query">{_image(shown.query_image[i], f"query {i + 1}: {label}")}'
            f'<div class="note">{_label(label)}{found}</div></div>\n'
            f'<ol class="neighbours">{cells}</ol></li>'
        )
    tiles = _tiles("queries", shown.query_image.shape[2], rows)
    return f"<h3>{html.escape(name[:1].upper() + name[1:])}</h3>\n{tiles}"


def _neighbour(shown: Gallery, i: int, j: int) -> str:
    """Return the item of query i's neighbour j."""
    label, distance = shown.neighbour_label[i][j], shown.distance[i, j]
    alt = f"neighbour {j + 1}: {label}, distance {distance}"
    if shown.relevant is None:
        word, mark = "unmarked", ""
    else:
        word, sign = ("right", "✓") if shown.relevant[i, j] else ("wrong", "✗")
        alt += f", {word}"
        mark = f'<span class="mark" role="img" aria-label="{word}">{sign}</span> '
    return (
        f'<li class="{word}">{_image(shown.neighbour_image[i, j], alt)}'
        f'<div class="note">{_label(label)}{mark}d {distance}</div></li>'
    )


def reconstructions(original: np.ndarray, decoded: np.ndarray) -> str:
    """Return pairs of images, uint8 [n, H, W, C], one above the other."""
    images = enumerate(zip(original, decoded, strict=True), start=1)
    pairs = [_image(x, f"original {i}") + _image(y, f"reconstruction {i}") for i, (x, y) in images]
    return _tiles("pairs", original.shape[2], [f"<li>{pair}</li>" for pair in pairs])


def augmented(image: np.ndarray) -> str:
    """Return rows of images, uint8 [n, 1 + draws, H, W, C], each an original and its draws."""
    rows = []
    for i, (original, *draws) in enumerate(image, start=1):
        cells = "".join(
            f"<li>{_image(draw, f'image {i}, draw {j}')}</li>" for j, draw in enumerate(draws, 1)
        )
        rows.append(
            f'<li><div class="query">{_image(original, f"image {i}")}</div>\n'
            f'<ol class="draws">{cells}</ol></li>'
        )
    return _tiles("queries", image.shape[3], rows)


def _label(label: str, count: int = 4) -> str:
    """Return the element of a label: of a long list the first names, the whole in the tooltip."""
    first = label.split(", ")[:count]
    if (short := ", ".join(first)) == label:
        return f"<b>{html.escape(label)}</b>"
    return f'<b title="{html.escape(label)}">{html.escape(short)},&nbsp;…</b>'


def _image(image: np.ndarray, alt: str) -> str:
    """Return the element of one uint8 [H, W, C] image."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.asarray(image[..., 0] if image.shape[-1] == 1 else image))
    # A page of photographs as PNG, or larger than they are shown, would fill ten megabytes.
    form = "png" if picture.width <= EXACT else "jpeg"
    if picture.width > SHOWN:
        picture = picture.resize((SHOWN, max(1, round(picture.height * SHOWN / picture.width))))
    picture.save(buffer, format=form, optimize=True, quality=88)
    uri = f"data:image/{form};base64," + base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="tile" src="{uri}" alt="{html.escape(alt)}">'


def _tiles(kind: str, width: int, items: Sequence[str]) -> str:
    """Return a list that shows its small images at a whole multiple of their width."""
    exact = width <= SHOWN
    tile, rendering = (width * math.ceil(56 / width), "pixelated") if exact else (SHOWN, "auto")
    style = f"--tile:{tile}px;--rendering:{rendering}"
    return f'<ol class="{kind}" style="{style}">' + "\n".join(items) + "</ol>"
