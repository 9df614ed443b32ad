"""Progress of long work: a bar on a terminal and in a notebook, elsewhere a line each minute."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

SECONDS = 60.0  # between two lines
Progress = Callable[[float, str], None]

logger = logging.getLogger(__name__)
_shown: list[str] = []  # the bar that is: only one can be at a time


@contextmanager
def bar(
    what: str, total: float | None, tell: Callable[[str], None] = logger.info
) -> Iterator[Progress]:
    """Shows the progress of work.

    Args:
        what: What is done, in a word.
        total: Final value of what is counted; None if unknown.
        tell: Takes the line that is printed every minute if no bar can be drawn.

    Yields:
        A function to call with (how much is done, a note such as the loss).
    """
    console = Console(stderr=True)
    is_first = not _shown and os.environ.get("RANK", "0") == "0"
    if not (is_first and (sys.stderr.isatty() or console.is_jupyter)):
        yield _lines(what, total, tell)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with _one_bar(what), Bars(*columns, console=console) as shown:
        task = shown.add_task(what, total=total, note="")
        yield lambda done, note: shown.update(task, completed=done, note=note)


@contextmanager
def given_or_bar(given: Progress | None, what: str, total: float) -> Iterator[Progress]:
    """The caller's function, or a bar."""
    if given is not None:
        yield given
        return
    with bar(what, total) as shown:
        yield shown


def silent(done: float, note: str) -> None:
    """Shows nothing."""


@contextmanager
def _one_bar(what: str) -> Iterator[None]:
    _shown.append(what)
    try:
        yield
    finally:
        _shown.pop()


def _lines(what: str, total: float | None, tell: Callable[[str], None]) -> Progress:
    last = time.monotonic()

    def shown(done: float, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            share = f" {done / total:.0%}" if total else ""
            tell(f"{what}{share}: {note}")

    return shown
