"""Runs beside each other: what sets them apart, their numbers, and each query in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from etils import epath

from dsh_jax import plots
from dsh_jax.data.source import Source
from dsh_jax.metrics.statistics import PairedComparison, paired_comparison
from dsh_jax.report.comparison import write_comparison
from dsh_jax.report.images import Gallery
from dsh_jax.runs import gallery
from dsh_jax.runs.evaluated import Evaluated, read_evaluated
from dsh_jax.training import build
from dsh_jax.training.run_folder import OF_SWEEPS, read_config

SEED = 0  # of bootstrap and random signs: a page comes out the same twice


def read_runs(folders: Sequence[epath.PathLike]) -> list[Evaluated]:
    """Return the evaluations of runs that can be compared.

    Args:
      folders: of two runs or more, evaluated.

    Returns:
      One Evaluated each, named by the ends of their paths.

    Raises:
      ValueError: for a folder without an evaluation, or runs with other queries or without a
        database in common.
    """
    paths = [epath.Path(folder).expanduser().resolve() for folder in folders]
    different = len(set(paths))
    if different < 2 or different < len(paths):
        raise ValueError(
            f"{len(paths)} folders, {different} different: pass those of two runs or more."
        )
    runs = [
        read_evaluated(path, name) for path, name in zip(paths, short_names(paths), strict=True)
    ]
    first = runs[0]
    for run in runs[1:]:
        is_same = run.config["data.name"] == first.config["data.name"] and all(
            np.array_equal(of_run["query"], of_first["query"])
            for of_run, of_first in ((run.rows, first.rows), (run.label, first.label))
        )
        if not is_same:
            raise ValueError(
                f"{first.name} and {run.name} were evaluated on other queries "
                f"({len(first.rows['query']):,} of {first.config['data.name']}, "
                f"{len(run.rows['query']):,} of {run.config['data.name']}): a query can only be "
                "compared with itself; train them with the same data.protocol, data.queries and "
                "data.split_seed."
            )
    if not databases(runs):
        known = "; ".join(f"{run.name}: {', '.join(run.results)}" for run in runs)
        raise ValueError(f"no database is common to all runs ({known}).")
    return runs


def short_names(paths: Sequence[epath.Path]) -> list[str]:
    """Return the shortest ends of paths that tell all of them apart.

    Args:
      paths: different ones.

    Returns:
      Names in the same order, such as `seed=0` or `dpsh/seed=0`.
    """
    longest = max(len(path.parts) for path in paths)
    for length in range(1, longest + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def differences(runs: Sequence[Evaluated]) -> dict[str, list[str]]:
    """Return the settings in which runs differ.

    Args:
      runs: of one or more.

    Returns:
      Dotted name to each run's value as text, "" where it has no such setting.
    """
    names = dict.fromkeys(name for run in runs for name in run.config)
    found = {
        name: ["" if (value := run.config.get(name)) is None else str(value) for run in runs]
        for name in names
        if name not in OF_SWEEPS
    }
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def databases(runs: Sequence[Evaluated]) -> list[str]:
    """Return the databases that every run was evaluated against.

    Args:
      runs: of one or more.
    """
    return [part for part in runs[0].results if all(part in run.results for run in runs)]


def notes(runs: Sequence[Evaluated]) -> list[str]:
    """Return what a reader of the comparison should know: sentences.

    Args:
      runs: two or more.
    """
    first = runs[0]
    found = [
        f"{len(first.rows['query']):,} queries of {first.config['data.name']}; all runs are "
        f"compared with {first.name}."
    ]
    for part in databases(runs):
        others = [
            run.name for run in runs[1:] if not np.array_equal(run.rows[part], first.rows[part])
        ]
        if others:
            found.append(
                f"database={part} has other rows in {', '.join(others)} than in {first.name}: what "
                "they gain there is not theirs alone."
            )
    return found


def paired(runs: Sequence[Evaluated], database: str) -> list[PairedComparison]:
    """Return what each run after the first gains over the first, query by query.

    Args:
      runs: two or more, of the same queries.
      database: one of `databases`.

    Returns:
      Of average precision, the run's minus the first's.
    """
    first = runs[0].results[database].ap_Q
    return [paired_comparison(run.results[database].ap_Q, first, seed=SEED) for run in runs[1:]]


def most_different(runs: Sequence[Evaluated], database: str, count: int) -> np.ndarray:
    """Return the queries whose average precision the runs disagree on most.

    Args:
      runs: two or more, of the same queries.
      database: one of `databases`.
      count: how many, at most Q.

    Returns:
      Their positions, the largest range first; equal ones in their order.
    """
    ap_RxQ = np.stack([run.results[database].ap_Q for run in runs])
    return np.argsort(-np.ptp(ap_RxQ, axis=0), kind="stable")[:count]


def neighbours(
    runs: Sequence[Evaluated], source: Source, database: str, query: int, *, count: int = 10
) -> Gallery:
    """Return what each run finds for one query.

    Args:
      runs: two or more.
      source: of the images.
      database: one of `databases`.
      query: its position.
      count: neighbours, at most R.

    Returns:
      Gallery, a row for each run, which is named in place of the query's label.
    """
    row = runs[0].rows["query"][query : query + 1]
    found = [
        gallery.neighbours(
            source,
            row,
            run.packed["query"][query : query + 1],
            run.rows[database],
            run.packed[database],
            count=count,
        )
        for run in runs
    ]
    relevant = [one.relevant for one in found if one.relevant is not None]
    return Gallery(
        query_image=np.concatenate([one.query_image for one in found]),
        query_label=[f"{run.name}: AP {run.results[database].ap_Q[query]:.3f}" for run in runs],
        neighbour_image=np.concatenate([one.neighbour_image for one in found]),
        neighbour_label=[one.neighbour_label[0] for one in found],
        distance=np.concatenate([one.distance for one in found]),
        relevant=np.concatenate(relevant),
    )


def write_page(
    folders: Sequence[epath.PathLike], path: epath.PathLike, *, queries: int
) -> epath.Path:
    """Write one page about several runs, see `write_comparison`.

    Args:
      folders: of the runs, see `read_runs`.
      path: of the page.
      queries: to show with images of the first run's data, those on which the runs differ most.

    Returns:
      Its path.

    Raises:
      ValueError: see `read_runs`.
    """
    runs = read_runs(folders)
    parts = databases(runs)
    metrics = {part: {run.name: dict(run.results[part].metrics) for run in runs} for part in parts}
    for run in runs:
        metrics[parts[0]][run.name] |= run.code
    galleries = {}
    if queries:
        source = build.load_source(read_config(epath.Path(folders[0]).expanduser()))
        for query in most_different(runs, parts[0], queries):
            labels = gallery.names(source, runs[0].rows["query"][query]) or "no label"
            galleries[f"Query {query}: {labels}"] = neighbours(runs, source, parts[0], query)
    out = epath.Path(path).expanduser().resolve()
    write_comparison(
        out,
        title=" · ".join(run.name for run in runs),
        names=[run.name for run in runs],
        settings=differences(runs),
        metrics=metrics,
        paired={part: paired(runs, part) for part in parts},
        radii={
            part: [
                plots.Curve(run.name, run.results[part].recall_D, run.results[part].precision_D)
                for run in runs
            ]
            for part in parts
        },
        ranks={
            part: [plots.precision_at(name, found) for name, found in metrics[part].items()]
            for part in parts
        },
        galleries=galleries,
        notes=notes(runs),
    )
    return out
