"""Distances between two samples of numbers, or between two sets of series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from netdiffus.traces import Floats, Ints

MOST_BINS = 50
MOST_ATOMS = 64
PER_ATOM = 4
MOST_LAGS = 32


def wasserstein(x: Floats, y: Floats) -> float:
    """Wasserstein-1 distance of two samples: area between their distribution functions.

    Args:
        x: (n,).
        y: (m,), in the same unit.

    Returns:
        The distance, in that unit (SciPy's `wasserstein_distance`).
    """
    return float(stats.wasserstein_distance(x, y))


def binned_distances(x: Floats, reference: Floats) -> dict[str, float]:
    """Distances of two samples by their shares p and q of the bins of `bin_edges`.

    The bins have no outer limit: mass outside the range of the reference counts in full.

    * `jensen_shannon`: divergence in bits, ``H((p + q) / 2) - (H(p) + H(q)) / 2``; its square root
      is SciPy's distance.
    * `hellinger`: ``sqrt(1 - sum sqrt(p q))``.
    * `total_variation`: ``sum |p - q| / 2``.

    Args:
        x: (n,).
        reference: (m,), from which the bins are made.

    Returns:
        The three by name, each 0 (same shares in all bins) to 1 (no bin in common).
    """
    edges = bin_edges(reference)
    p, q = shares(x, edges), shares(reference, edges)
    m = (p + q) / 2
    bits = (special.rel_entr(p, m) + special.rel_entr(q, m)).sum() / (2 * np.log(2))
    found = {
        "jensen_shannon": bits,
        # As a difference of roots, which rounding does not leave above 0 for equal shares.
        "hellinger": np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2),
        "total_variation": np.abs(p - q).sum() / 2,
    }
    return {name: float(np.clip(value, 0.0, 1.0)) for name, value in found.items()}


def bin_edges(reference: Floats) -> Floats:
    """Edges of bins ``(-inf, e0), [e0, e1), ..., [ek, inf)`` that suit a sample.

    Values that stand for themselves get a bin that holds nothing else: all of them if there are
    at most 64, each four times on average; otherwise those that fill a quantile bin alone. The
    remaining edges are sqrt(n), at most 50, quantiles.

    Args:
        reference: (n,).

    Returns:
        Ascending edges; the outermost two enclose the sample.
    """
    values = np.unique(reference)
    if len(values) <= min(MOST_ATOMS, max(len(reference) // PER_ATOM, 1)):
        return np.unique([values, np.nextafter(values, np.inf)])
    return quantile_edges(reference, min(MOST_BINS, int(np.sqrt(len(reference)))))


def quantile_edges(reference: Floats, bins: int) -> Floats:
    """Edges of quantile bins, with a bin of its own for any value that fills one."""
    cuts = np.quantile(reference, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    ends = np.append(cuts[:-1][cuts[1:] == cuts[:-1]], cuts[-1])
    return np.unique(np.concatenate([cuts, np.nextafter(ends, np.inf)]))


def shares(x: Floats, edges: Floats) -> Floats:
    """(k + 1,): the share of `x` in each of the bins that k edges make."""
    counts = np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1)
    return counts / len(x)


def lag_count(length: int) -> int:
    """Lags that series of this length are compared at: min(32, length / 2)."""
    return min(MOST_LAGS, length // 2)


def autocorrelation(series: Floats, lengths: Ints, lags: int) -> Floats:
    """Mean autocorrelation of a set of series.

    For one series of n points, ``r_k = sum_t (x_t - m)(x_{t+k} - m) / sum_t (x_t - m)**2``. A
    constant series repeats itself exactly, so its ``r_k`` is 1. A series counts at the lags up to
    half its length.

    Args:
        series: (N, L), anything beyond the lengths.
        lengths: (N,).
        lags: Largest lag K.

    Returns:
        (K,), for the lags 1 to K; NaN at lags that no series is long enough for.
    """
    inside = np.arange(series.shape[1]) < lengths[:, None]
    mean = np.where(inside, series, 0.0).sum(axis=1) / lengths
    centred = np.where(inside, series - mean[:, None], 0.0)
    constant = _constant(series, inside)
    power = np.where(constant, 1.0, (centred**2).sum(axis=1))
    result = np.full(lags, np.nan)
    for k in range(1, min(lags, series.shape[1] - 1) + 1):
        counted = lengths >= 2 * k
        products = (centred[:, :-k] * centred[:, k:]).sum(axis=1)
        r = np.where(constant, 1.0, products / power)[counted]
        if len(r):
            result[k - 1] = r.mean()
    return result


def _constant(series: Floats, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(N,), true where all points of a series are equal: rounding leaves its variance above 0."""
    same: npt.NDArray[np.bool_] = ((series == series[:, :1]) | ~inside).all(axis=1)
    return same


def autocorrelation_distance(r: Floats, reference: Floats) -> float:
    """Mean absolute difference of two autocorrelation functions.

    Args:
        r: (K,); lags it does not reach (NaN) count as 0.
        reference: (K,); lags it does not reach are left out.

    Returns:
        0 to 2; 0 if the reference reaches no lag.
    """
    known = ~np.isnan(reference)
    if not known.any():
        return 0.0
    return float(np.abs(np.nan_to_num(r[known]) - reference[known]).mean())
