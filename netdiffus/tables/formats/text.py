"""CSV and its kin: separator and decimal sign are found, cells with lists parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from netdiffus.errors import InputError
from netdiffus.tables.columns.names import is_label
from netdiffus.tables.columns.texts import TEXT_COLUMNS, parse_lists
from netdiffus.tables.formats.header import (
    RARE,
    SAMPLE,
    SEPARATORS,
    Header,
    are_values,
    header_of,
    headless,
    numbered,
)
from netdiffus.tables.formats.preamble import body_of
from netdiffus.tables.options import FILE, ReadOptions
from netdiffus.tables.report import Findings


def read_text(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in the bytes of a text in UTF-8; columns of lists are list columns.

    Raises:
        InputError: Names the column and row that cannot be read.
    """
    body = body_of(data, findings)
    body = replace(body, data=_with_quotes(body.data))
    sample = body.data.slice(0, min(len(body.data), _first_line(body.data) + SAMPLE)).to_pybytes()
    if not sample.strip():
        raise InputError("the file has no names of columns, only blank lines or comments")
    first = re.split(r"[,;|\t ]+", sample.splitlines()[0].decode(errors="ignore").strip())
    if options.by == FILE and headless(sample):
        header = numbered(sample)
    elif options.channels and len(options.channels) == 1 and are_values(first):
        return _lines(body.data, options, findings)
    else:
        header = header_of(sample, body.separator, findings)
    form = _Form(header, body.missing)
    separator = (SEPARATORS | RARE).get(header.separator, repr(header.separator))
    findings.form = f"CSV, separator {separator}, {findings.encoding}"
    table = _parse(_without_blanks(body.data, header), form, options, findings)
    comma = header.separator == ";"
    return parse_lists(table, options, findings, decimal_comma=comma)


@dataclass(frozen=True)
class _Form:
    """Header, and what is written where a value is missing."""

    header: Header
    missing: tuple[str, ...]


def _first_line(data: pa.Buffer) -> int:
    start = data.slice(0, min(len(data), 1 << 24)).to_pybytes()
    ends = [start.find(sign) for sign in (b"\n", b"\r")]
    return min((end for end in ends if end >= 0), default=len(data))


def _lines(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
    """Lines without a header, each a class and then the points of the channel asked for."""
    lines = pa.array(line.strip() for line in data.to_pybytes().decode().splitlines())
    lines = lines.filter(pc.not_equal(lines, ""))
    pattern = r"^([^,;|\t ]*)[,;|\t ]+"
    points = pc.replace_substring_regex(lines, pattern, "")
    classes = pc.replace_substring_regex(lines, r"[,;|\t ].*$", "")
    findings.form = "text"
    findings.mended.append("lines without a header: each is a class, then the points of a trace")
    table = pa.table({"label": classes, str((options.channels or [""])[0]): points})
    return parse_lists(table, options, findings, decimal_comma=False)


def _with_quotes(data: pa.Buffer) -> pa.Buffer:
    """The text with quotes around lists in brackets, where it has none at all."""
    start = data.slice(0, min(len(data), SAMPLE)).to_pybytes()
    if b"[" not in start or re.search(rb"[\"']", start):
        return data
    whole = data.to_pybytes()
    return data if b'"' in whole else pa.py_buffer(re.sub(rb"\[[^\[\]\n]*\]", rb'"\g<0>"', whole))


def _without_blanks(data: pa.Buffer, header: Header) -> pa.Buffer:
    """The text without the blanks that fill cells up to equal widths, or stand before quotes."""
    if header.padded:
        return pa.py_buffer(re.sub(rb"(?m)^[ \t]+|[ \t]*\|[ \t]*", _bar, data.to_pybytes()))
    if header.separator == " ":
        whole = data.to_pybytes()
        if b'"' not in whole:
            return pa.py_buffer(re.sub(rb"(?m)^ +| +$|( ) +", rb"\1", whole))
        return data
    mark = re.escape(header.separator).encode()
    spaced = re.compile(mark + rb' +"(?!")')
    if spaced.search(data.slice(0, min(len(data), SAMPLE)).to_pybytes()):
        return pa.py_buffer(spaced.sub(header.separator.encode() + b'"', data.to_pybytes()))
    return data


def _bar(found: re.Match[bytes]) -> bytes:
    return b"|" if b"|" in found[0] else b""


def _parse(data: pa.Buffer, form: _Form, options: ReadOptions, findings: Findings) -> pa.Table:
    names = form.header.names
    table = _read(data, form, options)
    first = table.column(0)
    if pa.types.is_string(first.type) and pc.any(pc.equal(first, names[0])).as_py():
        whole, line = data.to_pybytes(), b"\n" + form.header.line.rstrip(b"\r")
        parts = re.split(re.escape(line) + rb"\r?(?=\n|$)", whole)
        if len(parts) > 1:
            findings.mended.append(f"lines that repeat the header were left out ({len(parts) - 1})")
            table = _read(pa.py_buffer(b"".join(parts)), form, options)
    kept = [k for k, name in enumerate(names) if not _is_filler(name, table.column(k), findings)]
    names = [names[k] for k in kept]
    if len(set(names)) < len(names):
        twin = next(name for k, name in enumerate(names) if name in names[:k])
        raise InputError(f"column {twin!r} is there more than once; rename one of them")
    return table.select(kept).rename_columns(names)


def _read(data: pa.Buffer, form: _Form, options: ReadOptions) -> pa.Table:
    header = form.header
    places = [f"{k}" for k in range(len(header.names))]
    typed = {
        place: pa.string()
        for place, name in zip(places, header.names, strict=True)
        if _is_text(options, name)
    }
    usual = pa.csv.ConvertOptions().null_values
    try:
        return _read_csv(data, header, places, typed, [*usual, *form.missing])
    except pa.ArrowInvalid as error:
        found = re.search(r"Expected (\d+) columns, got (\d+): (.{,80})", str(error))
        if found is None:
            raise
        raise InputError(
            f"a row has {found[2]} cells, the header {found[1]}: {found[3]!r}; mend the row, or "
            "put cells that hold the separator into quotes"
        ) from None


def _read_csv(
    data: pa.Buffer, header: Header, places: list[str], typed: Any, missing: list[str]
) -> pa.Table:
    return pa.csv.read_csv(
        pa.BufferReader(data),
        # One block, as a row may not lie in more than two.
        read_options=pa.csv.ReadOptions(
            block_size=min(len(data) + 1, 2**31 - 1),
            column_names=places,
            skip_rows=1 if header.line else 0,
        ),
        parse_options=pa.csv.ParseOptions(
            newlines_in_values=True, delimiter=header.separator, quote_char=header.quote
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=typed,
            strings_can_be_null=False,
            null_values=missing,
        ),
    )


def _is_filler(name: str, column: pa.ChunkedArray, findings: Findings) -> bool:
    """Whether a column without a name holds nothing, or the numbers of the rows."""
    if name and not name.startswith("Unnamed:"):
        return False
    if column.null_count == len(column):
        return True
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    numbers = column.to_numpy()
    if not (numbers == range(len(numbers))).all():
        return False
    findings.left_out[name or "without a name"] = "it holds the numbers of the rows"
    return True


def _is_text(options: ReadOptions, name: str) -> bool:
    """Whether a column names classes or things, so that 007 is no number."""
    ours = options.columns.get(name, name)
    named = (*TEXT_COLUMNS, options.label_column, options.by)
    return is_label(ours) or ours in named or name in named
