"""Separator and names of the columns of a text file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.errors import InputError
from netdiffus.tables.columns.labels import shown
from netdiffus.tables.columns.names import meaning
from netdiffus.tables.report import Findings

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Looked for where none of the usual ones is in the header.
RARE = {
    " ": "blank", ":": "colon", "^": "caret", "~": "tilde", "#": "hash", "\x01": "control-A",
}  # fmt: skip
SAMPLE = 1 << 16  # characters after the header from which the separator is found
_ROW = re.compile(rb"\s*[-+0-9.eE]+(?:(?:\s+|\s*[,;|]\s*)[-+0-9.eE]+)+[\s,;|]*")  # of numbers alone
_VALUE = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[\[(].*[\])]", re.DOTALL
)


@dataclass(frozen=True)
class Header:
    """How a text file is written.

    Attributes:
        line: The first line as it stands in the file.
        names: Its cells, without white space around them.
        separator: What stands between cells.
        quote: What stands around a cell with separators in it.
        padded: Whether cells were filled up with blanks to equal widths.
    """

    line: bytes
    names: list[str]
    separator: str
    quote: str = '"'
    padded: bool = False


def header_of(sample: bytes, separator: str | None, findings: Findings) -> Header:
    """The header, with the separator by which the first rows all have as many cells.

    Args:
        sample: The first lines of the file.
        separator: What stands between cells, if known.
        findings: Where is said which columns were called otherwise.

    Raises:
        InputError: The first line holds values, not names.
    """
    text = sample.decode(errors="ignore")
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # which ends a row for Arrow, too
    body = text.partition("\n")[2]
    quote = "'" if '"' not in text and re.search(r"(?:^|[,;\t|])'[\[(]", body, re.M) else '"'
    separator = separator or _separator(text, body, quote)
    cells = _rows(text, separator, 1, quote)[0]
    if len(cells) == 1:  # the header may have another separator than the rows
        cells = _rows(text, _most(SEPARATORS, text, quote), 1, quote)[0]
    if are_values(cells):
        raise InputError(
            f"the first line holds values ({shown(cells, 3)}), not the names of the columns; add "
            "a line of names above it, such as label,packet_length,direction; if each line is a "
            "class and then the points of one series, name that: channels=… (--channels value); if "
            "the file is one trace, a line per packet: by='file' (--flow-column file)"
        )
    padded = separator == "|" and any(cell != cell.strip() for cell in cells)
    whole = re.split(rb"\r?\n|\r", sample, maxsplit=1)[0]
    return Header(whole, _unique(_clean(cells), findings), separator, quote, padded)


def headless(start: bytes) -> bool:
    """Whether a text begins with rows of as many numbers each, and no names of columns."""
    lines = [line for line in start.splitlines()[:20] if line.strip()]
    lines = lines[:-1] or lines  # the last may be cut off
    counts = {len(re.findall(rb"[^\s,;|]+", line)) for line in lines}
    return len(counts) == 1 and all(map(_ROW.fullmatch, lines))


def numbered(sample: bytes) -> Header:
    """A header for a text without one, in which columns are called by their numbers from 0."""
    line = sample.lstrip().splitlines()[0].decode()
    mark = next((mark for mark in SEPARATORS if mark in line), " ")
    cells = line.split() if mark == " " else line.split(mark)
    return Header(b"", [f"{k}" if cell.strip() else "" for k, cell in enumerate(cells)], mark)


def _separator(text: str, body: str, quote: str) -> str:
    usual = _best(SEPARATORS, text, body, quote)
    if usual is not None:
        return usual
    rare = _best(RARE, text, body, quote)
    return rare if rare is not None else _most(SEPARATORS, text, quote)


def _most(marks: Sequence[str] | dict[str, str], text: str, quote: str) -> str:
    return max(marks, key=lambda mark: len(_rows(text, mark, 1, quote)[0]))


def _best(marks: dict[str, str], text: str, body: str, quote: str) -> str | None:
    """The separator of the header by which rows fit; None if the header has only one cell."""
    best = _most(marks, text, quote)
    count = len(_rows(text, best, 1, quote)[0])
    if count == 1:
        return None
    for separator in sorted(marks, key=lambda one: one != best):
        rows = [row for row in _rows(body, separator, 50, quote) if row]
        if body and rows and all(_fits(row, count, quote) for row in rows):
            return separator
    return best if marks is SEPARATORS else None


def _fits(row: list[str], cells: int, quote: str) -> bool:
    """Whether a row has so many cells, and none of them half of a quoted text."""
    return len(row) == cells and not any(cell.count(quote) % 2 for cell in row)


def _rows(text: str, separator: str, most: int, quote: str) -> list[list[str]]:
    """The first rows, without a last one that may be cut off."""
    csv.field_size_limit(2**31 - 1)
    rows = []
    lines = io.StringIO(text)
    blanks = separator != "|"  # between which blanks fill up cells
    for row in csv.reader(lines, delimiter=separator, quotechar=quote, skipinitialspace=blanks):
        rows.append(row)
        if len(rows) == most:
            return rows
    return rows[:-1] if len(rows) > 1 and len(text) >= SAMPLE else rows or [[]]


def are_values(cells: list[str]) -> bool:
    """Whether a first line holds numbers and lists; 0, 1, 2 … may be names of columns."""
    values = [cell.strip() for cell in cells if _VALUE.fullmatch(cell.strip())]
    counted = [value for value in values if value.isdecimal()]
    steps = {int(b) - int(a) for a, b in pairwise(counted)}
    return 2 * len(values) > len(cells) and (len(counted) < len(values) or steps != {1})


def _clean(names: Sequence[str]) -> list[str]:
    """Names without white space around them, and without ipfixprobe's types before them."""
    kinds = r"^(?:u?int(?:8|16|32|64)|ipaddr|macaddr|time|string|bytes|char|float|double)\*? "
    found = pa.array(names, pa.string())
    typed = pc.match_substring_regex(found, kinds).to_pylist()
    if 2 * sum(typed) > len(typed):  # else `time (ms)` is a name
        found = pc.replace_substring_regex(found, kinds, "")
    found = pc.utf8_trim_whitespace(
        pc.replace_substring_regex(found, r"^[\x{200b}\x{feff}]*[#%]?:?", "")
    )
    return [str(name) for name in found.to_pylist()]


def _unique(names: list[str], findings: Findings) -> list[str]:
    """Names of which none is there twice, but for those of channels, which are then refused."""
    kept: list[str] = []
    for name in names:
        new, count = name, 0
        while new in kept and meaning(name) is None and name:
            count += 1
            new = f"{name}.{count}"
        if new != name:
            findings.mended.append(f"column {name!r} is there more than once; one is now {new!r}")
        kept.append(new)
    return kept
