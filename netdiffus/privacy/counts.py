"""Counts over traces, each with a bound of what one trace adds to it.

All are whole multiples of 1 / `UNIT`, so the sums are exact and do not depend on the order of the
traces. Codes below 0 are no points and are not counted.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from netdiffus.arrays import Ints
from netdiffus.privacy.noise import UNIT


def once(codes: Ints, cells: int) -> Ints:
    """(cells,): how many traces have each code (N,). A trace adds at most 1 to one cell."""
    return np.bincount(codes[codes >= 0], minlength=cells) * UNIT


def by_place(codes: Ints, labels: Ints, classes: int, cells: int) -> Ints:
    """(classes, P, cells): how many traces of each class have each code (N, P) at each place.

    A trace adds 1 to at most P cells, so the L2 norm of what it adds is sqrt(P) at most.
    """
    _, places = codes.shape
    rows, columns = np.nonzero(codes >= 0)
    place = (labels[rows] * places + columns) * cells + codes[rows, columns]
    counts = np.bincount(place, minlength=classes * places * cells) * UNIT
    return counts.reshape(classes, places, cells)


def clipped(codes: Ints, labels: Ints, classes: int, cells: int, norm: float) -> Ints:
    """(classes, cells): how often each code (N, P) occurs, all places together.

    What a trace adds is scaled to an L2 norm of at most `norm`: a trace with the same code at all P
    places would add P to one cell.
    """
    rows, columns = np.nonzero(codes >= 0)
    found, times = np.unique(rows * cells + codes[rows, columns], return_counts=True)
    row, code = np.divmod(found, cells)
    square = np.bincount(row, weights=times.astype(np.float64) ** 2, minlength=len(codes))
    weight = np.minimum(1.0, norm / np.sqrt(np.maximum(square, 1.0)))
    added = np.floor(times * weight[row] * UNIT)  # down, so that the norm is kept
    cell = labels[row] * cells + code
    counts = np.bincount(cell, weights=added, minlength=classes * cells).astype(np.int64)
    return counts.reshape(classes, cells)


def norm_of(points: int, factor: float) -> float:
    """A bound of clipped counts: `factor` times what different codes at all places add."""
    return min(factor * sqrt(points), float(points))
