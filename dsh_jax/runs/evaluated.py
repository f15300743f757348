"""What an evaluation left in a run's folder, read again."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from dsh_jax.evaluation import results
from dsh_jax.evaluation.results import Result
from dsh_jax.training.records import read_metrics
from dsh_jax.training.run_folder import flatten, read_config

OF_BITS = ("accuracy", "dead_bits", "distinct_codes", "views")


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A run's evaluation, as its folder holds it.

    Attributes:
      name: of the run on the page.
      config: its settings, dotted name to value.
      step: of the checkpoint that was evaluated.
      packed, label, rows: of `query`, and of each database by its name.
      results: name of the database to Result.
      code: of OF_BITS, what the evaluation wrote.
    """

    name: str
    config: Mapping[str, Any]
    step: int
    packed: Mapping[str, np.ndarray]
    label: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    results: Mapping[str, Result]
    code: Mapping[str, float]


def read_evaluated(folder: epath.Path, name: str) -> Evaluated:
    """Return a run as its last evaluation left it.

    Args:
      folder: of the run.
      name: what it is called.

    Returns:
      Evaluated.

    Raises:
      ValueError: where there is no evaluation, or a damaged one.
    """
    config = flatten(read_config(folder).to_dict())
    records = [r for r in read_metrics(folder / "metrics.jsonl") if "eval/map" in r]
    file = folder / "eval" / f"{records[-1]['step']}.npz" if records else folder / "eval"
    if not records or not file.exists():
        raise ValueError(
            f"{folder} holds no evaluation: python -m experiments.evaluate --workdir={folder}"
        )
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            parts = [key.removesuffix("_code") for key in arrays.files if key.endswith("_code")]
            packed, label, rows = (
                {part: arrays[f"{part}_{kind}"] for part in parts}
                for kind in ("code", "label", "row")
            )
            bits = int(arrays["bits"])
    except (ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{file} is damaged ({error}): python -m experiments.evaluate --workdir={folder}"
        ) from error
    found = results.rank(packed, label, bits=bits)
    code = {key: records[-1][f"eval/{key}"] for key in OF_BITS if f"eval/{key}" in records[-1]}
    return Evaluated(name, config, records[-1]["step"], packed, label, rows, found, code)
