"""Whether synthetic traces are nearer to training traces than new real traces are.

This finds copies. It proves no privacy: a generator may give away what it learned without any of
its traces being near a training trace (Ganev and De Cristofaro, 2023; "The DCR Delusion", 2025).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from netdiffus.evaluation.features.embedding import distances
from netdiffus.evaluation.groups import in_two
from netdiffus.evaluation.metrics.distributions import MICROSECOND
from netdiffus.traces import Floats, Ints, Traces

NEAR = 0.01  # quantile of real distances below which a trace is a near duplicate
SEED = 0  # of the halves


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
        halves: (S, 2, N), `closer` within either half of all three sets, in S random divisions;
            NaN for a trace of the other half, and where a class is too small.
    """

    nearest: Floats
    closer: Floats
    near: Floats
    threshold: float
    halves: Floats


def copying(
    candidate: tuple[Floats, Ints],
    train: tuple[Floats, Ints],
    holdout: tuple[Floats, Ints],
    divisions: int = 0,
    units: Sequence[Ints] | None = None,
) -> Copying:
    """Compares the distances of placed traces to training and to held-out traces.

    Where one side has more traces of a class than the other, so many of them count as the other
    has: of all ways to choose them the mean is taken, exactly.

    Args:
        candidate: Where the traces to judge are (N, D), and their classes (N,). If it is `train`
            or `holdout` itself, a trace is not compared with itself: this is the floor.
        train: The same of the training traces, at least two of each class.
        holdout: The same of the held-out traces, at least two of each class.
        divisions: Of the sets into halves, which tell the standard error: all scores share one
            draw of training and held-out traces, so they are not independent.
        units: (N,) each, of the three: traces of one number stay in one half; each is its own
            without.
    """
    units = units or [np.arange(len(side[0])) for side in (candidate, train, holdout)]
    (points, labels), threshold = candidate, _threshold(*train)
    nearest, closer = np.zeros(len(points)), np.zeros(len(points))
    halves = np.full((divisions, 2, len(points)), np.nan)
    same = [candidate is train, candidate is holdout]
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        to_train = _apart(points[mine], train, label, same[0])
        to_holdout = _apart(points[mine], holdout, label, same[1])
        nearest[mine] = to_train.min(axis=1)
        closer[mine] = _closer(to_train, to_holdout)
        sides = zip((candidate, train, holdout), units, strict=True)
        own = [unit[side[1] == label] for side, unit in sides]
        halves[:, :, mine] = _closer_in_halves(to_train, to_holdout, same, divisions, own)
    near = (nearest <= threshold).astype(np.float64)
    return Copying(nearest, closer, near, threshold, halves)


def usual_near(train: tuple[Floats, Ints], holdout: tuple[Floats, Ints]) -> Floats:
    """How often real traces are near copies of each other, however they were split.

    Args:
        train: Where the training traces are (n, D), and their classes (n,).
        holdout: The same of the held-out traces.

    Returns:
        (N,), for each trace of both: the chance that one of as many others of its class as `train`
        has is as near as a near copy; see `usual_exact`.
    """
    real = np.concatenate([train[0], holdout[0]]), np.concatenate([train[1], holdout[1]])
    threshold, chance = _threshold(*train), np.zeros(len(real[0]))
    for label in np.unique(real[1]):
        mine = real[1] == label
        alike = (_apart(real[0][mine], real, label, True) <= threshold).sum(axis=1)
        chance[mine] = _any_drawn(len(alike) - 1, alike, int((train[1] == label).sum()))
    return chance


def usual_exact(real: Sequence[bytes], drawn: int) -> Floats:
    """How often real traces are exact copies of each other, however they were split.

    A split that keeps identical traces on one side leaves none to be found across it. So every
    trace is taken as if `drawn` of the others had been learned from: of N traces, k of them like
    it, one of those is drawn with chance ``1 - C(N - k, drawn) / C(N - 1, drawn)``.

    Args:
        real: `point_keys` of training and held-out traces together.
        drawn: Number of training traces.

    Returns:
        (N,), that chance for each trace.
    """
    count = Counter(real)
    alike = np.array([count[key] - 1 for key in real])
    return _any_drawn(len(real) - 1, alike, drawn)


def point_keys(traces: Traces) -> list[bytes]:
    """For each trace bytes that are equal where all its points are.

    Gaps are compared as whole microseconds since the start of the trace: captures keep no more, and
    gaps that were differences of times differ from others in their last digits.
    """
    # Adding 0 turns -0.0 into 0.0, which equal each other but differ in their bytes.
    values = traces.values + 0.0
    for c, channel in enumerate(traces.channels):
        if channel.kind == "gap":
            values[:, c] = np.rint(np.cumsum(values[:, c], axis=1) / MICROSECOND)
    return [row[:, :n].tobytes() for row, n in zip(values, traces.lengths, strict=True)]


def _threshold(points: Floats, labels: Ints) -> float:
    """The 1 % quantile of the distances of training traces to the nearest other of their class."""
    own = [
        _apart(points[labels == label], (points, labels), label, True).min(axis=1)
        for label in np.unique(labels)
    ]
    return float(np.quantile(np.concatenate(own), NEAR, method="inverted_cdf"))


def _apart(points: Floats, group: tuple[Floats, Ints], label: int, same: bool) -> Floats:
    """(n, m): distances to the traces of the class in `group`, infinite to oneself."""
    apart = distances(points, group[0][group[1] == label])
    if same:
        np.fill_diagonal(apart, np.inf)
    return apart


def _closer_in_halves(
    to_train: Floats,
    to_holdout: Floats,
    same: Sequence[bool],
    divisions: int,
    units: Sequence[Ints],
) -> Floats:
    """(S, 2, n): `_closer` within either half of traces, training and held-out traces."""
    rng, found = np.random.default_rng(SEED), np.full((divisions, 2, len(to_train)), np.nan)
    for scores in found:
        of_train, of_holdout, mine = (in_two(units[k], rng) for k in (1, 2, 0))
        # Traces that are compared with their own set are divided as that is.
        mine = of_train if same[0] else of_holdout if same[1] else mine
        for side, rows, a, b in zip(scores, mine, of_train, of_holdout, strict=True):
            side[rows] = _closer(to_train[np.ix_(rows, a)], to_holdout[np.ix_(rows, b)])
    return found


def _closer(ours: Floats, theirs: Floats) -> Floats:
    """(n,): chance that the least of m of `ours` is below the least of m of `theirs`.

    Both (n, any); infinite ones do not count; m is the smaller number. The least of m of M is
    the k-th least (from 0) with chance ``C(M - 1 - k, m - 1) / C(M, m)``, and m of m is certain.
    NaN where m is 0.
    """
    total, m = (int(np.isfinite(x).sum(axis=1).max(initial=0)) for x in (ours, theirs))
    if total < m:
        return 1 - _closer(theirs, ours)
    if m == 0:
        return np.full(len(ours), np.nan)
    least = theirs.min(axis=1, keepdims=True)
    below, up_to = (f(ours, least).sum(axis=1) for f in (np.less, np.less_equal))
    return (_any_drawn(total, below, m) + _any_drawn(total, up_to, m)) / 2


def _any_drawn(total: int, marked: Ints, drawn: int) -> Floats:
    """Chance that one of the marked is among m drawn of M: 1 - C(M - k, m) / C(M, m)."""
    drawn, left = min(drawn, total), total - marked
    possible = np.maximum(left - drawn, 0)
    logarithm = gammaln(left + 1) - gammaln(possible + 1)
    logarithm -= gammaln(total + 1) - gammaln(total - drawn + 1)
    return np.where(left >= drawn, 1 - np.exp(logarithm), 1.0)
