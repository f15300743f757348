"""What a run found in another data set: kept in its folder, shown in its report."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.report import tables
from dsh_jax.report.images import NOTE, Gallery, gallery

SHOWN = ("map", "map_low", "map_high", "map_optimistic", "map_pessimistic", "chance",
         "precision_at_100")  # fmt: skip
ARRAYS = ("query_image", "neighbour_image", "distance", "relevant")


@dataclasses.dataclass(frozen=True)
class CrossDomain:
    """Hold the evaluation of a run's checkpoint on another data set.

    Args:
        data: name of the data set.
        step: of the checkpoint.
        facts: what was evaluated, name to text.
        metrics: database protocol to measure to value, see `results.Result`.
        galleries: title to queries with their nearest images.
    """

    data: str
    step: int
    facts: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, float]]
    galleries: Mapping[str, Gallery]


def save(folder: epath.Path, found: CrossDomain) -> epath.Path:
    """Write `eval/on_<data>.json`, the numbers, and `.npz`, the galleries' arrays.

    Args:
        folder: of the run.
        found: to write, in place of an earlier one of the same data set.

    Returns:
        Path of the .json file.
    """
    path = folder / "eval" / f"on_{re.sub(r'[^0-9A-Za-z_.-]+', '-', found.data)}.json"
    path.parent.mkdir(exist_ok=True)
    arrays = {
        f"{i}_{name}": value
        for i, shown in enumerate(found.galleries.values())
        for name in ARRAYS
        if (value := getattr(shown, name)) is not None
    }
    with whole.opened(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, **arrays)
    labels = {
        title: {"query": shown.query_label, "neighbour": shown.neighbour_label}
        for title, shown in found.galleries.items()
    }
    # Last: an .npz without it is not read.
    written = vars(found) | {"galleries": labels}
    whole.write_text(path, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    return path


def load(folder: epath.Path, step: int) -> list[CrossDomain]:
    """Read what `save` wrote of a checkpoint.

    Args:
        folder: of the run.
        step: of the checkpoint; what is held of others is passed over.

    Returns:
        CrossDomain of each data set, in the order of their names.
    """
    found = []
    for path in sorted((folder / "eval").glob("on_*.json")):
        held = json.loads(path.read_text())
        if held["step"] != step:
            continue
        with path.with_suffix(".npz").open("rb") as file, np.load(file) as saved:
            galleries = {
                title: Gallery(
                    query_label=label["query"],
                    neighbour_label=label["neighbour"],
                    **{name: saved.get(f"{i}_{name}") for name in ARRAYS},
                )
                for i, (title, label) in enumerate(held["galleries"].items())
            }
        found.append(CrossDomain(**held | {"galleries": galleries}))
    return found


def parts(found: Sequence[CrossDomain]) -> list[str]:
    """Return the elements of the report's section, none where nothing was found."""
    if not found:
        return []
    note = "<p>What the network finds in data it was not trained on; queries drawn at random.</p>"
    elements = [note, NOTE]
    for one in found:
        columns = {
            title: {name: values[name] for name in SHOWN if name in values}
            for title, values in one.metrics.items()
        }
        elements += [
            f"<h3>{html.escape(one.data)}</h3>",
            tables.facts(one.facts),
            tables.numbers(f"Retrieval in {one.data}", columns, "headline"),
            *(gallery(title, shown) for title, shown in one.galleries.items()),
        ]
    return elements
