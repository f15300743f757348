"""What a page shows of one image: its pictures, its code as bits, its neighbours, as HTML.

The colours are variables of Gradio's themes, light and dark.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence

import numpy as np

from dsh_jax.collection import changed_files
from dsh_jax.collection.file_names import printable
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.page import code_bar, thumbnail
from dsh_jax.page.code_length import Cut

STYLE = """
.gradio-container main{max-width:64rem!important;width:100%;margin:0 auto!important}
.dsh{--quiet:color-mix(in srgb,currentColor 72%,transparent);
 font-variant-numeric:tabular-nums;color:var(--body-text-color);overflow-wrap:anywhere}
.dsh h1,.dsh h2{margin:0 0 .5rem;font-weight:600;font-size:1.1rem} .dsh h1{font-size:1.5rem}
.dsh p{margin:0 0 .75rem;max-width:46rem;color:var(--quiet);font-size:.875rem}
.dsh .refused{color:var(--error-text-color,#b3372f);font-size:1rem;font-weight:500}
.dsh ol,.dsh ul{display:flex;flex-wrap:wrap;gap:1rem;margin:0 0 1rem;padding:0;list-style:none}
.dsh .neighbours li{width:8.5rem} .dsh .pictures{gap:.5rem}
.dsh .pictures li{width:min(10rem,(100% - 1rem)/3)}
.dsh .thumb{display:block;height:7rem;max-width:100%;object-fit:contain;margin-bottom:.25rem}
.dsh .pictures .thumb{width:100%;height:auto;aspect-ratio:1}
.dsh .exact .thumb{image-rendering:pixelated}
.dsh .absent{height:7rem;padding:.5rem;border:1px dashed;font-size:.75rem;overflow:auto}
.dsh .pictures .absent{height:auto;aspect-ratio:1;margin-bottom:.25rem}
.dsh .note b{display:block;font-size:.875rem;font-weight:600;color:var(--body-text-color)}
.dsh .note{font-size:.75rem;line-height:1.4;color:var(--quiet)}
.dsh .bits{display:block;width:100%;height:auto;margin:.25rem 0 .5rem}
.dsh .one{fill:currentColor;stroke:currentColor} .dsh .zero{fill:none;stroke:currentColor}
.dsh .zero{stroke-opacity:.35} .dsh .unused{opacity:.2}
.dsh .differs{stroke:#e8590c;stroke-opacity:1} .dsh .one.differs{fill:#e8590c}
.dsh .wide{overflow-x:auto;margin-bottom:1rem}
.dsh table{border-collapse:collapse;overflow-wrap:normal;font-size:.875rem}
.dsh th,.dsh td{padding:.3rem 0 .3rem clamp(.75rem,3vw,1.5rem);
 white-space:nowrap;font-weight:400;text-align:right}
.dsh th,.dsh td{border-bottom:1px solid var(--border-color-primary)}
.dsh th:first-child{padding-left:0} .dsh thead th{font-weight:600;vertical-align:bottom}
.dsh .chosen>*{background:var(--background-fill-secondary);font-weight:600}
"""


def heading(name: str, bits: int, fingerprint: str, index: str) -> str:
    """Return the head of the page.

    Args:
      name: of the model.
      bits: K.
      fingerprint: of the model.
      index: words about the index.

    Returns:
      HTML.
    """
    return _block(
        f"<h1>{_text(name)} · {bits} bits</h1><p>Model {_text(fingerprint)}. {_text(index)}</p>"
    )


def refusal(name: str, reason: str) -> str:
    """Return words about a file that gives no image, for whom no code is shown."""
    return _block(
        f'<p class="refused" role="alert">{_text(name)}: {_text(reason.rstrip("."))}.</p>'
    )


def pictures(
    name: str,
    size: tuple[int, int],
    file: str,
    image_HxWxC: np.ndarray,
    decoded_HxWxC: np.ndarray | None,
    no_decoder: str,
) -> str:
    """Return the pictures of an image.

    Args:
      name: of its file.
      size: (width, height) of the file, pixels.
      file: element of its thumbnail, see `thumbnail.of_file`.
      image_HxWxC: as the network sees it, uint8.
      decoded_HxWxC: as the decoder rebuilds it, uint8, or None.
      no_decoder: why there is none.

    Returns:
      HTML.
    """
    height, width = image_HxWxC.shape[:2]
    seen = thumbnail.of_pixels(image_HxWxC, "network input")
    if decoded_HxWxC is None:
        rebuilt = f'<div class="absent">{_text(no_decoder)}</div>'
    else:
        rebuilt = thumbnail.of_pixels(decoded_HxWxC, "reconstruction")
    tiles = [
        ("", file, "File", f"{size[0]:,}×{size[1]:,} pixels"),
        ("exact", seen, "Network input", f"{width}×{height} pixels"),
        ("exact", rebuilt, "Rebuilt", "reconstruction"),
    ]
    items = "".join(
        f'<li class="{kind}">{tile}<div class="note"><b>{word}</b>{more}</div></li>'
        for kind, tile, word, more in tiles
    )
    return _block(f'<h2>{_text(name)}</h2><ul class="pictures">{items}</ul>')


def code(packed_W: np.ndarray, bits: int, used: int) -> str:
    """Return a code as a bar of bits and as bytes.

    Args:
      packed_W: uint8.
      bits: K.
      used: bits that count.

    Returns:
      HTML.
    """
    bar, in_hex = (
        code_bar.svg(_bits(packed_W, bits), used=used, columns=32),
        packed_W.tobytes().hex(" "),
    )
    return _block(
        f'<h2>Code</h2><div class="code">{bar}</div>'
        f"<p>Filled is 1, empty is 0; the first bit is on the left. Bytes: {in_hex}</p>"
    )


def neighbours(packed_W: np.ndarray, index: ImageCodes, found: Cut, root: str) -> str:
    """Return the images nearest to a code, with their distances and the bits that differ.

    Args:
      packed_W: code of the query, uint8.
      index: codes of images.
      found: the neighbours.
      root: folder of the index's images.

    Returns:
      HTML.
    """
    items = []
    marks = changed_files.marks(index, found.row_k, root)
    for row, distance, mark in zip(found.row_k, found.distance_k, marks, strict=True):
        name, near_W = index.names[row], index.packed_NxW[row]
        differs_K = _bits(packed_W ^ near_W, index.bits).astype(bool)
        whole = int(differs_K.sum())
        differs_K[found.bits :] = False
        bar = code_bar.svg(
            _bits(near_W, index.bits), used=found.bits, differs_K=differs_K, columns=24
        )
        more = f"d {whole} by all bits<br>" if found.bits < index.bits else ""
        more += f"{_text(mark)}<br>" if mark else ""
        picture = thumbnail.of_file(os.path.join(root, name), name)
        items.append(
            f'<li>{picture}{bar}<div class="note"><b>d {distance}</b>{more}{_text(name)}</div></li>'
        )
    return _block(
        f"<h2>Nearest, by {_length(found.bits, index.bits)}</h2>"
        "<p>d: Hamming distance, bits; the bits that differ are coloured. "
        f"{found.same:,} of {len(index.names):,} images have exactly the same "
        f'{found.bits} bits.</p><ol class="neighbours">{"".join(items)}</ol>'
    )


def lengths(found: Sequence[Cut], bits: int, chosen: int) -> str:
    """Return a table of what fewer bits do to the neighbours.

    Args:
      found: the same query by several lengths.
      bits: K.
      chosen: the length to mark.

    Returns:
      HTML.
    """
    k = len(found[0].row_k)
    rows = "".join(
        f'<tr class="{"chosen" if cut.bits == chosen else ""}"><th>{cut.bits}</th>'
        f"<td>{cut.kept} of {k}</td><td>{cut.distance_k[0]}</td><td>{cut.distance_k[-1]}</td>"
        f"<td>{cut.same:,}</td></tr>"
        for cut in found
    )
    return _block(
        "<h2>Effect of code length</h2><p>The index ranked by the first bits of the codes only. "
        f"Kept: how many of the {k} nearest are also nearest by all {bits} bits; equal distances "
        "are in the order of the index. Same: images with exactly these bits. A model trained for "
        "fewer bits would use them better.</p>"
        '<div class="wide"><table><thead><tr><th>bits</th><th>kept</th><th>first d</th>'
        f"<th>last d</th><th>same</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def no_neighbours(reason: str) -> str:
    """Return words in place of the neighbours."""
    return _block(f'<h2>Nearest</h2><p class="empty">{_text(reason)}</p>')


def _bits(packed_W: np.ndarray, bits: int) -> np.ndarray:
    return np.unpackbits(packed_W, count=bits, bitorder="little")


def _length(used: int, bits: int) -> str:
    return f"the first {used} of {bits} bits" if used < bits else f"all {bits} bits"


def _text(text: str) -> str:
    return html.escape(printable(text))


def _block(body: str) -> str:
    return f'<div class="dsh">{body}</div>'
