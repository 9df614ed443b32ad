"""Lists of packets that are lists of numbers themselves: `[[60, 1], [1500, -1]]`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Floats, Ints
from netdiffus.tables.columns.arrow import is_list, is_number, large_lists, lists_of
from netdiffus.tables.columns.names import meaning
from netdiffus.tables.points import LARGEST
from netdiffus.tables.report import Findings

MOST = 4  # numbers of a packet


@dataclass(frozen=True)
class _Packets:
    """Packets of all traces: int64 (N,) per trace, and float64 (P, C) their numbers."""

    lengths: Ints
    numbers: Floats


def named_by_values(table: pa.Table, findings: Findings) -> pa.Table:
    """The table with a list column for each number of a packet, if the values say which is what.

    Only where one column holds lists of lists, and no other is a list of numbers. A column of ±1 or
    of 0 and 1 is the direction, one of whole numbers the sizes, and one that never falls the times.
    """
    lists = [one for one in table.schema if is_list(one.type)]
    nested = [one.name for one in lists if _is_nested(one)]
    if len(nested) != 1 or any(is_number(one.type.value_type) for one in lists):
        return table
    name = nested[0]
    found = _packets(name, table[name])
    if found is None:
        return table
    roles = [_role(found, column) for column in found.numbers.T]
    if None in roles or len(set(roles)) < len(roles) or set(map(str, roles)) & _others(table, name):
        return table
    said = ", ".join(f"number {k} as {role}" for k, role in enumerate(roles))
    findings.mended.append(f"column {name!r}: of each packet {said}, by the values")
    table = table.drop_columns([name])
    for role, numbers in zip(roles, found.numbers.T, strict=True):
        whole = role != "timestamp"
        items = pa.array(numbers.astype(np.int64) if whole else np.ascontiguousarray(numbers))
        table = table.append_column(str(role), lists_of(items, found.lengths))
    return table


def _is_nested(field: pa.Field) -> bool:
    inner = field.type.value_type
    return is_list(inner) and is_number(inner.value_type) and meaning(field.name) is None


def _others(table: pa.Table, name: str) -> set[str]:
    return {one for one in table.column_names if one != name}


def _packets(name: str, column: pa.ChunkedArray) -> _Packets | None:
    """The packets, whether a list holds a packet or a channel; None if that cannot be said."""
    if column.null_count:
        return None
    outer = large_lists(name, column)
    inner = outer.flatten()
    numbers = pc.list_flatten(inner)
    if inner.null_count or numbers.null_count or not len(numbers):
        return None
    counts = pc.list_value_length(outer).to_numpy(zero_copy_only=False).astype(np.int64)
    widths = pc.list_value_length(inner).to_numpy(zero_copy_only=False).astype(np.int64)
    values = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
    of_packets, of_channels = _are_few(widths), _are_few(counts)
    if of_packets and not of_channels:
        return _Packets(counts, values.reshape(-1, widths[0]))
    if not of_channels or of_packets:
        return None
    rows = widths.reshape(-1, counts[0])
    if (rows != rows[:, :1]).any():
        return None
    ends = np.cumsum(rows[:, 0] * counts[0])[:-1]
    parts = [one.reshape(counts[0], -1).T for one in np.split(values, ends)]
    return _Packets(rows[:, 0].copy(), np.concatenate(parts))


def _are_few(counts: Ints) -> bool:
    return bool((counts == counts[0]).all() and 2 <= counts[0] <= MOST)


def _role(packets: _Packets, numbers: Floats) -> str | None:
    """The channel that these numbers are beyond doubt."""
    if not np.isfinite(numbers).all():
        return None
    if np.isin(numbers, (-1, 1)).all() or np.isin(numbers, (0, 1)).all():
        return "direction"
    if (numbers == np.floor(numbers)).all() and np.abs(numbers).max() <= LARGEST:
        return "packet_length"
    steps = np.diff(numbers, prepend=numbers[:1])
    filled = packets.lengths[packets.lengths > 0]
    steps[np.cumsum(filled) - filled] = 0
    return "timestamp" if numbers.min() >= 0 and (steps >= 0).all() else None
