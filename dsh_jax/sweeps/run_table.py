"""The results of a sweep: one table of its runs, the means over seeds, and lines to plot.

mAP is tie-aware and over the whole ranking, of the protocol's own database where none is named.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsh_jax.plots import Curve
from dsh_jax.sweeps.ablation import cell

SEEDS = ("seed", "data.split_seed")  # repeated for a mean, not compared
MAP = "eval/map"
SECONDS = "train/seconds"
# Beside the mAPs, where runs have them: title, and how the mean is written.
OTHERS = {
    "eval/distinct_codes": ("distinct codes", "{:.1%}"),
    "eval/dead_bits": ("dead bits", "{:.1f}"),
    SECONDS: ("seconds", "{:.0f}"),
}


@dataclasses.dataclass(frozen=True)
class Record:
    """Hold what is known of one run.

    Args:
        name: of the run.
        point: its overrides, dotted key to value.
        state: "finished", "failed", or what else it is.
        reason: why it is not finished, one line.
        metrics: name to value, as in `metrics.jsonl`; `eval/map` of a finished run.
    """

    name: str
    point: Mapping[str, Any]
    state: str
    reason: str = ""
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Group:
    """Hold the finished runs that differ by their seeds alone.

    Args:
        point: their overrides without seeds.
        runs: how many.
        values: of each mAP, and of OTHERS, name to the values of the runs that have it.
    """

    point: Mapping[str, Any]
    runs: int
    values: Mapping[str, Sequence[float]]


def map_names(records: Sequence[Record]) -> list[str]:
    """Return the names of the mAPs of any run, the protocol's own first.

    Args:
        records: of a sweep.
    """
    found = dict.fromkeys(name for record in records for name in record.metrics)
    others = [name for name in found if name.startswith("eval_") and name.endswith("/map")]
    return [MAP, *others] if MAP in found else others


def swept_keys(records: Sequence[Record]) -> list[str]:
    """Return the keys of any run, in their order.

    Args:
        records: of a sweep.
    """
    return list(dict.fromkeys(key for record in records for key in record.point))


def groups(records: Sequence[Record]) -> list[Group]:
    """Return the finished runs' numbers, those together that differ by their seeds alone.

    Args:
        records: of a sweep.

    Returns:
        Groups, in the order of their first runs.
    """
    alike: dict[str, list[Record]] = {}
    for record in records:
        if record.state == "finished":
            point = {key: value for key, value in record.point.items() if key not in SEEDS}
            alike.setdefault(repr(point), []).append(record)
    found = []
    for members in alike.values():
        point = {key: value for key, value in members[0].point.items() if key not in SEEDS}
        values = {
            name: [member.metrics[name] for member in members if name in member.metrics]
            for name in (*map_names(members), *OTHERS)
        }
        found.append(Group(point, len(members), {n: value for n, value in values.items() if value}))
    return found


def to_csv(records: Sequence[Record]) -> str:
    """Return one row for each run: its overrides, its state and why, and all of its numbers.

    Args:
        records: of a sweep.
    """
    keys = swept_keys(records)
    # `step` is also a word of a record, and no result.
    names = list(dict.fromkeys(n for record in records for n in record.metrics if "/" in n))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run", *keys, "state", "reason", *names])
    for record in records:
        settings = [record.point.get(key, "") for key in keys]
        numbers = [record.metrics.get(name, "") for name in names]
        writer.writerow([record.name, *settings, record.state, record.reason, *numbers])
    return file.getvalue()


def to_markdown(records: Sequence[Record]) -> str:
    """Return the means over seeds as a table, then the runs that have no result and why.

    Args:
        records: of a sweep.

    Returns:
        Lines.
    """
    names, found = map_names(records), groups(records)
    keys = [key for key in swept_keys(records) if key not in SEEDS]
    others = [name for name in OTHERS if any(name in group.values for group in found)]
    rows = [[*keys, "runs", *map(title, names), *(OTHERS[name][0] for name in others)]]
    for group in found:
        settings = [str(group.point.get(key, "")) for key in keys]
        numbers = [cell(group.values.get(name, ())) for name in names]
        numbers += [
            OTHERS[name][1].format(statistics.fmean(group.values[name]))
            if name in group.values
            else ""
            for name in others
        ]
        rows.append([*settings, str(group.runs), *numbers])
    lines = []
    if len(rows) > 1:
        rows.insert(1, ["---"] * len(rows[0]))
        lines = [f"| {' | '.join(map(escape, row))} |" for row in rows]
        note = "mAP: tie-aware, whole ranking; mean ± half of the 95 % interval over seeds."
        if SECONDS in others:
            note += " Seconds: of the steps; of runs trained by one program, of all of them."
        lines += ["", note]
    missing = [record for record in records if record.state != "finished"]
    if missing:
        lines += ["", f"{len(missing)} of {len(records)} runs have no result:", ""]
        lines += [
            f"- {escape(record.name)}: {record.state}"
            + (f", {escape(record.reason)}" if record.reason else "")
            for record in missing
        ]
    return "\n".join(lines).strip() + "\n"


def title(name: str) -> str:
    """Return the heading of a mAP, such as "mAP, database=unseen" of `eval_unseen/map`.

    Args:
        name: of the mAP in `metrics.jsonl`.
    """
    database = name.removeprefix("eval").removesuffix("/map").removeprefix("_")
    return f"mAP, database={database}" if database else "mAP"


def escape(text: str) -> str:
    """Return text that does not end a cell of a Markdown table.

    Args:
        text: any.
    """
    return text.replace("|", r"\|")


def against_key(records: Sequence[Record]) -> str:
    """Return the key to plot against: the bits where they are swept, else the first with numbers.

    Args:
        records: of a sweep.

    Returns:
        A key, or nothing where no run has numbers in one.
    """
    keys = [key for key in swept_keys(records) if key not in SEEDS and _are_numbers(records, key)]
    return "model.bits" if "model.bits" in keys else next(iter(keys), "")


def _are_numbers(records: Sequence[Record], key: str) -> bool:
    """Return whether every run has a number there."""
    values = [record.point.get(key) for record in records]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def curves(records: Sequence[Record], against: str) -> list[Curve]:
    """Return lines of the mean mAP against a setting, one for each choice of the others.

    A single line comes with two more, a standard deviation above and below.

    Args:
        records: of a sweep.
        against: a key with numbers.

    Returns:
        Curves, x ascending.

    Raises:
        ValueError: where the runs have no numbers there.
    """
    if against not in swept_keys(records) or not _are_numbers(records, against):
        raise ValueError(
            f"there is no number in {against or 'any setting'} for each run; plot against one of "
            f"{', '.join(swept_keys(records))}."
        )
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for group in groups(records):
        others = [f"{key}={_short(v)}" for key, v in group.point.items() if key != against]
        values = group.values[MAP]
        sd = statistics.stdev(values) if len(values) > 1 else 0.0
        spread = (group.point[against], statistics.fmean(values), sd)
        lines.setdefault(" ".join(others), []).append(spread)
    found = []
    for name, points in lines.items():
        x, mean, sd = np.array(sorted(points), float).T
        found.append(Curve(name, x, mean))
        if len(lines) == 1 and sd.any():
            found = [
                Curve(name or "mean", x, mean),
                Curve("mean + sd", x, mean + sd),
                Curve("mean − sd", x, mean - sd),
            ]
    return found


def _short(value: Any) -> str:
    """Return a value for a legend."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines in columns.

    Args:
        rows: of equally many cells.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
