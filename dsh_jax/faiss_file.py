"""Files of FAISS that hold the codes of an index: written, read, kept in step with the codes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from etils import epath

from dsh_jax import faiss_index
from dsh_jax.codes import check_codes

SAMPLE = 64  # codes of a "hash" that are looked for when it is read


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
    unfinished = path.parent / f".{path.name}.unfinished"
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(path: epath.PathLike, packed_NxW: np.ndarray) -> Any:
    """Read an index of codes, which `write` or FAISS itself has written; its probe is not read.

    Args:
      path: of the file.
      packed_NxW: the codes; it must hold all or the first of them in their order, which is checked,
        for kind "hash" on a sample.

    Returns:
      See `faiss_index.build`.

    Raises:
      ValueError: where the file is damaged, no such index, or one of other codes.
      OSError: where it cannot be read.
    """
    path = epath.Path(path).expanduser()
    check_codes(packed_NxW, "the codes")
    index = _parse(path.read_bytes(), path)
    kind, held = faiss_index.kind_of(index), index.ntotal
    rows, width = packed_NxW.shape
    same = 0 < held <= rows and index.d == 8 * width
    if same:
        faiss_index.set_probe(index, None)
    if same and kind == "hash":
        sample = np.unique(np.linspace(0, held - 1, SAMPLE).astype(int))
        same = all(row in index.range_search(packed_NxW[row : row + 1], 1)[2] for row in sample)
    elif same:
        same = np.array_equal(index.reconstruct_n(0, held), packed_NxW[:held])
    if not same:
        raise ValueError(
            f"{path} holds {held:,} codes of {index.d // 8} bytes, not the first of these {rows:,} "
            f"of {width}: name another file, or remove it to have it made again"
        )
    return index


def keep(
    path: epath.PathLike,
    packed_NxW: np.ndarray,
    *,
    bits: int,
    kind: str | None = None,
    probe: int | None = None,
) -> Any:
    """Return the index in a file, which is made where it is not there, and grows with the codes.

    Args:
      path: of the file.
      packed_NxW: the codes; those that the file has not are added to it.
      bits: K.
      kind: see `faiss_index.build`; None is that of the file, and "flat" for a new one.
      probe: see `faiss_index.set_probe`.

    Returns:
      See `faiss_index.build`.

    Raises:
      ValueError: for an index of another kind; see `read` and `faiss_index`.
      OSError: where the file cannot be read or written.
    """
    path = epath.Path(path).expanduser()
    rows = len(packed_NxW)
    if path.exists():
        index = read(path, packed_NxW)
        held, found = index.ntotal, faiss_index.kind_of(index)
        if kind not in (None, found):
            raise ValueError(f"{path} is of kind {found}, wanted is {kind}: name another file")
        if held < rows:
            index.add(np.ascontiguousarray(packed_NxW[held:]))
    else:
        index, held = faiss_index.build(packed_NxW, bits=bits, kind=kind or "flat"), 0
    if held < rows:
        write(path, index)
    faiss_index.set_probe(index, probe)
    return index


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
