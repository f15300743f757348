"""One static HTML page per run: figures, plots, retrieved images and settings, all in one file."""

import base64
import dataclasses
import html
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dsh_jax.plots import (
    COLOURS,
    PRECISION_AT,
    PRECISION_RECALL,
    SHARE,
    Curve,
    draw_lines,
    style,
)
from dsh_jax.run import write_whole

METRIC_TITLES = {
    "map": "mAP (tie-aware, whole ranking)",
    "map_optimistic": "mAP, ties in the best order",
    "map_pessimistic": "mAP, ties in the worst order",
}
HISTORY_TITLES = {"train/loss": "Training loss", "valid/map": "Validation mAP"}
GALLERY_NOTE = "<p>Solid border, ✓: right. Dashed border, ✗: wrong. d: Hamming distance.</p>"
SHOWN = 96  # pixels of the widest image shown
CSS = """
:root{color-scheme:light dark;--page:#fff;--ink:#1c1e21;--quiet:#5b6068;--line:1px solid #dde0e4;
 --right:#1b7f4b;--wrong:#b3372f}
@media (prefers-color-scheme:dark){:root{--page:#15171a;--ink:#e4e6e9;--quiet:#9ba1a9;
 --line:1px solid #343940;--right:#5cc98f;--wrong:#f38b81}}
*{box-sizing:border-box} img{display:block} figure,ol,dl,dd{margin:0} ol{padding:0;list-style:none}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,sans-serif;
 font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%;overflow-wrap:anywhere}
main{max-width:62rem;margin:auto;padding:3rem clamp(1rem,4vw,2rem) 5rem} .wide{overflow-x:auto}
h1,h2,h3{margin:0 0 1rem;font-size:1.2rem;font-weight:600;line-height:1.25} h1{font-size:1.75rem}
h3{margin-top:2rem;font-size:1rem} section{margin-top:3rem;padding-top:2rem;border-top:var(--line)}
p,figcaption{margin:0 0 .75rem;max-width:42rem;color:var(--quiet);font-size:.875rem}
dt{color:var(--quiet);font-size:.8125rem} .plot{width:100%;max-width:32rem;height:auto}
.facts,.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));
 gap:1.25rem 2rem} table{border-collapse:collapse;font-size:.9375rem;overflow-wrap:normal}
th,td{padding:.45rem 0 .45rem clamp(.75rem,3vw,2rem);border-bottom:var(--line);
 font-weight:400;text-align:right;vertical-align:baseline}
th:first-child{padding-left:0;text-align:left} thead th,tbody tr:first-child>*{font-weight:600}
.tile{width:var(--tile);height:auto;image-rendering:var(--rendering)}
.queries>li{display:grid;grid-template-columns:auto 1fr;gap:1.25rem;padding:1rem 0}
.queries>li+li{border-top:var(--line)} .query{padding:4px 1.25rem 0 0;border-right:var(--line)}
.query .note{width:max(var(--tile),4.5rem);margin-top:6px} .pairs .tile+.tile{margin-top:4px}
.neighbours,.pairs,.draws{display:flex;flex-wrap:wrap;align-content:start;gap:1rem .5rem}
.draws{padding-top:4px}
.neighbours .tile{box-sizing:content-box;padding:2px;border:2px solid var(--right)}
.neighbours li{width:calc(var(--tile) + 8px)} .wrong .tile{border:2px dashed var(--wrong)}
b{color:var(--ink);font-weight:500} .mark{color:var(--right)} .wrong .mark{color:var(--wrong)}
.note{margin-top:2px;color:var(--quiet);font-size:.75rem;line-height:1.4} .note b{display:block}
@media (max-width:40rem){.queries>li{grid-template-columns:1fr;gap:.75rem}
 .query{display:flex;gap:.75rem;padding:0 0 0 4px;border:0} .neighbours{column-gap:5px}}
summary{cursor:pointer} pre{overflow-x:auto;font:.8125rem/1.5 ui-monospace,Consolas,monospace}
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{css}</style></head>
<body><main>{body}</main></body></html>
"""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Hold queries and their nearest database images.

    Args:
        query_image: uint8 [q, H, W, C], C is 1 or 3.
        query_label: q names, or comma lists of them; long lists are shown shortened.
        neighbour_image: uint8 [q, k, H, W, C], nearest first.
        neighbour_label: q lists of k names.
        distance: int [q, k], Hamming distance to the query.
        relevant: bool [q, k], true where the database image is a right answer.
    """

    query_image: np.ndarray
    query_label: Sequence[str]
    neighbour_image: np.ndarray
    neighbour_label: Sequence[Sequence[str]]
    distance: np.ndarray
    relevant: np.ndarray


def _plot(draw: Callable[[Axes], None], size: tuple[float, float], title: str, alt: str) -> str:
    """Return a figure with the drawing in the colours of the light and of the dark scheme."""
    uris = {}
    for scheme in COLOURS:
        # The ids of the drawing are the same every time.
        look = style(scheme) | {"svg.fonttype": "none", "svg.hashsalt": "dsh_jax"}
        no_metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        buffer = io.StringIO()
        with matplotlib.style.context(["default", look]):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure.subplots())
            figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
        font = "text{font-family:system-ui,sans-serif!important}</style>"
        svg = buffer.getvalue().replace("</style>", font, 1).encode()
        uris[scheme] = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{uris["dark"]}">'
        f'<img class="plot" src="{uris["light"]}" alt="{html.escape(alt)}"></picture></figure>'
    )


def _lines(title: str, curves: Sequence[Curve], size: tuple[float, float], **axes_set: Any) -> str:
    def draw(axes: Axes) -> None:
        draw_lines(axes, curves, **axes_set)

    alt = f"{title} against {axes_set['xlabel']}"
    for name, x, y in ((curve.name, curve.x, curve.y) for curve in curves if len(curve.x)):
        alt += f"; {name} from {y[0]:.4g} at {x[0]:.4g} to {y[-1]:.4g} at {x[-1]:.4g}"
    return _plot(draw, size, title, alt)


def _history(key: str, history: Sequence[Mapping[str, Any]]) -> str:
    points = [(int(record["step"]), float(record[key])) for record in history if key in record]
    steps, values = zip(*points, strict=True)
    title = HISTORY_TITLES.get(key, key.replace("train/", "Training: "))
    limits = {"ylim": SHARE} if key == "valid/map" else {}
    return _lines(title, [Curve("", steps, values)], (3.4, 2.3), xlabel="step", **limits)


def _bits(bit_mean: np.ndarray) -> str:
    def draw(axes: Axes) -> None:
        axes.bar(np.arange(len(bit_mean)), bit_mean, color="C0", alpha=0.8)
        axes.axhline(0.5, color=matplotlib.rcParams["text.color"], linestyle="--", linewidth=1)
        axes.set(xlabel="bit", ylabel="mean", xlim=(-0.7, len(bit_mean) - 0.3), ylim=(0, 1))

    span = f"between {np.min(bit_mean):.3f} and {np.max(bit_mean):.3f}"
    text = f"Mean of each of the {len(bit_mean)} bits, {span}; the dashed line is one half."
    return _section("Bit balance", _plot(draw, (4.6, 2.5), text, text))


def _image(image: np.ndarray, alt: str) -> str:
    """Return the element of one uint8 [H, W, C] image."""
    buffer = io.BytesIO()
    pixels = np.asarray(image[..., 0] if image.shape[-1] == 1 else image)
    # What is shown smaller than it is needs no exact pixels, and PNG takes five times the room.
    form = "png" if image.shape[1] <= SHOWN else "jpeg"
    Image.fromarray(pixels).save(buffer, format=form, optimize=True, quality=90)
    uri = f"data:image/{form};base64," + base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="tile" src="{uri}" alt="{html.escape(alt)}">'


def _tiles(kind: str, width: int, items: Sequence[str]) -> str:
    """Return a list that shows its small images at a whole multiple of their width."""
    exact = width <= SHOWN
    tile, rendering = (width * math.ceil(56 / width), "pixelated") if exact else (SHOWN, "auto")
    style = f"--tile:{tile}px;--rendering:{rendering}"
    return f'<ol class="{kind}" style="{style}">' + "\n".join(items) + "</ol>"


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{html.escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> str:
    titles = ["Measure", *(html.escape(protocol).replace("=", "=<wbr>") for protocol in metrics)]
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    rows = ""
    for name in dict.fromkeys(name for values in metrics.values() for name in values):
        title = METRIC_TITLES.get(name, name.replace("_", " ").capitalize())
        cells = [f"{row[name]:.4f}" if name in row else "" for row in metrics.values()]
        cells = "".join(f"<td>{cell}</td>" for cell in cells)
        rows += f'<tr><th scope="row">{html.escape(title)}</th>{cells}</tr>\n'
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"
    frame = '<div class="wide" tabindex="0" role="region" aria-label="Retrieval measures">'
    return _section("Retrieval", f"{frame}{table}</div>")


def _label(label: str, count: int = 4) -> str:
    """Return the element of a label: of a long list the first names, the whole in the tooltip."""
    first = label.split(", ")[:count]
    if (short := ", ".join(first)) == label:
        return f"<b>{html.escape(label)}</b>"
    return f'<b title="{html.escape(label)}">{html.escape(short)},&nbsp;…</b>'


def _gallery(name: str, gallery: Gallery) -> str:
    rows = []
    for i, label in enumerate(gallery.query_label):
        cells = ""
        for j, neighbour in enumerate(gallery.neighbour_label[i]):
            word, mark = ("right", "✓") if gallery.relevant[i, j] else ("wrong", "✗")
            alt = f"neighbour {j + 1}: {neighbour}, distance {gallery.distance[i, j]}, {word}"
            cells += (
                f'<li class="{word}">{_image(gallery.neighbour_image[i, j], alt)}'
                f'<div class="note">{_label(neighbour)}<span class="mark" role="img" '
                f'aria-label="{word}">{mark}</span> d {gallery.distance[i, j]}</div></li>'
            )
        found = f"{int(gallery.relevant[i].sum())}/{len(gallery.relevant[i])} right"
        rows.append(
            f'<li><div class="query">{_image(gallery.query_image[i], f"query {i + 1}: {label}")}'
            f'<div class="note">{_label(label)}{found}</div></div>\n'
            f'<ol class="neighbours">{cells}</ol></li>'
        )
    tiles = _tiles("queries", gallery.query_image.shape[2], rows)
    return f"<h3>{html.escape(name[:1].upper() + name[1:])}</h3>\n{tiles}"


def _reconstructions(original: np.ndarray, decoded: np.ndarray) -> str:
    images = enumerate(zip(original, decoded, strict=True), start=1)
    pairs = [_image(x, f"original {i}") + _image(y, f"reconstruction {i}") for i, (x, y) in images]
    tiles = _tiles("pairs", original.shape[2], [f"<li>{pair}</li>" for pair in pairs])
    return _section("Reconstructions", "<p>Originals above, reconstructions below.</p>", tiles)


def _augmented(augmented: np.ndarray) -> str:
    rows = []
    for i, (original, *draws) in enumerate(augmented, start=1):
        cells = "".join(
            f"<li>{_image(draw, f'image {i}, draw {j}')}</li>" for j, draw in enumerate(draws, 1)
        )
        rows.append(
            f'<li><div class="query">{_image(original, f"image {i}")}</div>\n'
            f'<ol class="draws">{cells}</ol></li>'
        )
    tiles = _tiles("queries", augmented.shape[3], rows)
    note = "<p>Each training image, and random draws of what training makes of it.</p>"
    return _section("Augmented training images", note, tiles)


def write_report(
    path: epath.PathLike,
    *,
    title: str,
    summary: Mapping[str, str],
    metrics: Mapping[str, Mapping[str, float]],
    precision_recall: Sequence[Curve],
    precision_at: Sequence[Curve],
    galleries: Mapping[str, Gallery],
    original: np.ndarray | None,
    decoded: np.ndarray | None,
    augmented: np.ndarray | None,
    history: Sequence[Mapping[str, Any]],
    bit_mean: np.ndarray,
    config: Mapping[str, Any],
) -> None:
    """Write the report of one run as a single HTML file, replacing it whole.

    Args:
        path: file to write; its folder is made if it is missing.
        title: heading of the page, such as "digits · 48 bits · intended".
        summary: facts shown under the heading, name to text.
        metrics: protocol to measure to value; protocols are the columns of the table.
        precision_recall: lines with recall as x and precision as y, one point per Hamming radius.
        precision_at: lines with k as x, at least 1, and the precision among the first k as y.
        galleries: title to queries with their nearest database images.
        original, decoded: uint8 [n, H, W, C], or None to leave the reconstructions out.
        augmented: uint8 [n, 1 + draws, H, W, C], each image and draws of its augmentation, or None.
        history: records with "step" and any of "train/loss", "train/<term>", "valid/map".
        bit_mean: float [K], mean of each bit, from 0 to 1.
        config: settings, nested; values that JSON lacks are shown as text.
    """
    facts = [f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in summary.items()]
    facts = "\n".join(f"<div>{fact}</div>" for fact in facts)
    body = [f"<h1>{html.escape(title)}</h1>", f'<dl class="facts">\n{facts}\n</dl>']
    if metrics:
        body.append(_metrics(metrics))
    plots, size = "", (4.6, 3.5)
    if precision_recall:
        name = "Precision at each Hamming radius"
        plots += _lines(name, precision_recall, size, **PRECISION_RECALL)
    if precision_at:
        name = "Precision among the first k database images"
        plots += _lines(name, precision_at, size, **PRECISION_AT)
    if plots:
        body.append(_section("Precision", f'<div class="plots">{plots}</div>'))
    if galleries:
        grids = [_gallery(name, gallery) for name, gallery in galleries.items()]
        body.append(_section("Queries and their nearest database images", GALLERY_NOTE, *grids))
    if original is not None and decoded is not None:
        body.append(_reconstructions(original, decoded))
    if augmented is not None:
        body.append(_augmented(augmented))
    keys = dict.fromkeys(key for record in history for key in record if "/" in key)
    if keys:
        plots = "".join(_history(key, history) for key in keys)
        body.append(_section("Training", f'<div class="plots">{plots}</div>'))
    if len(bit_mean):
        body.append(_bits(bit_mean))
    text = html.escape(json.dumps(config, indent=2, ensure_ascii=False, default=str))
    settings = f"<details><summary>Show</summary><pre>{text}</pre></details>"
    body.append(_section("Settings", settings))
    page = PAGE.format(title=html.escape(title), css=CSS, body="\n".join(body))
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)
