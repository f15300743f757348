"""One static HTML page for several runs: numbers side by side, curves, and where they disagree."""

import html
from collections.abc import Mapping, Sequence

from etils import epath

from dsh_jax import whole
from dsh_jax.metrics.statistics import PairedComparison
from dsh_jax.plots import PRECISION_AT, PRECISION_RECALL, Curve
from dsh_jax.report import figures, images, tables
from dsh_jax.report.frame import CSS, PAGE
from dsh_jax.report.images import Gallery

SIZE = 4.6, 3.5
SHOWN = 60  # letters of a setting's value


def write_comparison(
    path: epath.PathLike,
    *,
    title: str,
    names: Sequence[str],
    settings: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]],
    paired: Mapping[str, Sequence[PairedComparison]],
    radii: Mapping[str, Sequence[Curve]],
    ranks: Mapping[str, Sequence[Curve]],
    galleries: Mapping[str, Gallery],
    notes: Sequence[str] = (),
) -> None:
    """Write the comparison of runs as a single HTML file, replacing it whole.

    Args:
        path: file to write; its folder is made if it is missing.
        title: heading of the page.
        names: of the runs, two or more; the first is the one that others are compared with.
        settings: name of a setting in which they differ to the runs' values.
        metrics: database to run to measure to value.
        paired: database to what each run after the first gains, query by query.
        radii: database to lines with recall as x and precision as y, a point per Hamming radius.
        ranks: database to lines with k as x and the precision among the first k as y.
        galleries: title to a query with what each run finds for it.
        notes: sentences under the heading.
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    body += [f"<p>{html.escape(note)}</p>" for note in notes]
    if settings:
        rows = [[name, *map(_short, values)] for name, values in settings.items()]
        body.append(_section("What sets them apart", tables.table("Settings", ["", *names], rows)))
    for database, columns in metrics.items():
        parts = [tables.numbers("Retrieval measures", columns, "headline")]
        parts += [_gains(names, paired[database])]
        name = "Precision at each Hamming radius"
        plots = figures.lines(name, radii[database], SIZE, **PRECISION_RECALL)
        name = "Precision among the first k database images"
        plots += figures.lines(name, ranks[database], SIZE, **PRECISION_AT)
        parts.append(f'<div class="plots">{plots}</div>')
        body.append(_section(f"database={database}", *parts))
    if galleries:
        parts = [images.gallery(name, shown) for name, shown in galleries.items()]
        body.append(_section("Queries on which they differ most", *parts))
    page = PAGE.format(title=html.escape(title), css=CSS, body="\n".join(body))
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text(path, page)


def _section(name: str, *parts: str) -> str:
    return "\n".join(["<section>", f"<h2>{html.escape(name)}</h2>", *parts, "</section>"])


def _gains(names: Sequence[str], found: Sequence[PairedComparison]) -> str:
    """Return the table of what each run gains over the first."""
    rows = [
        [
            name,
            f"{one.difference:+.4f}",
            f"{one.interval[0]:+.4f} to {one.interval[1]:+.4f}",
            f"{one.p_value:.4f}",
            f"{one.wins:,} / {one.ties:,} / {one.losses:,}",
        ]
        for name, one in zip(names[1:], found, strict=True)
    ]
    head = [f"mAP against {names[0]}", "gain", "95 % interval", "p", "better / equal / worse"]
    words = (
        "Each query against itself: the interval is a bootstrap over queries, p that of random "
        "signs. Both speak of these queries; other seeds of the training differ by more."
    )
    return f"<h3>Query by query</h3><p>{words}</p>" + tables.table("Gains", head, rows)


def _short(value: str) -> str:
    return value if len(value) <= SHOWN else f"{value[: SHOWN - 1]}…"
