"""Meta-data that is made with the traces: which transport and port go with which class."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiffus.traces import Traces

Ints = npt.NDArray[np.int64]
Table = dict[str, list[Any]]

DRAWN = ("protocol", "server_port")  # columns of the meta
FEWEST, MOST = 2, 32  # traces that share cells; variants to a class


def variants_of(traces: Traces) -> tuple[Ints, Table]:
    """Variants of the classes: what traces of one class have different in the columns `DRAWN`.

    A port that one trace alone of its class has, or that 32 others are more common than, is left
    empty, and then a protocol: it would say who was there, and not how such traffic is.

    Args:
        traces: N of them, with both columns, one or none.

    Returns:
        The variant of each trace (N,), and the variants as columns: `class`, an index, and the
        columns of `DRAWN` that there are. Without any, classes are their own variants.
    """
    names = [name for name in DRAWN if name in traces.meta.column_names]
    columns = [_cells(traces.meta[name].to_pylist()) for name in names]
    rows: list[tuple[Any, ...]] = list(zip(traces.labels.tolist(), *columns, strict=True))
    for k in range(len(names), 0, -1):
        kept, empty = _common(rows), (None,) * (len(names) + 1 - k)
        rows = [row if row in kept else row[:k] + empty for row in rows]
    absent = set(range(len(traces.classes))) - {row[0] for row in rows}
    every = {*rows, *((k,) + (None,) * len(names) for k in absent)}
    known = sorted(every, key=lambda row: (row[0], *map(str, row)))
    index = {row: i for i, row in enumerate(known)}
    table = dict(zip(("class", *names), map(list, zip(*known, strict=True)), strict=True))
    return np.array([index[row] for row in rows], dtype=np.int64), table


def _cells(column: list[Any]) -> list[Any]:
    """NaN, which tables make of an empty cell, is empty."""
    return [None if cell != cell else cell for cell in column]


def _common(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """The rows, each of a class, that enough traces share."""
    kept, of_class = set(), Counter[Any]()
    for row, count in sorted(Counter(rows).items(), key=lambda one: (-one[1], str(one[0]))):
        of_class[row[0]] += 1
        if count >= FEWEST and of_class[row[0]] <= MOST:
            kept.add(row)
    return kept
