"""A data set on disk: a folder of Parquet parts that is read bit by bit, never whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.channels import Channel
from netdiffus.errors import InputError, visible, whole
from netdiffus.files import refuse_existing
from netdiffus.ledger import Ledger
from netdiffus.parts.reading import AGAIN, ROWS, OpenPart, named
from netdiffus.parts.splitting import holdout_mask
from netdiffus.parts.writing import digest_of, write_part
from netdiffus.progress import Progress
from netdiffus.tables.columns.arrow import one_array
from netdiffus.tables.lists import padded
from netdiffus.tables.manifest import MANIFEST, Manifest, Part, PartColumns
from netdiffus.tables.store import Store
from netdiffus.traces.traces import SHOWN, Bools, Ints, Traces

PART_NAMES = f"part-{'[0-9]' * 6}.parquet"  # those of `part_name`, as a pattern
POINTS = 1 << 22  # padded points of a channel at a time


class Dataset:
    """Traces in a folder of Parquet parts, which need not fit into memory.

    `netdiffus import`, `netdiffus sample` and `Dataset.write` write such folders. Iteration gives
    `Traces` of a few thousand traces, in order. Opening compares names and sizes of the files with
    the manifest; `check` reads all files. It may also lie in an object store: `s3://bucket/made`,
    or any other URL that pyarrow or fsspec reads.

    Attributes:
        folder: Where it is; of an object store the URL.
        manifest: What each part holds.
        classes: Names of all classes.
        length: Points of each trace that are read, at most; None is all, see `truncate`.

    Raises:
        InputError: There is no manifest, it does not fit, or a part is missing, cut, there twice or
            not in it.
    """

    def __init__(self, folder: str | Path) -> None:
        self._store = Store.of(folder)
        self.folder = Path(folder) if self._store.is_local else self._store.name
        self.manifest = Manifest.read(self._store)
        self.classes = tuple(self.manifest.counts)
        self.length: int | None = None

    @classmethod
    def write(cls, folder: str | Path, parts: Iterable[Traces]) -> Dataset:
        """Writes traces as a data set, a part each; the manifest comes last.

        Args:
            folder: A folder without a data set; it is made if need be.
            parts: All with the same channels, element types and meta columns.

        Raises:
            InputError: No parts, or parts that differ.
            FileExistsError: The folder holds a data set.
        """
        return cls.write_in_pieces(folder, ([traces] for traces in parts))

    @classmethod
    def write_in_pieces(cls, folder: str | Path, parts: Iterable[Iterable[Traces]]) -> Dataset:
        """As `write`, of parts that come bit by bit; those without traces are left out."""
        folder = Path(folder)
        refuse_existing(folder / MANIFEST, False)
        written: list[tuple[Part, PartColumns]] = []
        try:
            for traces in parts:
                tables = (one.to_arrow() for one in traces)
                if (first := next(tables, None)) is None:
                    continue
                path = folder / part_name(len(written))
                refuse_existing(path, False)
                written.append(write_part(path, chain([first], tables)))
                named(path, written[0][1].refuse_others, written[-1][1])
            if not written:
                raise InputError(f"{folder}: no traces to write")
        except BaseException:
            for part, _ in written:
                (folder / part.file).unlink(missing_ok=True)
            raise
        Manifest(written[0][1], tuple(part for part, _ in written), {}).write(folder)
        return cls(folder)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What the channels of its traces are."""
        return self.manifest.columns.channels

    @property
    def meta(self) -> dict[str, str]:
        """Names of the meta columns, and their Arrow types."""
        return self.manifest.columns.meta

    @property
    def ledger(self) -> Ledger | None:
        """The guarantee of privacy of its traces; None is none."""
        return self.manifest.columns.ledger

    @property
    def longest(self) -> int:
        """Points of the longest trace."""
        return self._most(max(part.longest for part in self.manifest.parts))

    @property
    def points(self) -> int:
        """Points of all traces, whatever is read of them."""
        return sum(part.points for part in self.manifest.parts)

    def __len__(self) -> int:
        return sum(part.rows for part in self.manifest.parts)

    def counts(self) -> dict[str, int]:
        """How many traces each class has."""
        return self.manifest.counts

    def truncate(self, length: int) -> Dataset:
        """The same data set, of which the first `length` points of each trace are read."""
        found = copy(self)
        found.length = self._most(whole("length", length, 1))
        return found

    def __iter__(self) -> Iterator[Traces]:
        return self.batches()

    def batches(self, rows: int = ROWS, *, length: int | None = None) -> Iterator[Traces]:
        """All traces in order, so many at a time, or fewer where they are long.

        Args:
            rows: Traces at a time, at most.
            length: Keep at most this many points of each trace.

        Raises:
            InputError: Names the part that cannot be read.
        """
        rows = whole("rows", rows, 1)
        for part in self.manifest.parts:
            yield from self._of_part(part, rows, length)

    def parts(self) -> Iterator[Iterator[Traces]]:
        """The traces of each part, some at a time."""
        return (self._of_part(part, ROWS, None) for part in self.manifest.parts)

    def _of_part(self, part: Part, rows: int, length: int | None) -> Iterator[Traces]:
        fewer = max(1, min(rows, POINTS // self._most(min(part.longest, length or part.longest))))
        with self._open(part) as file:
            for batch in file.batches(fewer):
                yield self._traces(pa.Table.from_batches([batch]), length)

    def head(self, n: int = 5) -> Traces:
        """The first n traces."""
        return self.take(np.arange(min(whole("n", n, 1), len(self))))

    def take(self, rows: Ints | Sequence[int], *, length: int | None = None) -> Traces:
        """The traces of these rows, in this order; no other row groups are read.

        Raises:
            InputError: No rows, one that is not there, or a part that cannot be read.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) == 0:
            raise InputError("no rows: at least one is needed")
        if rows.min() < 0 or rows.max() >= len(self):
            raise InputError(f"rows must lie in 0..{len(self) - 1}, got {rows.min()}..{rows.max()}")
        order = np.argsort(rows, kind="stable")
        found = pa.concat_tables(self._taken(rows[order]))
        return self._traces(found.take(pa.array(np.argsort(order, kind="stable"))), length)

    def _taken(self, rows: Ints) -> Iterator[pa.Table]:
        """Tables of rows in rising order."""
        begin = 0
        for part in self.manifest.parts:
            first, last = np.searchsorted(rows, [begin, begin + part.rows])
            if last > first:
                with self._open(part) as file:
                    yield from file.taken(rows[first:last] - begin)
            begin += part.rows

    def load(self, length: int | None = None, **options: Any) -> Traces:
        """All traces in memory, as `Traces.load` reads them."""
        length = self.length if length is None else length
        if isinstance(self.folder, Path):
            return Traces.load(self.folder, length, **options)
        if options:
            raise InputError(f"{self.folder}: {', '.join(options)} only of a folder; leave it out")
        return self.take(np.arange(len(self)), length=length)

    def split(
        self,
        folder: str | Path,
        fraction: float = 0.2,
        *,
        by: str | None = None,
        sep: str | None = None,
        seed: int = 0,
        force: bool = False,
    ) -> tuple[Dataset, Dataset]:
        """Splits off a stratified holdout, as `Traces.split` does of traces in memory.

        Args:
            folder: The data sets `train` and `holdout` are written there.
            fraction: Share of each class that is held out, in (0, 1).
            by: Meta column; traces of one group all fall on the same side.
            sep: The group is only the part of that column's text before `sep`.
            seed: Same seed, same split.
            force: Replace data sets that are there.

        Returns:
            (the rest, the holdout).

        Raises:
            InputError: A class is too small, or lies in too few groups, to be on both sides.
            FileExistsError: A data set is there and `force` is false.
        """
        folders = [Path(folder) / name for name in ("train", "holdout")]
        for one in folders:
            if isinstance(self.folder, Path):
                refuse_source(one, self.folder)
            refuse_existing(one / MANIFEST, force)
        held, _ = holdout_mask(self.batches(), self.classes, fraction, by, sep, seed)
        for one in folders:
            remove(one)
        rest, holdout = (
            self.write_in_pieces(one, self._parts_of(mask))
            for one, mask in zip(folders, (~held, held), strict=True)
        )
        return rest, holdout

    def _parts_of(self, mask: Bools) -> Iterator[Iterator[Traces]]:
        """The traces of these rows (N,), part by part."""
        begin = 0
        for part, traces in zip(self.manifest.parts, self.parts(), strict=True):
            yield chosen(traces, mask[begin : begin + part.rows])
            begin += part.rows

    def check(self, progress: Progress | None = None) -> None:
        """Reads every part and compares it with the manifest: columns, rows, classes and hash.

        Raises:
            InputError: Names the first part that is not as the manifest says, or that is the same
                as another.
        """
        seen: dict[str, str] = {}
        total = sum(part.bytes for part in self.manifest.parts)
        done = 0
        for part in self.manifest.parts:
            path = self._store.shown(part.file)
            with self._store.open(part.file) as file:
                digest = digest_of(file)
            if digest != part.sha256:
                raise InputError(f"{path}: its bytes are not those of the manifest; {AGAIN}")
            if part.sha256 in seen:
                raise InputError(f"{path}: the same as {seen[part.sha256]}; delete one of them")
            seen[part.sha256] = part.file
            with self._open(part) as opened:
                opened.check_sums()
            done += part.bytes
            if progress is not None:
                progress(done / total, part.file)

    def _most(self, length: int) -> int:
        return length if self.length is None else min(length, self.length)

    def _open(self, part: Part) -> OpenPart:
        return OpenPart(self._store, part, self.manifest.columns)

    def _traces(self, table: pa.Table, length: int | None) -> Traces:
        """Traces of rows as they stand on the disk, with all classes of the data set."""
        if length is not None:
            length = whole("length", length, 1)
        length = self.length if length is None else self._most(length)
        if length is not None:
            cut = {one.name: pc.list_slice(table[one.name], 0, length) for one in self.channels}
            for name, column in cut.items():
                at = table.schema.get_field_index(name)
                table = table.set_column(at, name, column.cast(table.schema.field(at).type))
        table = table.combine_chunks()
        lists = [one_array(table[one.name]) for one in self.channels]
        lengths = pc.list_value_length(lists[0]).to_numpy().astype(np.int64)
        points = (one.flatten().to_numpy(zero_copy_only=False) for one in lists)
        return Traces(
            values=padded(lengths, len(lists), points),
            lengths=lengths,
            channels=self.channels,
            labels=pc.index_in(one_array(table["label"]), pa.array(self.classes, pa.string()))
            .to_numpy()
            .astype(np.int64),
            classes=self.classes,
            meta=table.select(list(self.meta)).replace_schema_metadata(None),
            ledger=self.ledger,
        )

    def __repr__(self) -> str:
        counts = [f"{name} {n:,}" for name, n in self.counts().items()]
        more = [f"and {len(counts) - SHOWN} more"] if len(counts) > SHOWN else []
        lines = [
            f"Dataset {self.folder}: {len(self):,} traces of {len(counts)} classes in "
            f"{len(self.manifest.parts):,} parts, at most {self.longest:,} points",
            f"  classes: {', '.join(counts[:SHOWN] + more)}",
            f"  channels: {', '.join(channel.title for channel in self.channels)}",
            f"  meta: {', '.join(self.meta) or 'none'}",
        ]
        return "\n".join(map(visible, lines))


def chosen(batches: Iterable[Traces], mask: Bools) -> Iterator[Traces]:
    """The traces of some rows (N,) of batches that have N traces together."""
    begin = 0
    for traces in batches:
        mine = mask[begin : begin + len(traces)]
        begin += len(traces)
        if mine.any():
            yield traces[mine]


def part_name(k: int) -> str:
    """The file name of the k-th part."""
    return f"part-{k:06d}.parquet"


def refuse_source(folder: Path, source: Path) -> None:
    """Refuses to write a data set where one that is read lies: `remove` would delete it first.

    Raises:
        InputError: Both are the same folder.
    """
    if folder.resolve() == source.resolve():
        raise InputError(f"{folder}: the traces are read from there; choose another folder")


def remove(folder: Path) -> None:
    """Takes away a data set, if there is one, or the parts that a run that was killed has left."""
    named = Manifest.read(folder).parts if (folder / MANIFEST).exists() else ()
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in (*(folder / part.file for part in named), *folder.glob(PART_NAMES)):
        path.unlink(missing_ok=True)
