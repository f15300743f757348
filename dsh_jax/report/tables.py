"""The tables of the report: every number as text."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from dsh_jax.evaluation.by_class import ClassScore
from dsh_jax.evaluation.confusion import Confusion, most_confused

MOST_CLASSES = 20  # of a confusion that is shown whole
PAIRS = 20  # shown of a larger one
COUNTS = ("dead_bits", "views")
TITLES = {
    "map": "mAP (tie-aware, whole ranking)",
    "map_low": "mAP, 95 % interval over queries, low",
    "map_high": "mAP, 95 % interval over queries, high",
    "map_optimistic": "mAP, ties in the best order",
    "map_pessimistic": "mAP, ties in the worst order",
    "map_within_radius_2": "mAP within radius 2",
    "weighted_map": "Weighted mAP",
    "chance": "mAP of a random ranking",
    "bit_entropy": "Entropy of a bit, mean (1 is best)",
    "bit_entropy_min": "Entropy of a bit, least",
    "bit_mean_min": "Mean of a bit, least (½ is best)",
    "bit_mean_max": "Mean of a bit, greatest",
    "bit_correlation": "Correlation of two bits, greatest |r|",
    "distance_from_half": "|Activation − ½|, mean (½ is best)",
    "quantization_gap": "|Activation − bit|, mean (0 is best)",
    "dead_bits": "Dead bits",
    "distinct_codes": "Distinct codes, share of the queries",
}


def facts(texts: Mapping[str, str]) -> str:
    """Return a list of facts, name to text."""
    items = "\n".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in texts.items()
    )
    return f'<dl class="facts">\n{items}\n</dl>'


def table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Return a table that scrolls sideways where the page is narrow.

    Args:
        name: of the table, for those who cannot see it.
        head: titles of the columns.
        rows: cells, the first of each row its title.
        kind: class of the element.
    """
    titles = "".join(
        f'<th scope="col">{html.escape(title).replace("=", "=<wbr>")}</th>' for title in head
    )
    lines = ""
    for title, *cells in rows:
        values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        lines += f'<tr><th scope="row">{html.escape(title)}</th>{values}</tr>\n'
    return (
        f'<div class="wide {kind}" tabindex="0" role="region" aria-label="{html.escape(name)}">'
        f"<table><thead><tr>{titles}</tr></thead>\n<tbody>{lines}</tbody></table></div>"
    )


def numbers(name: str, columns: Mapping[str, Mapping[str, float]], kind: str = "") -> str:
    """Return a table of numbers.

    Args:
        name: see `table`.
        columns: title of the column to name of the number to value.
        kind: see `table`; "headline" where the first number counts most.
    """
    rows = [
        [
            TITLES.get(number, number.replace("_", " ").capitalize()),
            *(_value(number, values) for values in columns.values()),
        ]
        for number in dict.fromkeys(number for values in columns.values() for number in values)
    ]
    return table(name, ["Measure", *columns], rows, kind)


def by_class(scores: Sequence[ClassScore]) -> str:
    """Return the table of the queries' mAP by their classes."""
    rows = [
        [
            one.name,
            f"{one.queries:,}",
            f"{one.map:.4f}",
            "" if math.isnan(one.low) else f"{one.low:.4f} to {one.high:.4f}",
        ]
        for one in scores
    ]
    return table("mAP by class", ["Queries of", "Number", "mAP", "95 % interval"], rows)


def confusion(shown: Confusion) -> str:
    """Return the table of a confusion of classes: whole, or its largest entries."""
    names = shown.names
    if len(names) <= MOST_CLASSES:
        lines = zip(names, shown.share_CxC, strict=True)
        rows = [[name, *map(_percent, line)] for name, line in lines]
        return table("Share of each class, per cent", ["Queries of", *names], rows, "matrix")
    rows = [
        [names[i], names[j], _percent(shown.share_CxC[i, j]), _percent(shown.database_C[j])]
        for i, j in most_confused(shown.share_CxC, PAIRS)
    ]
    head = ["Queries of", "Neighbours have", "Share, %", "In the database, %"]
    return table("Most confused classes", head, rows)


def _value(number: str, values: Mapping[str, float]) -> str:
    """Return a number with four decimals, a count with none, what is not there as nothing."""
    return f"{values[number]:.{0 if number in COUNTS else 4}f}" if number in values else ""


def _percent(share: float) -> str:
    """Return a share in per cent with one decimal."""
    return "" if math.isnan(share) else f"{100 * share:.1f}" if share else "0"
