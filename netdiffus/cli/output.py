"""What the commands print: results to stdout, all else to stderr, one line each."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from netdiffus.errors import Note, visible

if TYPE_CHECKING:
    from netdiffus.parts.building import Made

LISTED = 6  # items of a list

# Threads of scikit-learn 1.9 empty each other's list of warning filters, and then complain of that.
_OF_THREADS = "`sklearn.utils.parallel.delayed` should be used with"


def show(result: dict[str, Any], as_json: bool) -> None:
    """The result on stdout: JSON, or one `key: value` per line, nested ones indented."""
    if as_json:
        print(json.dumps(result, indent=2, default=str))
        return
    for line in _lines(result):
        _put(line, sys.stdout)


def say(line: str) -> None:
    """One line to stderr."""
    _put(line, sys.stderr)


def say_missing(made: Made) -> None:
    """What is still to be done for a data set, if anything."""
    if not made.is_whole:
        say(
            f"note: {made.folder} is incomplete: {made.missing} of {made.parts} parts are missing; "
            "the last shard writes the manifest; run the same command again to make lost parts"
        )


def aside(ray: str | None) -> AbstractContextManager[Any]:
    """What Ray prints of lost nodes and workers goes to stderr: stdout is for the result."""
    return nullcontext() if ray is None else redirect_stdout(sys.stderr)


def _put(line: str, stream: TextIO) -> None:
    """One line: labels and names of files, which others choose, cannot steer the terminal."""
    encoding = stream.encoding or "utf-8"
    shown = visible(line).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream)


def _lines(result: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {_shown(value)}")
    return lines


def _shown(value: Any) -> str:
    """Numbers in four digits; of a long list the first items."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, list | tuple):
        return str(value)
    if not value:
        return "none"
    more = f", and {len(value) - LISTED} more (--json lists all)" if len(value) > LISTED else ""
    return ", ".join(str(item) for item in value[:LISTED]) + more


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """A warning as one line; replaces `warnings.showwarning`."""
    if _OF_THREADS in str(message):
        return
    name = "note" if issubclass(category, Note) else f"warning: {category.__name__}"
    say(f"{name}: {message}")


def fail(error: BaseException, code: int) -> None:
    """Ends the program with the error in one line, and in JSON where that is asked for."""
    message = str(error)
    if isinstance(error, OSError) and error.filename:
        message = f"{error.filename}: {error.strerror}"
    if "--json" in sys.argv:
        print(json.dumps({"error": message}))
    say(f"error: {message}")
    sys.exit(code)
