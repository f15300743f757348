"""One static HTML page per run: figures, plots, retrieved images and settings, all in one file."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.evaluation.by_class import ClassScore
from dsh_jax.evaluation.confusion import Confusion
from dsh_jax.plots import PRECISION_AT, PRECISION_RECALL, Curve
from dsh_jax.report import figures, images, other_data, tables
from dsh_jax.report.code_statistics import Plane
from dsh_jax.report.frame import CSS, PAGE
from dsh_jax.report.images import Gallery, Rebuilt
from dsh_jax.report.other_data import CrossDomain


def write_report(
    path: epath.PathLike,
    *,
    title: str,
    summary: Mapping[str, str],
    metrics: Mapping[str, Mapping[str, float]],
    precision_recall: Sequence[Curve],
    precision_at: Sequence[Curve],
    by_class: Sequence[ClassScore],
    confusion: Confusion | None,
    planes: Sequence[Plane],
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
        by_class: mAP of the queries of each class.
        confusion: of classes among the neighbours, or None.
        planes: codes of database images, by their principal components and by t-SNE.
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
        "Classes of the queries": _by_class(by_class),
        "Classes among the neighbours": _confusion(confusion),
        "Codes": _codes(planes, bit_mean, bits),
        "Training": _training(history),
        "Queries and their nearest database images": _galleries(galleries),
        "Images of other data sets": other_data.parts(cross_domain),
        "Reconstructions": _reconstructions(rebuilt),
        "Augmented training images": _augmented(augmented),
        "Settings": _settings(config),
    }
    sections = {name: parts for name, parts in sections.items() if parts}
    links = "".join(f'<a href="#{_id(name)}">{name}</a>' for name in sections)
    body = [
        f"<h1>{html.escape(title)}</h1>",
        tables.facts(summary),
        f'<nav aria-label="Sections">{links}</nav>',
    ]
    for name, parts in sections.items():
        body += [f'<section id="{_id(name)}">', f"<h2>{name}</h2>", *parts, "</section>"]
    page = PAGE.format(title=html.escape(title), css=CSS, body="\n".join(body))
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text(path, page)


def _retrieval(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [tables.numbers("Retrieval measures", metrics, "headline")] if metrics else []


def _precision(radii: Sequence[Curve], ranks: Sequence[Curve]) -> list[str]:
    plots, size = "", (4.6, 3.5)
    if radii:
        name = "Precision at each Hamming radius"
        plots += figures.lines(name, radii, size, **PRECISION_RECALL)
    if ranks:
        name = "Precision among the first k database images"
        plots += figures.lines(name, ranks, size, **PRECISION_AT)
    return _grid(plots)


def _by_class(scores: Sequence[ClassScore]) -> list[str]:
    return [tables.by_class(scores)] if scores else []


def _confusion(confusion: Confusion | None) -> list[str]:
    if confusion is None:
        return []
    note = f"<p>{html.escape(confusion.note)}</p>"
    return [note, figures.confusion(confusion), tables.confusion(confusion)]


def _codes(planes: Sequence[Plane], bit_mean: np.ndarray, bits: Mapping[str, float]) -> list[str]:
    plots = "".join(map(figures.plane, planes))
    if len(bit_mean):
        plots += figures.bits(bit_mean)
    parts = _grid(plots)
    if bits:
        ordered = {name: bits[name] for name in tables.TITLES if name in bits} | dict(bits)
        parts.append(tables.numbers("Numbers of the bits", {"queries": ordered}))
    return parts


def _training(history: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for record in history for key in record if "/" in key)
    return _grid("".join(figures.history(key, history) for key in keys))


def _galleries(galleries: Mapping[str, Gallery]) -> list[str]:
    grids = [images.gallery(name, gallery) for name, gallery in galleries.items()]
    return [images.NOTE, *grids] if grids else []


def _reconstructions(rebuilt: Rebuilt | None) -> list[str]:
    if rebuilt is None:
        return []
    note = f"<p>Originals above, reconstructions below, by {html.escape(rebuilt.words)}.</p>"
    return [note, images.reconstructions(rebuilt.original, rebuilt.decoded)]


def _augmented(augmented: np.ndarray | None) -> list[str]:
    if augmented is None:
        return []
    note = "<p>Each training image, and random draws of what training makes of it.</p>"
    return [note, images.augmented(augmented)]


def _settings(config: Mapping[str, Any]) -> list[str]:
    text = html.escape(json.dumps(config, indent=2, ensure_ascii=False, default=str))
    return [f"<details><summary>Show</summary><pre>{text}</pre></details>"]


def _grid(plots: str) -> list[str]:
    return [f'<div class="plots">{plots}</div>'] if plots else []


def _id(name: str) -> str:
    return name.lower().replace(" ", "-")
