"""Tables that set our results beside the paper's, one row a method."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from dsh_jax.plots import Curve

KS = (100, 200, 400, 600, 800, 1000)  # of Table 2
Paper = Mapping[tuple[str, int], float]  # (row's name, bits or k) to the printed value

# Cells of the paper that cannot be what they say: (name, data set) to why.
DOUBTS = {
    ("SDH", "MNIST"): "the method as published gives about .9 at 12 bits; the authors' program "
    "starts its bits anew in each step, which at 12 bits fails for some seeds (shallow.restart)",
    ("SDH-VGGF", "MNIST"): "12 bits repeat the 48 bits of CIFAR-10; 32 bits are printed 0943",
    ("SDH-VGGF", "CIFAR-10"): "48 bits repeat the 12 bits of MNIST",
}
RISING = "precision that rises with k by .1 and more is no Hamming ranking's"


@dataclasses.dataclass(frozen=True)
class Row:
    """One method under one protocol.

    Attributes:
      name: of the paper's row, or our own.
      protocol: `data.protocol`.
      backbone: what makes the features, and how it was trained before.
      labels: training rows whose labels it reads.
      runs: bits to the metrics of each finished seed, as in `metrics.jsonl`.
      missing: why it has no or not all results, empty where it has.
    """

    name: str
    protocol: str
    backbone: str
    labels: int
    runs: Mapping[int, Sequence[Mapping[str, float]]]
    missing: str = ""

    def mean(self, bits: int, metric: str) -> float | None:
        """Return the mean of a metric over seeds, None where there is none.

        Args:
          bits: of the code.
          metric: such as `eval/map`.
        """
        values = self._values(bits, metric)
        return statistics.fmean(values) if values else None

    def sd(self, bits: int, metric: str) -> float | None:
        """Return the standard deviation over seeds (n − 1), None for fewer than two.

        Args:
          bits: of the code.
          metric: such as `eval/map`.
        """
        values = self._values(bits, metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def _values(self, bits: int, metric: str) -> list[float]:
        return [run[metric] for run in self.runs.get(bits, ()) if metric in run]


def read_paper(path: epath.PathLike, dataset: str) -> dict[tuple[str, int], float]:
    """Return the paper's numbers of a data set.

    Args:
      path: of `table1_map.csv` or `table2_precision.csv`.
      dataset: as the paper writes it, such as MNIST.

    Returns:
      (method, bits) to mAP, or of Table 2 (method, k) to precision at k of 48 bits.

    Raises:
      ValueError: where the paper has no such data set.
    """
    with epath.Path(path).open() as file:
        lines = list(csv.DictReader(file))
    key, value = ("k", "precision") if "precision" in lines[0] else ("bits", "map")
    found = {
        (line["method"], int(line[key])): float(line[value])
        for line in lines
        if line["dataset"] == dataset
    }
    if not found:
        known = ", ".join(sorted({line["dataset"] for line in lines}))
        raise ValueError(f"the paper has no table of {dataset!r}; it has {known}.")
    return found


def table(
    rows: Sequence[Row],
    paper: Paper,
    columns: Sequence[int],
    metrics: Mapping[int, tuple[int, str]],
) -> list[list[str]]:
    """Return a table as cells of text, its heading first, the chance of a random ranking last.

    Args:
      rows: of the methods.
      paper: its numbers, (name, column) to value.
      columns: bits of Table 1, k of Table 2.
      metrics: column to (bits, metric).

    Returns:
      Rows of cells: method, protocol, backbone, labels, and for each column "ours (paper)".
    """
    cells = [["method", "protocol", "backbone", "labels", *map(str, columns)]]
    for row in rows:
        line = [row.name, row.protocol, row.backbone, f"{row.labels:,}"]
        for column in columns:
            printed = paper.get((row.name, column))
            text = _cell(row, *metrics[column])
            line.append(text if printed is None else f"{text} ({_short(printed)})")
        cells.append(line)
    chance: dict[str, list[float]] = {}
    for row in rows:
        for bits in row.runs:
            if (value := row.mean(bits, "eval/chance")) is not None:
                chance.setdefault(row.protocol, []).append(value)
    for protocol, values in chance.items():
        value = _short(statistics.fmean(values))
        cells.append(["a random ranking", protocol, "", "0", *[value] * len(columns)])
    return cells


def table_1(rows: Sequence[Row], paper: Paper, bits: Sequence[int]) -> list[list[str]]:
    """Return the paper's Table 1: mAP, tie-aware, over the whole ranking, by the code's length.

    Args:
      rows: of the methods.
      paper: of Table 1.
      bits: its columns.

    Returns:
      See `table`.
    """
    return table(rows, paper, bits, {k: (k, "eval/map") for k in bits})


def table_2(rows: Sequence[Row], paper: Paper, bits: int) -> list[list[str]]:
    """Return the paper's Table 2: precision at k, tie-aware.

    Args:
      rows: of the methods.
      paper: of Table 2.
      bits: of the codes.

    Returns:
      See `table`.
    """
    return table(rows, paper, KS, {k: (bits, f"eval/precision_at_{k}") for k in KS})


def _cell(row: Row, bits: int, metric: str) -> str:
    mean, sd = row.mean(bits, metric), row.sd(bits, metric)
    if mean is None:
        return "none"
    return _short(mean) if sd is None else f"{_short(mean)} ± {_short(sd)}"


def _short(value: float) -> str:
    """Return ".987" of 0.987."""
    return f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.3f}"


def notes(rows: Sequence[Row], dataset: str) -> list[str]:
    """Return what a reader must know: missing results, and the paper's cells in doubt.

    Args:
      rows: of the methods.
      dataset: as the paper writes it.

    Returns:
      Sentences.
    """
    found = [f"{row.name} ({row.protocol}): {row.missing}." for row in rows if row.missing]
    names = dict.fromkeys(row.name for row in rows)
    for name in names:
        if (name, dataset) in DOUBTS:
            found.append(f"The paper's {name} is in doubt: {DOUBTS[name, dataset]}.")
        if name.startswith("SDH"):
            found.append(f"The paper's precision of {name} is in doubt: {RISING}.")
    return found


def to_markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown.

    Args:
      cells: rows of text, the heading first.
    """
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def to_csv(cells: Sequence[Sequence[str]]) -> str:
    """Return a table as CSV.

    Args:
      cells: rows of text, the heading first.
    """
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(cells)
    return file.getvalue()


def to_latex(cells: Sequence[Sequence[str]]) -> str:
    """Return a table as a LaTeX tabular, for the package booktabs.

    Args:
      cells: rows of text, the heading first.
    """

    def line(row: Sequence[str]) -> str:
        text = " & ".join(row).replace("_", r"\_").replace("%", r"\%")
        return text.replace("±", r"$\pm$") + r" \\"

    head, *body = map(line, cells)
    columns = "l" * 3 + "r" * (len(cells[0]) - 3)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def figure_4(rows: Sequence[Row], bits: Sequence[int]) -> list[Curve]:
    """Return the lines of the paper's Figure 4: mAP against the code's length.

    Args:
      rows: of the methods.
      bits: lengths.

    Returns:
      A Curve for each row with results.
    """
    found = {row.name: [(k, row.mean(k, "eval/map")) for k in bits] for row in rows}
    return _curves(found)


def figure_5(rows: Sequence[Row], bits: int) -> list[Curve]:
    """Return the lines of the paper's Figure 5: precision at k.

    Args:
      rows: of the methods.
      bits: of the codes.

    Returns:
      A Curve for each row with results.
    """
    return _curves(
        {row.name: [(k, row.mean(bits, f"eval/precision_at_{k}")) for k in KS] for row in rows}
    )


def _curves(points: Mapping[str, Sequence[tuple[int, float | None]]]) -> list[Curve]:
    found = []
    for name, values in points.items():
        if known := [(x, y) for x, y in values if y is not None]:
            found.append(Curve(name, *np.array(known, float).T))
    return found
