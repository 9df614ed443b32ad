"""JSON: lines of one trace each, a list of traces, and MIRAGE's flows by 5-tuple."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.tables.report import Findings


def read_json(data: pa.Buffer, findings: Findings) -> pa.Table:
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
    columns = [one for one in found.values() if isinstance(one, list)]
    if columns and "label" in found and isinstance(found["label"], list):
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return [found]


def _schema(rows: list[dict[str, Any]]) -> pa.Schema:
    """All names of all rows; `from_pylist` alone would take those of the first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.schema([(name, pa.array([row.get(name) for row in rows]).type) for name in names])
