"""The page's frame: its HTML, its look and the program that the browser runs."""

from __future__ import annotations

import html
import pathlib

from dsh_jax.page import elements
from dsh_jax.report.frame import CSS

SCRIPT = pathlib.Path(__file__).with_name("page.js").read_text(encoding="utf-8")
STYLE = CSS + elements.STYLE
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="page.css">
<script src="page.js" defer></script></head>
<body data-most="{most}"><main>{heading}
<label class="drop" id="drop"><input id="file" type="file" accept="image/*,*/*">
<span><b>Choose an image</b>, drop one anywhere, or paste it</span>
<span class="note">{limits}</span></label>
<div id="said"><p id="status" role="status"></p><progress id="progress" hidden></progress></div>
<div id="pictures" aria-live="polite"></div>
<label id="length" hidden><span>Code length: first <output id="bits">{bits}</output> of {bits}
bits</span><input id="slider" type="range" min="1" max="{bits}" value="{bits}"></label>
<div id="found"></div></main></body></html>
"""


def document(title: str, heading: str, bits: int, most_bytes: int, most_pixels: int) -> str:
    """Return the page before any image was sent.

    Args:
      title: of the window.
      heading: HTML, see `Lookup.heading`.
      bits: K.
      most_bytes: of a file.
      most_pixels: of an image.

    Returns:
      HTML, which asks for `page.css` and `page.js` beside it.
    """
    limits = f"{most_bytes / 2**20:,.3g} MB, {most_pixels / 1e6:,.3g} million pixels"
    return PAGE.format(
        title=html.escape(title),
        heading=heading,
        bits=bits,
        most=most_bytes,
        limits=f"at most {limits}",
    )
