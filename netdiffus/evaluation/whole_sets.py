"""Distances and moments of whole sets of traces, of which a batch at a time is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdiffus.evaluation.candidates import distance_figures
from netdiffus.evaluation.features.quantities import quantities
from netdiffus.evaluation.metrics.distances import (
    BINNED,
    MOST_LAGS,
    autocorrelation,
    autocorrelation_distance,
    bin_edges,
    binned_distances,
    lag_count,
)
from netdiffus.evaluation.metrics.distributions import MEASURES, Tables
from netdiffus.evaluation.metrics.histograms import (
    DIGITS,
    Counted,
    Histogram,
    mean_and_deviation,
    shares,
    wasserstein,
)
from netdiffus.traces.traces import Floats, Ints, Traces

BLOCKS = 4  # shares of each set, of which halves are made for the standard error
DIVISIONS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
FINE = 1 << 30  # autocorrelations are added up as whole numbers of so many to 1
Figures = dict[str, Any]


class WholeSet:
    """Histograms of all quantities of a set, by class and block, and sums of autocorrelations."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.histograms: dict[str, Histogram] = {}
        self.longest = np.zeros(classes, np.int64)
        self._r: dict[str, tuple[Ints, Ints]] = {}

    def add(self, traces: Traces, block: Ints) -> None:
        """Counts traces in their final form, each of one of the blocks (n,)."""
        stratum = block * self.classes + traces.labels
        for q in quantities(traces):
            found = self.histograms.setdefault(q.name, Histogram(BLOCKS * self.classes))
            found.add(q.values, stratum[q.trace])
        np.maximum.at(self.longest, traces.labels, traces.lengths)
        for c, channel in enumerate(traces.channels):
            r = autocorrelation(traces.values[:, c], traces.lengths, MOST_LAGS)
            self._add_r(channel.name, r, stratum)

    def _add_r(self, name: str, r: Floats, stratum: Ints) -> None:
        if name not in self._r:
            empty = np.zeros((BLOCKS * self.classes, MOST_LAGS), np.int64)
            self._r[name] = empty, empty.copy()
        reached = ~np.isnan(r)
        sums, counts = self._r[name]
        fine = np.rint(np.where(reached, r, 0.0) * FINE)
        for lag in range(MOST_LAGS):  # whole numbers, of which a batch has too few for rounding
            sums[:, lag] += np.bincount(stratum, fine[:, lag], len(sums)).astype(np.int64)
            counts[:, lag] += np.bincount(stratum[reached[:, lag]], minlength=len(sums))

    def merge(self, other: WholeSet) -> None:
        """Adds what another has counted; the result is the same in any order."""
        for name, histogram in other.histograms.items():
            self.histograms.setdefault(name, Histogram(histogram.strata)).merge(histogram)
        self.longest = np.maximum(self.longest, other.longest)
        for name, (sums, counts) in other._r.items():
            if name in self._r:
                sums, counts = sums + self._r[name][0], counts + self._r[name][1]
            self._r[name] = sums, counts

    def of(self, name: str, blocks: Sequence[int]) -> list[Counted]:
        """The numbers of a quantity of each class."""
        of_class = range(self.classes)
        return [self.histograms[name].of([b * self.classes + k for b in blocks]) for k in of_class]

    def autocorrelations(self, blocks: Sequence[int]) -> dict[str, Floats]:
        """For each channel the mean of each class, (K, lags); NaN at lags that none reaches."""
        shape = (BLOCKS, self.classes, MOST_LAGS)
        found = {}
        for name, pair in self._r.items():
            sums, counts = (x.reshape(shape)[list(blocks)].sum(axis=0) for x in pair)
            mean = sums / FINE / np.maximum(counts, 1)
            found[name] = np.where(counts > 0, mean, np.nan)
        return found


def whole_figures(sets: dict[str, WholeSet], classes: Sequence[str]) -> Figures:
    """Figures over all traces of `synthetic` and `real`, each beside `holdout`.

    Returns:
        `synthetic` and `real` with the measures of `MEASURES`, as in `candidates`; `moments` of
        each set, its mean and standard deviation; `digits`, to which numbers are rounded.
    """
    holdout = sets["holdout"]
    together = {name: _moments(one) for name, one in sets.items()}
    scales = {name: sd for name, (_, sd) in together["real"].items()}
    return {
        "digits": DIGITS,
        "moments": {
            name: {q: {"mean": m, "sd": sd} for q, (m, sd) in found.items()}
            for name, found in together.items()
        },
        **{name: _figures(sets[name], holdout, scales, classes) for name in ("synthetic", "real")},
    }


def _moments(one: WholeSet) -> dict[str, tuple[float, float]]:
    everything = {name: h.of(range(h.strata)) for name, h in one.histograms.items()}
    return {name: mean_and_deviation(counted) for name, counted in everything.items()}


def _figures(
    candidate: WholeSet, holdout: WholeSet, scales: dict[str, float], classes: Sequence[str]
) -> Figures:
    whole = [_distances(candidate, holdout, range(BLOCKS))]
    parts = [[_distances(candidate, holdout, half) for half in both] for both in DIVISIONS]
    return distance_figures(whole, parts, classes, scales)


def _distances(candidate: WholeSet, reference: WholeSet, blocks: Sequence[int]) -> Tables:
    """As `distribution_distances`, of some blocks of either set; NaN of a class without traces."""
    tables: Tables = {measure: {} for measure in MEASURES}
    for name in reference.histograms:
        pairs = zip(candidate.of(name, blocks), reference.of(name, blocks), strict=True)
        found = [_of_class(*pair) for pair in pairs]
        for measure in found[0]:
            tables[measure][name] = np.array([one[measure] for one in found])
    r, of_reference = candidate.autocorrelations(blocks), reference.autocorrelations(blocks)
    for name, rows in of_reference.items():
        lags = [lag_count(int(longest)) for longest in reference.longest]
        each = zip(r[name], rows, lags, strict=True)
        distances = [autocorrelation_distance(a[:n], b[:n]) for a, b, n in each]
        tables["autocorrelation"][name] = np.array(distances)
    return tables


def _of_class(x: Counted, y: Counted) -> dict[str, float]:
    """Distances of the numbers of one class."""
    if not x.total or not y.total:
        return dict.fromkeys(("wasserstein", *BINNED), np.nan)
    edges = bin_edges(*y)
    binned = binned_distances(shares(x, edges), shares(y, edges), np.zeros(len(edges) + 1, int))
    return {"wasserstein": wasserstein(x, y), **{name: float(d[0]) for name, d in binned.items()}}
