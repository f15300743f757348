"""Protocols by name: who is query, who trains, what is ranked. Seeded, whatever the rows' order."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.sampling import take_covering, take_per_class, take_stratified
from dsh_jax.data.source import Source
from dsh_jax.data.splits import Split

LABEL_LESS = {
    "drop": "left out",
    "database": "allowed in the database and among unlabelled rows only",
    "keep": "allowed in every part",
}


class Choice(NamedTuple):
    """What a protocol chooses: row numbers.

    Attributes:
      query: the queries.
      train: training rows; validation comes out of them.
      rest: rows that are unseen, or unlabelled where the protocol is transductive.
      database: what is ranked; None for the rows that are trained on.
      transductive: whether the rest trains, too, without labels.
      notes: a sentence each.
    """

    query: np.ndarray
    train: np.ndarray
    rest: np.ndarray
    database: np.ndarray | None
    transductive: bool = False
    notes: tuple[str, ...] = ()


def make_split(
    source: Source,
    *,
    protocol: str,
    seed: int,
    validation: float,
    unseen: float,
    queries: int = 0,
    train_rows: int = 0,
    labels_per_class: int = 0,
    label_fraction: float = 1.0,
    label_less: str = "drop",
) -> Split:
    """Return the split of a source under a named protocol.

    Validation rows are carved out of the training rows, so that every label stays in training;
    where the protocol ranks the training rows, they stay in its database.

    Args:
      source: the data. Where its images have names, the same images are chosen in any row order.
      protocol: one of `PROTOCOLS`.
      seed: of every choice.
      validation: share of the training rows kept for model selection, in [0, 1).
      unseen: share of the training rows kept as the unseen database, in [0, 1), of `official`
        where the data set lists no database and of `paper` where it leaves no rows.
      queries: how many queries; 0 means the protocol's own number.
      train_rows: how many training rows, validation included; 0 means the protocol's own number.
      labels_per_class: labelled rows of each class (of several labels: at least); 0 means no limit.
      label_fraction: share of the training rows with labels whose labels are read, in (0, 1].
      label_less: rows without any label: `drop` them, allow them in the `database`, unseen and
        unlabelled, or `keep` them like all others.

    Returns:
      Split.

    Raises:
      ValueError: for an unknown protocol, a value outside its range, or data that do not fit.
    """
    _check(protocol, validation, unseen, queries, train_rows, label_less)
    if not 0 < label_fraction <= 1:
        raise ValueError(f"label_fraction is {label_fraction}; it must be in (0, 1].")
    if labels_per_class < 0 or (labels_per_class and label_fraction < 1):
        raise ValueError(
            f"labels_per_class is {labels_per_class} and label_fraction {label_fraction}: set one "
            "of them, labels_per_class to at least 1 or label_fraction below 1."
        )
    order = source.canonical_order()
    if label_less == "drop":
        order = order[source.label_NxC[order].any(1)]
    ordered = _without_images(source, order)
    label_NxC = ordered.label_NxC
    # Rows that may be query, labelled or validation.
    readable = np.arange(len(ordered))
    if label_less == "database":
        readable = np.flatnonzero(label_NxC.any(1))
    rng = np.random.default_rng(seed)
    try:
        chosen = PROTOCOLS[protocol](ordered, readable, rng, queries, train_rows)
    except ValueError as error:
        raise ValueError(
            f"data.protocol={protocol} does not fit {source.name} ({len(ordered):,} rows, "
            f"{len(source.label_names)} classes): {error}{_read(source)}"
        ) from error

    train, rest = chosen.train, chosen.rest
    pool = np.intersect1d(train, readable)
    kept = take_stratified(pool, label_NxC, len(pool) - round(validation * len(pool)), rng)
    held = np.setdiff1d(pool, kept)
    train = np.setdiff1d(train, held)
    if chosen.database is None and not len(rest):
        kept = take_stratified(
            train, label_NxC, len(train) - round(unseen * len(chosen.train)), rng
        )
        train, rest = kept, np.setdiff1d(train, kept)
    pool = np.intersect1d(train, readable)
    database = train if chosen.database is None else chosen.database
    for what, rows in {"query": chosen.query, "training": pool, "database": database}.items():
        if not len(rows):
            raise ValueError(
                f"data.protocol={protocol} leaves no {what} rows of {source.name} "
                f"({len(ordered):,} rows): ask for less in data.queries, data.train_rows, "
                "data.validation or data.unseen, or choose data.protocol=random." + _read(source)
            )
    if labels_per_class:
        labelled = take_covering(pool, label_NxC, labels_per_class, rng)
    else:
        labelled = take_stratified(pool, label_NxC, max(1, round(label_fraction * len(pool))), rng)
    if chosen.transductive:
        train, rest = np.union1d(train, rest), rest[:0]
    parts = {
        "labelled": labelled,
        "unlabelled": np.setdiff1d(train, labelled),
        "validation": held,
        "query": chosen.query,
        "unseen": rest,
        "database": database,
    }
    return Split(
        **{part: np.sort(order[rows]) for part, rows in parts.items()},
        data=source.fingerprint,
        notes=(*chosen.notes, *_counts(source, label_less, label_NxC, parts)),
    )


def _check(protocol, validation, unseen, queries, train_rows, label_less) -> None:
    """Refuse unknown words and numbers outside their range."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}; known: {', '.join(sorted(PROTOCOLS))}.")
    if label_less not in LABEL_LESS:
        raise ValueError(f"label_less is {label_less!r}; known: {', '.join(LABEL_LESS)}.")
    if min(validation, unseen) < 0 or validation + unseen >= 1:
        raise ValueError(
            f"validation is {validation} and unseen is {unseen}; each must be at least 0 and "
            "their sum below 1."
        )
    if min(queries, train_rows) < 0:
        raise ValueError(
            f"queries is {queries} and train_rows is {train_rows}; each must be at least 1, or 0 "
            "for the protocol's own number."
        )


def _read(source: Source) -> str:
    """Return what was left out or counted while reading, the words after an error."""
    return f" While reading: {' '.join(source.notes)}" if source.notes else ""


def _without_images(source: Source, order: np.ndarray) -> Source:
    """Return rows of a source in an order, without pixels: they are not needed, and large."""
    name_N = None if source.images.name_N is None else source.images.name_N[order]
    return dataclasses.replace(
        source,
        images=ArrayImages(np.zeros((len(order), 0, 0, 1), np.uint8), name_N),
        label_NxC=source.label_NxC[order],
        official={part: is_in[order] for part, is_in in source.official.items()},
    )


def _counts(
    source: Source, label_less: str, label_NxC: np.ndarray, parts: Mapping[str, np.ndarray]
) -> list[str]:
    """Return what became of rows without a label, and where classes or queries lack rows."""
    notes = []
    count = len(source) - np.count_nonzero(source.label_NxC.any(1))
    if count:
        notes.append(
            f"{count:,} of {len(source):,} rows have no label: {LABEL_LESS[label_less]} "
            f"(data.label_less={label_less})."
        )
    bare_C = np.flatnonzero(~source.label_NxC.any(0))
    if len(bare_C):
        names = ", ".join(source.label_names[c] for c in bare_C[:5])
        more = ", …" if len(bare_C) > 5 else ""
        notes.append(
            f"{len(bare_C):,} of {len(source.label_names):,} classes have no row: {names}{more}."
        )
    query_QxC, database_RxC = (label_NxC[parts[part]] for part in ("query", "database"))
    bare = int(np.sum(~query_QxC[:, database_RxC.any(0)].any(1)))
    if bare:
        notes.append(
            f"{bare:,} of {len(query_QxC):,} queries have no relevant item: they share no label "
            "with a row of the database. Each counts 0 in mAP."
        )
    rows_C = label_NxC[parts["labelled"]].sum(0, dtype=np.int64)
    least, most = (
        f"{rows_C[c]:,} ({source.label_names[c]})" for c in (rows_C.argmin(), rows_C.argmax())
    )
    return [*notes, f"Labelled rows of a class: {least} to {most}."]


# Each protocol is a function of the rows in canonical order, of those among them that may be query
# or labelled, the generator, and how many queries and training rows are wanted (0: its own number).


def _official(source, readable, rng, queries, train_rows) -> Choice:
    """The data set's lists. No list of train: all but the queries; none of database: train."""
    official = source.official
    if "query" not in official or not official["query"].any():
        raise ValueError(
            "it lists no queries of its own: set data.protocol to one that draws them: "
            f"{', '.join(sorted(set(PROTOCOLS) - {'official'}))}."
        )
    for part in set(official) - {"query"}:
        both = np.count_nonzero(official["query"] & official[part])
        if both:
            raise ValueError(
                f"{both} of its queries are also listed as {part}: take them out of one list, or "
                "set data.protocol to another."
            )
    # Rows that are thinned out go nowhere else.
    query = np.intersect1d(np.flatnonzero(official["query"]), readable)
    query = _thinned(query, source, "data.queries", queries, "official queries", rng)
    train = np.flatnonzero(official.get("train", ~official["query"]))
    train = _thinned(train, source, "data.train_rows", train_rows, "official training rows", rng)
    if "database" not in official:
        return Choice(query, train, rest=train[:0], database=None)
    database = np.flatnonzero(official["database"])
    return Choice(query, train, np.setdiff1d(database, train), database)


def _paper(source, readable, rng, queries, train_rows) -> Choice:
    """Section 5.1: all rows pooled, an equal number of each class for training, the rest in two.

    CIFAR-10: 5,000 a class; MNIST: 6,000 a class; elsewhere 5/6 of the rarest class. The paper does
    not say how the rest is divided; here 1,000 queries and the others as the unseen database.
    """
    name = source.name.lower().split(":")[0]  # TFDS takes Mnist and mnist:3.0.1 as well
    rarest = int(source.label_NxC.sum(0, dtype=np.int64).min())
    each = {"cifar10": 5000, "mnist": 6000}.get(name, rarest * 5 // 6)
    train = _equal(np.arange(len(source)), source, "data.train_rows", train_rows, each, rng)
    rest = np.setdiff1d(np.arange(len(source)), train)
    left = np.intersect1d(rest, readable)
    queries = queries or min(1000, len(left) // 2)
    if queries > len(left):
        raise ValueError(
            f"data.queries is {queries}, but the paper's protocol leaves {len(left)} rows of "
            f"{source.name} outside training."
        )
    query = take_stratified(left, source.label_NxC, queries, rng)
    return Choice(query, train, np.setdiff1d(rest, query), database=None)


def _per_class(
    source, readable, rng, queries, train_rows, *, query_each, train_each, **ranked
) -> Choice:
    """All rows pooled, an equal number of each class as queries and, unless 0, for training."""
    query = _equal(readable, source, "data.queries", queries, query_each, rng)
    train = np.setdiff1d(np.arange(len(source)), query)
    if train_rows or train_each:
        pool = np.intersect1d(train, readable)
        train = _equal(pool, source, "data.train_rows", train_rows, train_each, rng)
    return _choice(source, query, train, **ranked)


def _nus_21(source, readable, rng, queries, train_rows) -> Choice:
    """An equal number of each of NUS-WIDE's 21 most frequent concepts."""
    if len(source.label_names) != 21:
        raise ValueError(
            "it is made for the 21 most frequent concepts: set data.concepts=21, or data.protocol "
            "to another, such as nus-81."
        )
    return _per_class(
        source, readable, rng, queries, train_rows, query_each=100, train_each=500, database="all"
    )


def _at_random(
    source, readable, rng, queries, train_rows, *, query_total=0, train_total=0, **ranked
) -> Choice:
    """All rows pooled, queries and training rows drawn whatever their classes."""
    queries, train_rows = queries or query_total, train_rows or train_total
    if not (queries and train_rows):
        raise ValueError(
            f"data.queries is {queries} and data.train_rows {train_rows}, and this protocol has no "
            "numbers of its own: set both to at least 1."
        )
    if queries + train_rows > len(readable):
        raise ValueError(
            f"{queries:,} queries and {train_rows:,} training rows are wanted, but only "
            f"{len(readable):,} rows can be drawn: set data.queries and data.train_rows to fewer."
        )
    drawn = rng.permutation(readable)[: queries + train_rows]
    return _choice(source, np.sort(drawn[:queries]), np.sort(drawn[queries:]), **ranked)


def _unseen_classes(source, readable, rng, queries, train_rows) -> Choice:
    """A quarter of the classes is held out, for queries and database; the others train.

    Codes that only name the training classes are of no use there: Sablayrolles, Douze, Usunier and
    Jégou (2017), "How should we evaluate supervised hashing?".
    """
    if source.multilabel:
        raise ValueError(
            "its rows may hold several labels, so that no class can be held out by itself: set "
            "data.protocol to another, such as random."
        )
    classes = np.flatnonzero(source.label_NxC.any(0))
    if len(classes) < 2:
        raise ValueError(f"only {len(classes)} classes have rows: at least 2 are needed.")
    held_out = np.sort(rng.permutation(classes)[: -(-len(classes) // 4)])
    is_held_N = source.label_NxC[:, held_out].any(1)
    held = np.flatnonzero(is_held_N)
    listed = held[source.official["query"][held]] if "query" in source.official else held[:0]
    if len(listed):
        what = "official queries of the classes held out"
        query = _thinned(listed, source, "data.queries", queries, what, rng)
    else:
        fifth = queries or round(len(held) / 5)
        query = _thinned(held, source, "data.queries", fifth, "rows of the classes held out", rng)
    train = np.flatnonzero(source.label_NxC.any(1) & ~is_held_N)
    what = "rows of the classes to train on"
    train = _thinned(train, source, "data.train_rows", train_rows, what, rng)
    database = np.setdiff1d(held, query)
    names = ", ".join(source.label_names[c] for c in held_out)
    note = f"Classes held out of training, for queries and database: {names}."
    return Choice(query, train, database, database, notes=(note,))


def _choice(
    source, query, train, *, database: Literal["rest", "all"], transductive: bool = False
) -> Choice:
    """Rank the rows that neither train nor ask, or all that do not ask."""
    others = np.setdiff1d(np.arange(len(source)), query)
    rest = np.setdiff1d(others, train)
    return Choice(query, train, rest, rest if database == "rest" else others, transductive)


def _thinned(rows, source, setting, count, what, rng) -> np.ndarray:
    """Return `count` of the rows, each label in its share; all where it is 0."""
    if count > len(rows):
        raise ValueError(f"{setting} is {count}, but {source.name} has {len(rows)} {what}.")
    return take_stratified(rows, source.label_NxC, count or len(rows), rng)


def _equal(rows, source, setting, total, each, rng) -> np.ndarray:
    """Return `total` rows, equal numbers of the classes; `each` of every class where it is 0."""
    classes = len(source.label_names)
    if total % classes:
        raise ValueError(
            f"{setting} is {total}, but the protocol takes as many rows of each of {classes} "
            f"classes: set it to a multiple of {classes}."
        )
    try:
        return take_per_class(rows, source.label_NxC, total // classes or each, rng)
    except ValueError as error:
        raise ValueError(
            f"{error} {setting} is {classes} times that; or set data.protocol=random."
        ) from error


# How many query and train, and what is ranked, as papers and public code have it.
PROTOCOLS = {
    "official": _official,
    "paper": _paper,
    # HashNet, CSQ, DPN: the training rows are not ranked.
    "cifar-0": functools.partial(_per_class, query_each=100, train_each=500, database="rest"),
    # "Setting 1", OrthoHash, GreedyHash: they are.
    "cifar-1": functools.partial(_per_class, query_each=100, train_each=500, database="all"),
    # "Setting 2", DPSH, DTSH: all that is ranked trains.
    "cifar-2": functools.partial(_per_class, query_each=1000, train_each=0, database="all"),
    # SSDH, BGDH, SSGAH: semi-supervised; what is ranked trains without labels.
    "ssdh": functools.partial(
        _per_class, query_each=100, train_each=500, database="rest", transductive=True
    ),
    "nus-21": _nus_21,
    "nus-81": functools.partial(_at_random, query_total=5000, train_total=10000, database="all"),
    "mir-ssdh": functools.partial(
        _at_random, query_total=1000, train_total=5000, database="rest", transductive=True
    ),
    "mir-4000": functools.partial(_at_random, query_total=1000, train_total=4000, database="rest"),
    # Zhang, Wang and Cheng (2022): of 24,581 rows with labels, 22,581 are ranked, train included.
    "mir-2000q": functools.partial(_at_random, query_total=2000, train_total=5000, database="all"),
    "random": functools.partial(_at_random, database="all"),
    "unseen-classes": _unseen_classes,
}
