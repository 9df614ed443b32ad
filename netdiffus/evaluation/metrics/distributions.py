"""Distances between the distributions of two sets of traces, and between their time structures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from netdiffus.evaluation.features.quantities import Quantity, quantities
from netdiffus.evaluation.features.traits import traits
from netdiffus.evaluation.metrics.distances import (
    MOST_LAGS,
    autocorrelation,
    autocorrelation_distance,
    bin_edges,
    binned_distances,
    kolmogorov_smirnov,
    lag_count,
    mean_autocorrelation,
    shares,
    wasserstein,
)
from netdiffus.traces.traces import Floats, Ints, Traces

MEASURES = (
    "wasserstein",
    "jensen_shannon",
    "hellinger",
    "total_variation",
    "autocorrelation",
    "coherence",
)

Tables = dict[str, dict[str, Floats]]
"""For each measure, for each quantity, one number per class (K,)."""


class QuantityByClass:
    """The numbers of one quantity, class by class, of traces of these labels; all are there."""

    def __init__(self, quantity: Quantity, label: Ints, classes: int) -> None:
        # Small types: there is one for each number of a set.
        of_value = label.astype(np.int16 if classes < 2**15 else np.int32)[quantity.trace]
        order = np.argsort(of_value, kind="stable")
        self.values = quantity.values[order].astype(np.float64)
        self.of_class = of_value[order]
        self._ends = np.cumsum(np.bincount(self.of_class, minlength=classes))[:-1]

    @property
    def per_class(self) -> list[Floats]:
        """The numbers of each class."""
        return np.split(self.values, self._ends)

    @cached_property
    def edges(self) -> list[Floats]:
        """Of bins that suit each class, see `bin_edges`."""
        return [bin_edges(*np.unique(x, return_counts=True)) for x in self.per_class]

    @cached_property
    def own_shares(self) -> Floats:
        """Shares of the bins of `edges`, of all classes one after another."""
        return self.shares_of(self.edges)

    def shares_of(self, edges: list[Floats]) -> Floats:
        """Shares of the bins that these edges make, of all classes one after another."""
        pairs = zip(self.per_class, edges, strict=True)
        return np.concatenate([shares(values, of_class) for values, of_class in pairs])


@dataclass(frozen=True, eq=False)
class SetDistributions:
    """What distances need of a set of traces, at least one of each class.

    Attributes:
        labels: (N,).
        classes: K.
        lengths: (N,).
        quantities: Of all traces.
        traits: One number of each trace, see `features.traits`.
        channels: Names of the C channels.
        r: (C, N, lags), autocorrelations of each trace.
    """

    labels: Ints
    classes: int
    lengths: Ints
    quantities: list[Quantity]
    traits: list[Quantity]
    channels: list[str]
    r: Floats

    @classmethod
    def of(cls, traces: Traces) -> SetDistributions:
        """Of these traces."""
        return cls(
            traces.labels,
            len(traces.classes),
            traces.lengths,
            quantities(traces),
            traits(traces),
            [channel.name for channel in traces.channels],
            np.stack(
                [
                    autocorrelation(traces.values[:, c], traces.lengths, MOST_LAGS)
                    for c in range(len(traces.channels))
                ]
            ),
        )

    def part(self, rows: Ints) -> SetDistributions:
        """The same of some of the traces."""
        place = np.full(len(self.labels), -1, np.int32)
        place[rows] = np.arange(len(rows))
        return replace(
            self,
            labels=self.labels[rows],
            lengths=self.lengths[rows],
            quantities=[q.part(place) for q in self.quantities],
            traits=[q.part(place) for q in self.traits],
            r=self.r[:, rows],
        )

    @cached_property
    def by_class(self) -> dict[str, QuantityByClass]:
        """Each quantity by its name."""
        return {q.name: QuantityByClass(q, self.labels, self.classes) for q in self.quantities}

    @cached_property
    def autocorrelations(self) -> dict[str, Floats]:
        """For each channel the mean of each class, (K, lags)."""
        return {
            name: mean_autocorrelation(r, self.labels, self.classes)
            for name, r in zip(self.channels, self.r, strict=True)
        }

    @cached_property
    def lags(self) -> list[int]:
        """(K,): lags at which each class is compared as a reference."""
        longest = np.zeros(self.classes, dtype=np.int64)
        np.maximum.at(longest, self.labels, self.lengths)
        return [lag_count(int(length)) for length in longest]


def distribution_distances(candidate: SetDistributions, reference: SetDistributions) -> Tables:
    """Distances of one set of traces from another with the same classes and channels.

    Returns:
        For each of `MEASURES` (`wasserstein` in the quantity's unit, `jensen_shannon` in bits),
        for each quantity, one number per class. `coherence` is the Kolmogorov-Smirnov distance of
        each trait.
    """
    tables: Tables = {measure: {} for measure in MEASURES}
    for name, theirs in reference.by_class.items():
        ours = candidate.by_class[name]
        tables["wasserstein"][name] = wasserstein(
            ours.values, ours.of_class, theirs.values, theirs.of_class
        )
        bins = np.repeat(np.arange(len(theirs.edges)), [len(e) + 1 for e in theirs.edges])
        found = binned_distances(ours.shares_of(theirs.edges), theirs.own_shares, bins)
        for measure, distance in found.items():
            tables[measure][name] = distance
    for name, r in reference.autocorrelations.items():
        rows = zip(candidate.autocorrelations[name], r, reference.lags, strict=True)
        distances = [autocorrelation_distance(a[:n], b[:n]) for a, b, n in rows]
        tables["autocorrelation"][name] = np.array(distances)
    for made, real in zip(candidate.traits, reference.traits, strict=True):
        tables["coherence"][made.name] = kolmogorov_smirnov(
            made.values, candidate.labels[made.trace], real.values, reference.labels[real.trace]
        )
    return tables


def class_autocorrelation(traces: Traces, channel: int, lags: int) -> Floats:
    """(lags,): mean autocorrelation of one channel, all classes together."""
    r = autocorrelation(traces.values[:, channel], traces.lengths, lags)
    mean: Floats = mean_autocorrelation(r, np.zeros(len(traces), dtype=np.int64), 1)[0]
    return mean
