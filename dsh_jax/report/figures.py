"""The figures of the report: SVG drawings in the colours of the light and of the dark scheme."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba
from matplotlib.figure import Figure

from dsh_jax.evaluation.confusion import Confusion
from dsh_jax.plots import CLASS_MARKS, COLOURS, SHARE, Curve, draw_lines, style
from dsh_jax.report.code_statistics import Plane

HISTORY_TITLES = {"train/loss": "Training loss", "valid/map": "Validation mAP"}


def plot(draw: Callable[[Axes], None], size: tuple[float, float], title: str, alt: str) -> str:
    """Return the element of a figure.

    Args:
        draw: draws on axes; colours come from `matplotlib.rcParams`.
        size: width and height, inches.
        title: shown above.
        alt: what the drawing shows, in words.
    """
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


def lines(title: str, curves: Sequence[Curve], size: tuple[float, float], **axes_set: Any) -> str:
    """Return the figure of lines; `axes_set` is that of `plots.draw_lines`."""

    def draw(axes: Axes) -> None:
        draw_lines(axes, curves, **axes_set)

    alt = f"{title} against {axes_set['xlabel']}"
    for name, x, y in ((curve.name, curve.x, curve.y) for curve in curves if len(curve.x)):
        alt += f"; {name} from {y[0]:.4g} at {x[0]:.4g} to {y[-1]:.4g} at {x[-1]:.4g}"
    return plot(draw, size, title, alt)


def history(key: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Return the figure of one number of the training, against the step."""
    points = [(int(record["step"]), float(record[key])) for record in records if key in record]
    steps, values = zip(*points, strict=True)
    title = HISTORY_TITLES.get(key, key.replace("train/", "Training: ").replace("_", " "))
    limits = {"ylim": SHARE} if key == "valid/map" else {}
    return lines(title, [Curve("", steps, values)], (3.4, 2.3), xlabel="step", **limits)


def bits(bit_mean: np.ndarray) -> str:
    """Return the figure of each bit's mean."""

    def draw(axes: Axes) -> None:
        axes.bar(np.arange(len(bit_mean)), bit_mean, color="C0", alpha=0.8)
        axes.axhline(0.5, color=matplotlib.rcParams["text.color"], linestyle="--", linewidth=1)
        axes.set(xlabel="bit", ylabel="mean", xlim=(-0.7, len(bit_mean) - 0.3), ylim=(0, 1))

    span = f"between {np.min(bit_mean):.3f} and {np.max(bit_mean):.3f}"
    text = f"Mean of each of the {len(bit_mean)} bits, {span}; the dashed line is one half."
    return plot(draw, (4.6, 2.5), text, text)


def confusion(shown: Confusion) -> str:
    """Return the figure of a confusion of classes: a row for each class of the queries."""
    names = shown.names

    def draw(axes: Axes) -> None:
        full = to_rgba("C0")
        # From see-through, so that it suits any background.
        colours = LinearSegmentedColormap.from_list("share", [(*full[:3], 0.0), full])
        norm = PowerNorm(0.5, vmin=0, vmax=1)
        image = axes.imshow(shown.share_CxC, cmap=colours, norm=norm, interpolation="none")
        size = float(np.clip(150 / len(names), 3, 9))
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.set(xlabel="neighbours have", ylabel="queries of")
        axes.grid(False)
        axes.figure.colorbar(image, shrink=0.7, ticks=[0, 0.01, 0.1, 0.5, 1])

    own = np.diag(shown.share_CxC)
    title = "Share of each class, in colours by its square root"
    alt = f"{title}; the query's own class has {np.nanmin(own):.3f} to {np.nanmax(own):.3f}"
    return plot(draw, (4.6, 4), title, alt)


def plane(codes: Plane) -> str:
    """Return the figure of codes in the plane of their principal components, or of t-SNE."""

    def draw(axes: Axes) -> None:
        edge = {"edgecolors": matplotlib.rcParams["text.color"], "linewidths": 0.5}
        size_M = 9 * np.sqrt(codes.count_M)
        for c in [-1, *range(len(codes.names))]:
            is_in = codes.class_M == c
            if c == -1 and not is_in.any():
                continue
            colour, marker = CLASS_MARKS[c % len(CLASS_MARKS)] if c >= 0 else ("none", ".")
            name = codes.names[c] if c >= 0 else "others"
            place = codes.point_Mx2[is_in].T
            # Far codes over near ones would hide single images among many.
            axes.scatter(*place, s=size_M[is_in], c=colour, marker=marker, label=name, **edge)
        if codes.explained is None:
            axes.set(xticks=[], yticks=[])
        else:
            axes.set(xlabel=f"first axis, {codes.explained[0]:.0%} of the variance")
            axes.set(ylabel=f"second axis, {codes.explained[1]:.0%}")
        columns = 5 if max(map(len, codes.names), default=0) < 5 else 3
        legend = axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=columns, borderpad=0,
            columnspacing=1, handletextpad=0.2,
        )  # fmt: skip
        for handle in legend.legend_handles:
            handle.set_sizes([30])

    classes = f"classes {', '.join(codes.names)}"
    if codes.explained is None:
        title = "t-SNE of the same: near codes stay near, the distance of far ones means nothing."
        return plot(draw, (4.6, 4.6), title, f"{title} {len(codes.count_M)} marks; {classes}")
    title = "Principal components of database images; larger marks: more images with one code."
    alt = f"{title} The axes hold {codes.explained[0]:.0%} and {codes.explained[1]:.0%}"
    return plot(draw, (4.6, 4.6), title, f"{alt} of the variance; {classes}")
