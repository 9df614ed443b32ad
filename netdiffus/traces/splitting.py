"""A stratified holdout in which no group, and no duplicate, stands on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.arrays import Bools, Floats, Ints
from netdiffus.errors import InputError, checked_seed

AT_ONCE = 1 << 12  # units that are looked at together


def holdout_rows(
    labels: Ints, classes: Sequence[str], groups: Sequence[Ints], fraction: float, seed: int
) -> Bools:
    """(N,), true for the traces held out. See `Traces.split`.

    Args:
        labels: (N,), index into `classes`.
        classes: Names, for errors.
        groups: Each (N,): rows that share a number must stay on one side.
        fraction: Share of each class to hold out.
        seed: Same seed, same rows.
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie between 0 and 1, got {fraction}")
    seed = checked_seed(seed)
    units = np.arange(len(labels))
    for ids in groups:
        units = _merge(units, ids)
    counts = UnitCounts.of(units, labels, len(classes))
    total = counts.total
    target = np.clip(fraction * total, 1, np.maximum(total - 1, 1))
    held = _mended(counts, _choose(counts, target, seed))
    _check_sides(counts, held, classes)
    return held[units]


def group_names(meta: pa.Table, by: str, sep: str | None) -> npt.NDArray[np.str_]:
    """(N,): the text (before `sep`) of the column `by`."""
    if by not in meta.column_names:
        names = ", ".join(meta.column_names) or "none"
        raise InputError(f"no column {by!r} to group by; columns beside the channels: {names}")
    texts = meta[by].cast(pa.string()).to_pylist()
    if sep == "":
        raise InputError("sep is empty; name the text that ends the group's name, or leave it out")
    for row, text in enumerate(texts):
        if not text:
            raise InputError(f"column {by!r} is empty in row {row}; name its group")
    return np.array([text if sep is None else text.split(sep)[0] for text in texts], dtype=np.str_)


def owners_of(meta: pa.Table, by: str | None) -> Ints | None:
    """(N,): the number of each trace's group, or None where each trace is its own."""
    if by is None:
        return None
    return np.unique(group_names(meta, by, None), return_inverse=True)[1].astype(np.int64)


def _merge(units: Ints, groups: Ints) -> Ints:
    """Numbers 0..K-1 for the connected components of `same unit or same group`."""
    merged = units
    while True:
        lowest = merged
        for ids in (groups, units):
            least = np.full(ids.max() + 1, len(ids))
            np.minimum.at(least, ids, lowest)
            lowest = least[ids]
        if np.array_equal(lowest, merged):
            is_used = np.zeros(merged.max() + 1, dtype=bool)
            is_used[merged] = True
            return (np.cumsum(is_used) - 1)[merged]
        merged = lowest


@dataclass(frozen=True, eq=False)
class UnitCounts:
    """How many traces of each class each of K units holds, where it holds any; P such pairs.

    Most units are single traces, so that a table (K, classes) would be full of zeros.

    Attributes:
        unit: (P,), in rising order.
        label: (P,), class.
        count: (P,), traces.
        first: (K + 1,), the first pair of each unit, and P.
        total: (classes,), traces of each class.
    """

    unit: Ints
    label: Ints
    count: Ints
    first: Ints
    total: Ints

    @classmethod
    def of(cls, units: Ints, labels: Ints, classes: int) -> UnitCounts:
        """Of each row the unit, 0..K-1, and the class."""
        pairs = units * classes
        pairs += labels
        pairs, count = np.unique(pairs, return_counts=True)
        unit = pairs // classes
        pairs %= classes
        first = np.append(0, np.cumsum(np.bincount(unit)))
        return cls(unit, pairs, count, first, np.bincount(labels, minlength=classes))

    def on_side(self, mask: Bools) -> Ints:
        """(classes,): traces in the units for which the mask (K,) is true."""
        mine = mask[self.unit]
        found = np.zeros(len(self.total), np.int64)
        np.add.at(found, self.label[mine], self.count[mine])
        return found


def _choose(counts: UnitCounts, target: Floats, seed: int) -> Bools:
    """Takes units in random order, each only if it brings every class's count nearer to target."""
    held = np.zeros(len(counts.first) - 1, dtype=bool)
    missing, wanted = target.tolist(), target.tolist()
    order = np.random.default_rng(seed).permutation(len(held))
    for begin in range(0, len(order), AT_ONCE):  # Python's numbers take four times the memory
        units = order[begin : begin + AT_ONCE]
        for unit, pairs in zip(units.tolist(), _pairs(counts, units), strict=True):
            # Drop of the sum of missing² / target.
            if sum(n * (2 * missing[k] - n) / wanted[k] for k, n in pairs) > 0:
                held[unit] = True
                for k, n in pairs:
                    missing[k] -= n
    return held


def _pairs(counts: UnitCounts, units: Ints) -> Iterator[list[tuple[int, int]]]:
    """The classes of each of these units, and how many traces it has of each."""
    first, last = counts.first[units], counts.first[units + 1]
    single = zip(counts.label[first].tolist(), counts.count[first].tolist(), strict=True)
    for pair, begin, end in zip(single, first.tolist(), last.tolist(), strict=True):
        more = range(begin + 1, end)
        yield [pair, *((int(counts.label[i]), int(counts.count[i])) for i in more)]


def _mended(counts: UnitCounts, held: Bools) -> Bools:
    """Gives each class that has several units, all on one side, its smallest one on the other."""
    sizes = np.add.reduceat(counts.count, counts.first[:-1])
    for label in range(len(counts.total)):
        mine = counts.unit[counts.label == label]
        if len(mine) > 1 and held[mine].all() == held[mine].any():
            smallest = mine[np.argmin(sizes[mine])]
            held[smallest] = not held[smallest]
    return held


def _check_sides(counts: UnitCounts, held: Bools, classes: Sequence[str]) -> None:
    out, total = counts.on_side(held), counts.total
    for label in np.flatnonzero((total > 0) & ((out == 0) | (out == total))).tolist():
        units = np.count_nonzero(counts.label == label)
        raise InputError(
            f"class {classes[label]!r} has {total[label]} trace(s) in {units} "
            "independent group(s), too few to stand on both sides of a split; "
            "add traces, drop the class, or split by a finer column"
        )
