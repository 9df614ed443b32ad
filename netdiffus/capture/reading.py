"""Captures to tables of labelled traces, several captures at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.capture.ahead import in_order
from netdiffus.capture.files import Capture, find_captures, pieces
from netdiffus.capture.labels import labeller
from netdiffus.capture.report import CaptureReport
from netdiffus.capture.rules import Rules
from netdiffus.capture.tables import labelled, once_all_are_there, to_table
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
    bytes: int = 0  # of the file
    unlabelled: int = 0  # packets
    is_sorted: bool = False  # on disk, as it was in no order of time
    error: OSError | None = None

    def problems(self) -> list[str]:
        """What is wrong with the file, and where."""
        reader, found = self.reader, []
        rest = "; what comes before was read" if reader.packets else ""
        if self.error is not None:
            found.append(f"{self.error}{rest}")
        elif reader.problem:
            found.append(f"byte {reader.problem_at}: {reader.problem}{rest}")
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
        self._stop = Event()  # nobody takes tables any more
        self._threads = threads or min(len(self._captures), os.cpu_count() or 1)
        self._meter = _Meter(self._captures, progress)

    def tables(self) -> Generator[pa.Table, None, None]:
        """Tables of traces, in order of captures and of first packets.

        Raises:
            InputError: After the last capture, if none had a trace.
        """
        jobs = [partial(self._read, capture) for capture in self._captures]
        for found in in_order(jobs, self._threads, self._stop):
            if isinstance(found, pa.Table):
                self.report.traces += found.num_rows
                yield found
            else:
                self._count(found)
        if not self.report.traces:
            raise InputError(self.report.why_empty())

    def _count(self, read: _Read) -> None:
        self.report.add(read.reader, read.is_sorted)
        self.report.problems += read.problems()
        if read.unlabelled:
            self.report.dropped[f"without a label in {self._label_from}"] += read.unlabelled

    def _read(self, capture: Capture) -> Iterator[pa.Table | _Read]:
        """Tables of one capture, then its counts.

        It may turn out late to be in no order of time, and the traces made so far to be wrong. So
        they wait for its end, and such a capture is read again, sorted on disk.
        """
        read = _Read(capture, self._rules.reader())
        with TemporaryFile() as waiting:
            for table in once_all_are_there(self._tables(read), waiting):
                if read.reader.unsorted:
                    break
                yield table
        if read.reader.unsorted:
            self._meter.expect(read.bytes)
            with TemporaryFile() as packets:
                read = _Read(capture, self._rules.reader(packets.fileno()), is_sorted=True)
                yield from self._tables(read)
        yield read

    def _tables(self, read: _Read) -> Iterator[pa.Table]:
        """Tables of one capture, unless its reader finds it unsorted or nobody takes them."""
        for i, piece in enumerate(self._pieces(read), 1):
            read.reader.feed(piece)
            if read.reader.unsorted or self._stop.is_set():
                return
            if i % PIECES == 0:
                yield from self._ended(read)
        while read.reader.finish(POINTS):
            yield from self._ended(read)
        yield from self._ended(read)

    def _pieces(self, read: _Read) -> Iterator[pa.Buffer]:
        def advance(count: int) -> None:
            read.bytes += count
            self._meter.advance(count)

        try:
            yield from pieces(read.capture.path, advance)
        except OSError as error:
            read.error = error

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


class _Meter:
    """How much has been read, by all threads, of what is to be read."""

    def __init__(self, captures: Sequence[Capture], progress: Progress | None) -> None:
        self._progress, self._lock = progress, Lock()
        self._done, self._total = 0, 0
        for capture in captures:
            self.expect(capture.path.stat().st_size)

    def expect(self, count: int) -> None:
        """So many more bytes of files are to be read."""
        with self._lock:
            self._total += count

    def advance(self, count: int) -> None:
        """So many more bytes of files have been read."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                share = min(1.0, self._done / (self._total or 1))
                self._progress(share, f"{self._done / 1e6:.0f} MB")
