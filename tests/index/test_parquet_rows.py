"""Rows of a Parquet file are the codes, in the form that Milvus's own writer gives them."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.index import parquet_rows


def some(rows, width):
    packed_NxW = np.random.default_rng(rows).integers(0, 256, (rows, width), np.uint8)
    names = tuple(f"é/{row}.jpg" for row in range(rows))
    return ImageCodes(
        packed_NxW, names, np.ones((rows, 2), np.int32), 8 * width, "0123456789abcdef"
    )


@pytest.mark.parametrize(("rows", "width"), [(0, 8), (1, 1), (700, 6)])
def test_what_is_read_is_what_was_written(tmp_path, monkeypatch, rows, width):
    monkeypatch.setattr(parquet_rows, "ROWS", 256)
    codes = some(rows, width)
    parquet_rows.write(tmp_path / "new" / "codes.parquet", codes)
    read = parquet.read_table(tmp_path / "new" / "codes.parquet")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["codes.parquet"]
    columns = {"id": pa.int64(), "name": pa.string(), "code": pa.list_(pa.uint8())}
    assert read.schema.remove_metadata() == pa.schema(columns)
    assert read["id"].to_pylist() == list(range(rows))
    assert read["name"].to_pylist() == list(codes.names)
    assert read["code"].to_pylist() == codes.packed_NxW.tolist()
    assert read.schema.metadata[b"bits"] == str(8 * width).encode()
    assert read.schema.metadata[b"fingerprint"] == b"0123456789abcdef"


def test_names_that_are_no_utf8_are_written_as_they_are_printed():
    codes = some(1, 8)._replace(names=("\udcff.jpg",))
    assert parquet_rows.table_of(codes)["name"].to_pylist() == ["\\udcff.jpg"]


def test_a_slice_of_a_wider_array_is_written_row_by_row():
    codes = some(5, 8)
    part = codes._replace(packed_NxW=codes.packed_NxW[:, :4])
    assert parquet_rows.table_of(part)["code"].to_pylist() == codes.packed_NxW[:, :4].tolist()


def test_the_columns_are_those_of_the_writer_of_milvus(tmp_path):
    writer = pytest.importorskip(
        "pymilvus.bulk_writer", reason="pymilvus[bulk_writer] is not installed"
    )
    from pymilvus import CollectionSchema, DataType, FieldSchema

    codes = some(3, 8)
    schema = CollectionSchema(
        [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("name", DataType.VARCHAR, max_length=65_535),
            FieldSchema("code", DataType.BINARY_VECTOR, dim=64),
        ]
    )
    theirs = writer.LocalBulkWriter(schema, str(tmp_path), file_type=writer.BulkFileType.PARQUET)
    for row, (name, code_W) in enumerate(zip(codes.names, codes.packed_NxW, strict=True)):
        theirs.append_row({"id": row, "name": name, "code": code_W.tobytes()})
    theirs.commit()
    ((file,),) = theirs.batch_files
    read = parquet.read_table(file)
    ours = parquet_rows.table_of(codes)
    for name in ("id", "name", "code"):
        assert ours[name].type == read[name].type or pa.types.is_string(ours[name].type)
        assert ours[name].to_pylist() == read[name].to_pylist()
