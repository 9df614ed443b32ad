"""CSV and its kin: separator, encoding and decimal sign are found, cells with lists parsed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from netdiffus.channels import KINDS
from netdiffus.errors import InputError
from netdiffus.tables.columns import cells
from netdiffus.tables.columns.names import LABELS, meaning
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Names and numbers of things are text even where they look like numbers ("007").
TEXT_COLUMNS = ("trace_id", "group")
SAMPLE = 1 << 16  # characters after the header from which the separator is found
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_text(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in the bytes of a text file; columns of lists are list columns.

    Raises:
        InputError: Names the column and row that cannot be read.
    """
    data, encoding = _utf8(data)
    form = _form(data.slice(0, min(len(data), _first_line(data) + SAMPLE)).to_pybytes())
    findings.form = f"CSV, separator {SEPARATORS[form.separator]}, {encoding}"
    if encoding not in ("UTF-8", "utf-8-sig", "utf-16"):
        findings.mended.append(f"the file is no UTF-8; it was read as {encoding}")
    table = _parse(data, form, options)
    arrays = [
        _column(form, options, findings, name, column)
        for name, column in zip(form.names, table.columns, strict=True)
    ]
    return pa.table(arrays, names=form.names)


@dataclass(frozen=True)
class _Form:
    """Names of the columns, and how rows are written."""

    names: list[str]
    separator: str


def _utf8(data: pa.Buffer) -> tuple[pa.Buffer, str]:
    """The text as UTF-8, and the name of the encoding that it was written in."""
    start = data.slice(0, min(len(data), 4096)).to_pybytes()
    for mark, encoding in _BOMS:
        if start.startswith(mark):
            return _decoded(data, encoding), encoding
    zeros = start[:100].count(0)
    if zeros:
        if zeros < len(start[:100]) // 3:
            raise InputError("the file holds zero bytes, so it is no text; check what it is")
        return _decoded(data, "utf-16-be" if start[0] == 0 else "utf-16-le"), "utf-16"
    try:
        pa.Array.from_buffers(
            pa.large_binary(), 1, [None, pa.py_buffer(_offsets(len(data))), data]
        ).cast(pa.large_string())
        return data, "UTF-8"
    except pa.ArrowInvalid:
        pass
    try:
        return _decoded(data, "cp1252"), "Windows-1252"
    except InputError:
        return _decoded(data, "latin-1"), "Latin-1"


def _offsets(length: int) -> bytes:
    return (0).to_bytes(8, "little") + length.to_bytes(8, "little")


def _decoded(data: pa.Buffer, encoding: str) -> pa.Buffer:
    try:
        return pa.py_buffer(data.to_pybytes().decode(encoding).encode())
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start}: no {encoding} text; save it as UTF-8") from None


def _first_line(data: pa.Buffer) -> int:
    start = data.slice(0, min(len(data), 1 << 24)).to_pybytes()
    ends = [start.find(sign) for sign in (b"\n", b"\r")]
    return min((end for end in ends if end >= 0), default=len(data))


def _form(sample: bytes) -> _Form:
    """Separator and header; the separator by which the first rows all have as many cells."""
    text = sample.decode(errors="ignore").lstrip("\r\n")
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # which ends a row for Arrow, too
    heads = {separator: _rows(text, separator, 1)[0] for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: len(heads[separator]))
    body = text.partition("\n")[2]
    if len(heads[best]) > 1 and body:
        for separator in sorted(SEPARATORS, key=lambda one: one != best):
            rows = [row for row in _rows(body, separator, 50) if row]
            if rows and all(_fits(row, len(heads[best])) for row in rows):
                return _Form(_clean(heads[best]), separator)
    return _Form(_clean(heads[best]), best)


def _fits(row: list[str], cells: int) -> bool:
    """Whether a row has so many cells, and none of them half of a quoted text."""
    return len(row) == cells and not any(cell.count('"') % 2 for cell in row)


def _rows(text: str, separator: str, most: int) -> list[list[str]]:
    """The first rows, without a last one that may be cut off."""
    csv.field_size_limit(2**31 - 1)
    rows = []
    lines = io.StringIO(text)
    for row in csv.reader(lines, delimiter=separator):
        rows.append(row)
        if len(rows) == most:
            return rows
    return rows[:-1] if len(rows) > 1 and len(text) >= SAMPLE else rows or [[]]


def _clean(names: Sequence[str]) -> list[str]:
    """Names without white space around them, and without ipfixprobe's types before them."""
    kinds = r"^(?:u?int(?:8|16|32|64)|ipaddr|macaddr|time|string|bytes|char|float|double)\*? "
    found = pc.replace_substring_regex(pa.array(names, pa.string()), kinds, "")
    return [str(name) for name in pc.utf8_trim_whitespace(found).to_pylist()]


def _parse(data: pa.Buffer, form: _Form, options: ReadOptions) -> pa.Table:
    places = [f"{k}" for k in range(len(form.names))]
    typed = {
        place: pa.string()
        for place, name in zip(places, form.names, strict=True)
        if _is_text(options, name)
    }
    return pa.csv.read_csv(
        pa.BufferReader(data),
        # One block, as a row may not lie in more than two.
        read_options=pa.csv.ReadOptions(
            block_size=min(len(data) + 1, 2**31 - 1), column_names=places, skip_rows=1
        ),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, delimiter=form.separator),
        convert_options=pa.csv.ConvertOptions(column_types=typed, strings_can_be_null=False),
    )


def _is_text(options: ReadOptions, name: str) -> bool:
    """Whether a column names classes or things, so that 007 is no number."""
    ours = options.columns.get(name, name)
    named = (*TEXT_COLUMNS, options.label_column, options.by)
    return ours.lower() in LABELS or ours in named or name in named


def _column(
    form: _Form, options: ReadOptions, findings: Findings, name: str, column: pa.ChunkedArray
) -> pa.ChunkedArray | pa.Array:
    """A column as lists where it holds lists; a column with a channel's name must."""
    if not pa.types.is_string(column.type):
        return column
    ours = options.columns.get(name, name)
    if options.channels is not None and not {name, ours} & set(options.channels):
        known = False
    else:
        known = ours in KINDS or meaning(ours) is not None or ours in (options.channels or ())
    comma = form.separator == ";"
    if known and options.by is None:
        return cells.parse(name, column, decimal_comma=comma)
    if name in TEXT_COLUMNS or not cells.looks_like_lists(column):
        return column
    try:
        return cells.parse(name, column, decimal_comma=comma)
    except InputError as error:
        findings.mended.append(f"column {name!r} was kept as text: {error}")
        return column
