"""Tables of traces to disk: Parquet, CSV and NPZ. They are read by `tables`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from netdiffus.errors import InputError
from netdiffus.files import refuse_existing, whole_file
from netdiffus.tables.columns.arrow import is_text, one_array
from netdiffus.tables.lists import SCHEMA_KEY

SUFFIXES = (".parquet", ".csv", ".npz")
GROUP = 4_096  # traces that are written to a Parquet file at a time, where they come bit by bit
GROUP_BYTES = 256 << 20  # after which they are written, even if they are fewer
FORMULA = r"^([=+\-@\t\r])"  # how a cell begins that Excel and LibreOffice take for a formula


def write(
    table: pa.Table, path: Path, *, force: bool = False, for_spreadsheets: bool = False
) -> None:
    """Writes a table, whole or not at all. See `Traces.save`."""
    check_suffix(path)
    refuse_existing(path, force)
    if for_spreadsheets:
        check_is_csv(path)
        table = _without_formulas(table)
    with whole_file(path) as part:
        _WRITERS[path.suffix.lower()](table, part)


def write_parts(tables: Iterable[pa.Table], path: Path, rows: int | None = None) -> None:
    """Writes tables of one schema as one Parquet file while they come, whole or not at all.

    Args:
        tables: At least one of them with a row.
        path: The file.
        rows: Of a row group; None is `GROUP`.
    """
    with whole_file(path) as part, ExitStack() as stack:
        writer = None
        for table in _groups(tables, rows or GROUP):
            if writer is None:
                writer = pa.parquet.ParquetWriter(part, table.schema, **_options(table.schema))
                stack.enter_context(writer)
            writer.write_table(table)


def _groups(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows, so many at a time, so that a file does not depend on how they came.

    Where so many take much memory they are fewer.
    """
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(one.num_rows for one in waiting) >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows)
            waiting = [whole.slice(rows)]
        if sum(one.nbytes for one in waiting) > GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if sum(one.num_rows for one in waiting):
        yield pa.concat_tables(waiting)


def check_is_parquet(path: Path) -> None:
    """Raises InputError where traces cannot be written bit by bit."""
    if path.suffix.lower() != ".parquet":
        raise InputError(f"{path}: only .parquet is written as traces are made; choose this suffix")


def check_suffix(path: Path) -> None:
    """Raises InputError if files of this name cannot be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: unknown kind of file; use one of {', '.join(SUFFIXES)} (captures are read by "
            "import_captures, written by write_capture)"
        )


def check_is_csv(path: Path) -> None:
    """Raises InputError where `for_spreadsheets` means nothing."""
    if path.suffix.lower() != ".csv":
        raise InputError(
            f"{path}: for_spreadsheets is for .csv files; leave it out, or write a .csv"
        )


def _without_formulas(table: pa.Table) -> pa.Table:
    """Text cells and column names that a spreadsheet would run begin with an apostrophe instead."""
    for k, field in enumerate(table.schema):
        name = re.sub(FORMULA, r"'\1", field.name)
        column = table.column(k)
        if is_text(field.type):
            column = pc.replace_substring_regex(column, FORMULA, r"'\1")
        table = table.set_column(k, name, column)
    return table


def _write_parquet(table: pa.Table, path: Path) -> None:
    try:
        pa.parquet.write_table(table, path, **_options(table.schema))
    except pa.ArrowNotImplementedError as error:
        raise InputError(f"a column cannot go into .parquet ({error}); leave it out") from None


def _options(schema: pa.Schema) -> dict[str, Any]:
    """How Parquet is written: dictionaries of times only cost, as hardly two are the same."""
    repeated = []
    for field in schema:
        is_list = pa.types.is_list(field.type)
        item = field.type.value_type if is_list else field.type
        if not pa.types.is_floating(item):
            repeated.append(f"{field.name}.list.element" if is_list else field.name)
    return {"compression": "zstd", "use_dictionary": repeated}


def _write_csv(table: pa.Table, path: Path) -> None:
    columns = list(map(_cells, table.column_names, table.columns))
    pa.csv.write_csv(pa.table(columns, names=table.column_names), path)


def _cells(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """A column that CSV can hold."""
    kind = column.type
    is_plain = pa.types.is_primitive(kind) and not pa.types.is_interval(kind)
    if is_plain or is_text(kind):
        return column
    try:
        return _format_lists(column) if pa.types.is_list(kind) else column.cast(pa.string())
    except pa.ArrowException:
        raise InputError(f"column {name!r} of {kind} cannot go into .csv; use .parquet") from None


def _format_lists(column: pa.ChunkedArray) -> pa.Array:
    lists = one_array(column)
    wide = pa.float64() if pa.types.is_floating(lists.type.value_type) else pa.int64()
    items = lists.flatten().cast(wide).cast(pa.string())
    joined = pc.binary_join(pa.ListArray.from_arrays(lists.offsets, items), ",")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _write_npz(table: pa.Table, path: Path) -> None:
    arrays: dict[str, Any] = {"netdiffus": np.array(table.schema.metadata[SCHEMA_KEY].decode())}
    for field in table.schema:
        column = one_array(table[field.name])
        if pa.types.is_list(field.type):
            arrays["offsets"] = column.offsets.to_numpy().astype(np.int64)
            arrays[field.name] = column.flatten().to_numpy(zero_copy_only=False)
        else:
            arrays[field.name] = _plain_array(field.name, column)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _plain_array(name: str, column: pa.Array) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if column.null_count:
        raise InputError(f"column {name!r} has empty cells, which .npz cannot hold; use .parquet")
    if array.dtype == object:
        if not pa.types.is_string(column.type):
            raise InputError(f"column {name!r} of {column.type} cannot go into .npz; use .parquet")
        array = array.astype(np.str_)
    return array


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
