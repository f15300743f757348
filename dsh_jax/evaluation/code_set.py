"""A set of codes to evaluate: arrays as people hold them, checked and brought into our form."""

from __future__ import annotations

import dataclasses

import numpy as np

from dsh_jax import codes
from dsh_jax.data.sources import multi_hot

MOST_LISTED = 5  # values or rows that a sentence lists


@dataclasses.dataclass(frozen=True)
class CodeSet:
    """Queries and a database, as `results.retrieve` takes them.

    Attributes:
      query_QxW: uint8 packed codes, see `codes.pack_bits`.
      query_label_QxC: uint8 multi-hot labels.
      database_RxW: uint8 packed codes.
      database_label_RxC: uint8 multi-hot labels.
      bits: K.
      notes: sentences that say what the arrays were taken for.
    """

    query_QxW: np.ndarray
    query_label_QxC: np.ndarray
    database_RxW: np.ndarray
    database_label_RxC: np.ndarray
    bits: int
    notes: tuple[str, ...] = ()


def from_arrays(
    query_code: np.ndarray,
    query_label: np.ndarray,
    database_code: np.ndarray,
    database_label: np.ndarray,
    *,
    bits: int | None = None,
    query_row: np.ndarray | None = None,
    database_row: np.ndarray | None = None,
    allow_overlap: bool = False,
) -> CodeSet:
    """Bring codes and labels into one form, and refuse what would make the metrics wrong.

    Args:
      query_code, database_code: 0/1, -1/+1 or 0/255 (bit = 1 where the value > 0), a column per
        bit; or packed bytes: uint8 of other values, or as many columns as `bits` needs.
      query_label, database_label: integers, shape (N,) or (N, 1), or multi-hot 0/1 or -1/+1.
      bits: K; without it packed bytes have 8 bits each. uint8 of 0, 1 and 255 only can be either, a
        column per bit (-1 of int8 is 255 of uint8) or packed: they need it.
      query_row, database_row: row numbers in one data set, where they are known.
      allow_overlap: take queries that by their row numbers are in the database.

    Returns:
      CodeSet.

    Raises:
      ValueError: where the arrays are empty, hold NaN, are not binary, can be read in two ways, or
        do not fit together, or where queries are in the database.
    """
    parts = {"query": (query_code, query_label), "database": (database_code, database_label)}
    for part, (code, label) in parts.items():
        _check_numbers(code, f"{part} codes")
        _check_numbers(label, f"{part} labels")
        if code.ndim != 2 or label.ndim not in (1, 2) or len(code) != len(label):
            raise ValueError(
                f"{part} codes have shape {code.shape}, {part} labels {label.shape}; "
                "pass (rows, bits) codes and one label row per code, in the same order"
            )
    query, base, bits, code_note = _pack(query_code, database_code, bits)
    query_label, base_label, label_notes = _multi_hot(query_label, database_label)
    if query_row is not None and database_row is not None:
        overlap_note = _shared_rows(query_row, database_row, allow_overlap)
    else:
        overlap_note = _twins(np.hstack([query, query_label]), np.hstack([base, base_label]))
    notes = (code_note, *label_notes, overlap_note)
    return CodeSet(query, query_label, base, base_label, bits, notes)


def _check_numbers(array, name):
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise ValueError(
            f"{name} have type {array.dtype} and shape {array.shape}; pass at least one real number"
        )
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        raise ValueError(
            f"{name} hold {len(wrong):,} values that are NaN or infinite, the first in row "
            f"{wrong[0, 0]}; remove those rows or make the codes again"
        )


def _pack(query, base, bits):
    """Return packed query and database codes, K, and a note of what they were."""
    width = query.shape[1]
    if base.shape[1] != width:
        raise ValueError(
            f"query codes have {width} columns, database codes {base.shape[1]}; "
            "encode both with the same number of bits"
        )
    are_bytes = query.dtype == base.dtype == np.uint8
    if bits is None:
        in_bytes = are_bytes and max(query.max(), base.max()) > 1
        if in_bytes and not any(((code > 1) & (code < 255)).any() for code in (query, base)):
            raise ValueError(
                f"{_both_described(query, base)}, uint8 in {width} columns: they may be {width} "
                f"bits, each a byte of 0/255 or ±1, as -1 of int8 is 255 of uint8, or {8 * width} "
                f"packed bits; pass bits={width} or bits={8 * width} (--bits), whichever they were "
                "made with"
            )
    else:
        in_bytes = are_bytes and width == -(-bits // 8) and width != bits
    if in_bytes:
        note = f"Codes: packed bytes, {width} per row, the lowest bit first: {bits} bits."
        if bits is None:
            bits = 8 * width
            note = (
                f"Codes: packed bytes, {width} per row, the lowest bit first: taken for {bits} "
                "bits, as no number of bits is given."
            )
        _check_unused_bits(query, "query", bits)
        _check_unused_bits(base, "database", bits)
        return query, base, bits, note
    if bits not in (None, width):
        raise ValueError(
            f"codes have {width} columns of {query.dtype}, but bits={bits}; wanted {bits} columns "
            f"of 0/1 or -1/+1, or {-(-bits // 8)} uint8 bytes; pass the bits they were made with"
        )
    symbols = _symbols(query, base)
    if are_bytes and 1 in symbols and 255 in symbols:
        query, base = query.view(np.int8), base.view(np.int8)
        symbols = _symbols(query, base)
    kinds = {
        "0/1": (0, 1),
        "-1/+1 (bit = 1 where the value > 0)": (-1, 1),
        "0/255 (bit = 1 where the value is 255)": (0, 255),
    }
    kind = next((kind for kind, two in kinds.items() if _among(symbols, two)), None)
    if kind is None:
        _refuse_symbols(query, base, symbols)
    packed = [np.asarray(codes.pack_bits(code > 0)) for code in (query, base)]
    return *packed, width, f"Codes: {kind}, {width} bits."


def _check_unused_bits(packed, part, bits):
    used = (bits - 1) % 8 + 1
    rows = np.flatnonzero(packed[:, -1] >> used) if used < 8 else np.zeros(0, int)
    if len(rows):
        raise ValueError(
            f"{len(rows):,} {part} codes, the first in row {rows[0]}, set bits beyond bits={bits} "
            "in their last byte; pass the right number of bits, or pack with the lowest bit first "
            '(numpy.packbits with bitorder="little")'
        )


def _refuse_symbols(query, base, symbols):
    found = _both_described(query, base)
    if _among(symbols, (-1, 0, 1)):
        zeros = f"{np.sum(query == 0):,} query and {np.sum(base == 0):,} database values are 0"
        raise ValueError(
            f"{found}: {zeros}, as sign(0) = 0 gives; a bit has two values: choose a side, such "
            "as codes > 0, in query and database alike"
        )
    raise ValueError(
        f"{found}; wanted 0/1, -1/+1, 0/255 or packed uint8 bytes; binarize them first, such as "
        "codes > 0"
    )


def _multi_hot(query, base):
    """Return multi-hot query and database labels, and notes of what they were."""
    columns = [label.size // len(label) for label in (query, base)]
    if columns[0] != columns[1]:
        raise ValueError(
            f"query labels have {columns[0]} columns, database labels {columns[1]}; "
            "encode both over the same classes"
        )
    both = np.concatenate([query.reshape(len(query), -1), base.reshape(len(base), -1)])
    symbols = np.unique(both)
    if columns[0] == 1:
        if symbols.min() < 0 or np.any(symbols % 1):
            raise ValueError(
                f"labels hold {_described(symbols)}; wanted integers from 0; remove rows without "
                "a label, which some sets mark by -1"
            )
        classes, index = np.unique(both, return_inverse=True)
        hot, kind = multi_hot(index.ravel(), len(classes)), "one integer per row"
        number_of = classes.astype(int)
    elif _among(symbols, (0, 1)) or _among(symbols, (-1, 1)):
        hot, number_of = (both > 0).astype(np.uint8), np.arange(columns[0])
        kind = "multi-hot, " + ("0/1" if symbols.min() >= 0 else "-1/+1 (+1 is present)")
    else:
        raise ValueError(
            f"labels hold {_described(symbols)}; wanted one integer per row, or multi-hot rows "
            "of 0/1 or -1/+1"
        )
    most = hot.sum(axis=1).max()
    say = f"multi-label, up to {most} per row" if most > 1 else "single-label"
    notes = [f"Labels: {kind}, {hot.shape[1]} classes, {say}."]
    if not np.array_equal(number_of, np.arange(len(number_of))):
        notes.append(
            f"Of the class numbers from 0 to {number_of[-1]}, {len(number_of)} occur: each of "
            "these is a class, the others are none."
        )
    split = hot[: len(query)], hot[len(query) :]
    bare = [np.sum(~label.any(axis=1)) for label in split]
    if any(bare):
        notes.append(
            f"{bare[0]:,} query and {bare[1]:,} database rows have no label: nothing is relevant "
            "to them."
        )
    return *split, [*notes, *_without_relevant(*split, number_of)]


def _without_relevant(query, base, number_of):
    """Note how many queries share no label with any database row."""
    is_held_C = base.any(axis=0)
    bare = int(np.sum(~query[:, is_held_C].any(axis=1)))
    if not bare:
        return []
    lacking = number_of[query.any(axis=0) & ~is_held_C]
    why = f" (classes that the database lacks: {_listed(lacking)})" if len(lacking) else ""
    if bare == len(query):
        return [
            f"No query has a relevant item: none of the {bare:,} shares a label with a database "
            f"row{why}. Each counts 0, so that mAP is 0 whatever the codes."
        ]
    return [
        f"{bare:,} of {len(query):,} queries have no relevant item: they share no label with a "
        f"database row{why}. Each counts 0, so that mAP is {1 - bare / len(query):.4f} at most."
    ]


def _shared_rows(query_row, base_row, allow_overlap):
    shared = np.flatnonzero(np.isin(query_row, base_row))
    if not len(shared):
        return "By the row numbers, no query row is in the database."
    found = f"By the row numbers, {len(shared):,} query rows are in the database: {_first(shared)}"
    if not allow_overlap:
        raise ValueError(
            f"{found}; each finds itself, so the metrics are too high; remove them from one side, "
            "or pass allow_overlap=True"
        )
    return f"{found}."


def _twins(query, base):
    """Note how many query rows of code and labels are database rows, too."""
    held = {row.tobytes() for row in base}
    twins = [index for index, row in enumerate(query) if row.tobytes() in held]
    if not twins:
        return "No query row has a database row with the same code and labels."
    return (
        f"{len(twins):,} query rows have a database row with the same code and labels: "
        f"{_first(twins)}; other images of a class may do that, so make sure that no query is in "
        "the database."
    )


def _symbols(*arrays):
    return np.unique(np.concatenate([np.unique(array) for array in arrays]))


def _among(symbols, wanted):
    return bool(np.isin(symbols, wanted).all())


def _both_described(query, base):
    return (
        f"query codes hold {_described(_symbols(query))}, "
        f"database codes {_described(_symbols(base))}"
    )


def _described(symbols):
    if len(symbols) <= MOST_LISTED:
        return "the values " + ", ".join(f"{value:g}" for value in symbols)
    return f"{len(symbols):,} values from {symbols[0]:g} to {symbols[-1]:g}"


def _first(rows):
    return f"rows {_listed(rows)}"


def _listed(numbers):
    more = ", …" if len(numbers) > MOST_LISTED else ""
    return ", ".join(str(number) for number in numbers[:MOST_LISTED]) + more
