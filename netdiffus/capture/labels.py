"""The class of each trace: from where its capture lies, from a CSV, or from a column."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from netdiffus.capture.files import Capture
from netdiffus.endpoints import NUMBERS, PROTOCOLS
from netdiffus.errors import InputError

Labeller = Callable[[pa.Table, Capture], pa.Array]

ENDS = ("src_ip", "src_port", "dst_ip", "dst_port")
CONDITIONS = (*ENDS, "protocol", "start", "end")


def labeller(label_from: str | Path | None) -> Labeller:
    """A function from (table of traces, their capture) to labels, null where there is none.

    Args:
        label_from: `dir`, the folder of the capture; `file`, its name up to the first dot, without
            a number at the end (`voip-042.pcap.gz` is `voip`); the path of a .csv; the name of a
            column of the traces, such as `protocol` or `server_port`; or None, for no classes.
    """
    if label_from is None:
        return lambda table, capture: _same("unlabelled", table)
    if label_from == "dir":
        return lambda table, capture: _same(capture.path.parent.name, table)
    if label_from == "file":
        return lambda table, capture: _same(file_label(capture.path), table)
    if Path(label_from).suffix == ".csv":
        return _from_csv(Path(label_from))
    return lambda table, capture: _from_column(str(label_from), table)


def file_label(path: Path) -> str:
    """The label in a file's name."""
    name = path.name.split(".")[0]
    return re.sub(r"[-_ #]*\d+$", "", name) or name


def _same(label: str, table: pa.Table) -> pa.Array:
    return pa.array([label] * table.num_rows, pa.string())


def _from_column(name: str, table: pa.Table) -> pa.Array:
    scalars = [field.name for field in table.schema if not pa.types.is_list(field.type)]
    if name not in scalars:
        raise InputError(
            f"label_from {name!r} is none of dir, file, a .csv, or a column: {', '.join(scalars)}"
        )
    return table[name].cast(pa.string()).combine_chunks()


def _from_csv(path: Path) -> Labeller:
    if not path.is_file():
        raise InputError(f"{path}: no such file of labels")
    try:
        with pa.csv.open_csv(path) as start:  # for the names: all columns are to be read as text
            names = start.schema.names
        as_text = pa.csv.ConvertOptions(column_types={name: pa.string() for name in names})
        table = pa.csv.read_csv(path, convert_options=as_text)
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a readable CSV: {error}") from None
    rows = [{k: v.strip() for k, v in row.items() if v} for row in table.to_pylist()]
    columns = set(table.column_names)
    if columns == {"file", "label"}:
        return _FileLabels(path, rows)
    if "label" in columns and columns & set(CONDITIONS) and columns <= {"label", *CONDITIONS}:
        return _FlowLabels(path, rows)
    raise InputError(
        f"{path}: columns are {', '.join(table.column_names)}; give file,label, or label and some "
        f"of {', '.join(CONDITIONS)}"
    )


class _FileLabels:
    """Labels by the name of the capture, or by its path from the folder of all captures."""

    def __init__(self, path: Path, rows: list[dict[str, str]]) -> None:
        self.path = path
        self.labels = {row.get("file"): row.get("label") for row in rows}

    def __call__(self, table: pa.Table, capture: Capture) -> pa.Array:
        label = self.labels.get(capture.name) or self.labels.get(capture.path.name)
        if label is None:
            raise InputError(f"{self.path}: no label for {capture.name}; add a row for it")
        return _same(label, table)


@dataclass(frozen=True)
class _Row:
    """One line of the CSV: its place, its label, and the time that it covers, ns since 1970."""

    number: int
    label: str
    start: int
    end: int


class _FlowLabels:
    """Labels by addresses, ports, protocol and time of the first packet; empty cells fit all.

    The two ends may stand either way round. Of several lines that fit, the first counts.
    """

    def __init__(self, path: Path, rows: list[dict[str, str]]) -> None:
        # Lines that fill the same cells are found by these cells' values, in one step.
        self.lines: dict[tuple[str, ...], dict[tuple[str, ...], list[_Row]]] = {}
        for number, row in enumerate(rows, 2):
            filled = tuple(name for name in (*ENDS, "protocol") if name in row)
            try:
                line = _Row(number, row["label"], *_range(row))
            except (KeyError, ValueError, InvalidOperation):
                raise InputError(
                    f"{path}, line {number}: give a label, and start and end as seconds since "
                    f"1970 or as ISO 8601; found {row}"
                ) from None
            try:
                values = tuple(_as_read(name, row[name]) for name in filled)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {error}; empty cells fit all") from None
            self.lines.setdefault(filled, {}).setdefault(values, []).append(line)

    def __call__(self, table: pa.Table, capture: Capture) -> pa.Array:
        if "server" not in table.column_names:
            raise InputError("labels by address and time are for flows: per='flow'")
        names = ("client", "client_port", "server", "server_port", "protocol", "start")
        flows = zip(*(table[name].to_pylist() for name in names), strict=True)
        return pa.array([self._label(*flow) for flow in flows], pa.string())

    def _label(self, a: str, a_port: int, b: str, b_port: int, proto: str, at: int) -> str | None:
        ways = (a, a_port, b, b_port), (b, b_port, a, a_port)
        fitting = [
            row
            for way in ways
            for filled, found in self.lines.items()
            for row in found.get(_values(filled, way, proto), ())
            if row.start <= at <= row.end
        ]
        return min(fitting, key=lambda row: row.number).label if fitting else None


def _as_read(name: str, cell: str) -> str:
    """A cell as the traces have it, so that they can be compared as text."""
    if name.endswith("_ip"):
        return _address(cell)
    if name == "protocol":
        number = NUMBERS.get(cell.lower())
        number = _whole(name, cell, 255) if number is None else number
        return PROTOCOLS.get(number, str(number))
    return str(_whole(name, cell, 65535))


def _address(cell: str) -> str:
    address = ip_address(cell)
    if not isinstance(address, IPv4Address):
        if address.ipv4_mapped is None:
            return socket.inet_ntop(socket.AF_INET6, address.packed)  # which the reader writes with
        address = address.ipv4_mapped
    return str(address)


def _whole(name: str, cell: str, most: int) -> int:
    """A number that programs may have written as a decimal one."""
    if re.fullmatch(r"[0-9]{1,5}(\.0*)?", cell) and (number := int(cell.partition(".")[0])) <= most:
        return number
    names = f"none of {', '.join(NUMBERS)} and " if name == "protocol" else ""
    raise ValueError(f"{name} is {cell!r}, {names}no number in 0..{most}")


def _values(filled: tuple[str, ...], way: tuple[Any, ...], protocol: str) -> tuple[str, ...]:
    flow = dict(zip((*ENDS, "protocol"), (*map(str, way), protocol), strict=True))
    return tuple(flow[name] for name in filled)


def _range(row: dict[str, str]) -> tuple[int, int]:
    return (
        _time(row["start"]) if "start" in row else -(2**63),
        _time(row["end"]) if "end" in row else 2**63,
    )


def _time(text: str) -> int:
    """Nanoseconds since 1970 from seconds, or from ISO 8601, UTC where it names no zone."""
    if re.fullmatch(r"-?\d+(\.\d*)?", text):
        return int(Decimal(text) * 10**9)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
