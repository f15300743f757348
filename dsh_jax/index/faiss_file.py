"""Files of FAISS that hold the codes of an index: written, read, kept in step with the codes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from dsh_jax import whole
from dsh_jax.codes import check_codes
from dsh_jax.index import faiss_index

BLOCK = 10_000  # codes of a "hash" that are looked for at a time


def write(path: epath.PathLike, index: Any) -> None:
    """Write an index as FAISS does, in whole or not at all, whenever the machine stops.

    Args:
      path: of the file.
      index: see `faiss_index.build`.

    Raises:
      OSError: where it cannot be written.
    """
    data = faiss_index.library().serialize_index_binary(index)
    path = epath.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole.opened(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(path: epath.PathLike, packed_NxW: np.ndarray) -> Any:
    """Read an index of codes, which `write` or FAISS itself has written; its probe is not read.

    Args:
      path: of the file.
      packed_NxW: the codes; it must hold all or the first of them in their order, which is checked.

    Returns:
      See `faiss_index.build`.

    Raises:
      ValueError: where the file is damaged, no such index, or one of other codes.
      OSError: where it cannot be read.
    """
    path = epath.Path(path).expanduser()
    check_codes(packed_NxW, "the codes")
    data = path.read_bytes()
    index = _parse(data, path)
    is_first, _ = _compare(index, packed_NxW, len(data))
    if not is_first:
        _refuse(path, index, packed_NxW)
    return index


def keep(
    path: epath.PathLike,
    packed_NxW: np.ndarray,
    *,
    bits: int,
    kind: str | None = None,
    probe: int | None = None,
    renew: bool = False,
) -> Any:
    """Return the index in a file, which is made where it is not there, and grows with the codes.

    Args:
      path: of the file.
      packed_NxW: the codes; those that the file has not are added to it.
      bits: K.
      kind: see `faiss_index.build`; None is that of the file, and "flat" for a new one.
      probe: see `faiss_index.set_probe`.
      renew: make the file again where codes of it were replaced or dropped since, but most are
        among these still; otherwise it is refused.

    Returns:
      See `faiss_index.build`.

    Raises:
      ValueError: for an index of another kind; see `read` and `faiss_index`.
      OSError: where the file cannot be read or written.
    """
    path = epath.Path(path).expanduser()
    rows = len(packed_NxW)
    if path.exists():
        check_codes(packed_NxW, "the codes")
        data = path.read_bytes()
        index = _parse(data, path)
        held, found = index.ntotal, faiss_index.kind_of(index)
        is_first, kept = _compare(index, packed_NxW, len(data))
        if not is_first and not (renew and 2 * kept >= held):
            _refuse(path, index, packed_NxW)
        if kind not in (None, found):
            raise ValueError(f"{path} is of kind {found}, wanted is {kind}: name another file")
        if not is_first:
            logging.info("%s: %d of its codes were replaced or dropped", path, held - kept)
            index, held = faiss_index.build(packed_NxW, bits=bits, kind=found), 0
        elif held < rows:
            index.add(np.ascontiguousarray(packed_NxW[held:]))
    else:
        index, held = faiss_index.build(packed_NxW, bits=bits, kind=kind or "flat"), 0
    if held < rows:
        write(path, index)
    faiss_index.set_probe(index, probe)
    return index


def _compare(index: Any, packed_NxW: np.ndarray, size: int) -> tuple[bool, int]:
    """Return whether an index holds the first of these codes, and how many of its codes they have.

    Its probe becomes that of none. No more codes are believed than its file has room for, `size`.
    """
    kind, held = faiss_index.kind_of(index), index.ntotal
    rows, width = packed_NxW.shape
    if not 0 < held * width <= size or index.d != 8 * width:
        return False, 0
    faiss_index.set_probe(index, None)
    as_one_N = np.ascontiguousarray(packed_NxW).view(np.dtype((np.void, width)))[:, 0]
    if kind != "hash":
        held_MxW = index.reconstruct_n(0, held)
        if held <= rows and np.array_equal(held_MxW, packed_NxW[:held]):
            return True, held
        as_one_M = held_MxW.view(np.dtype((np.void, width)))[:, 0]
        return False, int(np.isin(as_one_M, as_one_N).sum())
    # It gives back no codes, but all rows that have one, from the bucket of its first bits.
    index.nflip = 0
    _, first_U, which_N = np.unique(as_one_N, return_index=True, return_inverse=True)
    kept, seen_N = 0, np.zeros(rows, bool)
    for start in range(0, len(first_U), BLOCK):
        first_B = first_U[start : start + BLOCK]
        limit_B, _, row_M = index.range_search(np.ascontiguousarray(packed_NxW[first_B]), 1)
        code_M = start + np.repeat(np.arange(len(first_B)), np.diff(limit_B.astype(np.int64)))
        inside_M = (row_M >= 0) & (row_M < rows)
        row_M, code_M, kept = row_M[inside_M], code_M[inside_M], kept + len(row_M)
        seen_N[row_M[which_N[row_M] == code_M]] = True
    faiss_index.set_probe(index, None)
    return held <= rows and kept == held and bool(seen_N[:held].all()), min(kept, held)


def _refuse(path: epath.Path, index: Any, packed_NxW: np.ndarray) -> None:
    rows, width = packed_NxW.shape
    raise ValueError(
        f"{path} holds {index.ntotal:,} codes of {index.d // 8} bytes, not the first of these "
        f"{rows:,} of {width}: name another file, or remove it to have it made again"
    )


def _parse(data: bytes, path: epath.Path) -> Any:
    """Return the index that a file holds."""
    faiss = faiss_index.library()
    limit = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(len(data))  # a damaged length would fill the memory
    try:
        return faiss.deserialize_index_binary(np.frombuffer(data, np.uint8))
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"{path} is damaged, or no binary index of FAISS: name another file, or remove it"
        ) from error
    finally:
        faiss.set_deserialization_vector_byte_limit(limit)
