"""Values of one channel as tokens: atoms that many traces share, and quantile bins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from netdiffus.arrays import Bools, Floats, Ints
from netdiffus.errors import InputError

K = 5  # traces (or groups of traces) that every number in a vocabulary is made from, at least
MOST_CHUNKS = 2**16  # places where cells may end: many more than bins, and few enough to be fast
PART = 2**16  # values that are checked at a time
AT_A_TIME = 64  # points whose owners are counted at a time
PARTS = 4  # of a bin, with equally many values each: values drawn inside a bin follow them
_NEEDED: ContextVar[int] = ContextVar("needed", default=K)


@contextmanager
def owners_needed(fewest: int) -> Iterator[None]:
    """Inside the block this number of owners replaces `K`; 1 also keeps values of one owner."""
    before = _NEEDED.set(fewest)
    try:
        yield
    finally:
        _NEEDED.reset(before)


def needed() -> int:
    """Owners that must share a value to keep it: `K`, unless `owners_needed` changes it."""
    return _NEEDED.get()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens 0 to S - 1 of one channel, in the order of their values.

    An atom is one value that at least `K` owners share. A bin is a range between pooled quantiles.
    Its quantiles are no values of the data: each is the mean of a cell, which holds the values of
    at least `K` owners that lie next to each other, and no two cells share a value.

    Attributes:
        table: float64 (S, PARTS + 1), ascending rows: the quantiles of a bin, or an atom's value in
            all columns.
        is_whole: Whether all values are whole numbers; what is drawn inside a bin then is, too.
    """

    table: Floats
    is_whole: bool

    @classmethod
    def fit(
        cls, values: Floats, owners: Ints, bins: int, atoms: int, least_share: float = 0.0
    ) -> Vocabulary:
        """Finds atoms and bins. O(P log P) time for P points.

        Args:
            values: (P,) the points of all traces.
            owners: (P,) the owner of each point: the number of its trace, or of its group.
            bins: Bins at most.
            atoms: Atoms at most, the most frequent first.
            least_share: Share of the points that an atom has, at least.

        Raises:
            InputError: Fewer than `K` owners.
        """
        check_owners(owners)
        order, values = _sorted(values)
        owners = owners[order]
        del order
        shared, runs = _shared_values(values, owners, atoms, least_share)
        rest = ~_inside(runs, len(values))
        is_whole = _are_whole(values)
        negative = slice(int(np.searchsorted(values, 0.0)))  # no bin holds both signs
        cells = [
            _cell_means(values[side][rest[side]], owners[side][rest[side]])
            for side in (negative, slice(negative.stop, None))
        ]
        if not len(shared) and not any(map(len, cells)):  # 5 owners, but not of one sign
            cells = [_cell_means(values, owners)]
        total = max(1, sum(map(len, cells)))
        found = [_bins(one, max(1, bins * len(one) // total)) for one in cells]
        table = np.concatenate([np.repeat(shared[:, None], PARTS + 1, 1), *found])
        table = table[np.lexsort((table[:, -1], table[:, 0] + table[:, -1]))]
        return cls(table, is_whole)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def is_atom(self) -> Bools:
        """(S,): which tokens are one value."""
        atom: Bools = self.table[:, 0] == self.table[:, -1]
        return atom

    @property
    def middles(self) -> Floats:
        """(S,): the median of each token's values."""
        return self.table[:, PARTS // 2]

    def encode(self, values: Floats) -> Ints:
        """Tokens of values, any shape: the atom that is this value, or else the bin around it.

        If there is neither, it is the nearest atom or bin.
        """
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        if high - low < values.size and _are_whole(values):  # each number is looked for once
            return self._encode(np.arange(low, high + 1))[(values - low).astype(np.int64)]
        begins, tokens = self._steps
        return tokens[np.searchsorted(begins, values, side="right")]

    @cached_property
    def _steps(self) -> tuple[Floats, Ints]:
        """The token is the same at all values from one of these (E,) on to the next: (E + 1,)."""
        ends = np.unique(self.table[:, [0, -1]])
        edges = np.unique(np.concatenate([ends, _middles(ends)]))
        begins = np.stack([edges, np.nextafter(edges, np.inf)], 1)
        inside = np.append(_middles(edges), edges[-1])
        tokens = self._encode(np.stack([edges, inside], 1))
        return begins.ravel(), np.concatenate([tokens[0, :1], tokens.ravel()])

    def _encode(self, values: Floats) -> Ints:
        atoms, bins = np.flatnonzero(self.is_atom), np.flatnonzero(~self.is_atom)
        candidates: list[Ints] = []
        if len(atoms):
            candidates.append(atoms[_nearest(self.table[atoms, 0], values)])
        if len(bins):
            after = np.searchsorted(self.table[bins, 0], values, side="right")
            candidates += [bins[np.clip(k, 0, len(bins) - 1)] for k in (after - 1, after)]
        tokens = candidates[0]
        for other in candidates[1:]:
            tokens = np.where(
                self._distance(other, values) < self._distance(tokens, values), other, tokens
            )
        return tokens

    def _distance(self, tokens: Ints, values: Floats) -> Floats:
        """How far values are from the ranges of tokens; 0 inside."""
        low, high = self.table[tokens, 0], self.table[tokens, -1]
        distance: Floats = np.maximum(np.maximum(low - values, values - high), 0.0)
        return distance

    def decode(self, tokens: Ints, uniforms: Floats) -> Floats:
        """Values of tokens, of any shape: in a bin the quantile of a uniform number in [0, 1)."""
        place = uniforms * PARTS
        part = place.astype(np.int64)
        low, high = self.table[tokens, part], self.table[tokens, part + 1]
        values: Floats = low + (high - low) * (place - part)
        return np.rint(values) if self.is_whole else values


def check_owners(owners: Ints) -> None:
    """Refuses fewer than K owners: no number could be kept."""
    found, others, k = 0, owners, needed()
    while len(others) and found < k:
        found, others = found + 1, others[others != others[0]]
    if found < k:
        raise InputError(
            f"at least {k} traces (or groups) are needed, got {found}: every number that a model "
            f"keeps is made from {k} of them"
        )


def without_rare(values: Floats, owners: Ints) -> Floats:
    """Values (P,), with means in place of values that fewer than K owners share.

    The mean is over a cell of neighbouring values, which have K owners together. If the rare values
    have fewer than K owners in all, each becomes the nearest value that is shared.
    """
    check_owners(owners)
    order, found = _sorted(values)
    owners = owners[order]
    shared, runs = _shared_values(found, owners, len(found), 0.0)
    rare = ~_inside(runs, len(found))
    means = _cell_means(found[rare], owners[rare])
    found[rare] = (means if len(means) else shared)[
        _nearest(means if len(means) else shared, found[rare])
    ]
    result = np.empty_like(found)
    result[order] = found
    return result


def _sorted(values: Floats) -> tuple[Ints, Floats]:
    """The order that sorts the values, and the sorted ones; equal ones may come in any order."""
    low, high = values.min(), values.max()
    if high - low < 2**16 and _are_whole(values):
        order = np.argsort((values - low).astype(np.uint16), kind="stable")  # by radix: faster
        return order, values[order]
    own = np.require(values, requirements=["C", "W"])  # which torch asks for
    found, places = torch.from_numpy(own).sort()  # half the time of NumPy's
    return places.numpy(), found.numpy()


def _shared_values(
    values: Floats, owners: Ints, most: int, least_share: float
) -> tuple[Floats, Ints]:
    """The values that K owners share, rising; of more than `most` those with most points.

    Args:
        values: (P,), rising.
        owners: (P,).
        most: How many values at most.
        least_share: Share of the points that a value has, at least.

    Returns:
        The values (A,), and where the points of each begin and end, (A, 2).
    """
    k = needed()
    first, end = _equal_runs(values, k)
    enough = end - first >= least_share * len(values)
    runs = np.stack([first[enough], end[enough]], 1)
    runs = runs[_owners_of_runs(owners, runs) >= k]
    frequent = np.argsort(runs[:, 0] - runs[:, 1], kind="stable")[:most]
    runs = runs[np.sort(frequent)]
    return values[runs[:, 0]], runs


def _equal_runs(values: Floats, k: int) -> tuple[Ints, Ints]:
    """Where each of the rising values begins and ends that comes k times or more."""
    if k == 1:
        first = np.flatnonzero(np.append(True, values[1:] > values[:-1])[: len(values)])
        return first, np.append(first[1:], len(values))[: len(first)]
    # Such a value equals the value k - 1 places after its first one.
    alike = np.zeros(len(values) + 2, dtype=np.bool_)
    alike[1 : len(values) - k + 2] = values[k - 1 :] == values[: len(values) - k + 1]
    first, end = np.flatnonzero(alike[1:] != alike[:-1]).reshape(-1, 2).T
    return first, end + k - 1


def _owners_of_runs(owners: Ints, runs: Ints) -> Ints:
    """(A,): how many owners the points of each run (A, 2) have."""
    count = int(owners.max()) + 1
    pairs = np.repeat(np.arange(len(runs)) * count, runs[:, 1] - runs[:, 0])
    pairs += owners[_inside(runs, len(owners))]
    pairs.sort()
    is_new = np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]
    pairs = pairs[is_new]
    pairs //= count
    return np.bincount(pairs, minlength=len(runs))


def _inside(runs: Ints, n: int) -> Bools:
    """(n,): which places lie in one of the runs (A, 2), which rise."""
    lengths = np.diff(np.concatenate([[0], runs.ravel(), [n]]))
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _are_whole(values: Floats) -> bool:
    """Whether all are whole numbers; part by part, which takes little memory."""
    flat = values.reshape(-1)
    parts = (flat[k : k + PART] for k in range(0, len(flat), PART))
    return all(bool((part == np.rint(part)).all()) for part in parts)


def _cell_means(values: Floats, owners: Ints) -> Floats:
    """Means of cells of sorted values, (M,) and rising: each holds those of K owners or more.

    A cell ends when it has K owners; equal values stay together. Empty if there are too few owners.
    """
    ends, inside, k = [], set(), needed()
    of_chunks = _chunk_ends(values)
    starts = [0, *of_chunks][:-1]
    pairs = zip(starts, of_chunks, _begin_with_many(owners, starts, of_chunks), strict=True)
    for start, end, enough in pairs:
        for first in [] if enough else range(start, end, AT_A_TIME):
            inside.update(owners[first : min(first + AT_A_TIME, end)].tolist())
            if enough := len(inside) >= k:
                break
        if enough:
            ends.append(end)
            inside = set()
    if not ends:
        return np.empty(0)
    begins = np.array([0, *ends[:-1]])
    counts = np.diff([*begins, len(values)])  # the last cell takes what is left over
    means: Floats = np.add.reduceat(values, begins) / counts
    return means


def _begin_with_many(owners: Ints, starts: list[int], ends: list[int]) -> list[bool]:
    """Of each chunk, whether its first K points have K owners, as those of most large ones do."""
    begin, k = np.array(starts, dtype=np.int64), needed()
    long = np.array(ends, dtype=np.int64) - begin >= k
    first = np.sort(owners[begin[long][:, None] + np.arange(k)])
    long[long] = (first[:, 1:] != first[:, :-1]).all(axis=1)
    found: list[bool] = long.tolist()
    return found


def _chunk_ends(values: Floats) -> list[int]:
    """Where cells may end: behind each distinct value, or at 2**16 places if there are more."""
    is_end = np.append(values[1:] > values[:-1], True)[: len(values)]
    if np.count_nonzero(is_end) > MOST_CHUNKS:
        wanted = np.ceil(np.linspace(0, len(values), MOST_CHUNKS + 1)[1:]).astype(np.int64)
        ends = np.unique(np.searchsorted(values, values[wanted - 1], side="right"))
    else:
        ends = np.flatnonzero(is_end) + 1
    found: list[int] = ends.tolist()
    return found


def _bins(cells: Floats, most: int) -> Floats:
    """(n, PARTS + 1) quantiles of n bins, n at most `most`; a single cell gives an atom."""
    if len(cells) < 2:
        return np.repeat(cells[:, None], PARTS + 1, 1)
    n = max(1, min(most, (len(cells) - 1) // PARTS))
    place = np.linspace(0, len(cells) - 1, n * PARTS + 1)
    knots = np.interp(place, np.arange(len(cells)), cells)
    return np.stack([knots[k : len(knots) - PARTS + k : PARTS] for k in range(PARTS + 1)], 1)


def _nearest(sorted_values: Floats, values: Floats) -> Ints:
    """Index of the nearest of rising values, for values of any shape."""
    return np.searchsorted(_middles(sorted_values), values)


def _middles(values: Floats) -> Floats:
    middles: Floats = (values[1:] + values[:-1]) / 2
    return middles
