"""Tables with one row per packet: the rows of each trace become lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Ints
from netdiffus.errors import InputError
from netdiffus.tables.columns.arrow import is_number, lists_of, one_array
from netdiffus.tables.columns.directions import from_words
from netdiffus.tables.columns.labels import find_label, shown
from netdiffus.tables.columns.names import channel_named, is_called
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


def gather(table: pa.Table, options: ReadOptions, findings: Findings) -> pa.Table:
    """One row per trace, of a table with one row per packet, in the order of first packets.

    Columns of a known name, or of `options.channels`, become lists. A column with one value in each
    trace becomes that value; others are left out, which is said.

    Raises:
        InputError: No such column `options.by`, an empty cell in it, or two classes in one trace.
    """
    by = str(options.by)
    if by not in table.column_names:
        raise InputError(f"no column {by!r} (by); columns: {shown(table.column_names)}")
    trace = _numbers(by, table[by])
    order = np.argsort(trace, kind="stable")
    lengths = np.bincount(trace)
    first = order[np.cumsum(lengths) - lengths]
    label = find_label(table.column_names, options.label_column)
    columns: dict[str, pa.Array] = {"trace_id": one_array(table[by]).take(pa.array(first))}
    for name in (one for one in table.column_names if one != by):
        column = _directions(name, one_array(table[name]))
        if _is_channel(name, column.type, options):
            columns[name] = lists_of(column.take(pa.array(order)), lengths)
            continue
        differs = _differs(column, trace, first)
        if differs < 0:
            columns[name] = column.take(pa.array(first))
        elif name == label:
            raise InputError(
                f"row {differs}: trace {table[by][differs].as_py()!r} has the class "
                f"{column[differs].as_py()!r} beside another; a trace has one class"
            )
        else:
            findings.left_out[name] = f"it changes inside a trace of {by!r} and is no channel"
    findings.form += f", one row per packet of {by!r}"
    return pa.table(columns)


def _directions(name: str, column: pa.Array) -> pa.Array:
    """A column of directions as numbers, where they are words."""
    words = from_words(column) if channel_named(name) == "direction" else None
    return column if words is None else words


def _numbers(by: str, column: pa.ChunkedArray) -> Ints:
    """The number of each row's trace, in the order in which they begin."""
    encoded = one_array(column)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if encoded.null_count:
        row = pc.index(pc.is_null(encoded), True).as_py()
        raise InputError(f"column {by!r} is empty in row {row}; name the trace or remove the row")
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    begins, numbers = np.unique(codes, return_index=True, return_inverse=True)[1:]
    rank = np.empty(len(begins), np.int64)
    rank[np.argsort(begins, kind="stable")] = np.arange(len(begins))
    return rank[numbers]


def _is_channel(name: str, kind: pa.DataType, options: ReadOptions) -> bool:
    if not is_number(kind):
        return False
    if options.channels is not None:
        return is_called(name, options.channels)
    return channel_named(name) is not None


def _differs(column: pa.Array, trace: Ints, first: Ints) -> int:
    """The first row whose value is not that of its trace's first row; -1 if there is none."""
    if not pa.types.is_dictionary(column.type):
        if pa.types.is_nested(column.type):
            return 0
        column = column.dictionary_encode(null_encoding="encode")
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = codes != codes[first][trace]
    return int(np.argmax(wrong)) if wrong.any() else -1
