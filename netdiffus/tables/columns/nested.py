"""Columns inside columns: structs, lists of structs, and CESNET's PPI, as plain list columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.errors import InputError
from netdiffus.tables.columns.arrow import is_list, is_number, large_lists, lists_of, one_array
from netdiffus.tables.columns.names import flow_table, meaning

JOY = {"b", "dir", "ipt"}  # fields of a packet in tables of joy; dir is < or >


def unnest(table: pa.Table) -> pa.Table:
    """The table without structs: each field is a column.

    - A struct `packet_data` with a field `iat` gives the column `packet_data_iat`; one with a name
      that is not known, but whose field is that of a channel, gives a column of the field's name.
    - A struct with the totals of a flow, alone among the columns, gives columns of their names.
    - A list of structs gives one list column per field, under the field's name.
    - Lists of a single list, and lists of lists of a single number, are one list.
    - A column `PPI` of three or four lists per row (CESNET) gives `ppi_0`, `ppi_1`, `ppi_2`:
      gaps in ms, directions, sizes.

    Raises:
        InputError: A row of a PPI column does not hold these lists, or Arrow cannot take a column
            apart.
    """
    names: list[str] = []
    own: list[str] = []  # without the name of the struct
    wrapped = _holds_flow(table)
    columns: list[pa.ChunkedArray] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        for inner, values in _checked_parts(name, column):
            names.append(inner)
            is_field = name == wrapped or (is_list(values.type) and meaning(inner) is None)
            own.append(inner.removeprefix(f"{name}_") if is_field else inner)
            columns.append(values)
    for k, name in enumerate(own):
        is_known = meaning(name) is not None or wrapped is not None
        if is_known and own.count(name) == 1 and name not in names:
            names[k] = name
    return pa.table(columns, names=names).replace_schema_metadata(table.schema.metadata)


def _holds_flow(table: pa.Table) -> str | None:
    """The only struct, if its fields are the totals of a flow: `{"conn": {"orig_bytes": 1}}`."""
    structs = [one for one in table.schema if pa.types.is_struct(one.type)]
    if len(structs) != 1:
        return None
    name, fields = structs[0].name, [one.name for one in structs[0].type]
    whole = [f"{name}_{field}" for field in fields]
    inside, prefixed = flow_table(fields), flow_table(whole)
    return name if inside and len(inside[1]) > len(prefixed[1] if prefixed else ()) else None


def _checked_parts(
    name: str, column: pa.ChunkedArray
) -> list[tuple[str, pa.ChunkedArray | pa.Array]]:
    """The parts of a column. Of lists inside lists of fixed size Arrow makes damaged ones."""
    try:
        parts = list(_parts(name, column))
        for _, values in parts:
            values.validate()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"column {name!r} of {column.type} cannot be read ({error}); write the table without "
            "it, or with plain lists"
        ) from None
    return parts


def _parts(name: str, column: pa.ChunkedArray) -> Iterator[tuple[str, pa.ChunkedArray | pa.Array]]:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        kind = column.type
    if pa.types.is_struct(kind):
        flat = column.flatten()
        for field, values in zip(kind, flat, strict=True):
            yield from _parts(f"{name}_{field.name}", values)
    elif is_list(kind) and pa.types.is_struct(kind.value_type):
        yield from _struct_lists(name, column)
    elif is_list(kind) and is_list(kind.value_type):
        if name.strip().lower() == "ppi":
            yield from _ppi(name, column)
        else:
            yield name, _flat(name, column)
    else:
        yield name, column


def _flat(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Lists of one list as that list, lists of lists of one number as a list of those numbers."""
    if column.null_count:
        return column
    outer = large_lists(name, column)
    inner = outer.flatten()
    counts = pc.list_value_length(outer)
    if pc.all(pc.equal(counts, 1)).as_py():
        return inner
    if inner.null_count or not pc.all(pc.equal(pc.list_value_length(inner), 1)).as_py():
        return column
    return lists_of(pc.list_flatten(inner), counts.to_numpy(zero_copy_only=False))


def _struct_lists(name: str, column: pa.ChunkedArray) -> Iterator[tuple[str, pa.Array]]:
    lists = large_lists(name, column)
    items = lists.flatten()
    lengths = pc.list_value_length(lists).to_numpy()
    fields = [field.name for field in items.type]
    joy = set(fields) >= JOY
    for field, values in zip(fields, items.flatten(), strict=True):
        if joy and field == "dir" and pa.types.is_string(values.type):
            values = _arrows(name, values)
        inner = f"joy_{field}" if joy and field in JOY else field
        yield inner, lists_of(values, lengths)


def _arrows(name: str, values: pa.Array) -> pa.Array:
    """0 for joy's > (out, from the client) and 1 for < (in)."""
    known = pc.is_in(values, pa.array([">", "<"]))
    if not pc.all(known).as_py():
        wrong = values[pc.index(known, False).as_py()].as_py()
        raise InputError(f"column {name!r}: dir is {wrong!r}; it must be < or >")
    return pc.equal(values, "<").cast(pa.int8())


def _ppi(name: str, column: pa.ChunkedArray) -> Iterator[tuple[str, pa.Array]]:
    outer = large_lists(name, column)
    counts = pc.list_value_length(outer).to_numpy()
    wrong = (counts < 3) | (counts > 4)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"column {name!r} has {counts[row]} lists in row {row}; a PPI of CESNET has three or "
            "four: times between packets, directions, sizes, push flags"
        )
    items = outer.flatten()
    if not is_number(items.type.value_type):
        raise InputError(f"column {name!r} holds lists of {items.type}, not of lists of numbers")
    starts = np.cumsum(counts) - counts
    for k in range(3):
        yield f"ppi_{k}", one_array(items.take(pa.array(starts + k)))
