"""Tables that set our results beside the paper's, one row a method."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from dsh_jax.plots import Curve
from dsh_jax.sweeps import printed
from dsh_jax.sweeps.printed import Paper, short

KS = (100, 200, 400, 600, 800, 1000)  # of Table 2


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
      Rows of cells: method, protocol, backbone, labels, and for each column "ours (paper)", or
      "ours (paper*)" where the printed number is in doubt.
    """
    cells = [["method", "protocol", "backbone", "labels", *map(str, columns)]]
    for row in rows:
        line = [row.name, row.protocol, row.backbone, f"{row.labels:,}"]
        for column in columns:
            ours, theirs = _cell(row, *metrics[column]), printed.cell(paper, row.name, column)
            line.append(f"{ours} ({theirs})" if theirs else ours)
        cells.append(line)
    chance: dict[str, list[float]] = {}
    for row in rows:
        for bits in row.runs:
            if (value := row.mean(bits, "eval/chance")) is not None:
                chance.setdefault(row.protocol, []).append(value)
    for protocol, values in chance.items():
        value = short(statistics.fmean(values))
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
    return short(mean) if sd is None else f"{short(mean)} ± {short(sd)}"


def notes(rows: Sequence[Row], dataset: str, table_2_paper: Paper) -> list[str]:
    """Return what a reader must know: missing results, and the paper's cells in doubt.

    Args:
      rows: of the methods.
      dataset: as the paper writes it.
      table_2_paper: the paper's numbers of Table 2.

    Returns:
      Sentences; one about printed numbers that are marked begins with `Marked *`.
    """
    found = [f"{row.name} ({row.protocol}): {row.missing}." for row in rows if row.missing]
    names = dict.fromkeys(row.name for row in rows)
    for name in names:
        if why := printed.DOUBTS.get((name, dataset)):
            found.append(f"Marked *: the paper's {name} is in doubt: {why}.")
        if printed.rises(table_2_paper, name):
            found.append(f"Marked *: the paper's precision of {name}: {printed.RISING}.")
    if any(row.protocol == "paper" for row in rows):
        found.append(f"{printed.DISGUISE}.")
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
