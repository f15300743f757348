"""Codes as rows of a Parquet file, which tables, vector databases and Milvus's import read.

A row has the number of an image as `id`, its name and its code, a list of W bytes; the file says
how many bits a code has and which model made it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from etils import epath
from pyarrow import parquet

from dsh_jax import whole
from dsh_jax.collection.file_names import printable
from dsh_jax.collection.image_codes import ImageCodes

ROWS = 1 << 17  # of a group, which a reader takes at a time


def table_of(codes: ImageCodes) -> pa.Table:
    """Return codes as a table.

    Args:
      codes: of any number of images.

    Returns:
      Table of `id` int64, `name` string and `code` list of uint8; its schema's metadata hold `bits`
      and `fingerprint`.
    """
    rows, width = codes.packed_NxW.shape
    # Offsets of 32 bits reach to 2^31 bytes of codes; a chunk of a column has its own.
    parts = []
    for start in range(0, max(rows, 1), ROWS):
        code_NxW = np.ascontiguousarray(codes.packed_NxW[start : start + ROWS])
        offset_N = np.arange(len(code_NxW) + 1, dtype=np.int32) * width
        parts.append(pa.ListArray.from_arrays(offset_N, pa.array(code_NxW.reshape(-1))))
    columns = {
        "id": pa.array(np.arange(rows)),
        "name": pa.array([printable(name) for name in codes.names], pa.string()),
        "code": pa.chunked_array(parts, pa.list_(pa.uint8())),
    }
    about = {"bits": str(codes.bits), "fingerprint": codes.fingerprint}
    return pa.table(columns).replace_schema_metadata(about)


def write(path: epath.PathLike, codes: ImageCodes) -> None:
    """Write codes as a Parquet file, whole or not at all.

    Args:
      path: of the file, which is replaced.
      codes: see `table_of`.
    """
    path = epath.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole.opened(path) as file:
        parquet.write_table(table_of(codes), file, row_group_size=ROWS)
