"""Distributions of numbers that are too many for memory, counted so that any parts add up.

Each number is rounded to 11 binary digits: by 2**-11 (0.05 %) of itself at most, and not at all
where it is a whole number up to 2048. How often each comes is then counted exactly, so all figures
are the same to the last bit whatever the parts and their order. A Wasserstein distance is off by at
most 2**-11 of the mean absolute values of the two sets, added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netdiffus.traces.traces import Floats, Ints

DIGITS = 11  # binary ones that are kept
LEFT_OUT = 24 - DIGITS  # of those of a float32
BINS = 32 - LEFT_OUT  # bits of a rounded number
LARGEST = 3e38  # of a float32
HELD = 1 << 20  # numbers that wait to be counted together

Codes = Ints


class Counted(NamedTuple):
    """A sample whose numbers are counted: how often each value comes, values ascending."""

    values: Floats
    counts: Ints

    @property
    def total(self) -> int:
        """How many numbers."""
        return int(self.counts.sum())


class Histogram:
    """Counts of rounded numbers in strata, such as the classes."""

    def __init__(self, strata: int) -> None:
        self.strata = strata
        self._codes, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._waiting: list[Codes] = []
        self._held = 0

    def add(self, values: Floats, stratum: Ints) -> None:
        """Counts values (n,) of strata (n,)."""
        self._waiting.append((stratum.astype(np.int64) << BINS) | _rounded(values))
        self._held += len(values)
        if self._held > HELD:
            self._count()

    def merge(self, other: Histogram) -> None:
        """Adds what another has counted."""
        other._count()
        self._count()
        self._add(other._codes, other._counts)

    def of(self, strata: Sequence[int]) -> Counted:
        """The numbers of some strata together."""
        self._count()
        ends = np.searchsorted(self._codes, np.arange(self.strata + 1) << BINS)
        parts = [slice(ends[k], ends[k + 1]) for k in strata]
        codes = np.concatenate([self._codes[part] & ((1 << BINS) - 1) for part in parts])
        counts = np.concatenate([self._counts[part] for part in parts])
        values, place = np.unique(_values(codes), return_inverse=True)
        summed = np.zeros(len(values), np.int64)
        np.add.at(summed, place, counts)
        return Counted(values, summed)

    def _count(self) -> None:
        if self._waiting:
            codes, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
            self._waiting, self._held = [], 0
            self._add(codes, counts)

    def _add(self, codes: Codes, counts: Ints) -> None:
        both = np.concatenate([self._codes, codes])
        self._codes, place = np.unique(both, return_inverse=True)
        summed = np.zeros(len(self._codes), np.int64)
        np.add.at(summed, place, np.concatenate([self._counts, counts]))
        self._counts = summed


def _rounded(values: Floats) -> Codes:
    """Sign, exponent and the first digits of each number, as a whole number."""
    near = np.clip(values, -LARGEST, LARGEST).astype(np.float32) + np.float32(0)  # -0 is 0
    bits = near.view(np.uint32).astype(np.int64) + (1 << (LEFT_OUT - 1))
    return np.asarray(bits >> LEFT_OUT, dtype=np.int64)


def _values(codes: Codes) -> Floats:
    return (codes << LEFT_OUT).astype(np.uint32).view(np.float32).astype(np.float64)


def wasserstein(x: Counted, y: Counted) -> float:
    """Wasserstein-1 distance: the area between the distribution functions."""
    values = np.concatenate([x.values, y.values])
    step = np.concatenate([x.counts / x.total, -y.counts / y.total])
    order = np.argsort(values, kind="stable")
    difference = np.abs(np.cumsum(step[order]))[:-1]
    return float(difference @ np.diff(values[order]))


def shares(x: Counted, edges: Floats) -> Floats:
    """(k + 1,): the share of the sample in each of the bins that k edges make."""
    place = np.searchsorted(edges, x.values, side="right")
    return np.bincount(place, x.counts, len(edges) + 1) / x.total


def mean_and_deviation(x: Counted) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean = float(np.average(x.values, weights=x.counts))
    return mean, float(np.sqrt(np.average((x.values - mean) ** 2, weights=x.counts)))
