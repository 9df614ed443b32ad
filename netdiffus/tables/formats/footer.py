"""What the footer of a Parquet file says of its columns.

pyarrow gives it, too. But where the footer contradicts itself, or a column is encrypted, Arrow
throws an exception in `RowGroupMetaData.column`, which its Python package (26.0.1) does not catch:
the process ends. Where it reads the columns it does catch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

# Types of Thrift's compact protocol, in which the footer is written.
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, STRUCT = 1, 2, 3, 7, 8, 9, 12
INTEGERS = (4, 5, 6)
# Numbers of the fields in parquet.thrift: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData.
ROW_GROUPS, COLUMNS, META_DATA, PATH, NUM_VALUES, UNCOMPRESSED = 4, 1, 3, 3, 5, 6


class Chunk(NamedTuple):
    """A column in a row group.

    Attributes:
        name: Of the top column, in UTF-8.
        values: How many numbers there are, empty ones included.
        uncompressed: Bytes of its pages before they were compressed.
    """

    name: bytes
    values: int
    uncompressed: int


def chunks(path: Path) -> Iterator[Chunk]:
    """All columns of all row groups, of a file that Arrow has opened.

    Raises:
        LookupError, TypeError or RecursionError: The footer is damaged, or a column is encrypted.
    """
    with path.open("rb") as file:
        file.seek(-8, SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, SEEK_END)
        about = _struct(BytesIO(file.read(length)))
    for group in about[ROW_GROUPS]:
        for column in group[COLUMNS]:
            meta = column[META_DATA]
            yield Chunk(meta[PATH][0], meta[NUM_VALUES], meta[UNCOMPRESSED])


def _struct(data: BytesIO) -> dict[int, Any]:
    """The fields by their numbers."""
    fields, number = {}, 0
    while head := data.read(1)[0]:
        number = number + (head >> 4) if head >> 4 else _integer(data)
        kind = head & 15
        fields[number] = kind == TRUE if kind in (TRUE, FALSE) else _value(data, kind)
    return fields


def _value(data: BytesIO, kind: int) -> Any:
    if kind in INTEGERS:
        return _integer(data)
    if kind == BINARY:
        return data.read(_varint(data))
    if kind == STRUCT:
        return _struct(data)
    if kind == LIST:
        head = data.read(1)[0]
        count = _varint(data) if head >> 4 == 15 else head >> 4
        return [_value(data, head & 15) for _ in range(count)]
    size = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}[kind]
    return data.read(size)[size - 1]


def _integer(data: BytesIO) -> int:
    found = _varint(data)
    return (found >> 1) ^ -(found & 1)


def _varint(data: BytesIO) -> int:
    found, shift = 0, 0
    while (byte := data.read(1)[0]) > 127:
        found, shift = found | (byte & 127) << shift, shift + 7
    return found | byte << shift
