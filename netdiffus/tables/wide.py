"""Tables in which each point of a series has a column of its own: t0, t1, t2."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from netdiffus.tables.columns.numbers import is_list, is_number, one_array
from netdiffus.tables.formats.arrays import arrays_table
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


def gather_wide(table: pa.Table, label: str, options: ReadOptions, findings: Findings) -> pa.Table:
    """A table with one list column, of one with numbered columns and one channel asked for.

    Any other table is returned unchanged.
    """
    names = _series(table)
    if not names or options.channels is None or len(options.channels) != 1:
        return table
    if options.channels[0] in table.column_names:
        return table
    values = np.column_stack(
        [one_array(table[name]).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names]
    )
    whole = all(pa.types.is_integer(table.schema.field(name).type) for name in names)
    lists = arrays_table(
        values.astype(np.int64) if whole and not np.isnan(values).any() else values,
        np.zeros(len(values), np.int8),
        options.channels,
        findings,
    ).drop_columns(["label"])
    findings.mended.append(
        f"columns {names[0]!r} to {names[-1]!r} were read as the points of one series"
    )
    kept = table.drop_columns(names)
    for name in lists.column_names:
        kept = kept.append_column(name, lists[name])
    return kept


def _series(table: pa.Table) -> list[str]:
    """Columns of numbers with one name and the numbers 0, 1, 2 … or 1, 2, 3 …, in this order."""
    if any(is_list(field.type) for field in table.schema):
        return []
    found: dict[str, dict[int, str]] = {}
    for field in table.schema:
        parts = re.fullmatch(r"(.*?)([0-9]{1,7})", field.name)
        if parts and is_number(field.type):
            found.setdefault(parts[1], {})[int(parts[2])] = field.name
    if not found:
        return []
    longest = max(found.values(), key=len)
    numbers = sorted(longest)
    if len(numbers) < 2 or numbers[0] > 1 or numbers[-1] - numbers[0] != len(numbers) - 1:
        return []
    return [longest[k] for k in numbers]
