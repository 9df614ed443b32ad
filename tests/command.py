"""The command line, run inside the test's own process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

from netdiffus.cli.main import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(*arguments: object) -> Result:
    """`netdiffus ARGUMENTS`: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["netdiffus", *map(str, arguments)]
    code: object = 0
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return Result(code, out.getvalue(), err.getvalue())
