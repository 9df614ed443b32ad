"""Tables in which each point of a series has a column of its own: t0, t1, t2."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from netdiffus.arrays import Floats
from netdiffus.tables.columns.arrow import is_list, is_number, one_array
from netdiffus.tables.columns.names import channel_named, is_called
from netdiffus.tables.formats.arrays import arrays_table
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


def gather_wide(table: pa.Table, label: str, options: ReadOptions, findings: Findings) -> pa.Table:
    """A table with list columns, of one with numbered columns.

    They are those with the names of channels, as `packet_length_1`, or the only ones, where one
    channel is asked for. Any other table is returned unchanged.
    """
    if any(is_list(field.type) for field in table.schema):
        return table
    found = _series(table.drop_columns([label]))
    known = {stem: names for stem, names in found.items() if _is_channel(stem, options)}
    if known:
        longest = max(map(len, known.values()))
        known = {stem: names for stem, names in known.items() if len(names) == longest}
        return _gathered(table, known, findings)
    if not found or options.channels is None or len(options.channels) != 1:
        return table
    if options.channels[0] in table.column_names:
        return table
    return _gathered(table, {options.channels[0]: max(found.values(), key=len)}, findings)


def _is_channel(stem: str, options: ReadOptions) -> bool:
    if options.channels is None:
        return channel_named(stem) is not None
    return is_called(stem, options.channels)


def _gathered(table: pa.Table, series: dict[str, list[str]], findings: Findings) -> pa.Table:
    cube = np.stack([_values(table, names) for names in series.values()], axis=2)
    whole = all(
        pa.types.is_integer(table.schema.field(name).type)
        for names in series.values()
        for name in names
    )
    if whole and not np.isnan(cube).any():
        cube = cube.astype(np.int64)
    y = np.zeros(len(cube), np.int8)
    lists = arrays_table(cube, y, list(series), findings, channels_last=True)
    lists = lists.drop_columns(["label"])
    for stem, names in series.items():
        findings.mended.append(
            f"columns {names[0]!r} to {names[-1]!r} were read as the points of one series"
            + (f", {stem}" if len(series) > 1 else "")
        )
        table = table.drop_columns(names)
    for name in lists.column_names:
        table = table.append_column(name, lists[name])
    return table


def _values(table: pa.Table, names: Sequence[str]) -> Floats:
    """(N, L), NaN in empty cells."""
    columns = [one_array(table[name]).cast(pa.float64()) for name in names]
    return np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])


def _series(table: pa.Table) -> dict[str, list[str]]:
    """Columns of numbers with one name and the numbers 0, 1, 2 … or 1, 2, 3 …, in this order."""
    found: dict[str, dict[int, str]] = {}
    for field in table.schema:
        parts = re.fullmatch(r"(.*?)[ _.-]?([0-9]{1,7})([ _.-][^\W0-9]+)?", field.name)
        if parts and is_number(field.type):
            stem = parts[1] + (parts[3] or "")  # iat_1_ms, pkt1_size
            found.setdefault(stem, {})[int(parts[2])] = field.name
    return {
        stem: [numbered[k] for k in sorted(numbered)]
        for stem, numbered in found.items()
        if len(numbered) >= 2
        and min(numbered) <= 1
        and max(numbered) - min(numbered) == len(numbered) - 1
    }
