"""Distance counts of a database that lies arranged on its devices."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from dsh_jax import parallel
from dsh_jax.progress import log_progress
from dsh_jax.retrieval import all_codes, bit_planes, class_planes, gpu_counts, scatter
from dsh_jax.retrieval.blocks import block_rows, label_words, padded, words
from dsh_jax.retrieval.labels import Labels

DATABASE_BLOCK = 65_536
GPU_BLOCK = 1 << 24
QUERY_BLOCK = 4096

Devices = tuple[jax.Device, ...]
Block = tuple[int, Any]  # items, arrays with a leading device axis


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to count.

    Attributes:
      add_block: `(count, query words, query labels, queries, *block, classes, shared) -> count`.
      query_labels: what it takes for the labels of queries.
      arrange: `(packed_RxW, labels, cuts, part) -> block`, a part of the database for each device.
      block: rows on a device at a time.
    """

    add_block: Callable[..., jax.Array]
    query_labels: Callable[[np.ndarray], Any]
    arrange: Callable[..., tuple[np.ndarray, ...]]
    block: int = DATABASE_BLOCK


def blocks(
    packed_RxW: np.ndarray, labels: Labels, *, method: str, devices: Devices, block: int | None
) -> Iterator[Block]:
    """Yield a database in blocks of equal parts, one on each device, as a method takes them.

    Args:
      packed_RxW: uint8 codes; may be a memory map.
      labels: of its rows.
      method: one of METHODS, or "all_codes".
      devices: G of them.
      block: rows on a device at a time, at most; None for the method's own.

    Yields:
      (rows, arrays): how many database rows are in the block, and what the method's `add_block`
      takes of it, on the devices.
    """
    used = METHODS["bit_planes" if method == "all_codes" else method]
    whole = len(devices) * (block or used.block)
    for start in range(0, len(packed_RxW), whole):
        stop = min(start + whole, len(packed_RxW))
        part = -(-(stop - start) // len(devices))
        cuts = [
            slice(min(at, stop), min(at + part, stop))
            for at in range(start, start + part * len(devices), part)
        ]
        yield stop - start, parallel.shard(used.arrange(packed_RxW, labels, cuts, part), devices)


def _in_order(packed_RxW, labels, cuts, part, *, whole=block_rows):
    """The words of codes and labels, and how many rows are real."""
    rows = whole(part)
    items_G = np.array([cut.stop - cut.start for cut in cuts], np.int32)
    code = np.stack([padded(words(packed_RxW[cut]), rows) for cut in cuts])
    label = np.stack([padded(labels.words(cut), rows) for cut in cuts])
    return code, label, items_G


def _in_classes(packed_RxW, labels, cuts, part, **costs):
    """The words of codes sorted by class, see `class_planes.arrange`."""
    del part
    classes = [np.asarray(labels.class_R[cut]) for cut in cuts]
    counts = [np.bincount(class_N, minlength=labels.classes + 1) for class_N in classes]
    size = max(class_planes.part_size(count_C, **costs)[0] for count_C in counts)
    parts = max(class_planes.parts_of(count_C, size) for count_C in counts)
    arranged = [
        class_planes.arrange(
            words(packed_RxW[cut]), class_N, classes=labels.classes, size=size, parts=parts
        )
        for cut, class_N in zip(cuts, classes, strict=True)
    ]
    return tuple(np.stack(column) for column in zip(*arranged, strict=True))


_ON_GPU = {"sizes": gpu_counts.CLASS_SIZES, "overhead": gpu_counts.CLASS_OVERHEAD}
METHODS = {
    "scatter": Method(scatter.add_block, scatter.query_labels, _in_order),
    "bit_planes": Method(bit_planes.add_block, bit_planes.query_labels, _in_order),
    "class_planes": Method(class_planes.add_block, bit_planes.query_labels, _in_classes),
    "gpu_planes": Method(
        gpu_counts.add_block,
        gpu_counts.query_sets,
        functools.partial(_in_order, whole=gpu_counts.block_rows),
        GPU_BLOCK,
    ),
    "gpu_classes": Method(
        gpu_counts.add_classes,
        bit_planes.query_labels,
        functools.partial(_in_classes, **_ON_GPU),
        GPU_BLOCK,
    ),
}
OF_CLASSES = "class_planes", "gpu_classes"  # for items of one class each


def check_method(method: str, *, bits: int, labels: Labels) -> None:
    """Refuse a method that does not take a database.

    Args:
      method: its name.
      bits: K.
      labels: of the database.

    Raises:
      ValueError: says which there are.
    """
    fits = bits <= all_codes.MOST_BITS if method == "all_codes" else method in METHODS
    if not fits:
        raise ValueError(
            f'method={method!r} for {bits} bits; pass "auto", "all_codes" (up to '
            f"{all_codes.MOST_BITS} bits) or one of {', '.join(METHODS)}"
        )
    if method in OF_CLASSES and labels.class_R is None:
        raise ValueError(f'method={method!r}, but some row has several labels; pass "auto"')


def arrangement(method: str) -> Callable[..., tuple[np.ndarray, ...]]:
    """Return what arranges a database for a method; methods that share it share the arrays.

    Args:
      method: "all_codes" or one of METHODS.

    Returns:
      See `Method.arrange`.
    """
    return METHODS["bit_planes" if method == "all_codes" else method].arrange


def count(
    query_QxW: np.ndarray,
    query_label_QxC: np.ndarray,
    find_blocks: Callable[[], Iterable[Block]],
    *,
    method: str,
    bits: int,
    shared: tuple[int, ...],
    items: int,
    devices: Devices,
    query_block: int,
) -> np.ndarray:
    """Count the items at each distance that share so many labels with each query.

    Args:
      query_QxW: uint8 codes.
      query_label_QxC: bool.
      find_blocks: returns the database from its start, see `blocks`.
      method: see `check_method`.
      bits: K.
      shared: increasing numbers of labels.
      items: R.
      devices: where the blocks are.
      query_block: queries in work at a time, but for "all_codes".

    Returns:
      int32 [1 + len(shared), Q, K + 1]: first of all items.
    """
    if method == "all_codes":
        return _count_all_codes(
            query_QxW, query_label_QxC, find_blocks, bits, shared, items, devices
        )
    used = METHODS[method]
    levels = (1,) if method in OF_CLASSES else shared
    step = _step(used, query_label_QxC.shape[1], levels, devices)
    counts, started, queries = [], time.monotonic(), len(query_QxW)
    rows = padded_rows(min(queries, query_block), 16)  # one shape, so one compilation
    for start in range(0, queries, query_block):
        stop = min(start + query_block, queries)
        common = (
            padded(words(query_QxW[start:stop]), rows),
            used.query_labels(padded(query_label_QxC[start:stop], rows)),
            np.int32(stop - start),
        )
        shape = rows, bits + 1, 1 + len(levels)
        parts = start / queries, stop / queries, started
        count_QxDxT = _add_up(step, shape, common, find_blocks(), items, devices, parts)
        counts.append(count_QxDxT[: stop - start])
    count_TxQxD = np.concatenate(counts).transpose(2, 0, 1)
    if levels == shared:
        return count_TxQxD
    # No item shares two labels where each has one.
    total_QxD, relevant_QxD = count_TxQxD
    return np.stack([total_QxD, *(relevant_QxD * (number == 1) for number in shared)])


def _count_all_codes(query_QxW, query_label_QxC, find_blocks, bits, shared, items, devices):
    """Count for each different set of labels among the queries and for every possible code."""
    set_SxU, set_Q = np.unique(label_words(query_label_QxC), axis=0, return_inverse=True)
    sets = np.int32(len(set_SxU)), padded_rows(len(set_SxU), 1)
    set_SxU = padded(set_SxU, sets[1])
    shape = sets[1], 1 + len(shared), 1 << bits
    parts = 0, 1, time.monotonic()
    step, common = _all_codes_step(shared, devices), (set_SxU, sets[0])
    table_SxTxM = _add_up(step, shape, common, find_blocks(), items, devices, parts)
    rows = padded_rows(len(query_QxW), 16)
    code_Q = padded(words(query_QxW), rows)[:, 0].astype(np.int32)
    set_Q = np.pad(set_Q.reshape(-1), (0, rows - len(query_QxW))).astype(np.int32)
    # All items count whatever their labels, so that one table serves every query.
    total = all_codes.look_up(table_SxTxM[:1, :1], 0 * set_Q, code_Q, np.int32(1), bits=bits)
    at_least = all_codes.look_up(table_SxTxM[:, 1:], set_Q, code_Q, sets[0], bits=bits)
    count_QxTxD = np.concatenate([total, at_least], axis=1)[: len(query_QxW)]
    return count_QxTxD.transpose(1, 0, 2)


def _add_up(step, shape, common, placed, items, devices, parts):
    """Add the counts of all blocks of the database, and of all devices.

    Parts are the shares of all work that are done before and after it, and when all work began.
    """
    before, after, started = parts
    total, done = np.zeros((len(devices), *shape), np.int32), 0
    for rows, arrays in placed:
        previous, total = total, step(total, common, arrays)
        # One block is in work and one waits; more would only take memory.
        jax.block_until_ready(previous)
        done += rows
        share = before + (after - before) * done / items
        log_progress("counting distances", share, started)
    return np.asarray(total).sum(axis=0, dtype=np.int32)


@functools.lru_cache
def _step(method, classes, shared, devices):
    """A method over the devices; cached, so that it is compiled once."""

    def add_block(total, queries, block):
        return method.add_block(total, *queries, *block, classes=classes, shared=shared)

    return parallel.parallel_blocks(add_block, devices)


@functools.lru_cache
def _all_codes_step(shared, devices):
    def add_block(table, common, block):
        set_SxU, sets = common
        code_NxV, label_NxU, items = block
        code_N = code_NxV[:, 0].astype(np.int32)
        return all_codes.add_block(table, set_SxU, sets, code_N, label_NxU, items, shared=shared)

    return parallel.parallel_blocks(add_block, devices)


def padded_rows(rows: int, least: int) -> int:
    """Round up to a power of two, so that data sets share compilations."""
    return max(least, 1 << (rows - 1).bit_length())


def fastest(
    query_label_QxC: np.ndarray,
    labels: Labels,
    *,
    bits: int,
    items: int,
    levels: int,
    platform: str,
) -> str:
    """Choose a method: on a CPU by what was measured on one core, on a GPU by what was reckoned.

    Args:
      query_label_QxC: bool.
      labels: of the database.
      bits: K.
      items: R.
      levels: how many numbers of shared labels are counted.
      platform: "cpu" or another, of the devices.

    Returns:
      A method's name.
    """
    pairs = len(query_label_QxC) * items
    if bits <= all_codes.MOST_BITS:
        sets = len(np.unique(label_words(query_label_QxC), axis=0))
        # Nanoseconds: a scatter an item and set, and the table of every code at every distance.
        tables = sets * (2 * items + 5 * levels * (bits + 1) * 2**bits)
        if tables < 0.006 * (bits + 1) * pairs:
            return "all_codes"
    has_classes = labels.class_R is not None and labels.classes * class_planes.LEAST <= items
    if platform == "gpu" and items >= gpu_counts.TILE:
        return "gpu_classes" if has_classes else "gpu_planes"
    if platform != "cpu" or bits > 128 or items < 2048:
        return "scatter"
    return "class_planes" if has_classes else "bit_planes"
