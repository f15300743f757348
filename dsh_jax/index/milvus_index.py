"""Codes in a collection of Milvus, for more than a machine holds: binary vectors, Hamming distance.

A collection has the row of an image as its key, its code and its name; its description says which
model made it. Embedded Milvus keeps them in a file, by milvus-lite before its version 3: later ones
have no binary vectors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging as absl_logging

from dsh_jax.codes import check_codes
from dsh_jax.collection.file_names import printable
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.progress import log_progress

ROWS = 10_000  # sent at a time
MOST = 16_384  # that Milvus returns of a query
SPARE = 500  # asked for beyond k, for equal distances
QUERIES = 64  # sent at a time
TIMEOUT = 10  # seconds, for a server to answer


@contextlib.contextmanager
def connected(uri: str, *, token: str = "") -> Iterator[Any]:
    """Hold a connection to Milvus.

    Args:
      uri: of a server, such as http://localhost:19530; or of a file for embedded Milvus, *.db.
      token: user:password or the key of a server that wants one.

    Yields:
      MilvusClient of pymilvus.

    Raises:
      ValueError: where pymilvus is not installed, nothing answers, or Milvus refuses what is done
        with the connection.
    """
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError as error:
        raise ValueError(
            f"pymilvus cannot be imported ({error}): pip install -e .[milvus]"
        ) from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what it raises
    path = os.path.abspath(os.path.expanduser(uri)) if "://" not in uri else None
    if path and not re.fullmatch(r"[A-Za-z0-9._-]{1,33}\.db", os.path.basename(path)):
        raise ValueError(
            f"{uri} is no name for embedded Milvus: pass a file such as codes.db, of at most 36 "
            "letters, digits, dots, dashes and underscores; or the URI of a server, http://…"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # milvus-lite imports what is deprecated
            client = MilvusClient(path or uri, token=token, timeout=TIMEOUT)
        try:
            yield client
        finally:
            client.close()
            if path:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(path)  # others may open the file
    except MilvusException as error:
        text = error.message
        hint = "check that it runs, and the URI"
        if path:
            hint = "check the path, and that no other process has it open"
        if "BinaryVector" in text:
            hint = "install milvus-lite<3, which has binary vectors, or pass the URI of a server"
        raise ValueError(f"Milvus at {uri}: {text}; {hint}") from error


def export(client: Any, collection: str, codes: ImageCodes, *, renew: bool = False) -> None:
    """Put codes into a collection, which is made where it is not there, and grows with them.

    Repeated after a stop, it goes on where it was. All codes that the collection has are read and
    compared, which takes a sixth of the time of sending them.

    Args:
      client: see `connected`.
      collection: its name.
      codes: of one image at least.
      renew: bring the collection in step where codes of it were replaced or dropped since, but most
        of its images have the same codes still; otherwise it is refused.

    Raises:
      ValueError: where the collection is no such one, or of another model or other codes.
    """
    check_codes(codes.packed_NxW, "the codes", bits=codes.bits)
    rows = len(codes.names)
    held, other, kept = _held(client, collection, codes)
    if other or held > rows:
        if not (renew and 2 * kept >= held):
            raise ValueError(
                f"the collection {collection} holds {held:,} codes, not the first of these "
                f"{rows:,}: name another collection, or drop it to have it made again"
            )
        if held > rows:
            client.delete(collection, filter=f"id >= {rows}")
        for start in range(0, len(other), ROWS):
            client.upsert(collection, [_record(codes, x) for x in other[start : start + ROWS]])
        client.flush(collection)
        absl_logging.info("%d codes of the collection %s were replaced", held - kept, collection)
        held = min(held, rows)
    first = held - held % ROWS if held < rows else rows  # a batch that stopped is sent again
    started = time.monotonic()
    for start in range(first, rows, ROWS):
        batch = [_record(codes, row) for row in range(start, min(start + ROWS, rows))]
        client.upsert(collection, batch)
        log_progress("exporting to Milvus", (start + len(batch) - first) / (rows - first), started)
    if first < rows:
        client.flush(collection)
        absl_logging.info("%d codes added to the collection %s", rows - held, collection)
    client.load_collection(collection)


def search(
    client: Any, collection: str, query_QxW: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest codes of each query as `retrieval.search` does, ties in its order too.

    Milvus returns any of the codes at the distance of the k-th; those of the lowest rows are looked
    for.

    Args:
      client: see `connected`.
      collection: which `export` has filled.
      query_QxW: packed codes, uint8.
      k: how many, 1 to the number of codes, at most 16,384.

    Returns:
      (distance_Qxk, row_Qxk), int32, nearest first; equal distances by the lower row.

    Raises:
      ValueError: for a bad k.
    """
    check_codes(query_QxW, "query")
    rows = _count(client, collection)
    if k != int(k) or not 1 <= k <= min(rows, MOST):
        raise ValueError(
            f"k={k}, but the collection has {rows:,} codes, of which Milvus returns {MOST:,} at "
            f"most; pass k from 1 to {min(rows, MOST)}"
        )
    k = int(k)
    distance_Qxk, row_Qxk = np.empty((2, len(query_QxW), k), np.int32)
    for start in range(0, len(query_QxW), QUERIES):
        block_BxW = query_QxW[start : start + QUERIES]
        found = _nearest(client, collection, block_BxW, min(k + SPARE, MOST, rows))
        for query, (distance_M, row_M) in enumerate(found, start):
            last = distance_M[k - 1]
            if distance_M[-1] == last and len(row_M) < rows:  # more of them may be left
                closer = distance_M < last
                wanted = k - closer.sum()
                row_T = _lowest(client, collection, query_QxW[query], last, wanted, rows)
                row_M = np.concatenate([row_M[closer], row_T])
                distance_M = np.concatenate([distance_M[closer], np.full(len(row_T), last)])
            order_k = np.lexsort((row_M, distance_M))[:k]
            distance_Qxk[query], row_Qxk[query] = distance_M[order_k], row_M[order_k]
    return distance_Qxk, row_Qxk


def _lowest(
    client: Any, collection: str, query_W: np.ndarray, distance: int, wanted: int, rows: int
) -> np.ndarray:
    """Return the lowest rows at a distance: runs of rows are searched, short enough to get all."""
    start, size, found = 0, rows, np.zeros(0, np.int32)
    while len(found) < wanted and start < rows:
        only = f"id >= {start} and id < {start + size}"
        ((distance_M, row_M),) = _nearest(client, collection, query_W[None], MOST, only)
        if len(row_M) == MOST < size and distance_M[-1] <= distance:
            size //= 2
        else:
            found = np.concatenate([found, np.sort(row_M[distance_M == distance])])
            start += size
    return found[:wanted]


def _nearest(
    client: Any, collection: str, query_BxW: np.ndarray, limit: int, only: str = ""
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return what Milvus finds of each query: distances and rows, nearest first."""
    found = client.search(
        collection,
        data=[query_W.tobytes() for query_W in query_BxW],
        anns_field="code",
        filter=only,
        limit=limit,
        search_params={"metric_type": "HAMMING"},
    )
    return [
        (
            np.array([hit["distance"] for hit in hits]).astype(np.int32),
            np.array([hit["id"] for hit in hits], np.int32),
        )
        for hits in found
    ]


def _held(client: Any, collection: str, codes: ImageCodes) -> tuple[int, list[int], int]:
    """Look at a collection, which is made where it is not there.

    Returns:
      (how many codes it holds; the rows of those that are others than these; how many of its images
      have their codes among these, at whatever rows).
    """
    made_by = f"{codes.bits} bits of the model {codes.fingerprint}"
    if not client.has_collection(collection):
        _create(client, collection, codes.packed_NxW.shape[1], made_by)
        return 0, [], 0
    found = client.describe_collection(collection)["description"]
    if found != made_by:
        raise ValueError(
            f"the collection {collection} holds {found or 'something else'!r}, but these codes are "
            f"{made_by}: distances between them mean nothing; name another collection"
        )
    client.load_collection(collection)
    held, rows = _count(client, collection), len(codes.names)
    wanted = [
        (printable(x), y.tobytes()) for x, y in zip(codes.names, codes.packed_NxW, strict=True)
    ]
    among, other, kept = set(wanted), [], 0
    for start in range(0, held, ROWS):
        there = client.query(
            collection,
            filter=f"id >= {start} and id < {start + ROWS}",
            output_fields=["code", "name"],
            limit=ROWS,
        )
        for one in there:
            row, image = one["id"], (one["name"], one["code"][0])
            kept += image in among
            if row < rows and image != wanted[row]:
                other.append(row)
    return held, other, kept


def _record(codes: ImageCodes, row: int) -> dict[str, Any]:
    """Return what a collection has of an image."""
    name, packed_W = codes.names[row], codes.packed_NxW[row]
    return {"id": row, "code": packed_W.tobytes(), "name": printable(name)}


def _create(client: Any, collection: str, width: int, made_by: str) -> None:
    """Make an empty collection that is searched exactly."""
    from pymilvus import DataType

    schema = client.create_schema(enable_dynamic_field=False, description=made_by)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("code", DataType.BINARY_VECTOR, dim=8 * width)
    schema.add_field("name", DataType.VARCHAR, max_length=65_535)
    index = client.prepare_index_params()
    index.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
    client.create_collection(
        collection, schema=schema, index_params=index, consistency_level="Strong"
    )


def _count(client: Any, collection: str) -> int:
    return client.query(collection, output_fields=["count(*)"])[0]["count(*)"]
