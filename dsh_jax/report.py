"""One static HTML page per run: figures, plots, retrieved images and settings, all in one file."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dsh_jax import report_cross, report_figures, report_images, report_tables
from dsh_jax.confusion import Confusion
from dsh_jax.plots import PRECISION_AT, PRECISION_RECALL, Curve
from dsh_jax.report_codes import Plane
from dsh_jax.report_cross import CrossDomain
from dsh_jax.report_images import Gallery, Rebuilt
from dsh_jax.run import write_whole

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
th:first-child{padding-left:0;text-align:left}
thead th,.headline tbody tr:first-child>*{font-weight:600}
.tile{width:var(--tile);height:auto;image-rendering:var(--rendering)}
.queries>li{display:grid;grid-template-columns:auto 1fr;gap:1.25rem;padding:1rem 0}
.queries>li+li{border-top:var(--line)} .query{padding:4px 1.25rem 0 0;border-right:var(--line)}
.query .note{width:max(var(--tile),4.5rem);margin-top:6px} .pairs .tile+.tile{margin-top:4px}
.neighbours,.pairs,.draws{display:flex;flex-wrap:wrap;align-content:start;gap:1rem .5rem}
.draws{padding-top:4px}
.neighbours .tile{box-sizing:content-box;padding:2px;border:2px solid var(--right)}
.neighbours li{width:calc(var(--tile) + 8px)} .wrong .tile{border:2px dashed var(--wrong)}
.unmarked .tile{border-color:transparent}
.matrix{font-size:.8125rem} .matrix th,.matrix td{padding:.3rem 0 .3rem .75rem}
.matrix table{font-size:inherit;border-collapse:separate;border-spacing:0;white-space:nowrap}
.matrix th:first-child{position:sticky;left:0;padding-left:0;background:var(--page)}
figure+.wide,.plots+.wide,.facts+.wide{margin-top:1.5rem}
b{color:var(--ink);font-weight:500} .mark{color:var(--right)} .wrong .mark{color:var(--wrong)}
.note{margin-top:2px;color:var(--quiet);font-size:.75rem;line-height:1.4} .note b{display:block}
@media (max-width:40rem){.queries>li{grid-template-columns:1fr;gap:.75rem}
 .query{display:flex;align-items:start;gap:.75rem;padding:0;border:0}
 .query .note{width:auto}
 table{font-size:.8125rem} .wide:not(.matrix) th:first-child{min-width:6rem}
 td,th:not(:first-child){padding-left:.5rem}
 .neighbours{display:grid;grid-template-columns:repeat(5,minmax(0,1fr));gap:.75rem 5px}
 .neighbours li{width:auto} .neighbours .tile{box-sizing:border-box;width:100%;
 max-width:calc(var(--tile) + 8px)}}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin-top:2rem;font-size:.875rem}
nav a{color:inherit;padding:.25rem 0}
summary{cursor:pointer} pre{overflow-x:auto;font:.8125rem/1.5 ui-monospace,Consolas,monospace}
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{css}</style></head>
<body><main>{body}</main></body></html>
"""


def write_report(
    path: epath.PathLike,
    *,
    title: str,
    summary: Mapping[str, str],
    metrics: Mapping[str, Mapping[str, float]],
    precision_recall: Sequence[Curve],
    precision_at: Sequence[Curve],
    confusion: Confusion | None,
    plane: Plane | None,
    bit_mean: np.ndarray,
    bits: Mapping[str, float],
    galleries: Mapping[str, Gallery],
    cross_domain: Sequence[CrossDomain],
    rebuilt: Rebuilt | None,
    augmented: np.ndarray | None,
    history: Sequence[Mapping[str, Any]],
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
        confusion: of classes among the neighbours, or None.
        plane: codes of database images, or None.
        bit_mean: float [K], mean of each bit, from 0 to 1.
        bits: other numbers of the codes, name to value.
        galleries: title to queries with their nearest database images.
        cross_domain: of other data sets.
        rebuilt: images beside their reconstructions, or None to leave them out.
        augmented: uint8 [n, 1 + draws, H, W, C], each image and draws of its augmentation, or None.
        history: records with "step" and any of "train/loss", "train/<term>", "valid/map".
        config: settings, nested; values that JSON lacks are shown as text.
    """
    sections = {
        "Retrieval": _retrieval(metrics),
        "Precision": _precision(precision_recall, precision_at),
        "Classes among the neighbours": _confusion(confusion),
        "Codes": _codes(plane, bit_mean, bits),
        "Training": _training(history),
        "Queries and their nearest database images": _galleries(galleries),
        "Images of other data sets": report_cross.parts(cross_domain),
        "Reconstructions": _reconstructions(rebuilt),
        "Augmented training images": _augmented(augmented),
        "Settings": _settings(config),
    }
    sections = {name: parts for name, parts in sections.items() if parts}
    links = "".join(f'<a href="#{_id(name)}">{name}</a>' for name in sections)
    body = [
        f"<h1>{html.escape(title)}</h1>",
        report_tables.facts(summary),
        f'<nav aria-label="Sections">{links}</nav>',
    ]
    for name, parts in sections.items():
        body += [f'<section id="{_id(name)}">', f"<h2>{name}</h2>", *parts, "</section>"]
    page = PAGE.format(title=html.escape(title), css=CSS, body="\n".join(body))
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)


def _retrieval(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [report_tables.numbers("Retrieval measures", metrics, "headline")] if metrics else []


def _precision(radii: Sequence[Curve], ranks: Sequence[Curve]) -> list[str]:
    plots, size = "", (4.6, 3.5)
    if radii:
        name = "Precision at each Hamming radius"
        plots += report_figures.lines(name, radii, size, **PRECISION_RECALL)
    if ranks:
        name = "Precision among the first k database images"
        plots += report_figures.lines(name, ranks, size, **PRECISION_AT)
    return _grid(plots)


def _confusion(confusion: Confusion | None) -> list[str]:
    if confusion is None:
        return []
    note = f"<p>{html.escape(confusion.note)}</p>"
    return [note, report_figures.confusion(confusion), report_tables.confusion(confusion)]


def _codes(plane: Plane | None, bit_mean: np.ndarray, bits: Mapping[str, float]) -> list[str]:
    plots = report_figures.bits(bit_mean) if len(bit_mean) else ""
    if plane is not None:
        plots = report_figures.plane(plane) + plots
    parts = _grid(plots)
    if bits:
        ordered = {name: bits[name] for name in report_tables.TITLES if name in bits} | dict(bits)
        parts.append(report_tables.numbers("Numbers of the bits", {"queries": ordered}))
    return parts


def _training(history: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for record in history for key in record if "/" in key)
    return _grid("".join(report_figures.history(key, history) for key in keys))


def _galleries(galleries: Mapping[str, Gallery]) -> list[str]:
    grids = [report_images.gallery(name, gallery) for name, gallery in galleries.items()]
    return [report_images.NOTE, *grids] if grids else []


def _reconstructions(rebuilt: Rebuilt | None) -> list[str]:
    if rebuilt is None:
        return []
    note = f"<p>Originals above, reconstructions below, by {html.escape(rebuilt.words)}.</p>"
    return [note, report_images.reconstructions(rebuilt.original, rebuilt.decoded)]


def _augmented(augmented: np.ndarray | None) -> list[str]:
    if augmented is None:
        return []
    note = "<p>Each training image, and random draws of what training makes of it.</p>"
    return [note, report_images.augmented(augmented)]


def _settings(config: Mapping[str, Any]) -> list[str]:
    text = html.escape(json.dumps(config, indent=2, ensure_ascii=False, default=str))
    return [f"<details><summary>Show</summary><pre>{text}</pre></details>"]


def _grid(plots: str) -> list[str]:
    return [f'<div class="plots">{plots}</div>'] if plots else []


def _id(name: str) -> str:
    return name.lower().replace(" ", "-")
