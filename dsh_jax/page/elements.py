"""What a page shows of one image: its pictures, its code as bits, its neighbours, as HTML.

The colours are those of `report.frame`, light and dark.
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
main{padding-top:2rem} .drop,#length{display:flex;flex-direction:column;gap:.25rem;cursor:pointer}
.drop{margin:1rem 0;padding:1.75rem 1rem;border:2px dashed var(--quiet);border-radius:.5rem;
 text-align:center;align-items:center;scroll-margin-top:1rem}
.drop:hover,.over{background:var(--shade)}
.drop input{position:absolute;opacity:0;width:1px;height:1px}
:focus-visible,.drop:focus-within{outline:3px solid var(--mark);outline-offset:2px}
#said{min-height:2rem} #said p{margin:0} #progress{width:100%;accent-color:var(--mark)}
#length{margin:0 0 1.5rem;max-width:32rem} [hidden]{display:none!important}
#slider{width:100%;min-height:1.75rem;accent-color:var(--mark)}
:root{--mark:#e8590c;--shade:color-mix(in srgb,var(--ink) 7%,transparent)}
.dsh h1,.dsh h2{margin:1.25rem 0 .5rem;font-size:1.1rem} .dsh h1{margin-top:0;font-size:1.5rem}
.dsh p{max-width:46rem} p.refused{color:var(--wrong);font-size:1rem;font-weight:500}
.dsh ol,.dsh ul{margin:0 0 1rem;padding:0;list-style:none}
.dsh .neighbours{display:grid;grid-template-columns:repeat(auto-fill,minmax(8rem,1fr));gap:.5rem}
.neighbours a{display:block;height:100%;padding:.5rem;border-radius:.375rem;color:inherit;
 text-decoration:none} .neighbours a:hover{background:var(--shade)}
.dsh .neighbours li{width:auto;min-width:0}
.dsh .pictures{display:flex;gap:.5rem} .dsh .pictures li{width:min(10rem,(100% - 1rem)/3)}
.dsh .thumb{height:7rem;max-width:100%;object-fit:contain;margin-bottom:.25rem}
.dsh .pictures .thumb{width:100%;height:auto;aspect-ratio:1}
.dsh .exact .thumb{image-rendering:pixelated}
.dsh .absent{height:7rem;padding:.5rem;border:1px dashed;font-size:.75rem;overflow:auto}
.dsh .pictures .absent{height:auto;aspect-ratio:1;margin-bottom:.25rem}
.dsh .bits{display:block;max-width:100%;height:auto;margin:.25rem 0 .5rem}
.dsh .one{fill:currentColor;stroke:currentColor} .dsh .zero{fill:none;stroke:currentColor}
.dsh .zero{stroke-opacity:.35} .dsh .unused{opacity:.2}
.dsh .differs{stroke:var(--mark);stroke-opacity:1} .dsh .one.differs{fill:var(--mark)}
.dsh .wide{margin-bottom:1rem} .dsh table{font-size:.875rem} .dsh td{white-space:nowrap}
.dsh .chosen>*{background:var(--shade);font-weight:600}
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


def only_code(name: str, reason: str) -> str:
    """Return words about an image of the index whose file gives no picture any more."""
    return _block(
        f"<h2>{_text(name)}</h2><p>No picture: {_text(reason.rstrip('.'))}. Its code is that of "
        "the index.</p>"
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
            f'<li><a href="?row={row}" data-row="{row}">{picture}{bar}<div class="note">'
            f"<b>d {distance}</b>{more}{_text(name)}</div></a></li>"
        )
    return _block(
        f"<h2>Nearest, by {_length(found.bits, index.bits)}</h2>"
        "<p>d: Hamming distance, bits; the bits that differ are coloured. Choose an image to "
        f"search with it. {found.same:,} of {len(index.names):,} images have exactly the same "
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
