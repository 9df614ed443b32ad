"""Captures to tables of labelled traces, several captures at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.capture.ahead import in_order
from netdiffus.capture.files import Capture, find_captures, pieces
from netdiffus.capture.labels import labeller
from netdiffus.capture.report import CaptureReport
from netdiffus.capture.rules import Rules
from netdiffus.capture.tables import labelled, to_table
from netdiffus.errors import InputError

if TYPE_CHECKING:
    from netdiffus._capture import Reader

POINTS = 1 << 20  # of a table, about
PIECES = 16  # read between two looks at which traces have ended
Progress = Callable[[float, str], None]


@dataclass
class _Read:
    """A capture that has been read: where its counts are."""

    capture: Capture
    reader: Reader
    traces: int = 0
    unlabelled: int = 0  # packets
    error: OSError | None = None

    def problems(self) -> list[str]:
        """What is wrong with the file, and where."""
        reader, found = self.reader, []
        rest = "; what comes before was read" if reader.packets else ""
        if self.error is not None:
            found.append(f"{self.error}{rest}")
        elif reader.problem:
            found.append(f"byte {reader.problem_at}: {reader.problem}{rest}")
        if reader.late:
            found.append(
                f"{reader.late} packets come too late to be put in order and were left out; sort "
                "the capture by time first, for example by reordercap"
            )
        return [f"{self.capture.path}: {one}" for one in found]


class Source:
    """Captures about to be read.

    Attributes:
        report: Complete once the tables have been taken.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        label_from: str | Path | None,
        rules: Rules,
        threads: int | None,
        progress: Progress | None,
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1, got {threads}")
        self.report = CaptureReport(rules.about())
        self._rules, self._label_from = rules, label_from
        self._label = labeller(label_from)
        self._captures, self.report.skipped = find_captures(paths)
        self._threads = threads or min(len(self._captures), os.cpu_count() or 1)
        self._advance = _meter(self._captures, progress)

    def tables(self) -> Iterator[pa.Table]:
        """Tables of traces, in order of captures and of first packets.

        Raises:
            InputError: After the last capture, if none had a trace.
        """
        jobs = [partial(self._read, capture) for capture in self._captures]
        for found in in_order(jobs, self._threads):
            if isinstance(found, pa.Table):
                self.report.traces += found.num_rows
                yield found
            else:
                self._count(found)
        if not self.report.traces:
            raise InputError(self.report.why_empty())

    def _count(self, read: _Read) -> None:
        self.report.add(read.reader)
        self.report.problems += read.problems()
        if read.unlabelled:
            self.report.dropped[f"without a label in {self._label_from}"] += read.unlabelled

    def _read(self, capture: Capture) -> Iterator[pa.Table | _Read]:
        """Tables of one capture, then its counts."""
        read = _Read(capture, self._rules.reader())
        try:
            for i, piece in enumerate(pieces(capture.path, self._advance), 1):
                read.reader.feed(piece)
                if i % PIECES == 0:
                    yield from self._ended(read)
        except OSError as error:
            read.error = error
        read.reader.finish()
        yield from self._ended(read)
        yield read

    def _ended(self, read: _Read) -> Iterator[pa.Table]:
        """Tables of the traces that have ended since the last look."""
        while len((found := read.reader.take(POINTS))["start"]):
            table = self._table(found, read)
            if table.num_rows:
                yield table

    def _table(self, found: dict[str, Any], read: _Read) -> pa.Table:
        table = to_table(found, self._rules, read.capture.name, read.traces)
        labels = self._label(table, read.capture)
        read.traces += table.num_rows
        read.unlabelled += pc.sum(table["packets"].filter(labels.is_null())).as_py() or 0
        return labelled(table, labels, self._rules)


def _meter(captures: Sequence[Capture], progress: Progress | None) -> Callable[[int], None]:
    """A function to call with bytes read, by any thread, that reports the share of all."""
    total = sum(capture.path.stat().st_size for capture in captures) or 1
    done, lock = 0, Lock()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            if progress is not None:
                progress(min(1.0, done / total), f"{done / 1e6:.0f} MB")

    return advance
