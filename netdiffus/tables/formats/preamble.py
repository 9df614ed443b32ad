"""What stands before the header of a text file: blanks, comments, `sep=;`, Zeek's lines."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import pyarrow as pa

from netdiffus.tables.report import Findings

LOOKED_AT = 1 << 16  # bytes in which the header must begin
_EXCEL = re.compile(rb"sep=(.)\s*$", re.IGNORECASE)
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")
SUMMARY = 1 << 10  # bytes at the end in which a summary begins
_SUMMARY = re.compile(rb"\nSummary\r?\nflows,bytes,packets,[^\n]*\r?\n[0-9., -]+\s*$")
_NUMBER = re.compile(rb"(?:^|[,;\t|])[\"'\[( ]*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\b")


@dataclass(frozen=True)
class Body:
    """A text file from its header on.

    Attributes:
        data: The header, then the rows.
        separator: What stands between cells, where the file says so.
        missing: What is written where a value is missing.
    """

    data: pa.Buffer
    separator: str | None = None
    missing: tuple[str, ...] = ()


def body_of(data: pa.Buffer, findings: Findings) -> Body:
    """The file without what stands before its header, which is said."""
    start = data.slice(0, min(len(data), LOOKED_AT)).to_pybytes()
    if b"\r" in start and b"\n" not in start:
        whole = data.to_pybytes().replace(b"\r", b"\n")
        data, start = pa.py_buffer(whole), whole[:LOOKED_AT]
    data = _without_summary(data, findings)
    start = start[: len(data)]
    lines = start.split(b"\n")
    if any(line.startswith(b"#fields") for line in lines):
        return _zeek(data, lines)
    count = _lines_before(lines)
    skipped = [line.strip() for line in lines[:count] if line.strip()]
    separators = [found[1].decode() for line in skipped if (found := _EXCEL.match(line))]
    others = [line for line in skipped if not _EXCEL.match(line)]
    if others:
        shown = others[0].decode(errors="replace")[:60]
        findings.mended.append(f"{len(others)} lines before the header were left out: {shown!r}")
    offset = sum(len(line) + 1 for line in lines[:count])
    rest = start[offset:]
    offset += len(rest) - len(rest.lstrip(b"\r\n"))  # blank lines with other ends
    return Body(data.slice(min(offset, len(data))), separators[0] if separators else None)


def _without_summary(data: pa.Buffer, findings: Findings) -> pa.Buffer:
    """The text without the lines from `Summary` on, which nfdump writes below its rows."""
    begin = max(0, len(data) - SUMMARY)
    found = _SUMMARY.search(data.slice(begin).to_pybytes())
    if found is None:
        return data
    findings.mended.append("the summary below the rows was left out")
    return data.slice(0, begin + found.start() + 1)


def _lines_before(lines: list[bytes]) -> int:
    """How many lines at the beginning are blank, comments, or say what the separator is."""
    count = 0
    for line in lines[:-1]:
        if line.strip() and not line.startswith(b"#") and not _EXCEL.match(line.strip()):
            break
        count += 1
    last = count - 1
    if count and lines[last].startswith(b"#") and _is_header(lines[last], lines[count]):
        return last
    return count


def _is_header(comment: bytes, row: bytes) -> bool:
    """Whether a line that begins with # names the columns of the row below it."""
    lines = [line.decode(errors="replace") for line in (comment, row)]
    cells = [[len(one) for one in csv.reader(lines, delimiter=mark)] for mark in ",;\t|"]
    fits = any(len(set(count)) == 1 and count[0] > 1 for count in cells)
    return fits and _NUMBER.search(row) is not None and _NUMBER.search(comment) is None


def _zeek(data: pa.Buffer, lines: list[bytes]) -> Body:
    """A log of Zeek: names of columns in the line #fields, separator in #separator."""
    about = {line.split(None, 1)[0]: line for line in lines if line.startswith(b"#")}
    mark = b"\t"
    if b"#separator" in about:
        written = about[b"#separator"].split(b" ", 1)[1].strip(b"\r\n")
        mark = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), written)
    missing = tuple(
        about[name].rstrip(b"\r").split(mark)[1].decode()
        for name in (b"#unset_field", b"#empty_field")
        if name in about and mark in about[name]
    )
    names = about[b"#fields"].rstrip(b"\r").split(mark, 1)[1]
    rows = re.sub(rb"(?m)^#[^\n]*\n?", b"", data.to_pybytes())
    if b"   " in names:  # IoT-23 separates its labels by three blanks
        names, rows = names.replace(b"   ", mark), rows.replace(b"   ", mark)
    return Body(pa.py_buffer(names + b"\n" + rows), mark.decode(), missing)
