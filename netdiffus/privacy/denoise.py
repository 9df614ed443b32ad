"""Significant counts among noisy ones, and distributions from noisy counts."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from netdiffus.arrays import Bools, Floats

FALSE = 0.05  # expected share of noise among counts that are called signal


def is_signal(counts: Floats, sigma: float) -> Bools:
    """Which counts are significant under noise of standard deviation `sigma`.

    By the rule of Benjamini and Hochberg (1995): of all that are called signal, a share of `FALSE`
    is expected to be noise, however many cells there are.
    """
    chance = ndtr(-counts.reshape(-1) / sigma)
    ordered = np.sort(chance)
    fits = np.flatnonzero(ordered <= FALSE * np.arange(1, len(ordered) + 1) / len(ordered))
    if not len(fits):
        return np.zeros(counts.shape, dtype=bool)
    return np.asarray(chance <= ordered[fits[-1]]).reshape(counts.shape)


def smoothed(counts: Floats, sigma: float) -> Floats:
    """Counts above 0: significant ones as they are, the others scaled to the sum that is left.

    So cutting negative counts off does not raise the sum of all.
    """
    kept = np.where(is_signal(counts, sigma), counts, 0.0)
    left = np.maximum(counts.sum(axis=-1) - kept.sum(axis=-1), 0.01 * kept.sum(axis=-1))
    others = np.where(kept > 0, 0.0, np.maximum(counts, 0.0))
    scale = left / np.maximum(others.sum(axis=-1), 1e-9)
    return np.asarray(kept + others * np.minimum(scale, 1.0)[..., None] + 1e-3)


def shared_rest(counts: Floats, sigma: float, totals: Floats, pooled: Floats) -> Floats:
    """Distributions over the last axis: significant counts, and the rest shrunk to all classes.

    If a class is like all, a count of the rest is expected to be m. Classes are taken to differ by
    about m, so the estimate is m + m² / (m² + sigma²) (count - m).

    Args:
        counts: Noisy, (…, K).
        sigma: Of their noise.
        totals: (…,) the true sums, about.
        pooled: Distributions over all classes, of a shape that broadcasts to that of counts.
    """
    kept = np.where(is_signal(counts, sigma), counts, 0.0)
    rest = np.maximum(totals - kept.sum(axis=-1), 0.02 * totals) + 1e-6
    expected = rest[..., None] * np.where(kept > 0, 0.0, pooled)
    believed = expected**2 / (expected**2 + sigma**2)
    free = np.maximum(expected + believed * (counts - expected), 0.0)
    whole = kept + free * (rest / np.maximum(free.sum(axis=-1), 1e-12))[..., None]
    return np.asarray((whole + 1e-12) / (whole + 1e-12).sum(axis=-1, keepdims=True))


def normalised(weights: Floats) -> Floats:
    """Weights over the last axis with a sum of 1."""
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
