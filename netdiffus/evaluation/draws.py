"""Random draws of traces: equal counts per class, and halves that keep groups together."""

from __future__ import annotations

import numpy as np

from netdiffus.traces.traces import Ints

FEWEST = 2  # traces of a class, at least


def capped(counts: Ints, most: int) -> Ints:
    """Counts per class (K,) that add up to at most `most`.

    Large classes are cut to one count, the largest that fits. Small classes are kept whole, and
    each class keeps at least 2 traces, even if that is more than `most` together.
    """
    cuts = np.arange(min(int(counts.max(initial=0)), most) + 1)  # a higher cut never fits better
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, cuts, side="right")
    kept = np.concatenate([[0], np.cumsum(ordered)])[below] + cuts * (len(counts) - below)
    fitting = int(np.searchsorted(kept, most, side="right")) - 1
    return np.minimum(counts, max(fitting, FEWEST))


def class_counts(labels: Ints, classes: int) -> Ints:
    """(K,): traces of each class."""
    return np.bincount(labels, minlength=classes)


def draw_rows(labels: Ints, counts: Ints, rng: np.random.Generator) -> Ints:
    """Rows of `counts` (K,) random traces of each class, without replacement, class by class."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    of_class = labels[order]
    first = np.searchsorted(of_class, np.arange(len(counts)))
    place = np.arange(len(order)) - first[of_class]
    return order[place < counts[of_class]]


class RandomOfEach:
    """Random traces of each class of a set that is read once, batch by batch.

    Args:
        numbers: (K,), traces of each class in the set.
        wanted: (K,), how many to draw of each, without replacement.
        seed: Same seed, same traces, wherever the batches end.
    """

    def __init__(self, numbers: Ints, wanted: Ints, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._seen = np.zeros(len(numbers), np.int64)
        self._ranks = np.concatenate(  # places among the traces of a class, which is in upper bits
            [
                k << 48 | rng.choice(n, count, replace=False, shuffle=False)
                for k, (n, count) in enumerate(zip(numbers.tolist(), wanted.tolist(), strict=True))
            ]
        )

    def rows(self, labels: Ints) -> Ints:
        """The rows of the next batch, of these classes, that are drawn."""
        order = np.argsort(labels, kind="stable")
        of_class = labels[order]
        first = np.searchsorted(of_class, np.arange(len(self._seen)))
        place = np.arange(len(order)) - first[of_class] + self._seen[of_class]
        self._seen += np.bincount(labels, minlength=len(self._seen))
        return np.sort(order[np.isin(of_class << 48 | place, self._ranks)])


def halves(labels: Ints, group: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """The rows of two random halves of each class, of labels (N,) and groups (N,), see `in_two`."""
    order = np.argsort(labels, kind="stable")
    ends = np.flatnonzero(np.diff(labels[order])) + 1
    sides = [[rows[half] for half in in_two(group[rows], rng)] for rows in np.split(order, ends)]
    first, second = (np.concatenate(side) for side in zip(*sides, strict=True))
    return first, second


def in_two(group: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Places 0..n-1 as two random halves, the first larger by one if n is odd.

    Places of one group stay together, where there are several groups; the halves are then as equal
    as that allows.
    """
    order = rng.permutation(len(group))
    middle = (len(group) + 1) // 2
    _, first, number = np.unique(group[order], return_index=True, return_inverse=True)
    if len(first) < len(group):
        order = order[np.argsort(first[number], kind="stable")]
        ends = np.flatnonzero(np.diff(group[order])) + 1
        if len(ends):
            middle = int(ends[np.argmin(np.abs(ends - middle))])
    return order[:middle], order[middle:]
