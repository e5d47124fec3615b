"""Records as Parquet: the same records are the same bytes."""

import io
from collections.abc import Sequence
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.objective import Record

_SCHEMA = pa.schema(
    [
        ("stream", pa.int32()),
        ("position", pa.int32()),
        ("item", pa.string()),
        ("metric", pa.string()),
        ("part", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("seen", pa.bool_()),
    ]
)


def to_parquet(records: Sequence[Record]) -> bytes:
    """Write records, in their order."""
    names = [field.name for field in fields(Record)]
    columns = [[getattr(record, name) for record in records] for name in names]
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(data: bytes) -> list[Record]:
    """Read what :func:`to_parquet` wrote."""
    return [Record(**row) for row in pq.read_table(io.BytesIO(data)).to_pylist()]
