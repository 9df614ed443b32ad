"""Files that hold the packets of one trace each, a row per packet, with or without a header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from netdiffus.arrays import Floats
from netdiffus.errors import InputError
from netdiffus.files import without_number
from netdiffus.tables.columns.arrow import is_number, one_array
from netdiffus.tables.columns.names import is_label, meaning
from netdiffus.tables.formats.header import headless
from netdiffus.tables.options import FILE, ReadOptions
from netdiffus.tables.report import Findings

LARGEST = 65_535  # bytes of an IP packet
SINCE_1970 = 1e8  # larger numbers are times since then, in whatever unit
ROUNDED = 1e-3  # seconds between a time since the first packet and the one since 1970 beside it
_SUFFIX = re.compile(
    r"(?:\.(?:csv|tsv|txt|log|dat|cell|jsonl?|ndjson|parquet|pq|feather|arrow|arff|np[yz]))?"
    r"(?:\.(?:gz|gzip|bz2|xz|zst|lz4|zip))?$",
    re.IGNORECASE,
)


def of_files(options: ReadOptions, files: int, start: bytes) -> ReadOptions:
    """The options by which each of several files without a header is one trace."""
    unsaid = options.by is None and options.channels is None
    return replace(options, by=FILE) if unsaid and files > 1 and headless(start) else options


def with_names(
    paths: Sequence[Path], tables: list[pa.Table], options: ReadOptions, findings: Findings
) -> list[pa.Table]:
    """Tables with what the names of their files say: the trace, if `by` is `file`, and the class.

    Each file of a folder is one trace, too, if all its columns are those of channels.

    Raises:
        InputError: There is no header, and the values do not say which column is what.
    """
    by_file = options.by == FILE and FILE not in tables[0].column_names
    if options.label_column == FILE:
        classes = map(_class_of, paths)
        tables = [_with(one, FILE, name) for one, name in zip(tables, classes, strict=True)]
    if by_file or _are_packets(tables, options):
        if _numbered(tables[0]) and not options.columns and options.channels is None:
            tables = _named(paths[0], tables, findings)
        findings.by = "trace_id"
        findings.mended.append(f"each of the {len(paths)} files was read as one trace")
        if "trace_id" in tables[0].column_names:
            tables = [one.drop_columns(["trace_id"]) for one in tables]
        names = map(str, paths)
        tables = [_with(one, "trace_id", name) for one, name in zip(tables, names, strict=True)]
    return tables


def _with(table: pa.Table, name: str, value: str) -> pa.Table:
    if name in table.column_names:
        return table
    return table.append_column(name, pa.repeat(pa.scalar(value), table.num_rows))


def _class_of(path: Path) -> str:
    """The class in a file's name: `web-12.csv` is of `web`."""
    return without_number(_SUFFIX.sub("", path.name) or path.name)


def _are_packets(tables: list[pa.Table], options: ReadOptions) -> bool:
    """Whether several files have columns of single numbers of channels, and no other but a class.

    Nothing tells traces apart in them, so each is one.
    """
    fields = [field for field in tables[0].schema if field.name != FILE]
    channels = [one for one in fields if meaning(options.columns.get(one.name, one.name))]
    rest = [field.name for field in fields if field not in channels]
    return (
        options.by is None
        and options.channels is None
        and len(tables) > 1
        and len(channels) > 1
        and all(is_number(field.type) for field in channels)
        and all(is_label(name) or name == options.label_column for name in rest)
    )


def _numbered(table: pa.Table) -> bool:
    """Whether the columns have numbers for names, as there is no header."""
    return not set(map(str, range(table.num_columns - 1))) - set(table.column_names)


def _named(path: Path, tables: list[pa.Table], findings: Findings) -> list[pa.Table]:
    """Tables without a header, whose columns are named by their values."""
    places = [name for name in tables[0].column_names if name.isdecimal()]
    roles = {place: _role([one[place] for one in tables]) for place in places}
    _drop_twin(roles, tables)
    found = {place: role for place, role in roles.items() if role}
    if None in roles.values() or len(set(found.values())) < max(2, len(found)):
        row = ", ".join(str(tables[0][place][0]) for place in places)
        raise InputError(
            f"{path}: no names of columns, and the values do not say which is what ({row}); name "
            "them by their numbers: columns={'0': 'timestamp'} (--columns 0=timestamp); if "
            "each line is a class and then a series, name that: channels=… (--channels value)"
        )
    said = ", ".join(f"{place} as {role}" for place, role in found.items())
    findings.mended.append(
        f"no header: column {said}, by the values; --columns 0=NAME says otherwise"
    )
    return [
        one.drop_columns([place for place in places if place not in found]).rename_columns(
            [found.get(name, name) for name in one.column_names if roles.get(name) != ""]
        )
        for one in tables
    ]


def _role(columns: list[pa.ChunkedArray]) -> str | None:
    """The channel that a column is beyond doubt; nothing for the numbers of the packets."""
    if not all(is_number(one.type) and not one.null_count for one in columns):
        return None
    parts = [_floats(one) for one in columns]
    values = np.concatenate(parts)
    if np.isin(values, (-1, 1)).all() or np.isin(values, (0, 1)).all():
        return "direction"
    if all(one[0] in (0, 1) and (np.diff(one) == 1).all() for one in parts):
        return ""
    if (values == np.floor(values)).all() and np.abs(values).max() <= LARGEST:
        return "packet_length"
    in_seconds = (values != np.floor(values)).any() or values.min() > SINCE_1970
    return "timestamp" if in_seconds and all((np.diff(one) >= 0).all() for one in parts) else None


def _drop_twin(roles: dict[str, str | None], tables: list[pa.Table]) -> None:
    """Of times since 1970 and since the first packet only the latter, which have more digits."""
    times = [place for place, role in roles.items() if role == "timestamp"]
    if len(times) != 2:
        return
    pairs = [[_floats(one[place]) for place in times] for one in tables]
    for k in (0, 1):
        if all(np.allclose(p[k] - p[k][0], p[1 - k], 0, ROUNDED) for p in pairs):
            roles[times[k]] = ""


def _floats(column: pa.ChunkedArray) -> Floats:
    found: Floats = one_array(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found
