"""Means over seeds, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from netdiffus.traces.traces import Floats

COPYING = ("exact", "near", "closer")
FLOORS = ("holdout", "half")
Key = tuple[str, str, float]  # set, what the traces are from, minutes


class Summary:
    """The figures of every set, maker and budget, seed by seed.

    Args:
        records: Of `runs.run`.
    """

    def __init__(self, records: Iterable[dict[str, Any]]) -> None:
        self._found: dict[Key, dict[int, dict[str, float]]] = {}
        for one in records:
            key = one["set"], one["from"], one["minutes"]
            self._found.setdefault(key, {})[one["seed"]] = one["figures"]

    def values(self, key: Key, name: str) -> Floats:
        """(S,): a figure of each seed."""
        by_seed = self._found[key]
        return np.array([by_seed[seed][name] for seed in sorted(by_seed)])

    def mean(self, key: Key, name: str) -> float:
        """Over seeds."""
        return float(self.values(key, name).mean())

    def real(self, set_name: str, name: str) -> float:
        """The mean of a figure of the real traces."""
        return self.mean(_real(set_name), name)

    def floor(self, set_name: str, kind: str) -> Floats:
        """(S,): how much real traces that nobody copied are like training traces.

        Those that are held out, or one half of the training traces beside the other: whichever is
        more alike on average. Only the half is from the same files where a split is by files.
        """
        both = [self.values(_real(set_name), f"{floor} {kind}") for floor in FLOORS]
        return max(both, key=np.mean)

    def above_floor(self, key: Key, kind: str) -> Floats:
        """(S,): how much more than the floor."""
        return self.values(key, f"copies {kind}") - self.floor(key[0], kind)


def error(values: Floats) -> float:
    """Standard error of the mean of one value per seed; NaN of one seed alone."""
    n = len(values)
    return float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan


def over_sets(values: Sequence[Floats]) -> tuple[float, float]:
    """The mean over sets of means over seeds, and its standard error.

    Args:
        values: For each set one value per seed.
    """
    errors = [error(one) for one in values]
    mean = float(np.mean([one.mean() for one in values]))
    return mean, math.sqrt(sum(e**2 for e in errors)) / len(errors)


def _real(set_name: str) -> Key:
    return set_name, "real", 0.0
