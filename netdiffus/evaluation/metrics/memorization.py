"""Whether synthetic traces are nearer to training traces than new real traces are.

This finds copies. It proves no privacy: a generator may give away what it learned without any of
its traces being near a training trace (Ganev and De Cristofaro, 2023; "The DCR Delusion", 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from netdiffus.evaluation.draws import in_two
from netdiffus.evaluation.features.embedding import distances
from netdiffus.evaluation.features.quantities import MICROSECOND
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.traces.traces import Floats, Ints, Traces

NEAR = 0.01  # quantile of real distances below which a trace is a near duplicate
DIVISIONS = 8  # into halves, for the standard error
SEED = 0  # of the halves
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Closeness:
    """How near each of N traces is to training traces and to held-out ones, of its own class.

    Attributes:
        nearest: (N,), distance to the nearest training trace.
        closer: (N,), chance that the nearest training trace is closer than the nearest held-out
            trace, as many of both; equally close counts half. 0.5 on average where nothing is
            copied.
        near: (N,), 1 where `nearest` is at most the threshold, else 0.
        halves: (S, 2, N), `closer` within either half of all three sets, in S random divisions;
            NaN for a trace of the other half, and where a class is too small.
    """

    nearest: Floats
    closer: Floats
    near: Floats
    halves: Floats


class CopyDetector:
    """Compares the distances of traces to training and to held-out traces of their class.

    Both sets count with equally many traces of a class, the smaller number of the two: the result
    is the exact mean over all ways to choose them.

    Args:
        train: Training traces, at least two of each class.
        holdout: Held-out traces, at least two of each class.
        sample: At most so many training traces, and as many real ones, are compared with all
            others for `threshold` and `usual_near`.

    Attributes:
        threshold: The distance below which 1 % of training traces have another of their class.
    """

    def __init__(self, train: VectorSet, holdout: VectorSet, sample: int = 2_000) -> None:
        self._train, self._holdout, self._sample = train, holdout, sample
        rng = np.random.default_rng(SEED)
        rows = rng.permutation(len(train))[:sample]
        own = [
            _distances(train[rows[mine]], train, label, rows[mine]).min(axis=1)
            for label, mine in _classes(train.labels[rows])
        ]
        quantile = np.quantile(np.concatenate(own), NEAR, method="inverted_cdf")
        self.threshold = float(quantile)

    def of(self, candidate: VectorSet) -> Closeness:
        """How near traces of a generator are."""
        return self._closeness(candidate, None, None)

    def of_train(self, rows: Ints) -> Closeness:
        """How near these training traces are; none is compared with itself: this is the floor."""
        return self._closeness(self._train[rows], rows, None)

    def of_holdout(self, rows: Ints) -> Closeness:
        """How near these held-out traces are; none is compared with itself."""
        return self._closeness(self._holdout[rows], None, rows)

    def usual_near(self) -> tuple[Floats, Ints]:
        """How often real traces are near copies of each other, however they were split.

        Returns:
            For training and held-out traces the chance that one of as many others of its class as
            there are training traces is as near as a near copy, see `usual_exact`; and their
            classes.
        """
        real = self._train.joined(self._holdout)
        rows = np.random.default_rng(SEED).permutation(len(real))[: self._sample]
        chance = np.zeros(len(rows))
        for label, mine in _classes(real.labels[rows]):
            apart = _distances(real[rows[mine]], real, label, rows[mine])
            alike = (apart <= self.threshold).sum(axis=1)
            drawn = int((self._train.labels == label).sum())
            chance[mine] = _any_drawn(apart.shape[1] - 1, alike, drawn)
        return chance, real.labels[rows]

    def _closeness(
        self, candidate: VectorSet, train_rows: Ints | None, holdout_rows: Ints | None
    ) -> Closeness:
        """The rows that candidates have among training or held-out traces, if they are of these."""
        n = len(candidate)
        nearest, closer = np.zeros(n), np.zeros(n)
        halves = np.full((DIVISIONS, 2, n), np.nan)
        for label, mine in _classes(candidate.labels):
            own = [None if rows is None else rows[mine] for rows in (train_rows, holdout_rows)]
            to_train = _distances(candidate[mine], self._train, label, own[0])
            to_holdout = _distances(candidate[mine], self._holdout, label, own[1])
            nearest[mine] = to_train.min(axis=1)
            closer[mine] = _closer(to_train, to_holdout)
            halves[:, :, mine] = self._in_halves(candidate.group[mine], label, to_train, to_holdout)
        near = (nearest <= self.threshold).astype(np.float64)
        return Closeness(nearest, closer, near, halves)

    def _in_halves(self, group: Ints, label: int, to_train: Floats, to_holdout: Floats) -> Floats:
        """(S, 2, n): `_closer` within either half of traces, training and held-out traces.

        Traces that are of the training or the held-out set themselves are divided as that is.
        """
        rng = np.random.default_rng(SEED)
        sides = [s.group[s.labels == label] for s in (self._train, self._holdout)]
        scores = np.full((DIVISIONS, 2, len(group)), np.nan)
        own = [_own_place(x) for x in (to_train, to_holdout)]
        for score in scores:
            of_train, of_holdout, free = (in_two(g, rng) for g in (*sides, group))
            mine = _like(of_train, own[0]) or _like(of_holdout, own[1]) or free
            for side, rows, a, b in zip(score, mine, of_train, of_holdout, strict=True):
                side[rows] = _closer(to_train[np.ix_(rows, a)], to_holdout[np.ix_(rows, b)])
        return scores


def usual_exact(real: Sequence[bytes] | Keys, drawn: int) -> Floats:
    """(N,): how often real traces are exact copies of each other, however they were split.

    A split that keeps identical traces together leaves no copies between its sides. So for each
    trace `drawn` of all others are chosen, as if a generator had learned from them. If k of N
    traces are equal to it, itself included, another of these is among the chosen ones with
    probability ``1 - C(N - k, drawn) / C(N - 1, drawn)``.

    Args:
        real: `point_keys` of training and held-out traces together, or `short_keys`.
        drawn: Number of training traces.
    """
    _, place, count = np.unique(np.asarray(real), return_inverse=True, return_counts=True)
    return _any_drawn(len(real) - 1, count[place] - 1, drawn)


def point_keys(traces: Traces) -> list[bytes]:
    """For each trace a hash of 16 bytes that is equal where all its points are.

    Gaps are compared as whole microseconds since the start of the trace: captures keep no more, and
    gaps that were differences of times differ from others in their last digits.
    """
    # Adding 0 turns -0.0 into 0.0, which equal each other but differ in their bytes.
    values = traces.values + 0.0
    for c, channel in enumerate(traces.channels):
        if channel.kind == "gap":
            values[:, c] = np.rint(np.cumsum(values[:, c], axis=1) / MICROSECOND)
    pairs = zip(values, traces.lengths, strict=True)
    return [blake2b(row[:, :n].tobytes(), digest_size=16).digest() for row, n in pairs]


def short_keys(keys: Sequence[bytes]) -> Keys:
    """(N,): the first 64 bits of `point_keys`, which take an eighth of the memory.

    Of three sets of 2**20 traces two different ones share them in one of 4 million cases.
    """
    found: Keys = np.frombuffer(b"".join(keys), dtype=np.uint64)[::2].copy()
    return found


def _classes(labels: Ints) -> list[tuple[int, Ints]]:
    """Each class that is there, and its places."""
    return [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _distances(candidate: VectorSet, reference: VectorSet, label: int, own: Ints | None) -> Floats:
    """(n, m): distances to the m traces of a class in the reference; infinite to the trace itself.

    Candidates that are of the reference have the rows `own` (n,) there.
    """
    rows = np.flatnonzero(reference.labels == label)
    apart = distances(candidate.x, reference.x[rows])
    if own is not None:
        apart[np.arange(len(own)), np.searchsorted(rows, own)] = np.inf
    return apart


def _own_place(apart: Floats) -> Ints | None:
    """(n,): the column of each trace itself, where there is one."""
    own = np.isinf(apart)
    return own.argmax(axis=1) if own.any() else None


def _like(divided: tuple[Ints, Ints], place: Ints | None) -> tuple[Ints, Ints] | None:
    """The candidates in either half, where they are the reference's traces at these places."""
    if place is None:
        return None
    in_first = np.isin(place, divided[0])
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)


def _closer(to_train: Floats, to_holdout: Floats) -> Floats:
    """(n,): chance that the least of m of `to_train` is below the least of m of `to_holdout`.

    Both (n, any); infinite ones do not count; m is the smaller number. The least of m of M is
    the k-th least (from 0) with chance ``C(M - 1 - k, m - 1) / C(M, m)``, and m of m is certain.
    NaN where m is 0.
    """
    total, m = (_most_finite(x) for x in (to_train, to_holdout))
    if total < m:
        return 1 - _closer(to_holdout, to_train)
    if m == 0:
        return np.full(len(to_train), np.nan)
    least = to_holdout.min(axis=1, keepdims=True)
    below, up_to = (f(to_train, least).sum(axis=1) for f in (np.less, np.less_equal))
    return (_any_drawn(total, below, m) + _any_drawn(total, up_to, m)) / 2


def _most_finite(x: Floats) -> int:
    return int(np.isfinite(x).sum(axis=1).max(initial=0))


def _any_drawn(total: int, marked: Ints, drawn: int) -> Floats:
    """Chance that one of the marked is among m drawn of M: 1 - C(M - k, m) / C(M, m)."""
    drawn, left = min(drawn, total), total - marked
    possible = np.maximum(left - drawn, 0)
    logarithm = gammaln(left + 1) - gammaln(possible + 1)
    logarithm -= gammaln(total + 1) - gammaln(total - drawn + 1)
    return np.where(left >= drawn, 1 - np.exp(logarithm), 1.0)
