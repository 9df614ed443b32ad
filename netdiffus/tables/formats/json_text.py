"""JSON: lines of one trace each, a list of traces, and MIRAGE's flows by 5-tuple."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.tables.columns.names import is_label, meaning
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


def read_json(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
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
        if _is_header(found):
            findings.mended.append("the first line, which is no trace, was left out")
            del found[0]
    found = _by_class(found, options, findings)
    rows = _flows(_rows(found, findings), findings)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            "no traces: each must be an object such as "
            '{"label": "web", "packet_length": [60, 1500], "direction": [1, -1]}'
        )
    if any("layers" in (row.get("_source") or row) for row in rows[:2]):
        raise InputError(
            "this is JSON of tshark: run `netdiffus import` on the capture itself, or have tshark "
            "write columns: -T fields -E header=y -E separator=, -e tcp.stream -e ip.src "
            "-e frame.time_epoch -e frame.len, which --flow-column tcp.stream reads"
        )
    return pa.Table.from_pylist(rows, schema=_schema(rows))


def _by_class(found: Any, options: ReadOptions, findings: Findings) -> Any:
    """Traces, if the object maps names of classes to lists of numbers; else the object."""
    series = isinstance(found, dict) and len(found) > 1 and all(map(_are_series, found.values()))
    if not series or any(is_label(name) or meaning(name) for name in found):
        return found
    channels = options.channels or ()
    if len(channels) != 1:
        raise InputError(
            "lists of numbers by class: say what the numbers are: channels=… (--channels), such as "
            "packet_length, direction, timestamp, iat or value"
        )
    findings.mended.append("the class of a trace is the name that its list has in the file")
    return [{"label": name, channels[0]: one} for name, rows in found.items() for one in rows]


def _are_series(found: Any) -> bool:
    return _are_lists(found) and all(
        isinstance(item, int | float) for one in found for item in one[:1]
    )


def _line(number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"line {number}: no JSON: {error}") from None


def _is_header(found: list[Any]) -> bool:
    """Whether the first line says how the others were made, as joy's does: it has no list."""
    first, others = found[0], found[1:]
    if not others or not all(isinstance(one, dict) for one in found):
        return False
    lists = [{name for name, cell in one.items() if isinstance(cell, list)} for one in found]
    return not lists[0] and all(lists[1:]) and not any(set(first) & set(one) for one in others)


def _rows(found: Any, findings: Findings) -> list[Any]:
    if isinstance(found, list):
        return [_source(row) for row in found]
    if not isinstance(found, dict):
        return []
    hits = found.get("hits")
    if isinstance(hits, dict) and _is_rows(hits.get("hits")):  # Elasticsearch
        return [_source(row) for row in hits["hits"]]
    if _is_rows(found.get("meta")) and _are_lists(found.get("data")):  # ClickHouse, JSONCompact
        names = [one.get("name") for one in found["meta"]]
        return [dict(zip(names, row, strict=True)) for row in found["data"]]
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


def _flows(rows: list[Any], findings: Findings) -> list[Any]:
    """Of the events of Suricata the flows; other rows as they are."""
    kinds = [row.get("event_type") if isinstance(row, dict) else None for row in rows]
    flows = [row for row, kind in zip(rows, kinds, strict=True) if kind == "flow"]
    if not flows or None in kinds or len(flows) == len(rows):
        return rows
    findings.mended.append(f"{len(rows) - len(flows)} events that are no flows were left out")
    return flows


def _source(row: Any) -> Any:
    """Of a document of Elasticsearch what it holds; other rows as they are."""
    inside = row.get("_source") if isinstance(row, dict) and "_index" in row else None
    return inside if isinstance(inside, dict) else row


def _are_lists(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, list) for one in found)


def _is_rows(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, dict) for one in found)


def _has_label(rows: list[dict[str, Any]]) -> bool:
    return any(is_label(name) for name in rows[0])


def _schema(rows: list[dict[str, Any]]) -> pa.Schema:
    """All names of all rows; `from_pylist` alone would take those of the first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.schema([(name, _type(name, rows)) for name in names])


def _type(name: str, rows: list[dict[str, Any]]) -> pa.DataType:
    try:
        return pa.array([row.get(name) for row in rows]).type
    except (pa.ArrowException, OverflowError) as error:
        raise InputError(
            f"column {name!r} does not hold values of one kind in all traces: {error}"
        ) from None
