"""Whether synthetic traces are nearer to training traces than new real traces are.

This finds copies. It proves no privacy: a generator may give away what it learned without any of
its traces being near a training trace (Ganev and De Cristofaro, 2023; "The DCR Delusion", 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from netdiffus.evaluation.space import distances
from netdiffus.traces import Floats, Ints

NEAR = 0.01  # quantile of real distances below which a trace is a near duplicate


@dataclass(frozen=True, eq=False)
class Copying:
    """How near each of N traces is to training traces and to held-out ones, of its own class.

    Attributes:
        nearest: (N,), distance to the nearest training trace.
        closer: (N,), chance that the nearest training trace is closer than the nearest held-out
            trace, as many of both; equally close counts half. 0.5 on average where nothing is
            copied.
        near: (N,), whether `nearest` is at most `threshold`.
        threshold: Closer than this are only 1 % of the training traces to another of their class.
    """

    nearest: Floats
    closer: Floats
    near: Floats
    threshold: float


def copying(
    candidate: tuple[Floats, Ints],
    train: tuple[Floats, Ints],
    holdout: tuple[Floats, Ints],
) -> Copying:
    """Compares the distances of placed traces to training and to held-out traces.

    Where one side has more traces of a class than the other, so many of them count as the other
    has: of all ways to choose them the mean is taken, exactly.

    Args:
        candidate: Where the traces to judge are (N, D), and their classes (N,). If it is `train`
            or `holdout` itself, a trace is not compared with itself: this is the floor.
        train: The same of the training traces, at least two of each class.
        holdout: The same of the held-out traces, at least two of each class.
    """
    (points, labels), threshold = candidate, _threshold(*train)
    nearest, closer = np.zeros(len(points)), np.zeros(len(points))
    for label in np.unique(labels):
        mine = labels == label
        to_train = _others(points[mine], train, label, candidate is train)
        to_holdout = _others(points[mine], holdout, label, candidate is holdout)
        nearest[mine] = to_train.min(axis=1)
        closer[mine] = _closer(to_train, to_holdout)
    return Copying(nearest, closer, (nearest <= threshold).astype(np.float64), threshold)


def _threshold(points: Floats, labels: Ints) -> float:
    """The 1 % quantile of the distances of training traces to the nearest other of their class."""
    own = [
        _others(points[labels == label], (points, labels), label, True).min(axis=1)
        for label in np.unique(labels)
    ]
    return float(np.quantile(np.concatenate(own), NEAR, method="inverted_cdf"))


def _others(points: Floats, group: tuple[Floats, Ints], label: int, same: bool) -> Floats:
    """(n, m): ascending distances to the traces of the class in `group`, without oneself."""
    apart = distances(points, group[0][group[1] == label])
    if same:
        np.fill_diagonal(apart, np.inf)
        return np.sort(apart, axis=1)[:, :-1]
    return np.sort(apart, axis=1)


def _closer(ours: Floats, theirs: Floats) -> Floats:
    """(n,): chance that the least of m of `ours` is below the least of m of `theirs`.

    Both (n, any), ascending; m is the smaller number. The least of m of M is the k-th least
    (from 0) with chance ``C(M - 1 - k, m - 1) / C(M, m)``, and m of m is certain.
    """
    if ours.shape[1] < theirs.shape[1]:
        return 1 - _closer(theirs, ours)
    m = theirs.shape[1]
    below, up_to = ((f(ours, theirs[:, :1])).sum(axis=1) for f in (np.less, np.less_equal))
    return 1 - (_none_drawn(ours.shape[1], below, m) + _none_drawn(ours.shape[1], up_to, m)) / 2


def _none_drawn(total: int, marked: Ints, drawn: int) -> Floats:
    """Chance that none of the marked is among those drawn: C(M - k, m) / C(M, m)."""
    left = total - marked
    possible = np.maximum(left - drawn, 0)
    logarithm = gammaln(left + 1) - gammaln(possible + 1)
    logarithm -= gammaln(total + 1) - gammaln(total - drawn + 1)
    return np.where(left >= drawn, np.exp(logarithm), 0.0)
