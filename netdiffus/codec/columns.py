"""Meta-data that is learned with the class: protocol, server port, and for images the length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.codec.vocabulary import K, Vocabulary
from netdiffus.traces.traces import Traces

Ints = npt.NDArray[np.int64]

LEARNED = ("protocol", "server_port")  # columns of the meta
MOST_VALUES = 256  # of a column; the most frequent


@dataclass(frozen=True)
class Columns:
    """Columns of the meta as tokens: 0 is an empty cell, token v is the v-th value.

    Attributes:
        names: The columns.
        values: For each column the values that at least `K` owners have, without the empty one.
        lengths: Tokens of the length, which is then the last column; None where it is none.
        bins_per_point: Points of a trace that the length counts as one.
    """

    names: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]
    lengths: Vocabulary | None = None
    bins_per_point: int = 1

    @classmethod
    def fit(cls, traces: Traces, owners: Ints, bins_per_point: int | None = None) -> Columns:
        """Finds the values that at least `K` owners share; a rarer one would say who was there.

        Args:
            traces: What to learn from.
            owners: (N,) whose each trace is.
            bins_per_point: Points of a trace that the network sees as one; None learns no length.
        """
        names = tuple(name for name in LEARNED if name in traces.meta.column_names)
        cells = (traces.meta[name].to_pylist() for name in names)
        values = tuple(_shared(one, owners) for one in cells)
        if bins_per_point is None:
            return cls(names, values)
        lengths = _points(traces, bins_per_point)
        return cls(
            names, values, Vocabulary.fit(lengths, owners, MOST_VALUES, MOST_VALUES), bins_per_point
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many tokens each column has."""
        sizes = [len(values) + 1 for values in self.values]
        return (*sizes, *([] if self.lengths is None else [len(self.lengths)]))

    def encode(self, traces: Traces) -> Ints:
        """Tokens (N, J) of traces; a value that is not known counts as empty."""
        tokens = np.zeros((len(traces), len(self.sizes)), dtype=np.int64)
        if self.lengths is not None:
            tokens[:, -1] = self.lengths.encode(_points(traces, self.bins_per_point))
        for j, (name, values) in enumerate(zip(self.names, self.values, strict=True)):
            known = {value: k for k, value in enumerate(values, start=1)}
            cells = traces.meta[name].to_pylist()
            tokens[:, j] = [known.get(_plain(cell), 0) for cell in cells]
        return tokens

    def decode(self, tokens: Ints) -> dict[str, pa.Array]:
        """Arrow columns of tokens (N, J), without the length."""
        return {
            name: pa.array([None, *values]).take(pa.array(tokens[:, j]))
            for j, (name, values) in enumerate(zip(self.names, self.values, strict=True))
        }


def _points(traces: Traces, bins_per_point: int) -> npt.NDArray[np.float64]:
    return np.ceil(traces.lengths / bins_per_point)


def _shared(cells: Iterable[Any], owners: Ints) -> tuple[Any, ...]:
    of_value: dict[Any, set[int]] = defaultdict(set)
    for cell, owner in zip(cells, owners.tolist(), strict=True):
        if _plain(cell) is not None:
            of_value[cell].add(owner)
    shared = [value for value, found in of_value.items() if len(found) >= K]
    return tuple(sorted(shared, key=lambda v: (-len(of_value[v]), str(v)))[:MOST_VALUES])


def _plain(cell: Any) -> Any:
    """None for NaN, which tables make of an empty cell."""
    return None if cell != cell else cell
