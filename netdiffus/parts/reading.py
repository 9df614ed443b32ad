"""One part on disk, read bit by bit; whatever is wrong with it is said with its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from netdiffus.arrays import Ints
from netdiffus.errors import InputError
from netdiffus.parts.writing import Sums
from netdiffus.tables.manifest import Part, PartColumns
from netdiffus.tables.store import Store

ROWS = 2_048  # traces at a time, or fewer where they are long
AGAIN = "copy it again, or remove it and run the command that made the folder again"
# What Arrow raises where a file is damaged.
_DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError)


class OpenPart:
    """A part that is being read.

    Raises:
        InputError: Names the file, and what is not as the manifest says.
    """

    def __init__(self, store: Store, part: Part, columns: PartColumns) -> None:
        self._store, self._part, self._columns = store, part, columns
        self._path = store.shown(part.file)

    def __enter__(self) -> OpenPart:
        try:
            self._source = self._store.open(self._part.file)
            self._file = pa.parquet.ParquetFile(self._source)
        except _DAMAGED as error:
            raise self._unreadable(error) from error
        found = named(self._path, PartColumns.of, self._file.schema_arrow)
        named(self._path, self._columns.refuse_others, found)
        rows = self._file.metadata.num_rows
        if rows != self._part.rows:
            raise InputError(
                f"{self._path}: {rows} traces, not {self._part.rows} as the manifest says; {AGAIN}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._source.close()

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """All rows, so many at a time."""
        found = self._file.iter_batches(batch_size=rows, columns=self._names())
        while True:
            try:
                batch = next(found)
            except StopIteration:
                return
            except _DAMAGED as error:
                raise self._unreadable(error) from error
            self._check(batch)
            yield batch

    def taken(self, rows: Ints) -> Iterator[pa.Table]:
        """These rows, in rising order."""
        begin = 0
        for group in range(self._file.metadata.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            mine = rows[(rows >= begin) & (rows < begin + count)] - begin
            begin += count
            if len(mine):
                yield self._group(group).take(pa.array(mine))

    def check_sums(self) -> None:
        """Raises InputError where classes or points are not those of the manifest."""
        sums = Sums()
        for batch in self.batches(ROWS):
            sums.add(pa.Table.from_batches([batch]))
        for name in ("classes", "points", "longest"):
            found, stated = getattr(sums, name), getattr(self._part, name)
            if found != stated:
                raise InputError(
                    f"{self._path}: {name} is {found}, not {stated} as the manifest says; {AGAIN}"
                )

    def _group(self, group: int) -> pa.Table:
        try:
            table = self._file.read_row_group(group, columns=self._names())
        except _DAMAGED as error:
            raise self._unreadable(error) from error
        self._check(table)
        return table

    def _names(self) -> list[str]:
        return ["label", *self._columns.meta, *(one.name for one in self._columns.channels)]

    def _check(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Refuses what no writer of ours writes, and what would give a wrong class or length."""
        try:
            batch.validate(full=True)  # else text that is no UTF-8 fails later
        except pa.ArrowInvalid as error:
            raise self._unreadable(error) from error
        names = pc.is_in(batch["label"], pa.array(list(self._part.classes), pa.string()))
        if not pc.all(names).as_py():
            raise InputError(f"{self._path}: a class that the manifest does not name; {AGAIN}")
        channels = [batch[one.name] for one in self._columns.channels]
        lengths = pc.list_value_length(channels[0])
        if lengths.null_count or pc.min(lengths).as_py() < 1:
            raise InputError(f"{self._path}: a trace has no points; {AGAIN}")
        for one in channels[1:]:
            if not pc.list_value_length(one).equals(lengths):
                raise InputError(f"{self._path}: channels of a trace differ in length; {AGAIN}")

    def _unreadable(self, error: Exception) -> InputError:
        text = str(error).splitlines() or [type(error).__name__]
        return InputError(f"{self._path}: not a readable part: {text[0]}; {AGAIN}")


def named(path: Path | str, do: Callable[[Any], Any], found: Any) -> Any:
    """What a check gives, or its error with the name of the part."""
    try:
        return do(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
