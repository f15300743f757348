"""Which rows are labelled, unlabelled, validation, query and database: seeded, disjoint, hashed."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
from etils import epath

from dsh_jax.data.sources import Source


@dataclasses.dataclass(frozen=True)
class Split:
    """Sorted int64 row numbers of a source; the five parts are disjoint.

    Attributes:
      labelled: training rows whose labels are read.
      unlabelled: training rows whose labels are hidden.
      validation: rows for model selection only.
      query: the queries; no other part holds one of them.
      unseen: database rows that training never sees.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    validation: np.ndarray
    query: np.ndarray
    unseen: np.ndarray

    def __post_init__(self):
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, rows in parts.items():
            if len(np.unique(rows)) != len(rows):
                raise ValueError(f"the split's part {name!r} holds a row twice.")
        names = list(parts)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                shared = np.intersect1d(parts[first], parts[second])
                if len(shared):
                    raise ValueError(
                        f"{first} and {second} share {len(shared)} rows, e.g. row {shared[0]}: "
                        "the parts of a split must be disjoint."
                    )

    @property
    def train(self) -> np.ndarray:
        """All training rows, labelled or not: the database of the protocol `database=train`."""
        return np.sort(np.concatenate([self.labelled, self.unlabelled]))

    @property
    def hash(self) -> str:
        """Twelve hex digits that name this split, the same on every machine."""
        digest = hashlib.sha256()
        for field in dataclasses.fields(self):
            digest.update(field.name.encode())
            digest.update(np.asarray(getattr(self, field.name), "<i8").tobytes())
        return digest.hexdigest()[:12]

    def describe(self) -> str:
        """Return the parts and their sizes in one line."""
        sizes = [f"{f.name} {len(getattr(self, f.name)):,}" for f in dataclasses.fields(self)]
        return f"{', '.join(sizes)} (hash {self.hash})"


def save(split: Split, path: epath.PathLike) -> None:
    """Write the row numbers as one .npz file, and sizes and hash as .json beside it.

    Args:
      split: to write.
      path: of the .npz file.
    """
    path = epath.Path(path)
    parts = dataclasses.asdict(split)
    with path.open("wb") as file:
        np.savez_compressed(file, **parts)
    summary = {"hash": split.hash, **{name: len(rows) for name, rows in parts.items()}}
    path.with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n")


def load(path: epath.PathLike) -> Split:
    """Read a split that `save` wrote.

    Args:
      path: of the file.

    Returns:
      Split.
    """
    with epath.Path(path).open("rb") as file, np.load(file) as parts:
        return Split(**{name: parts[name] for name in parts.files})


def take_per_class(
    rows: np.ndarray, label_NxC: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `count` random rows of every class, in ascending order.

    A multi-label row counts for its rarest class among the rows; that does not depend on the
    order of the rows' labels.

    Args:
      rows: row numbers to choose from.
      label_NxC: multi-hot labels of the whole source.
      count: rows per class.
      rng: the generator.

    Returns:
      Sorted row numbers, `count` × C of them.

    Raises:
      ValueError: where a class has fewer rows.
    """
    label = label_NxC[rows]
    frequency_C = label.sum(0)
    # A row with several labels belongs to its rarest; a row with none to no class.
    rarity = np.where(label > 0, frequency_C, np.iinfo(np.int64).max)
    owner = np.where(label.any(1), rarity.argmin(1), -1)
    chosen = []
    for c in range(label.shape[1]):
        own = rows[owner == c]
        if len(own) < count:
            raise ValueError(
                f"{count} rows of each class are wanted, but class {c} has only {len(own)}: "
                f"ask for at most {len(own)}."
            )
        chosen.append(rng.permutation(own)[:count])
    return np.sort(np.concatenate(chosen))


def _take(rows, label_NxC, count, rng):
    """Return `count` rows in all, as equal over the classes as they are in `rows`."""
    label = label_NxC[rows]
    # Shuffle, sort by class (stable), and take every n-th: a stratified sample of exact size.
    order = rng.permutation(len(rows))
    order = order[np.argsort(label[order].argmax(1), kind="stable")]
    picked = np.linspace(0, len(rows), count, endpoint=False).astype(np.int64)
    return np.sort(rows[order[picked]])


def _official(source: Source, rng: np.random.Generator, queries: int):
    """The data set's own split: train and query, the queries optionally thinned."""
    query = np.flatnonzero(source.is_official_query_N)
    train = np.flatnonzero(~source.is_official_query_N)
    if queries:
        if queries > len(query):
            raise ValueError(
                f"data.queries is {queries}, but {source.name} has {len(query)} official queries."
            )
        query = _take(query, source.label_NxC, queries, rng)
    return train, query, np.array([], np.int64)


def _paper(source: Source, rng: np.random.Generator, queries: int):
    """Section 5.1: all rows pooled, an equal number of each class for training, the rest in two.

    CIFAR-10: 5,000 a class; MNIST: 6,000 a class; elsewhere 5/6 of the rarest class. The paper does
    not say how the rest is divided; here 1,000 queries and the others as the unseen database.
    """
    everything = np.arange(len(source))
    rarest = int(source.label_NxC.sum(0).min())
    name = source.name.lower().split(":")[0]  # TFDS takes Mnist and mnist:3.0.1 as well
    per_class = {"cifar10": 5000, "mnist": 6000}.get(name, rarest * 5 // 6)
    train = take_per_class(everything, source.label_NxC, per_class, rng)
    rest = np.setdiff1d(everything, train)
    queries = queries or min(1000, len(rest) // 2)
    if queries > len(rest):
        raise ValueError(
            f"data.queries is {queries}, but the paper's protocol leaves {len(rest)} rows of "
            f"{source.name} outside training."
        )
    query = _take(rest, source.label_NxC, queries, rng)
    return train, query, np.setdiff1d(rest, query)


PROTOCOLS = {"official": _official, "paper": _paper}


def make_split(
    source: Source,
    *,
    protocol: str,
    seed: int,
    validation: float,
    unseen: float,
    queries: int = 0,
    labels_per_class: int = 0,
    label_fraction: float = 1.0,
) -> Split:
    """Return the split of a source under a named protocol.

    `official`: the data set's own test split are the queries. `paper`: section 5.1, see `_paper`.
    Validation rows, and the unseen database where the protocol leaves none, are carved out of the
    training rows, stratified.

    Args:
      source: the data.
      protocol: `official` or `paper`.
      seed: of every choice.
      validation: share of the training rows kept for model selection, in [0, 1).
      unseen: share of the training rows kept as the unseen database, in [0, 1), where the protocol
        does not leave rows for it.
      queries: how many queries; 0 means the protocol's own number.
      labels_per_class: labelled rows of each class; 0 means no such limit.
      label_fraction: share of the training rows that is labelled, in (0, 1].

    Returns:
      Split.

    Raises:
      ValueError: for an unknown protocol, a share outside its range, or more rows than there are.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}; known: {', '.join(sorted(PROTOCOLS))}.")
    if min(validation, unseen) < 0 or validation + unseen >= 1:
        raise ValueError(
            f"validation is {validation} and unseen is {unseen}; each must be at least 0 and "
            "their sum below 1."
        )
    if not 0 < label_fraction <= 1:
        raise ValueError(f"label_fraction is {label_fraction}; it must be in (0, 1].")
    if labels_per_class < 0 or (labels_per_class and label_fraction < 1):
        raise ValueError(
            f"labels_per_class is {labels_per_class} and label_fraction {label_fraction}: set one "
            "of them, labels_per_class to at least 1 or label_fraction below 1."
        )
    rng = np.random.default_rng(seed)
    train, query, unseen_rows = PROTOCOLS[protocol](source, rng, queries)
    total = len(train)
    held = _take(train, source.label_NxC, round(validation * total), rng)
    train = np.setdiff1d(train, held)
    if not len(unseen_rows):
        unseen_rows = _take(train, source.label_NxC, round(unseen * total), rng)
        train = np.setdiff1d(train, unseen_rows)
    if labels_per_class:
        labelled = take_per_class(train, source.label_NxC, labels_per_class, rng)
    else:
        labelled = _take(train, source.label_NxC, max(1, round(label_fraction * len(train))), rng)
    split = Split(
        labelled=labelled,
        unlabelled=np.setdiff1d(train, labelled),
        validation=held,
        query=query,
        unseen=unseen_rows,
    )
    return split
