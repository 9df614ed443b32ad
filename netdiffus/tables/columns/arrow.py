"""Columns of Arrow: what their types hold, as one array, and as lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.errors import InputError


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds a list per row."""
    tests = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(test(kind) for test in tests)


def is_number(kind: pa.DataType) -> bool:
    """Whether items of this type are numbers, truth values, durations or times."""
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_decimal,
        pa.types.is_duration,
        pa.types.is_timestamp,
        pa.types.is_time,
    )
    return any(test(kind) for test in tests)


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    return column


def joined_lists(held: list[pa.ChunkedArray | pa.Array]) -> pa.Array:
    """A list column as one array, in little more memory than the column takes.

    Args:
        held: The column alone, which is taken out of the list: if nobody else has it, the memory of
            each piece is free again as soon as it is copied.
    """
    column = held.pop()
    if not isinstance(column, pa.ChunkedArray) or not _can_be_copied(column):
        return one_array(column)
    kind, pieces = column.type.value_type, column.chunks
    lengths = pc.list_value_length(column).to_numpy()
    del column
    items, filled = np.empty(lengths.sum(), kind.to_pandas_dtype()), 0
    while pieces:
        own = pieces.pop(0).flatten()
        items[filled : filled + len(own)] = own.to_numpy()
        filled += len(own)
        release()
    return lists_of(pa.array(items), lengths)


def _can_be_copied(column: pa.ChunkedArray) -> bool:
    """Whether it is lists of plain numbers, of which none is missing, in several pieces."""
    kind = column.type
    if column.num_chunks < 2 or not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    if not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        return False
    return not any(piece.null_count or piece.flatten().null_count for piece in column.chunks)


def release() -> None:
    """Gives the memory back that Arrow keeps for what it no longer holds."""
    pa.default_memory_pool().release_unused()


def large_lists(name: str, column: pa.ChunkedArray | pa.Array) -> pa.LargeListArray:
    """A list column of any kind as large lists.

    Raises:
        InputError: A row has no list.
    """
    array = one_array(column)
    if array.null_count:
        row = pc.index(pc.is_null(array), True).as_py()
        raise InputError(f"column {name!r} has no list in row {row}; remove the row")
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        # Arrow 26 casts views to lists with wrong offsets.
        counts = pc.list_value_length(array).to_numpy(zero_copy_only=False)
        return lists_of(pc.list_flatten(array), counts)
    return array.cast(pa.large_list(array.type.value_type))


def lists_of(items: pa.Array, lengths: npt.NDArray[Any]) -> pa.LargeListArray:
    """Lists of so many items each."""
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return pa.LargeListArray.from_arrays(offsets, items)


def said(cell: pa.Scalar) -> str:
    """A cell in a message; Python has no times before the year 1 or after 9999."""
    try:
        return repr(cell.as_py())
    except (OverflowError, ValueError):
        return f"a {cell.type} out of range"
