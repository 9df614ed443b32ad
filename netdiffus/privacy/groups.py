"""Groups of traces that are protected as one, of which at most so many traces are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np

from netdiffus.arrays import Ints
from netdiffus.parts.sketch import stream
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Traces


class Groups:
    """The groups of all traces; in memory are their names, and 32 bytes for each.

    Which traces of a group are kept depends on the key, the name of the group and the number of its
    traces alone: they are the ones whose place among them has the lowest hashes. So a group more or
    less changes nothing of the others.
    """

    def __init__(self, batches: Iterable[Traces], by: str, most: int, key: bytes) -> None:
        """Counts the traces of each group.

        Raises:
            InputError: There is no column `by`, or it has an empty cell.
        """
        self._by, self._numbers = by, dict[str, int]()
        self._counts = np.empty(0, dtype=np.int64)
        for traces in batches:
            found = self._of(traces)
            counts = np.bincount(found, minlength=len(self._numbers))
            counts[: len(self._counts)] += self._counts
            self._counts = counts
        self._most = most
        self._seeds = np.array([_seed(name, key) for name in self._numbers], dtype=np.uint64)
        self._limits = np.full(len(self), 2**64 - 1, dtype=np.uint64)
        for group in np.flatnonzero(self._counts > most):
            places = stream(self._seeds[group : group + 1], np.arange(self._counts[group]))
            self._limits[group] = np.partition(places, most - 1)[most - 1]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def kept(self) -> int:
        """How many traces are kept."""
        return int(np.minimum(self._counts, self._most).sum())

    @property
    def is_cut(self) -> bool:
        """Whether some are not kept."""
        return bool((self._counts > self._most).any())

    def of(self, batches: Iterable[Traces]) -> Iterator[Traces]:
        """Those that are kept, of the same traces in the same order."""
        seen = np.zeros(len(self), dtype=np.int64)
        for traces in batches:
            group = self._of(traces)
            places = stream(self._seeds[group], _ranks(group) + seen[group])
            seen += np.bincount(group, minlength=len(seen))
            if (mine := places <= self._limits[group]).any():
                yield traces[mine]

    def _of(self, traces: Traces) -> Ints:
        """(N,): the number of each trace's group."""
        names = group_names(traces.meta, self._by, None).tolist()
        return np.array([self._numbers.setdefault(one, len(self._numbers)) for one in names])


def _ranks(groups: Ints) -> Ints:
    """(N,): how many traces of the same group come before each."""
    order = np.argsort(groups, kind="stable")
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return ranks


def _seed(name: str, key: bytes) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8, key=key).digest(), "little")
