"""ARFF, Weka's format: names of columns, then lines of a CSV file."""

from __future__ import annotations

import re

import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.tables.formats.text import read_text
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

_ATTRIBUTE = re.compile(r"""@attribute\s+(?:'([^']*)'|"([^"]*)"|(\S+))\s""", re.IGNORECASE)
_COMMENT = re.compile(rb"^%[^\n]*\n?", re.MULTILINE)
_MISSING = re.compile(rb"(?:(?<=^)|(?<=,))[ \t]*\?[ \t]*(?=,|\r?$)", re.MULTILINE)
_DATA = re.compile(rb"^@data[^\n]*\n", re.IGNORECASE | re.MULTILINE)


def read_arff(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Table:
    """The table in an ARFF file.

    Raises:
        InputError: There is no line @data, or no attribute.
    """
    whole = data.to_pybytes()
    mark = _DATA.search(whole)
    if mark is None:
        raise InputError("an ARFF file has a line @data")
    head, body = whole[: mark.start()], whole[mark.end() :]
    lines = head.decode(errors="replace").splitlines()
    names = [next(filter(None, m.groups())) for line in lines if (m := _ATTRIBUTE.match(line))]
    if not names:
        raise InputError("an ARFF file has a line @attribute for each column")
    if body.lstrip().startswith(b"{"):
        raise InputError("sparse ARFF; convert it to CSV with Weka: Save as, CSV")
    body = _MISSING.sub(b"", _COMMENT.sub(b"", body))
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    table = read_text(pa.py_buffer(header.encode() + b"\n" + body.lstrip()), options, findings)
    findings.form = "ARFF"
    return table
