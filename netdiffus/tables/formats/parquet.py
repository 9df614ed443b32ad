"""Parquet: what a file holds is looked at before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from netdiffus.errors import InputError
from netdiffus.tables import bounds
from netdiffus.tables.columns.arrow import is_list, release
from netdiffus.tables.columns.names import is_called
from netdiffus.tables.formats.footer import chunks
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

ROWS = 1 << 11  # that are decoded at a time, which takes as much memory as they do, and more
CUT_BEYOND = 256 << 20  # bytes of numbers; larger files are cut to the length while they are read


def read_parquet(path: Path, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in a Parquet file, without the list columns that nobody asked for.

    Raises:
        InputError: The file says that it holds far more than its size can.
    """
    findings.form = "Parquet"
    # Without `pre_buffer` Arrow holds the whole compressed file until the last row is decoded.
    with (
        path.open("rb") as opened,
        pa.parquet.ParquetFile(_source(path, opened), pre_buffer=False) as file,
    ):
        names = _wanted(file.schema_arrow, options)
        needed = _bytes(path, file.metadata.num_rows, names)
        bounds.check_expansion(needed, path.stat().st_size, "its numbers")
        if options.length is None or needed <= CUT_BEYOND:
            parts = list(_batches(file, names))
            return pa.Table.from_batches(parts) if parts else file.read(columns=names)
        findings.mended.append(
            f"the file is large: traces were cut to {options.length} points in the order of the "
            "file, before times were looked at"
        )
        parts = [
            _cut(pa.Table.from_batches([batch]), options.length) for batch in _batches(file, names)
        ]
    return pa.concat_tables(parts)


def _batches(file: pa.parquet.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows, some at a time, by this thread: what others free stays with them."""
    for batch in file.iter_batches(batch_size=ROWS, columns=names, use_threads=False):
        batch.validate(full=True)  # else text that is no UTF-8 fails later
        yield batch
        release()


def _source(path: Path, opened: IO[bytes]) -> Any:
    """The file for Arrow, which takes no name that is not UTF-8, but is faster with a name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return opened
    return path


def _wanted(schema: pa.Schema, options: ReadOptions) -> list[str]:
    """All columns but the list columns that are not among the channels asked for.

    If one of those is not there all are read, and what has no such channel says what there is.
    """
    if options.channels is None or options.by is not None:
        return list(schema.names)
    if sum(_asked(field, options) for field in schema) < len(options.channels):
        return list(schema.names)
    return [
        field.name for field in schema if not _is_flat_list(field.type) or _asked(field, options)
    ]


def _is_flat_list(kind: pa.DataType) -> bool:
    return is_list(kind) and not pa.types.is_nested(kind.value_type)


def _asked(field: pa.Field, options: ReadOptions) -> bool:
    name = options.columns.get(field.name, field.name).strip()
    return is_called(name, options.channels or ())


def _bytes(path: Path, rows: int, names: list[str]) -> int:
    """Bytes of memory for the columns, 8 for each number or the stored size, if that is more."""
    asked = {name.encode() for name in names}
    try:
        found = [max(8 * c.values, c.uncompressed, 0) for c in chunks(path) if c.name in asked]
    except (ArithmeticError, LookupError, TypeError, RecursionError):
        raise InputError(
            "its columns are encrypted, or its footer is damaged; write it anew with "
            "pyarrow.parquet.write_table, without encryption"
        ) from None
    return max(sum(found), 8 * rows)


def _cut(table: pa.Table, length: int) -> pa.Table:
    columns = [
        pc.list_slice(column, 0, length) if _is_flat_list(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names).replace_schema_metadata(
        table.schema.metadata
    )
