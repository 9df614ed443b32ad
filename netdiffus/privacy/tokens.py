"""Tokens of a feature: frequent values, and bins of the others; from noisy counts alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdiffus.arrays import Floats, Ints
from netdiffus.privacy.denoise import is_signal

BINS = 24  # at most, of each group of cells
WINDOW = 9  # cells of the moving average by which bins are chosen


@dataclass(frozen=True)
class Tokens:
    """Cells joined into tokens.

    `of_cell` (cells,) is the token of each, `inside` (cells,) its probability, given the token.
    """

    of_cell: Ints
    inside: Floats
    many: int

    def draw(self, tokens: Ints, rng: np.random.Generator) -> Ints:
        """A cell of each token."""
        order = np.argsort(self.of_cell, kind="stable")
        upper = np.cumsum(self.inside[order])
        first = np.searchsorted(self.of_cell[order], np.arange(self.many))
        start = np.concatenate([[0.0], upper])[first]
        last = np.append(first[1:], len(order)) - 1
        span = upper[last] - start
        place = start[tokens] + rng.random(tokens.shape) * span[tokens]
        at = np.searchsorted(upper, place, side="right")
        return np.asarray(order[np.clip(at, first[tokens], last[tokens])])


def find_tokens(counts: Floats, sigma: float, most: int, groups: int) -> Tokens:
    """At most so many tokens of noisy counts of cells, whose noise has this `sigma`.

    No bin crosses the `groups`, equal parts of the cells.
    """
    cells = len(counts)
    if cells <= most:
        return Tokens(np.arange(cells), np.ones(cells), cells)
    bins = max(1, min(BINS, most // (4 * groups)))
    atoms = np.flatnonzero(is_signal(counts, sigma))
    atoms = atoms[np.argsort(-counts[atoms], kind="stable")][: most - groups * bins]
    of_cell = np.full(cells, -1)
    of_cell[atoms] = np.arange(len(atoms))
    many = len(atoms)
    for group in np.array_split(np.arange(cells), groups):
        rest = group[of_cell[group] < 0]
        if len(rest):
            bin_of = _bins(counts[rest], sigma, bins)
            of_cell[rest] = many + bin_of
            many += int(bin_of[-1]) + 1
    weight = np.maximum(counts, 0.0) + 0.5 * sigma
    total = np.bincount(of_cell, weights=weight, minlength=many)
    return Tokens(of_cell, weight / total[of_cell], many)


def _bins(counts: Floats, sigma: float, bins: int) -> Ints:
    """(cells,): bins of about the same mass, in rising order without gaps."""
    smooth = np.convolve(counts, np.ones(WINDOW) / WINDOW, "same")[: len(counts)]
    mass = np.cumsum(np.maximum(smooth, 0.05 * sigma))
    place = np.minimum((mass / mass[-1] * bins).astype(np.int64), bins - 1)
    return np.unique(place, return_inverse=True)[1].astype(np.int64)
