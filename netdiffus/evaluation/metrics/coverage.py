"""Precision, recall, density and coverage of one set of points by another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netdiffus.evaluation.features.embedding import distances
from netdiffus.evaluation.features.vector_set import Vectors
from netdiffus.traces.traces import Floats

NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Points (n, D) with a ball around each, up to its k-th nearest neighbour.

    With fewer other points than k, up to the last of them.
    """

    points: Vectors
    k: int = NEIGHBOURS

    @cached_property
    def radii(self) -> Floats:
        """(n,): distance of each point to its k-th nearest other; 0 for a point alone."""
        k = min(self.k, len(self.points) - 1)
        radii: Floats = np.partition(distances(self.points, self.points), k, axis=1)[:, k]
        return radii


def coverage(candidate: Neighbourhoods, reference: Neighbourhoods) -> dict[str, float]:
    """Whether a set of points lies where another lies, and everywhere where it lies.

    * `precision`: share of the candidate in at least one ball of the reference (Kynkäänniemi and
      others, 2019).
    * `recall`: share of the reference in at least one ball of the candidate.
    * `density`: balls of the reference that a point of the candidate lies in, on average, by k;
      may be above 1 (Naeem and others, 2020). Of one distribution by itself near 1.
    * `coverage`: share of the reference's balls that hold a point of the candidate. Of one
      distribution by itself near ``1 - 2**-k``.
    """
    between = distances(candidate.points, reference.points)
    inside = between <= reference.radii
    k = min(reference.k, max(len(reference.points) - 1, 1))
    return {
        "precision": float(inside.any(axis=1).mean()),
        "recall": float((between <= candidate.radii[:, None]).any(axis=0).mean()),
        "density": float(inside.sum(axis=1).mean() / k),
        "coverage": float(inside.any(axis=0).mean()),
    }
