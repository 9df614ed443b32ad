"""The class of each trace: from where its capture lies, from a list, or from a column."""

from __future__ import annotations

import os
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

from netdiffus.capture.files.finding import Capture, legible
from netdiffus.capture.label_lists import ENDS, SUFFIXES, LabelList, read_label_list
from netdiffus.errors import InputError
from netdiffus.files import without_number
from netdiffus.protocols import NUMBERS, PROTOCOLS

NONE = "unlabelled"
NEAR_NS = 120 * 10**9  # how far a time of another program may be from that of the first packet
NUMBER = r"\d{1,25}(\.\d{0,25})?"  # not of a million digits, which Decimal cannot multiply
FORMATS = ("%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y %I:%M %p")


# Of captures, also of those that tcpdump -C numbers, and of what packs them.
_PACKED = r"(?:\.(?:gz|zst|xz|bz2|lz4|zip|tar|tgz|txz))"
_SUFFIXES = re.compile(
    rf"(?:\.(?:pcap|pcapng|cap|ntar|dmp|dump|snoop|trace)\d*)?{_PACKED}*$", re.IGNORECASE
)


@dataclass
class Labeller:
    """A function from (table of traces, their capture) to labels, null where there is none.

    Attributes:
        label: The function.
        hints: What is to be said once the captures have been read.
        unused: What is to be said besides if they were all of them.
    """

    label: Callable[[pa.Table, Capture], pa.Array]
    hints: Callable[[], list[str]] = list
    unused: Callable[[], list[str]] = list

    def __call__(self, table: pa.Table, capture: Capture) -> pa.Array:
        """The labels."""
        return self.label(table, capture)


def labeller(label_from: str | Path | None) -> Labeller:
    """How traces get their labels.

    Args:
        label_from: `dir`, the folder below the one that was given; `file`, the capture's name up to
            its suffix, without a number at the end (`voip-042.pcap.gz` is `voip`); `=NAME`, that
            name for all; the path of a list of labels; the name of a column of the traces, such as
            `protocol` or `server_port`; or None or `none`, for no classes.
    """
    if label_from is None or label_from == "none":
        return Labeller(lambda table, capture: _same(NONE, table))
    if label_from == "dir":
        return Labeller(lambda table, capture: _same(capture.folder or NONE, table))
    if label_from == "file":
        return Labeller(lambda table, capture: _same(file_label(capture.shown), table))
    if str(label_from).startswith("=") and len(str(label_from)) > 1:
        return Labeller(lambda table, capture: _same(str(label_from)[1:], table))
    path = Path(label_from)
    if path.suffix.lower() in SUFFIXES or path.is_file():
        return _from_list(path)
    return Labeller(lambda table, capture: _from_column(str(label_from), table))


def file_label(path: str | Path) -> str:
    """The label in a file's name."""
    name = os.path.basename(path)
    name = _SUFFIXES.sub("", name) or name
    return without_number(name)


def _same(label: str, table: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(label, pa.string()), table.num_rows)


def _from_column(name: str, table: pa.Table) -> pa.Array:
    scalars = [field.name for field in table.schema if not pa.types.is_list(field.type)]
    if name not in scalars:
        raise InputError(
            f"label_from {name!r} is none of dir, file, a .csv, or a column: {', '.join(scalars)}. "
            f"For one class of all write ={name}, for none: none"
        )
    return table[name].cast(pa.string()).combine_chunks()


def _from_list(path: Path) -> Labeller:
    found = read_label_list(path)
    if found.columns & {*ENDS, "protocol", "start", "end"}:
        flows = _FlowLabels(found)
        return Labeller(flows, lambda: found.said + flows.hints())
    files = _FileLabels(found)
    return Labeller(files, lambda: found.said + files.hints(), files.unused)


def _names(capture: Capture) -> list[str]:
    """What a list may call a capture, or else its archive: the path from any folder on."""
    archive = legible(os.path.abspath(capture.path))
    whole = f"{archive}/{capture.part}" if capture.part else archive
    names = [capture.name]
    for path in dict.fromkeys((whole, archive)):
        folders = path.split("/")
        names += ["/".join(folders[i:]) for i in range(len(folders))]
    names += [re.sub(r"\.(gz|zst|xz|bz2|zip)$", "", name) for name in names]
    return list(dict.fromkeys(names + [_SUFFIXES.sub("", name) for name in names]))


class _FileLabels:
    """Labels by the name of the capture, or by its path."""

    def __init__(self, found: LabelList) -> None:
        self.path = found.path
        self.labels: dict[str, str] = {}
        self.used: set[str] = set()
        self.moved: set[str] = set()
        self.by_name: dict[str, set[str]] = {}
        for number, row in found.rows:
            name = row.get("file", "").replace("\\", "/").removeprefix("./")
            label = row.get("label", "")
            self.by_name.setdefault(name.rpartition("/")[2], set()).add(name)
            if label and self.labels.setdefault(name, label) != label:
                raise InputError(
                    f"{found.path}, line {number}: {name} is {label!r} here and "
                    f"{self.labels[name]!r} above; leave one of the lines out"
                )

    def __call__(self, table: pa.Table, capture: Capture) -> pa.Array:
        called = _names(capture)
        name = next((one for one in called if one in self.labels), None) or self._moved(called)
        if name is None:
            such = f", such as {next(iter(self.labels))}" if self.labels else ""
            raise InputError(
                f"{self.path}: no label for {capture.name}; add a row for it. It has "
                f"{len(self.labels)} files with a label{such}"
            )
        self.used.add(name)
        return _same(self.labels[name], table)

    def _moved(self, called: list[str]) -> str | None:
        """The only file of the list with this name, if it lies in a folder that is not here."""
        found = {path for one in called for path in self.by_name.get(one, ())}
        self.moved |= found if len(found) == 1 else set()
        return found.pop() if len(found) == 1 else None

    def hints(self) -> list[str]:
        """What is to be said of files whose folders are not those of the list."""
        if not self.moved:
            return []
        return [
            f"{self.path}: {len(self.moved)} files were found by their names alone, as their "
            f"folders differ from those of the list, such as {min(self.moved)}"
        ]

    def unused(self) -> list[str]:
        """What is to be said of files of the list that were not read."""
        unused = [name for name in self.labels if name not in self.used]
        if not unused:
            return []
        return [
            f"{self.path}: {len(unused)} of {len(self.labels)} files of the list are none of the "
            f"captures that have traces, such as {unused[0]}"
        ]


@dataclass(frozen=True)
class _Row:
    """One line: its place, label and capture, and the time that it covers, ns since 1970."""

    number: int
    label: str
    filled: tuple[str, ...]
    file: str | None
    start: int
    end: int
    time: int | None  # about when the flow began, by another program's clock


class _FlowLabels:
    """Labels by addresses, ports, protocol and time of the first packet; empty cells fit all.

    The two ends may stand either way round. Of several lines that fit, the first counts. A time by
    another name than start and end, as other programs write it, decides only where lines of the
    same ends differ in their labels: it may be of another time zone.
    """

    def __init__(self, found: LabelList) -> None:
        self.path = found.path
        # Lines that fill the same cells are found by these cells' values, in one step.
        self.lines: dict[tuple[str, ...], dict[tuple[str, ...], list[_Row]]] = {}
        self.torn = 0  # flows whose lines differ, at times that are not theirs
        self.contradicted = 0  # flows whose lines differ and say no time
        read_time = _reader_of_times([row["time"] for _, row in found.rows if "time" in row])
        for number, row in found.rows:
            filled = tuple(name for name in (*ENDS, "protocol") if name in row)
            try:
                time = read_time(row["time"]) if "time" in row else None
                line = _Row(number, row["label"], tuple(row), row.get("file"), *_range(row), time)
            except (KeyError, ValueError, InvalidOperation):
                raise InputError(
                    f"{found.path}, line {number}: give a label, and start and end as seconds "
                    f"since 1970 or as ISO 8601; found {row}"
                ) from None
            try:
                values = tuple(_as_read(name, row[name]) for name in filled)
            except ValueError as error:
                raise InputError(
                    f"{found.path}, line {number}: {error}; empty cells fit all"
                ) from None
            self.lines.setdefault(filled, {}).setdefault(values, []).append(line)

    def __call__(self, table: pa.Table, capture: Capture) -> pa.Array:
        if "server" not in table.column_names:
            raise InputError("labels by address and time are for flows: per='flow'")
        names = ("client", "client_port", "server", "server_port", "protocol", "start")
        flows = zip(*(table[name].to_pylist() for name in names), strict=True)
        files = {None, *_names(capture)}
        return pa.array([self._label(files, *flow) for flow in flows], pa.string())

    def hints(self) -> list[str]:
        """What is to be said of flows without a label."""
        first = (
            f"{self.path}: {self.contradicted} flows fit lines of several labels, of which the "
            "first counted; give start and end to tell the lines apart"
        )
        found = [first] if self.contradicted else []
        if not self.torn:
            return found
        return [
            *found,
            f"{self.path}: {self.torn} flows have no label, as lines with their ends differ in "
            "label, and none is at their time; are its times of another time zone? Give start and "
            "end as seconds since 1970",
        ]

    def _label(
        self, files: set[str | None], a: str, a_port: int, b: str, b_port: int, proto: str, at: int
    ) -> str | None:
        ways = (a, a_port, b, b_port), (b, b_port, a, a_port)
        fitting = [
            row
            for way in ways
            for filled, found in self.lines.items()
            for row in found.get(_values(filled, way, proto), ())
            if row.start <= at <= row.end and row.file in files
        ]
        if len({row.label for row in fitting}) > 1 and any(row.time is not None for row in fitting):
            fitting = [row for row in fitting if row.time is None or abs(row.time - at) <= NEAR_NS]
            self.torn += not fitting
            fitting.sort(key=lambda row: abs((row.time or at) - at) // 10**9)
            return fitting[0].label if fitting else None
        first = min(fitting, key=lambda row: row.number, default=None)
        # Lines that leave cells empty may be meant for what others do not fit.
        alike = [row.label for row in fitting if first and row.filled == first.filled]
        self.contradicted += len(set(alike)) > 1
        return first.label if first else None


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
    if re.fullmatch(rf"-?{NUMBER}", text):
        return int(Decimal(text) * 10**9)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000


def _reader_of_times(cells: list[str]) -> Callable[[str], int]:
    """How all of these times are read: numbers by their size, ISO 8601, or day before month.

    Where some day is above 12 in the month's place, the month comes first.
    """
    for form in (None, *FORMATS, *(form.replace("%d/%m", "%m/%d") for form in FORMATS)):
        try:
            for cell in cells:
                _moment(cell, form)
        except (ValueError, InvalidOperation):
            continue
        return lambda cell, form=form: _moment(cell, form)  # type: ignore[misc]
    return _time  # which raises where the line is known


def _moment(cell: str, form: str | None) -> int:
    if form is not None:
        moment = datetime.strptime(cell, form).replace(tzinfo=timezone.utc)
        return int(moment.timestamp()) * 10**9
    if not re.fullmatch(NUMBER, cell):
        return _time(cell)
    digits = len(cell.partition(".")[0])  # of s, ms, µs or ns since 1970
    return int(Decimal(cell) * 10 ** max(0, 9 - max(0, digits - 10)))
