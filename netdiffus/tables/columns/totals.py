"""Totals of flows that nfdump writes for the eye: `1.2 M` bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.tables.columns.arrow import is_list, is_text
from netdiffus.tables.columns.names import flow_table
from netdiffus.tables.report import Findings

_SCALED = r"^\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<scale>[KMGT]?)\s*$"
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def unscaled(table: pa.Table, findings: Findings) -> pa.Table:
    """The table with the totals of flows as numbers, where each cell of a text column is one."""
    flows = flow_table([one.name for one in table.schema if not is_list(one.type)])
    for name in flows[1] if flows else ():
        column = table[name]
        if not is_text(column.type):
            continue
        if not pc.all(pc.match_substring_regex(pc.fill_null(column, ""), _SCALED)).as_py():
            continue
        parts = pc.extract_regex(column.combine_chunks(), _SCALED)
        scales = [_SCALES[one] for one in pc.struct_field(parts, "scale").to_pylist()]
        numbers = pc.multiply(pc.struct_field(parts, "number").cast(pa.float64()), pa.array(scales))
        findings.mended.append(
            f"column {name!r}: rounded numbers with K, M, G or T were read as such "
            f"({sum(one > 1 for one in scales)} rows)"
        )
        table = table.set_column(table.column_names.index(name), name, numbers)
    return table
