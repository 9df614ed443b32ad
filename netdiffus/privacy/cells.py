"""Traces as cells of the public domain: small whole numbers, in memory or in a temporary file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.arrays import Ints
from netdiffus.privacy.domain import Domain
from netdiffus.protocols import NUMBERS
from netdiffus.traces.traces import Traces

COLUMNS = {"protocol": 256, "server_port": 65536}  # of the meta-data, with how many values
AT_A_TIME = 1 << 14  # traces that are counted at a time
Array = npt.NDArray[Any]
Empty = Callable[[tuple[int, ...], type], Array]  # an array of a shape and type, to be filled


@dataclass(frozen=True)
class TracesInCells:
    """Traces in public cells.

    Attributes:
        cells: For each feature (N, length), -1 beyond the end.
        labels: (N,) index into the public classes.
        columns: For each column of the meta (N,) codes.
    """

    cells: list[Array]
    labels: Array
    columns: dict[str, Array]

    def total(self, count: Callable[[TracesInCells], Ints]) -> Ints:
        """The sum of what `count` gives for some traces at a time, whose numbers are int64."""
        return np.asarray(sum(map(count, self._pieces())))

    def _pieces(self) -> Iterator[TracesInCells]:
        for start in range(0, len(self.labels), AT_A_TIME):
            rows = slice(start, start + AT_A_TIME)
            cells, columns = (
                [one[rows].astype(np.int64) for one in many]
                for many in (self.cells, self.columns.values())
            )
            labels = self.labels[rows].astype(np.int64)
            yield TracesInCells(cells, labels, dict(zip(self.columns, columns, strict=True)))


def in_cells(batches: Iterable[Traces], n: int, public: Domain, empty: Empty) -> TracesInCells:
    """The n traces of all batches, which have gaps, in arrays that `empty` gives."""
    cells = [empty((n, public.length), np.int16) for _ in public.features]
    labels, columns, begin = empty((n,), np.int32), {}, 0
    for traces in batches:
        rows = slice(begin, begin := begin + len(traces))
        for array, found in zip(cells, public.encode(traces), strict=True):
            array[rows] = found
        labels[rows] = _public_labels(traces, public.classes)
        for name in private_columns(traces.meta.schema):
            if name not in columns:
                columns[name] = empty((n,), np.int32)
            columns[name][rows] = _codes(traces.meta[name], COLUMNS[name])
    return TracesInCells(cells, labels, columns)


def private_columns(schema: pa.Schema) -> list[str]:
    """The columns of the meta-data of which private ones can be made."""
    types = {name: schema.field(name).type for name in COLUMNS if name in schema.names}
    return [
        name
        for name, kind in types.items()
        if pa.types.is_integer(kind) or (name == "protocol" and pa.types.is_string(kind))
    ]


def _public_labels(traces: Traces, classes: tuple[str, ...]) -> Ints:
    number = [classes.index(name) if name in classes else 0 for name in traces.classes]
    return np.array(number)[traces.labels]


def _codes(column: pa.ChunkedArray, values: int) -> Ints:
    """Codes of a column of whole numbers or names of protocols; `values` for all other cells."""
    cells: list[Any] = column.to_pylist()
    if pa.types.is_string(column.type):
        cells = [NUMBERS.get(str(one).lower()) for one in cells]
    return np.array([values if c is None or not 0 <= c < values else c for c in cells])
