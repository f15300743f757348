"""Regenerate the paper's Tables 1 and 2 and Figures 4 and 5: train, evaluate, set side by side.

python -m experiments.tables --config=configs/tables/mnist.py --workdir=runs/tables-mnist
python -m experiments.tables --config=configs/tables/mnist.py:smoke --workdir=runs/tables-smoke

Every run is one of experiments.train, by `--launcher=local`, `slurm` or `vmap` of
experiments.sweep; the last, the default, trains in this process, the seeds of a row by one program.
What is finished is not run again; what fails is reported and stops nothing else. `--collect` makes
the tables of what there is.

    as_printed   each method under the protocol that the paper's number seems to have
    ssdh         all under the protocol of SSDH's authors: few labels, unseen database
    paper        all under the paper's: every label, the training rows are the database
"""

import importlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from absl import app, flags
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import metrics, plots, retrieval
from dsh_jax.methods.shallow import METHODS, SUPERVISED
from dsh_jax.runs import scalable
from dsh_jax.sweeps import comparison, printed
from dsh_jax.sweeps.comparison import Row
from dsh_jax.training import build
from experiments import console, memory, sweep
from experiments.sweeps import runs as sweep_runs
from experiments.sweeps import status
from experiments.sweeps.runs import Run

PAPER = epath.Path(__file__).parent / "paper"
OWN = "DHS"  # the paper's row
NO_WEIGHTS = (
    "needs weights: set vggf_path to MatConvNet's imagenet-vgg-f.mat; fc7_path adds rows of an "
    "encoder of ours in its place"
)


def base_config(name: str) -> ConfigDict:
    """Return the config that a file and variant name, such as configs/mnist.py:modern."""
    path, _, variant = name.partition(":")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    return module.get_config(variant) if variant else module.get_config()


def points_of(config: ConfigDict, row: Sequence, protocol: str) -> list[dict]:
    """Return the points of a row under a protocol, in the form of a sweep's."""
    name, features, method, seeds = row
    settings = {"data.protocol": protocol, "method": method}
    if method not in METHODS:
        settings |= {"training.labelled_share": 1.0, **dict(config.deep)}
        if protocol == config.others_protocol:
            settings |= dict(dict(config.unlabelled).get(name, ()))
        settings |= dict(dict(config.own_settings).get(name, ()))
    elif config.vggf_path and features.startswith("VGG-F"):
        settings |= {"shallow.features": "vggf", "shallow.features_path": config.vggf_path}
    elif row in config.fc7_rows:
        path = config.fc7_path.format(protocol=protocol)
        settings |= {"shallow.features": "file", "shallow.features_path": path}
    else:
        settings["shallow.features"] = features
    settings |= dict(config.settings)
    lengths = config.bits
    if name == config.cut_row:
        lengths = (config.cut_bits,)
    elif protocol == config.own_protocol and config.own_bits:
        lengths = tuple(bits for bits in config.own_bits if bits in config.bits)
    return [
        {**settings, "model.bits": bits, "seed": seed}
        for bits in lengths
        for seed in range(min(seeds, config.seeds))
    ]


def row_of(
    config: ConfigDict, row: Sequence, protocol: str, runs: Mapping[str, Run], labels: int
) -> Row:
    """Return a row with what its finished runs have measured."""
    name, features, method, _ = row
    found: dict[int, list] = {bits: [] for bits in config.bits}
    reasons = {}
    for point in points_of(config, row, protocol):
        one = runs.get(repr(point))
        if one is None:
            continue
        record = status.read_record(one.name, one.point, one.folder.parent)
        if record.state == "finished" and name == config.cut_row:
            described = build.build(sweep_runs.config_of(one, base_config(config.base)))
            for bits, value in scalable.map_of_cuts(described, one.folder, config.bits).items():
                chance = record.metrics["eval/chance"]
                found[bits].append({"eval/map": value, "eval/chance": chance})
        elif record.state == "finished":
            found[point["model.bits"]].append(record.metrics)
        else:
            reasons[one.name] = record.reason or record.state
    missing = ""
    if not config.vggf_path and features.startswith("VGG-F"):
        missing = NO_WEIGHTS
    elif reasons:
        missing = (
            f"{len(reasons)} runs without result, such as {': '.join(next(iter(reasons.items())))}"
        )
    reads_labels = method not in METHODS or method in SUPERVISED or row in config.fc7_rows
    return Row(name, protocol, features, labels if reads_labels else 0, found, missing)


def precision_recall(name: str, folder: epath.Path) -> plots.Curve | None:
    """Return precision against recall of a run's codes, a point for each Hamming radius.

    Args:
      name: of the curve.
      folder: of the run; without codes there is no curve.
    """
    files = sorted(folder.glob("eval/*.npz"), key=lambda path: int(path.stem))
    if not files:
        return None
    with files[-1].open("rb") as file, np.load(file) as saved:
        part = next(n.removesuffix("_code") for n in saved.files if n.endswith("_code")
                    and not n.startswith("query"))  # fmt: skip
        counts = retrieval.distance_counts(
            saved["query_code"],
            saved["query_label"],
            saved[f"{part}_code"],
            saved[f"{part}_label"],
            bits=int(saved["bits"]),
        )
    precision_D, recall_D = metrics.precision_recall_by_radius(*counts)
    return plots.Curve(name, np.asarray(recall_D), np.asarray(precision_D))


def write(
    config: ConfigDict,
    workdir: epath.Path,
    title: str,
    rows: Sequence[Row],
    curves: Sequence[plots.Curve],
) -> str:
    """Write a comparison's tables and figures; return it as Markdown.

    Args:
      config: of the tables.
      workdir: theirs.
      title: of the comparison.
      rows: of its methods.
      curves: precision against recall of the longest codes.
    """
    paper_1 = printed.read_paper(PAPER / "table1_map.csv", config.dataset)
    paper_2 = printed.read_paper(PAPER / "table2_precision.csv", config.dataset)
    longest = max(config.bits)
    tables = {
        "table_1": comparison.table_1(rows, paper_1, config.bits),
        "table_2": comparison.table_2(rows, paper_2, longest),
    }
    folder = workdir / title
    folder.mkdir(parents=True, exist_ok=True)
    text = {
        "table_1": f"mAP on {config.dataset} by bits: ours (the paper's). Tie-aware, whole "
        "ranking, mean ± sd over seeds.",
        "table_2": f"Precision at k on {config.dataset}, {longest} bits: ours (the paper's). "
        "Tie-aware.",
    }
    page = [f"# {config.dataset}, {title.replace('_', ' ')}", ""]
    for name, cells in tables.items():
        (folder / f"{name}.csv").write_text(comparison.to_csv(cells))
        (folder / f"{name}.tex").write_text(comparison.to_latex(cells))
        page += [text[name], "", comparison.to_markdown(cells)]
    page += [f"- {note}" for note in comparison.notes(rows, config.dataset, paper_2)]
    (folder / "tables.md").write_text("\n".join(page) + "\n")
    heading = f"{config.dataset}, {title.replace('_', ' ')}"
    if of_map := comparison.figure_4(rows, config.bits):
        plots.save_lines(folder / "figure_4.png", heading, of_map, xlabel="bits", ylabel="mAP")
    if at_k := comparison.figure_5(rows, longest):
        plots.save_lines(
            folder / "figure_5.png", heading, at_k, xlabel="k", ylabel="precision at k"
        )
    if curves:
        plots.save_lines(
            folder / "precision_recall.png", f"{heading}, {longest} bits", curves,
            **plots.PRECISION_RECALL,
        )  # fmt: skip
    return "\n".join(page)


def run(config: ConfigDict, workdir: epath.Path, *, collect: bool) -> int:
    """Run what is missing, write all tables; return the exit code."""
    base = base_config(config.base)
    table_rows = (*config.rows, *(config.fc7_rows if config.fc7_path else ()))
    protocols = list(dict.fromkeys((config.own_protocol, config.others_protocol)))
    cells = workdir / "cells"
    runs: dict[str, Run] = {}
    for row in table_rows:
        for protocol in protocols:
            if row[1].startswith("VGG-F") and not config.vggf_path:
                continue
            for point in points_of(config, row, protocol):
                runs[repr(point)] = sweep_runs.make_run(
                    point, cells, python=sys.executable, config_file=config.base, overrides={}
                )
    if not collect:
        done = sum(sweep_runs.is_finished(one, base) for one in runs.values())
        print(f"{done} of {len(runs)} runs are finished", flush=True)
        sweep.run_all(base, cells, list(runs.values()))
    labels = {}
    for protocol in protocols:
        one = base.copy_and_resolve_references()
        one.update_from_flattened_dict({**dict(config.settings), "data.protocol": protocol})
        labels[protocol] = len(build.load_split(one, build.load_source(one)).labelled)
    plans = {
        "as_printed": {row[0]: config.others_protocol for row in table_rows}
        | {OWN: config.own_protocol}
    } | {protocol: {row[0]: protocol for row in table_rows} for protocol in protocols}
    missing = False
    for title, plan in plans.items():
        rows = [row_of(config, row, plan[row[0]], runs, labels[plan[row[0]]]) for row in table_rows]
        missing |= any(row.missing and row.missing != NO_WEIGHTS for row in rows)
        longest = [
            (row[0], runs.get(repr(point)))
            for row in table_rows
            for point in points_of(config, row, plan[row[0]])
            if (point["model.bits"], point["seed"]) == (max(config.bits), 0)
        ]
        found = [precision_recall(name, one.folder) for name, one in longest if one]
        curves = [curve for curve in found if curve]
        print("\n" + write(config, workdir, title, rows, curves), flush=True)
    print(f"tables: {workdir}")
    return 1 if missing else 0


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    console.quiet()
    with console.clear_errors():
        if flags.FLAGS.launcher == "print":
            raise ValueError("the tables need their runs: pass --launcher=local, slurm or vmap.")
        workdir = epath.Path(flags.FLAGS.workdir).expanduser()
        try:
            return run(flags.FLAGS.config, workdir, collect=flags.FLAGS.collect)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on", flush=True)
            return console.REQUEUE


if __name__ == "__main__":
    flags.FLAGS.set_default("launcher", "vmap")
    memory.keep()
    console.run(main)
