"""The .ts files of aeon and sktime, in which the UEA archive comes: a line is a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.tables.formats.arrays import ASK
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


def read_ts(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in a .ts file: dimensions are set apart by `:`, and the last cell is the class.

    Raises:
        InputError: Names the line that cannot be read, or asks for the names of the dimensions.
    """
    findings.form = "TS of aeon"
    about, first, lines = _parts(data.to_pybytes().decode())
    if about.get("timestamps") == "true":
        raise InputError("@timeStamps true is not read; write the values alone")
    if not {"true"} & {about.get(name, "").split(" ")[0] for name in ("classlabel", "targetlabel")}:
        raise InputError("@classLabel is not true, so the lines name no class; add it")
    rows = [(k, line.split(":")) for k, line in enumerate(lines, first) if line.strip()]
    if not rows:
        raise InputError("no traces: no line follows @data")
    count = len(rows[0][1]) - 1
    names = options.channels or ()
    if len(names) != count:
        raise InputError(f"the file has {count} dimension(s) without names: {ASK}")
    columns: dict[str, list[Any]] = {"label": [], **{name: [] for name in names}}
    for number, cells in rows:
        if len(cells) != count + 1:
            raise InputError(f"line {number}: {len(cells) - 1} dimensions, not {count}")
        columns["label"].append(cells[-1].strip())
        for name, cell in zip(names, cells, strict=False):
            columns[name].append(_numbers(number, cell))
    return pa.table(columns)


def _parts(text: str) -> tuple[dict[str, str], int, list[str]]:
    """What stands before @data, in lower case; the number of the line behind it; the rest."""
    lines = text.splitlines()
    about: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, _, value = line.strip().lower().partition(" ")
        if name == "@data":
            return about, number + 1, lines[number:]
        if name.startswith("@"):
            about[name[1:]] = value.strip()
    raise InputError("a .ts file has a line @data")


def _numbers(number: int, cell: str) -> npt.NDArray[np.float64]:
    try:
        return np.array(cell.split(","), np.float64)
    except ValueError as error:
        what = f"line {number}: {error}; fill missing values (?), or remove the line"
        raise InputError(what) from None
