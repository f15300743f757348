"""Line plots: the look of all figures, one drawing function, and image files of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from cycler import cycler
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dsh_jax import whole

MOST_MARKERS = 40  # a longer line is drawn without markers
SHARE = (-0.02, 1.02)  # limits of an axis from 0 to 1, with room for the markers
PRECISION_RECALL = {"xlabel": "recall", "xlim": SHARE, "ylabel": "precision", "ylim": SHARE}
PRECISION_AT = {"xlabel": "k", "xscale": "log", "ylabel": "precision", "ylim": SHARE}
COLOURS = {  # text and axes, then the lines
    "light": ("#33373d", "#0b5cad", "#c2410c", "#1b7f4b", "#7b3fa0", "#7a6200"),
    "dark": ("#c9cdd3", "#7db7f5", "#f5a36b", "#5cc98f", "#c79be8", "#d8c14e"),
}
# Ten colours that the colour-blind can tell apart, on light and dark (Petroff, arXiv:2107.02270,
# 2021), each with a shape of its own.
CLASS_MARKS = (
    *(("#3f90da", "o"), ("#ffa90e", "s"), ("#bd1f01", "^"), ("#94a4a2", "D"), ("#832db6", "v")),
    *(("#a96b59", "P"), ("#e76300", "X"), ("#b9ac70", "<"), ("#717581", ">"), ("#92dadd", "*")),
)


@dataclasses.dataclass(frozen=True)
class Curve:
    """Hold one line of a plot.

    Args:
        name: text of the legend, such as "database=train".
        x: float [n].
        y: float [n].
    """

    name: str
    x: np.ndarray
    y: np.ndarray


def precision_at(name: str, metrics: Mapping[str, float]) -> Curve:
    """Return the line through the metrics `precision_at_<k>`, k as x.

    Args:
        name: of the line.
        metrics: name to value; others are passed over.

    Returns:
        Curve, empty where there is no such metric.
    """
    prefix = "precision_at_"
    found = {int(k.removeprefix(prefix)): v for k, v in metrics.items() if k.startswith(prefix)}
    ks = sorted(found)
    return Curve(name, np.array(ks, float), np.array([found[k] for k in ks]))


def style(scheme: str) -> dict[str, Any]:
    """Return matplotlib's settings for a colour scheme.

    Args:
        scheme: "light" or "dark".

    Returns:
        Settings for `matplotlib.style.context`, on top of "default".
    """
    ink, *lines = COLOURS[scheme]
    dashes = ["-", "--", "-.", ":", (0, (4, 1, 1, 1, 1, 1))]
    # When the colours begin again, each has another dash and another marker.
    kinds = [(i, (i + turn) % len(lines)) for turn in range(len(lines)) for i in range(len(lines))]
    cycle = cycler(
        color=[lines[i] for i, _ in kinds],
        linestyle=[dashes[j] for _, j in kinds],
        marker=["os^Dv"[j] for _, j in kinds],
    )
    inked = "text.color axes.labelcolor axes.edgecolor xtick.color ytick.color grid.color"
    look = dict.fromkeys(inked.split(), ink)
    look |= {"axes.prop_cycle": cycle, "lines.markersize": 4, "lines.linewidth": 1.4}
    look |= {"axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6}
    look |= {"axes.grid": True, "grid.alpha": 0.15, "legend.frameon": False}
    # A "$" in a name is a dollar sign.
    return look | {"text.parse_math": False}


def draw_lines(axes: Axes, curves: Sequence[Curve], **axes_set: Any) -> None:
    """Draw lines with their legend.

    Args:
        axes: to draw on.
        curves: lines; a legend is drawn where one has a name.
        **axes_set: of `Axes.set`, such as xlabel.
    """
    for curve in curves:
        # Each mark against recall is a Hamming radius, so all are shown.
        marked = len(curve.x) <= MOST_MARKERS or axes_set["xlabel"] == "recall"
        axes.plot(curve.x, curve.y, label=curve.name, marker=None if marked else "")
    axes.set(**axes_set)
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    if any(curve.name for curve in curves):
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderpad=0)


def save_lines(path: epath.PathLike, title: str, curves: Sequence[Curve], **axes_set: Any) -> None:
    """Write a PNG image of lines, light on any background.

    Args:
        path: file to write; its folder exists.
        title: heading of the plot.
        curves: lines.
        **axes_set: see `draw_lines`.
    """
    with matplotlib.style.context(["default", style("light")]):
        figure = Figure(figsize=(4.6, 3.5), layout="constrained")
        figure.suptitle(title, fontsize=10, wrap=True)
        draw_lines(figure.subplots(), curves, **axes_set)
        _save(figure, path)


def save_matrix(
    path: epath.PathLike, title: str, value_CxC: np.ndarray, names: Sequence[str], label: str
) -> None:
    """Write a PNG image of a square matrix, dark where it is large.

    Args:
        path: file to write; its folder exists.
        title: heading.
        value_CxC: float, 0 to 1.
        names: C, of rows and columns.
        label: what the values are.
    """
    side = max(3.0, 0.16 * len(names) + 1.5)
    with matplotlib.style.context(["default", style("light") | {"axes.grid": False}]):
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        figure.suptitle(title, fontsize=10, wrap=True)
        axes = figure.subplots()
        image = axes.imshow(value_CxC, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        figure.colorbar(image, label=label, shrink=0.6)
        _save(figure, path)


def _save(figure: Figure, path: epath.PathLike) -> None:
    """Write a figure as PNG."""
    with whole.opened(path) as file:
        figure.savefig(file, format="png", dpi=200)
