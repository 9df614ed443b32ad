"""Captures to tables of labelled traces, several captures at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.capture.ahead import in_order
from netdiffus.capture.files import kinds
from netdiffus.capture.files.finding import START, Capture, Found, opened
from netdiffus.capture.files.streams import PIECE, Stream
from netdiffus.capture.labels import labeller
from netdiffus.capture.report import CaptureReport, hints
from netdiffus.capture.rules import Rules
from netdiffus.capture.tables import labelled, once_all_are_there, to_table
from netdiffus.errors import InputError
from netdiffus.progress import Progress

if TYPE_CHECKING:
    from netdiffus._capture import Reader

POINTS = 1 << 20  # of a table, about
PIECES = 64  # read between two looks at which traces have ended
NO_HOST = "neither address is a host"  # as the reader says it
Streams = Iterator[tuple[Capture, Stream | OSError]]


@dataclass
class _Read:
    """A capture that has been read: where its counts are."""

    capture: Capture
    reader: Reader
    traces: int = 0
    unlabelled: int = 0  # packets
    hostless: int = 0  # packets of flows that are of no session
    is_sorted: bool = False  # on disk, as it was in no order of time
    classes: Counter[str] = field(default_factory=Counter)  # traces of each
    damaged: Capture | None = None  # the first file that is
    unreadable: dict[str, OSError] = field(default_factory=dict)  # files of which an end is missing

    def problems(self) -> list[str]:
        """What is wrong with its files, and where."""
        rest = "; what comes before was read" if self.reader.packets else ""
        found = [f"{file}: {e.strerror or e}{rest}" for file, e in self.unreadable.items()]
        shown = (self.damaged or self.capture.files[-1]).shown
        if self.reader.problem and shown not in self.unreadable:
            at, what = self.reader.problem_at, self.reader.problem
            found.append(f"{shown}: byte {at}: {what}{self._rest()}")
        return found

    def _rest(self) -> str:
        """What became of the packets around the damage, and of damages behind it."""
        reader, others = self.reader, self.reader.damages - 1
        more = f"; {others} more damages behind it" if others > 0 else ""
        if reader.packets > reader.packets_before:
            return f"{more}; {reader.lost} bytes were left out and what follows was read"
        return f"{more}; what comes before was read" if reader.packets else more


class Source:
    """Captures about to be read.

    Attributes:
        report: Complete once the tables have been taken.
    """

    def __init__(
        self,
        found: Found,
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
        self._captures = found.captures
        self.report.skipped, self.report.problems = found.skipped, found.problems
        self._stop = Event()  # nobody takes tables any more
        self._threads = threads or min(len(self._captures), os.cpu_count() or 1)
        self._meter = _Meter(self._captures, progress)

    def tables(self) -> Generator[pa.Table, None, None]:
        """Tables of traces, in order of captures and of first packets.

        Raises:
            InputError: After the last capture, if none had a trace.
        """
        yield from self.tables_if_any()
        if not self.report.traces:
            raise InputError(self.report.why_empty())
        self.report.hints += self._label.unused() + self._beside_folders()
        self.report.hints += hints(self._label_from, self.report)

    def _beside_folders(self) -> list[str]:
        """What is to be said of captures that lie beside the folders of classes."""
        beside = [one for one in self._captures if one.folder is not None and not one.is_below]
        folders = any(one.is_below for one in self._captures)
        if self._label_from != "dir" or not (beside and folders):
            return []
        return [
            f"captures beside the folders of classes: {len(beside)}, such as {beside[0].shown}; "
            f"their class is {beside[0].folder!r}, as the folder is called that was given: move "
            "them if that is no class"
        ]

    def tables_if_any(self) -> Generator[pa.Table, None, None]:
        """The same of captures that need not have a trace, without hints on all of them."""
        jobs = [partial(self._read, capture) for capture in self._captures]
        for found in in_order(jobs, self._threads, self._stop):
            if isinstance(found, pa.Table):
                self.report.traces += found.num_rows
                yield found
            else:
                self._count(found)
        self.report.hints += self._label.hints()

    def _count(self, read: _Read | _Other) -> None:
        if isinstance(read, _Other):
            (self.report.problems if read.is_problem else self.report.skipped).append(read.text)
            return
        self.report.add(read.reader, read.is_sorted)
        self.report.captures += len(read.capture.then)
        self.report.problems += read.problems()
        self.report.classes.update(read.classes)
        if not read.classes:
            self.report.without_traces.append(read.capture.shown)
        elif self._label_from == "dir" and read.capture.folder is None:
            self.report.without_folder += 1
        if read.hostless:
            self.report.dropped[NO_HOST] += read.hostless
        if read.unlabelled:
            self.report.dropped[f"without a label in {self._label_from}"] += read.unlabelled

    def _read(self, capture: Capture) -> Iterator[pa.Table | _Read | _Other]:
        """Tables of each capture in a file, and after them its counts; what else is in it."""
        others: list[_Other] = []
        if capture.then:
            files = partial(self._streams, capture)
            yield from self._read_part(capture, files(), partial(files, True))
            return
        count, share = 0, _Share(self._meter, capture)
        with opened(capture.path, share.advance) as parts:
            for number, (name, stream) in enumerate(parts):
                part = capture.in_archive(name) if name else capture
                other = _is_other(part, name, stream)
                if other is not None:
                    others.append(other)
                    continue
                count += 1
                again = partial(self._again, part, number, share)
                yield from self._read_part(part, iter([(part, stream)]), again)
                if self._stop.is_set():
                    return
        share.finish()
        if not count and not any(other.is_problem for other in others):
            others = [
                _Other(f"{capture.shown}: an archive without captures", capture.folder is None)
            ]
        yield from others

    def _again(self, part: Capture, number: int, share: _Share) -> Streams:
        """A capture of a file from its beginning."""
        share.expect_again()
        with opened(part.path, share.advance) as again:
            yield part, next(islice(again, number, None))[1]

    def _streams(self, recording: Capture, is_again: bool = False) -> Streams:
        """The captures of a recording, one after another."""
        for one in recording.files:
            share = _Share(self._meter, one)
            if is_again:
                share.expect_again()
            with opened(one.path, share.advance) as parts:
                yield one, next(parts)[1]
            share.finish()

    def _read_part(
        self, capture: Capture, streams: Streams, again: Callable[[], Streams]
    ) -> Iterator[pa.Table | _Read]:
        """Tables of one capture or recording, then its counts.

        It may turn out late to be in no order of time, and the traces made so far to be wrong. So
        they wait for its end, and such a capture is read again, sorted on disk.
        """
        read = _Read(capture, self._rules.reader())
        with TemporaryFile() as waiting:
            for table in once_all_are_there(self._tables(read, streams), waiting):
                if read.reader.unsorted:
                    break
                yield table
        if read.reader.unsorted:
            with TemporaryFile() as packets:
                read = _Read(capture, self._rules.reader(packets.fileno()), is_sorted=True)
                yield from self._tables(read, again())
        yield read

    def _tables(self, read: _Read, streams: Streams) -> Iterator[pa.Table]:
        """Tables of one capture, unless its reader finds it unsorted or nobody takes them."""
        for i, piece in enumerate(_pieces(streams, read), 1):
            read.reader.feed(piece)
            if read.reader.unsorted or self._stop.is_set():
                return
            if i % PIECES == 0:
                yield from self._ended(read)
        while read.reader.finish(POINTS):
            yield from self._ended(read)
        yield from self._ended(read)

    def _ended(self, read: _Read) -> Iterator[pa.Table]:
        """Tables of the traces that have ended since the last look."""
        while len((found := read.reader.take(POINTS))["start"]):
            table = self._table(found, read)
            if table.num_rows:
                yield table

    def _table(self, found: dict[str, Any], read: _Read) -> pa.Table:
        table = to_table(found, self._rules, read.capture.name, read.traces)
        read.traces += table.num_rows
        if self._rules.keep_flows:
            read.hostless += (
                pc.sum(table["packets"].filter(table["session"].is_null())).as_py() or 0
            )
            table = table.filter(table["session"].is_valid())
        labels = self._label(table, read.capture)
        read.unlabelled += pc.sum(table["packets"].filter(labels.is_null())).as_py() or 0
        for pair in labels.drop_null().value_counts().to_pylist():
            read.classes[pair["values"]] += pair["counts"]
        return labelled(table, labels, self._rules)


@dataclass
class _Other:
    """What is no capture: its name, and what it is where that is a problem."""

    text: str
    is_problem: bool


def _is_other(capture: Capture, name: str, stream: Stream | OSError) -> _Other | None:
    """A part that is no capture, or cannot be read."""
    if isinstance(stream, OSError):
        return _Other(f"{capture.shown}: {stream.strerror or stream}", True)
    start = stream.peek(START)
    if not name or kinds.is_capture(start):
        return None
    if kinds.is_unread(start) or kinds.has_a_captures_name(name):
        return _Other(f"{capture.shown}: {kinds.what_is(start)}", True)
    return _Other(capture.shown, False)


def _pieces(streams: Streams, read: _Read) -> Iterator[bytes]:
    """The bytes of all files in turn; tells the reader where a new file begins."""
    before: Capture | None = None
    for file, stream in streams:
        if before is not None:
            read.reader.next_file()
            if read.reader.problem:
                read.damaged = read.damaged or before
        before = file
        try:
            if isinstance(stream, OSError):
                raise stream
            while piece := stream.read(PIECE):
                yield piece
        except OSError as error:
            read.unreadable[file.shown] = error


class _Meter:
    """How much has been read, by all threads, of what is to be read."""

    def __init__(self, captures: Sequence[Capture], progress: Progress | None) -> None:
        self._progress, self._lock = progress, Lock()
        self._done, self._total = 0, 0
        for capture in captures:
            self.expect(capture.size)

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


class _Share:
    """A file's share of what is to be read: all of its bytes, and again if it is read again."""

    def __init__(self, meter: _Meter, capture: Capture) -> None:
        self._meter, self._size = meter, capture.path.stat().st_size
        self._left = self._size

    def expect_again(self) -> None:
        """The file is to be read from its beginning."""
        self._meter.expect(self._size)
        self._left += self._size

    def advance(self, count: int) -> None:
        """So many more bytes have been read."""
        count = min(count, self._left)
        if count:
            self._left -= count
            self._meter.advance(count)

    def finish(self) -> None:
        """What was not read, as archives read only parts of themselves, is not to be."""
        self.advance(self._left)
