"""JSON: lines of one trace each, a list of traces, and MIRAGE's flows by 5-tuple."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.tables.columns.names import is_label
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


def read_json(data: pa.Buffer, _: ReadOptions, findings: Findings) -> pa.Table:
    """The table in a JSON file.

    Raises:
        InputError: It is no JSON, or holds no traces.
    """
    findings.form = "JSON"
    text = data.to_pybytes()
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise InputError(f"no JSON: {error}") from None
        findings.form = "JSON lines"
        found = [_line(k, line) for k, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows = _rows(found, findings)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            "no traces: each must be an object such as "
            '{"label": "web", "packet_length": [60, 1500], "direction": [1, -1]}'
        )
    return pa.Table.from_pylist(rows, schema=_schema(rows))


def _line(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"line {number}: no JSON: {error}") from None


def _rows(found: Any, findings: Findings) -> list[Any]:
    if isinstance(found, list):
        return found
    if not isinstance(found, dict):
        return []
    if all(isinstance(one, dict) and "packet_data" in one for one in found.values()):
        findings.form = "JSON of MIRAGE"
        return [{"trace_id": name, **one} for name, one in found.items()]
    if set(found) >= {"columns", "data"}:  # pandas, orient="split"
        return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]
    cells = list(found.values())
    if cells and all(isinstance(one, dict) for one in cells):
        if any(is_label(name) for name in found):  # pandas: column, row, cell
            return [{name: found[name].get(row) for name in found} for row in cells[0]]
        if all(any(is_label(name) for name in one) for one in cells):  # row, column, cell
            return cells
    if any(is_label(name) and isinstance(one, list) for name, one in found.items()):
        return [dict(zip(found, row, strict=True)) for row in zip(*cells, strict=True)]
    tables = {name: one for name, one in found.items() if _is_rows(one)}
    if tables and len(tables) == len(found) and not any(_has_label(one) for one in tables.values()):
        findings.mended.append("the class of a trace is the name that its list has in the file")
        return [{"label": name, **row} for name, rows in tables.items() for row in rows]
    inside = [one for one in tables.values() if _has_label(one)]
    return inside[0] if len(inside) == 1 else [found]


def _is_rows(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, dict) for one in found)


def _has_label(rows: list[dict[str, Any]]) -> bool:
    return any(is_label(name) for name in rows[0])


def _schema(rows: list[dict[str, Any]]) -> pa.Schema:
    """All names of all rows; `from_pylist` alone would take those of the first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.schema([(name, pa.array([row.get(name) for row in rows]).type) for name in names])
