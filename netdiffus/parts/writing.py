"""One part on disk, and what is known of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from netdiffus.tables.manifest import Part, PartColumns
from netdiffus.tables.writing import write_parts

PIECE = 1 << 22  # bytes that are hashed at a time


def write_part(path: Path, tables: Iterable[pa.Table]) -> tuple[Part, PartColumns]:
    """Writes tables of traces as a part, whole or not at all; at least one must have a row.

    Returns:
        What it holds, and its columns.
    """
    sums = Sums()
    write_parts(map(sums.add, tables), path)
    part = Part(
        path.name,
        sum(sums.classes.values()),
        dict(sorted(sums.classes.items())),
        sums.points,
        sums.longest,
        path.stat().st_size,
        sha256(path),
    )
    return part, PartColumns.of(pa.parquet.read_schema(path))  # types may be others than in memory


class Sums:
    """What tables of traces hold, added up; `columns` are those of the first."""

    def __init__(self) -> None:
        self.columns: PartColumns | None = None
        self.classes: Counter[str] = Counter()
        self.points, self.longest = 0, 0

    def add(self, table: pa.Table) -> pa.Table:
        """Counts a table, which is given back."""
        if self.columns is None:
            self.columns = PartColumns.of(table.schema)
        for pair in pc.value_counts(table["label"]).to_pylist():
            self.classes[pair["values"]] += pair["counts"]
        lengths = pc.list_value_length(table[self.columns.channels[0].name])
        self.points += pc.sum(lengths).as_py() or 0
        self.longest = max(self.longest, pc.max(lengths).as_py() or 0)
        return table


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(file: Any) -> str:
    """SHA-256 of an open file, in hexadecimal digits."""
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()
