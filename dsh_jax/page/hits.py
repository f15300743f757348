"""The nearest images of some queries as one HTML file, and as text."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from dsh_jax import whole
from dsh_jax.collection.file_names import printable
from dsh_jax.page import thumbnail
from dsh_jax.report.frame import CSS, PAGE

STYLE = """
.queries .query,.neighbours li{width:8rem} .neighbours{display:flex;flex-wrap:wrap;gap:1rem .75rem}
.thumb{max-width:100%;height:auto} .mark{font-style:italic}
.absent{min-height:5rem;padding:.5rem;border:1px dashed}
"""


class Neighbours(NamedTuple):
    """A query and what is near it, nearest first.

    Attributes:
      query: path of its file.
      names: of k images, as the index has them.
      paths: of their files.
      distances: Hamming distances, bits.
      sizes: (width, height) of the files, pixels.
      marks: words about images that have vanished or changed since, mostly none, see
        `changed_files.marks`; empty where nothing is known.
    """

    query: str
    names: Sequence[str]
    paths: Sequence[str]
    distances: Sequence[int]
    sizes: Sequence[tuple[int, int]]
    marks: Sequence[str] = ()

    def marked(self) -> Sequence[str]:
        """Return the words about each neighbour."""
        return self.marks or [""] * len(self.names)


def table(found: Neighbours) -> str:
    """Return the neighbours as aligned lines.

    Args:
      found: of one query.

    Returns:
      Text, the query in its first line.
    """
    lines = [f"query {printable(found.query)}", f"{'rank':>4}  {'distance':>8}  {'size':>11}  file"]
    rows = zip(found.distances, found.sizes, found.names, found.marked(), strict=True)
    for rank, (distance, (width, height), name, mark) in enumerate(rows, start=1):
        size = f"{width}×{height}"
        more = f"  ({mark})" if mark else ""
        lines.append(f"{rank:>4}  {distance:>8}  {size:>11}  {printable(name)}{more}")
    return "\n".join(lines)


def write_page(path: epath.PathLike, title: str, found: Sequence[Neighbours]) -> None:
    """Write queries and their nearest images as one HTML file, which needs no other.

    Args:
      path: of the file.
      title: of the page.
      found: of each query.
    """
    rows = []
    for one in found:
        cells = "".join(
            f"<li>{_tile(file, name, f'd {distance}', mark)}</li>"
            for name, file, distance, mark in zip(
                one.names, one.paths, one.distances, one.marked(), strict=True
            )
        )
        rows.append(
            f'<li><div class="query">{_tile(one.query, one.query, "query")}</div>\n'
            f'<ol class="neighbours">{cells}</ol></li>'
        )
    body = (
        f"<h1>{_text(title)}</h1>\n<p>d: Hamming distance, bits; nearest first.</p>\n"
        f'<ol class="queries">{chr(10).join(rows)}</ol>'
    )
    path = epath.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text(path, PAGE.format(title=_text(title), css=CSS + STYLE, body=body))


def _tile(path: str, name: str, word: str, mark: str = "") -> str:
    """Return the elements of a file: its picture, words about it and its name."""
    marked = f'<span class="mark">{_text(mark)}</span><br>' if mark else ""
    note = f'<div class="note"><b>{word}</b>{marked}{_text(name)}</div>'
    return f"{thumbnail.of_file(path, name)}{note}"


def _text(text: str) -> str:
    return html.escape(printable(text))
