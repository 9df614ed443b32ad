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
    cuts = np.arange(counts.max(initial=0) + 1)
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
