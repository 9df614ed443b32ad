"""Text columns that hold lists: by their name, or by how their cells look."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.errors import InputError
from netdiffus.tables.columns import cells
from netdiffus.tables.columns.arrow import is_text
from netdiffus.tables.columns.names import is_label, meaning
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

# Names and numbers of things are text even where they look like numbers ("007").
TEXT_COLUMNS = ("trace_id", "group")


def parse_lists(
    table: pa.Table, options: ReadOptions, findings: Findings, *, decimal_comma: bool
) -> pa.Table:
    """The table of a text file with its columns of lists as list columns.

    A column with the name of a channel must hold lists; any other column may.

    Args:
        table: Columns as the text file has them.
        options: What the caller chose.
        findings: Where is said what was kept as text.
        decimal_comma: Whether `0,5` may be a half.

    Raises:
        InputError: Names the column, the row and the cell that is no list.
    """
    columns = [
        _column(name, column, options, findings, decimal_comma)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def parse_known(table: pa.Table, options: ReadOptions, findings: Findings) -> pa.Table:
    """A table of another source with text columns of a channel's name as list columns.

    Raises:
        InputError: Names the column, the row and the cell that is no list.
    """
    for k, field in enumerate(table.schema):
        known = _must_be_lists(options, field.name) or _is_plain(options, field.name)
        if not known or not is_text(field.type):
            continue
        column = table.column(k)
        try:
            found = _column(field.name, column, options, findings, False)
        except InputError:
            if cells.looks_like_lists(column):
                raise
            continue  # single words: refused later, with what can be done
        table = table.set_column(k, field.name, found)
    return table


def _column(
    name: str,
    column: pa.ChunkedArray,
    options: ReadOptions,
    findings: Findings,
    decimal_comma: bool,
) -> pa.ChunkedArray | pa.Array:
    """A column as lists where it holds lists."""
    if not is_text(column.type):
        return column
    if decimal_comma and _may_be_number(options, name):
        column = cells.with_decimals(column)
        if not is_text(column.type):
            return column
    packets = cells.packets(column)
    if packets is not None:
        return packets
    lists = cells.looks_like_lists(column)
    if options.by is None and _must_be_lists(options, name):
        if not lists and cells.are_dates(column):
            return column  # the time of a whole flow; without flows it is refused by its name
        return cells.parse(name, column, decimal_comma=decimal_comma)
    unsure = not lists and options.by is None and _is_plain(options, name)
    if name in TEXT_COLUMNS or not (lists or unsure):
        return column
    try:
        found = cells.parse(name, column, decimal_comma=decimal_comma)
    except InputError as error:
        if lists and _is_plain(options, name):
            raise
        if lists:
            findings.mended.append(f"column {name!r} was kept as text: {error}")
        return column
    return column if unsure and pc.max(pc.list_value_length(found)).as_py() < 2 else found


def _may_be_number(options: ReadOptions, name: str) -> bool:
    """Whether single numbers may stand in a column: no classes, names of traces or lists."""
    ours = _ours(options, name)
    named = (*TEXT_COLUMNS, options.by, options.label_column)
    if is_label(ours) or ours in named or name in named:
        return False
    return options.by is not None or meaning(ours) is None


def _ours(options: ReadOptions, name: str) -> str:
    return options.columns.get(name, name)


def _must_be_lists(options: ReadOptions, name: str) -> bool:
    """Whether the column has the name of a channel, or was asked for as one."""
    ours = _ours(options, name)
    if options.channels is not None and not {name, ours} & set(options.channels):
        return False
    known = meaning(ours)
    return ours in (options.channels or ()) or (known is not None and known.sure)


def _is_plain(options: ReadOptions, name: str) -> bool:
    """Whether the name is often that of a channel, but not always: `length`, `dir`, `time`."""
    return options.channels is None and meaning(_ours(options, name)) is not None
