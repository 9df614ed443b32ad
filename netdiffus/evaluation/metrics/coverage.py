"""Precision, recall, density and coverage of one set of points by another."""

from __future__ import annotations

import numpy as np

from netdiffus.evaluation.features.embedding import distances
from netdiffus.traces import Floats

NEIGHBOURS = 5


def coverage(candidate: Floats, reference: Floats, k: int = NEIGHBOURS) -> dict[str, float]:
    """Whether a set of points lies where another lies, and everywhere where it lies.

    A ball around each point reaches to its k-th nearest neighbour of the same set.

    * `precision`: share of the candidate in at least one ball of the reference (Kynkäänniemi and
      others, 2019).
    * `recall`: share of the reference in at least one ball of the candidate.
    * `density`: balls of the reference that a point of the candidate lies in, on average, by k;
      may be above 1 (Naeem and others, 2020).
    * `coverage`: share of the reference's balls that hold a point of the candidate.

    Args:
        candidate: (n, D).
        reference: (m, D).
        k: Neighbours; with fewer other points than that, all of them.

    Returns:
        The four by name. Density and coverage of one distribution by itself are near 1 and
        ``1 - 2**-k``.
    """
    between = distances(candidate, reference)
    of_reference, of_candidate = _radii(reference, k), _radii(candidate, k)
    inside = between <= of_reference
    return {
        "precision": float(inside.any(axis=1).mean()),
        "recall": float((between <= of_candidate[:, None]).any(axis=0).mean()),
        "density": float(inside.sum(axis=1).mean() / min(k, max(len(reference) - 1, 1))),
        "coverage": float(inside.any(axis=0).mean()),
    }


def _radii(points: Floats, k: int) -> Floats:
    """(n,): distance of each point to its k-th nearest other; 0 for a point alone."""
    within = np.sort(distances(points, points), axis=1)
    radii: Floats = within[:, min(k, len(points) - 1)]
    return radii
