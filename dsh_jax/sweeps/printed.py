"""The numbers that the paper prints, and those of them that cannot be what they say."""

from __future__ import annotations

import csv
from collections.abc import Mapping

from etils import epath

Paper = Mapping[tuple[str, int], float]  # (row's name, bits or k) to the printed value

# (name, data set) to why cells of Table 1 are in doubt, and which.
DOUBTS = {
    ("SDH", "MNIST"): "the method as published gives about .9 at 12 bits; the authors' program "
    "starts its bits anew in each step, which at 12 bits fails for some seeds (shallow.restart)",
    ("SDH-VGGF", "MNIST"): "12 bits repeat the 48 bits of CIFAR-10; 32 bits are printed 0943",
    ("SDH-VGGF", "CIFAR-10"): "48 bits repeat the 12 bits of MNIST",
}
DOUBTED = {("SDH", 12, 0.526), ("SDH-VGGF", 12, 0.542), ("SDH-VGGF", 32, 0.943)}
DOUBTED |= {("SDH-VGGF", 48, 0.542)}
RISING = "precision that rises with k by .1 and more is no Hamming ranking's"
RISE = 0.1
DISGUISE = (
    "Where the database is the training rows, mAP is the queries' test accuracy in disguise: one "
    "code a class scores .95 at an accuracy of .94, and .85 on a database classified as well"
)


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


def rises(paper: Paper, name: str) -> bool:
    """Return whether a row of Table 2 rises from k = 100 to 1,000 as no Hamming ranking does.

    Args:
      paper: numbers of Table 2; of Table 1 the answer is no.
      name: of the row.
    """
    first, last = paper.get((name, 100)), paper.get((name, 1000))
    return first is not None and last is not None and last - first > RISE - 1e-9


def cell(paper: Paper, name: str, column: int) -> str:
    """Return a printed number as text, `*` after it where it is in doubt; empty where none is.

    Args:
      paper: numbers of one of its tables.
      name: of the row.
      column: bits, or k.
    """
    value = paper.get((name, column))
    if value is None:
        return ""
    is_doubted = (name, column, value) in DOUBTED or rises(paper, name)
    return short(value) + "*" * is_doubted


def short(value: float) -> str:
    """Return ".987" of 0.987.

    Args:
      value: a share.
    """
    return f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.3f}"
