"""What the files of a sweep's runs say, and a table of it while they run."""

import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from etils import epath

from dsh_jax.sweeps.run_table import MAP, SECONDS, Record, aligned
from dsh_jax.training.records import read_metrics
from experiments.sweeps.runs import STOPPED, Launcher, Run

TAIL = 1 << 16  # bytes of a log that are read
PROGRESS = re.compile(r"\((\d+)/(\d+)\), ETA: (\S+)")  # as clu reports it


def log_lines(path: epath.Path) -> list[str]:
    """Return the last lines of a log since the latest start, without empty ones.

    Args:
      path: of the log; none gives no lines.
    """
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().length - TAIL))
        text = file.read().decode(errors="replace")
    _, start, said = text.rpartition("\n$ ")
    lines = said.splitlines()[bool(start) :]  # without the command
    return [line.rstrip() for line in lines if line.strip()]


def read_record(name: str, point: Mapping[str, Any], workdir: epath.Path) -> Record:
    """Return what a run's files say of it.

    Args:
      name: of the run.
      point: its overrides.
      workdir: of the sweep.

    Returns:
      Record; its metrics are those of the evaluation, the best `valid/map`, `step`, and the seconds
      of its steps, by the median of each record.
    """
    records = read_metrics(workdir / name / "metrics.jsonl")
    metrics = {"step": float(max((record["step"] for record in records), default=0))}
    if valid := [record["valid/map"] for record in records if "valid/map" in record]:
        metrics["valid/map"] = max(valid)
    before = 0.0
    for record in records:
        if "speed/step_ms" in record:
            seconds = (record["step"] - before) * record["speed/step_ms"] / 1e3
            metrics[SECONDS] = metrics.get(SECONDS, 0.0) + seconds
            before = record["step"]
        if MAP in record:
            metrics |= {key: value for key, value in record.items() if key != "step"}
    log, end = (workdir / "logs" / f"{name}.{ending}" for ending in ("log", "end"))
    how = end.read_text().strip() if end.exists() else ""
    after = f"after step {metrics['step']:.0f}"
    if how == STOPPED:
        return Record(name, point, "stopped", after, metrics)
    # The folder may hold the result of another config, which its run then refused.
    if how or (end.exists() and MAP not in metrics):
        lines = log_lines(log)
        said = next((line for line in reversed(lines) if line.startswith("error: ")), "")
        said = said or (lines[-1] if lines else "")
        reason = ": ".join(filter(None, (how or "no result", said)))
        return Record(name, point, "failed", reason, metrics)
    if MAP in metrics:
        return Record(name, point, "finished", "", metrics)
    if records or log.exists():
        return Record(name, point, "unfinished", after, metrics)
    return Record(name, point, "waiting", metrics=metrics)


def status_row(record: Record, log: epath.Path) -> list[str]:
    """Return name, state, steps, time left and mAP of a run.

    Args:
      record: of the run.
      log: of the run.
    """
    steps, left = f"{record.metrics.get('step', 0):.0f}", ""
    if record.state == "running":
        said = [found for line in log_lines(log) if (found := PROGRESS.search(line))]
        if said:
            done = max(int(said[-1][1]), int(steps))
            steps, left = f"{done}/{said[-1][2]}", said[-1][3]
    value = record.metrics.get(MAP)
    return [record.name, record.state, steps, left, "" if value is None else f"{value:.4f}"]


class Table:
    """Shows the runs: in place on a terminal, else a line for each change.

    Args:
      workdir: of the sweep.
      runs: of it; a search adds to them.
    """

    def __init__(self, workdir: epath.Path, runs: list[Run]):
        self._workdir, self._runs = workdir, runs
        self._lines = 0
        self._states: dict[str, str] = {}
        self._settled: dict[str, list[str]] = {}  # rows of runs whose files change no more

    def __call__(self, launcher: Launcher) -> None:
        """Show where the runs are."""
        rows = [self._settled.get(one.name) or self._row(one, launcher) for one in self._runs]
        if sys.stdout.isatty():
            self._redraw(rows)
            return
        for row in rows:
            if self._states.get(row[0]) != row[1] and row[1] != "waiting":
                print("  ".join(filter(None, row)), flush=True)
            self._states[row[0]] = row[1]

    def _row(self, one: Run, launcher: Launcher) -> list[str]:
        """Return a run's row."""
        record = read_record(one.name, one.point, self._workdir)
        is_open = one.name in launcher.running
        if is_open or record.state == "unfinished":
            state = launcher.state(one.name)
            record = Record(one.name, one.point, state, metrics=record.metrics)
        row = status_row(record, one.log)
        if not is_open and record.state == "finished":
            self._settled[one.name] = row
        return row

    def _redraw(self, rows: list[list[str]]) -> None:
        """Write the table over the last one; what does not fit is counted."""
        width, height = shutil.get_terminal_size()
        order = {"running": 0, "failed": 1, "waiting": 2}
        kept = sorted(rows, key=lambda row: order.get(row[1], 3))[: height - 3]
        kept.sort(key=rows.index)
        texts = aligned([["run", "state", "step", "left", "mAP"], *kept])
        if len(kept) < len(rows):
            texts.append(f"… and {len(rows) - len(kept)} others")
        back = f"\x1b[{self._lines}A\x1b[J" if self._lines else ""
        print(back + "\n".join(text[: width - 1] for text in texts), flush=True)
        self._lines = len(texts)
