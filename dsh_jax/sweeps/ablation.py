"""What each term adds: rows of runs over seeds, as a table and as lines with intervals."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.style
import numpy as np
from etils import epath
from matplotlib.figure import Figure
from scipy import stats

from dsh_jax.plots import style

# Title and name of each number that the table has, where the runs have it.
COLUMNS = {
    "mAP, database=train": "eval_train/map",
    "mAP, database=unseen": "eval_unseen/map",
    "mAP, database=protocol": "eval_protocol/map",
    "accuracy": "eval/accuracy",
    "confident": "train/confident",
    "of these right": "train/confident_accuracy",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row under one amount of labels and one length of code: a run for each seed.

    Attributes:
      row: its name.
      labels: text, such as "10 per class".
      amount: the same as a number, for the axis of a plot.
      bits: K.
      runs: metrics of each finished seed, name to value; `seed` is its number.
      missing: how many seeds have no result, and why; empty where none.
    """

    row: str
    labels: str
    amount: float
    bits: int
    runs: Sequence[Mapping[str, float]]
    missing: str = ""

    def values(self, metric: str) -> list[float]:
        """Return a metric of each run that has it.

        Args:
          metric: its name.
        """
        return [run[metric] for run in self.runs if metric in run]


def interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean over seeds and Student's confidence interval of it.

    `mean ± t_{n-1} s / √n`, s the standard deviation with n − 1.

    Args:
      values: of at least one run.
      level: of confidence.

    Returns:
      (mean, low, high); low and high are NaN for one run.

    Raises:
      ValueError: without values.
    """
    if not values:
        raise ValueError("there is no value to take the mean of; pass one of each finished run.")
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * statistics.stdev(values)
    half /= math.sqrt(len(values))
    return mean, mean - half, mean + half


def table(
    settings: Sequence[Setting], *, control: str = "", metric: str = "eval_unseen/map"
) -> list[list[str]]:
    """Return the settings as cells of text, the heading first.

    Args:
      settings: in their order.
      control: name of the row against which each other row's gain is told; none without it.
      metric: of the gain.

    Returns:
      Rows of cells: row, labels, bits, seeds, and `mean ± half of the interval` of each column that
      any run has; last, the gain.
    """
    columns = {
        title: name
        for title, name in COLUMNS.items()
        if any(setting.values(name) for setting in settings)
    }
    cells = [["row", "labels", "bits", "seeds", *columns]]
    for setting in settings:
        line = [setting.row, setting.labels, str(setting.bits), str(len(setting.runs))]
        cells.append(line + [cell(setting.values(name)) for name in columns.values()])
    if control:
        cells[0].append("gain, paired by seed")
        for setting, line in zip(settings, cells[1:], strict=True):
            here = (setting.labels, setting.bits)
            of_control = [s for s in settings if s.row == control and (s.labels, s.bits) == here]
            is_other = setting.row != control and bool(of_control)
            line.append(cell(gains(setting, of_control[0], metric), "+") if is_other else "")
    return cells


def cell(values: Sequence[float], sign: str = "-") -> str:
    """Return "0.9912 ± 0.0005", the mean and half of its interval; of one run the mean alone.

    Args:
      values: of runs; none gives no text.
      sign: of the mean, as formats have it.
    """
    if not values:
        return ""
    mean, low, high = interval(values)
    text = f"{mean:{sign}.4f}"
    return text if math.isnan(low) else f"{text} ± {(high - low) / 2:.4f}"


def gains(setting: Setting, control: Setting, metric: str) -> list[float]:
    """Return what a row adds to another, seed by seed.

    Runs of one seed share the split, the first weights and the order of the labelled rows: where
    that moves both alike, an interval of the difference may exclude 0 though the intervals of the
    two rows overlap.

    Args:
      setting, control: whose runs have a `seed`.
      metric: its name.

    Returns:
      The differences of the seeds that both have.
    """
    of_control = {run["seed"]: run[metric] for run in control.runs if metric in run}
    return [
        run[metric] - of_control[run["seed"]]
        for run in setting.runs
        if metric in run and run["seed"] in of_control
    ]


def beats(better: Setting, control: Setting, metric: str) -> bool | None:
    """Return whether one setting's interval lies above another's; None for fewer than two runs.

    Args:
      better, control: to compare.
      metric: its name.
    """
    pair = [setting.values(metric) for setting in (better, control)]
    if min(map(len, pair)) < 2:
        return None
    return interval(pair[0])[1] > interval(pair[1])[2]


def save_plot(
    path: epath.PathLike, title: str, settings: Sequence[Setting], metric: str, ylabel: str
) -> None:
    """Write a PNG image of a metric against the amount of labels, a line for each row.

    Args:
      path: file to write; its folder exists.
      title: heading.
      settings: of one length of code.
      metric: its name.
      ylabel: text of the axis.
    """
    rows = dict.fromkeys(setting.row for setting in settings)
    with matplotlib.style.context(["default", style("light")]):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.subplots()
        for number, row in enumerate(rows):
            found = [s for s in settings if s.row == row and s.values(metric)]
            if not found:
                continue
            found.sort(key=lambda setting: setting.amount)
            mean, low, high = np.array([interval(s.values(metric)) for s in found]).T
            error = np.nan_to_num(np.stack([mean - low, high - mean]))
            # A little apart, so that intervals do not hide each other.
            x = np.array([s.amount for s in found]) * 1.02 ** (number - len(rows) / 2)
            colour = matplotlib.colormaps["tab10"](number % 10)
            look = {"marker": "os^Dv<>P"[number % 8], "color": colour, "capsize": 2}
            axes.errorbar(x, mean, error, label=row, linewidth=1.2, linestyle="-", **look)
        ticks = {setting.amount: setting.labels for setting in settings}
        axes.set_xscale("log")
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()
        axes.set(xlabel="labels", ylabel=ylabel)
        figure.suptitle(title, fontsize=10)
        figure.legend(loc="outside right upper", fontsize=8)
        with epath.Path(path).open("wb") as file:
            figure.savefig(file, format="png", dpi=200)
