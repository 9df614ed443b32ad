"""Arrow list columns as flat numbers, exact in float64 or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Ints
from netdiffus.errors import InputError
from netdiffus.tables.columns.arrow import is_number, is_text, joined_lists, large_lists
from netdiffus.tables.columns.directions import from_words
from netdiffus.tables.columns.names import PER_SECOND

EXACT = 2**53  # float64 holds every whole number up to this one


@dataclass(frozen=True)
class Flat:
    """The numbers of one list column.

    Attributes:
        lengths: int64 (N,), how many each row has.
        values: float64, or int64 where the numbers are whole or times.
        kind: Arrow's type of the items.
        per_second: Units in a second, where the type says so: of timestamps and durations.
    """

    lengths: Ints
    values: npt.NDArray[Any]
    kind: pa.DataType
    per_second: float | None = None


def flatten(
    name: str,
    held: list[pa.ChunkedArray | pa.Array],
    *,
    exact: bool = True,
    first_may_miss: bool = False,
) -> Flat:
    """The numbers of a list column.

    Args:
        name: The column's name, for errors.
        held: The column alone, lists of any kind of numbers, or of texts that are numbers. It is
            taken out of the list, as by `joined_lists`.
        exact: Whether whole numbers that float64 cannot hold are refused; times are not, as only
            their differences are kept.
        first_may_miss: Whether the first number of a row may be missing; it is then NaN.

    Raises:
        InputError: Names the column, the row and the point.
    """
    lists = large_lists(name, joined_lists(held))
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    items = lists.flatten()
    if items.null_count and is_number(items.type) and _are_padding(items, lengths):
        items = pc.fill_null(items.cast(pa.float64()), np.nan)  # padding, as NaN is
    if items.null_count and not (first_may_miss and _only_first_are_null(items, lengths)):
        row, point = position(lengths, pc.index(pc.is_null(items), True).as_py())
        raise InputError(
            f"column {name!r} has a missing value in row {row} at point {point}; "
            "remove the row, or fill the value"
        )
    items, kind, per_second = _plain(name, items)
    values = items.to_numpy(zero_copy_only=False)
    if exact and pa.types.is_integer(kind):
        _check_exact(name, values, lengths)
    if values.dtype.kind == "u" and exact:
        values = values.astype(np.int64)
    return Flat(lengths, values, kind, per_second)


def _only_first_are_null(items: pa.Array, lengths: Ints) -> bool:
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    return bool(items.take(pa.array(starts)).null_count == items.null_count)


def _are_padding(items: pa.Array, lengths: Ints) -> bool:
    """Whether nulls are only at the ends of lists, which all have them or are equally long."""
    missing = items.is_null().to_numpy(zero_copy_only=False)
    last = np.cumsum(lengths)[lengths > 0] - 1
    is_last = np.zeros(len(missing), bool)
    is_last[last] = True
    is_rectangle = lengths.min() == lengths.max()
    at_ends = not (missing[:-1] & ~missing[1:] & ~is_last[:-1]).any()
    return bool(at_ends and (is_rectangle or missing[last].all()))


def position(lengths: Ints, item: int) -> tuple[int, int]:
    """Row and point of the item of this number."""
    ends = np.cumsum(lengths)
    row = int(np.searchsorted(ends, item, side="right"))
    return row, int(item - (ends[row] - lengths[row]))


def _plain(name: str, items: pa.Array) -> tuple[pa.Array, pa.DataType, float | None]:
    """Items as integers or float64, their type, and units per second if the type says so."""
    kind = items.type
    if pa.types.is_dictionary(kind):
        items, kind = items.dictionary_decode(), kind.value_type
    if is_text(kind):
        words = from_words(items)
        if words is not None:
            return words, pa.int8(), None
        try:
            items = items.cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise InputError(
                f"column {name!r} holds lists of {kind}, not of numbers: {error}"
            ) from None
        return items, pa.float64(), None
    if pa.types.is_time32(kind):
        items = items.cast(pa.int32())
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        return items.cast(pa.int64()), kind, PER_SECOND[kind.unit]
    if pa.types.is_boolean(kind):
        return items.cast(pa.int8()), kind, None
    if pa.types.is_decimal(kind):
        return items.cast(pa.float64()), pa.float64(), None
    if pa.types.is_floating(kind):
        return items.cast(pa.float64()), kind, None
    if pa.types.is_integer(kind):
        return items, kind, None
    raise InputError(f"column {name!r} holds lists of {kind}, not of numbers")


def _check_exact(name: str, values: npt.NDArray[Any], lengths: Ints) -> None:
    if values.dtype.itemsize < 8:
        return
    large = (values > EXACT) | (values < -EXACT if values.dtype.kind == "i" else False)
    if large.any():
        item = int(np.argmax(large))
        row, point = position(lengths, item)
        raise InputError(
            f"column {name!r} has {values[item]} in row {row} at point {point}: whole numbers "
            "beyond 2**53 cannot be kept exactly; subtract an offset, choose a larger unit, or "
            "leave the column out (--channels)"
        )
