"""Distances between samples of numbers, and between autocorrelation functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from netdiffus.traces.traces import Floats, Ints

MOST_BINS = 50
MOST_ATOMS = 64
PER_ATOM = 4
MOST_LAGS = 32
BINNED = ("jensen_shannon", "hellinger", "total_variation")

Classes = npt.NDArray[np.signedinteger[Any]]


def wasserstein(x: Floats, x_class: Classes, y: Floats, y_class: Classes) -> Floats:
    """Wasserstein-1 distance of two samples of each class, (K,); SciPy's `wasserstein_distance`.

    It is the area between the distribution functions. All classes are sorted at once, and the
    difference of the functions is counted in whole numbers, so it is exact.

    Args:
        x: (n,).
        x_class: (n,), the class of each number; every class from 0 on is there on both sides.
        y: (m,), in the same unit.
        y_class: (m,).
    """
    values, of_class, difference, unit = _functions_apart(x, x_class, y, y_class)
    area = difference[:-1] * np.diff(values)
    return np.bincount(of_class[:-1], area, len(unit)) / unit


def kolmogorov_smirnov(x: Floats, x_class: Classes, y: Floats, y_class: Classes) -> Floats:
    """The largest difference of the distribution functions of two samples, of each class, (K,).

    0 (equal) to 1 (all of one side below the other); SciPy's `ks_2samp` of each class. It has no
    unit and no bins, so one scale serves all classes. Counted in whole numbers. Args, see
    `wasserstein`.
    """
    values, of_class, difference, unit = _functions_apart(x, x_class, y, y_class)
    difference[:-1][(np.diff(values) == 0) & (np.diff(of_class) == 0)] = 0  # inside a tie
    starts = np.searchsorted(of_class, np.arange(len(unit)))
    found: Floats = np.maximum.reduceat(difference, starts) / unit
    return found


def _functions_apart(
    x: Floats, x_class: Classes, y: Floats, y_class: Classes
) -> tuple[Floats, Classes, Ints, Ints]:
    """How far the distribution functions of both samples are apart behind each number.

    Returns:
        The numbers of both, class by class and ascending; their classes; the differences, 0 at the
        end of each class, in whole numbers; and what these are to be divided by, (K,).
    """
    counts = [np.bincount(k).astype(np.int64) for k in (x_class, y_class)]
    values, of_class = np.concatenate([x, y]), np.concatenate([x_class, y_class])
    step = np.concatenate([counts[1][x_class], -counts[0][y_class]])
    order = np.lexsort((values, of_class))
    return values[order], of_class[order], np.abs(np.cumsum(step[order])), counts[0] * counts[1]


def binned_distances(p: Floats, q: Floats, bin_class: Ints) -> dict[str, Floats]:
    """Distances of two samples of each class by their shares p and q of the same bins, (B,).

    * `jensen_shannon`: divergence in bits, ``H((p + q) / 2) - (H(p) + H(q)) / 2``; its square root
      is SciPy's distance.
    * `hellinger`: ``sqrt(1 - sum sqrt(p q))``.
    * `total_variation`: ``sum |p - q| / 2``.

    The shares of one class, whose bins have its number in `bin_class` (B,), ascending from 0, add
    up to 1. Each of the three is (K,), 0 (same shares in all bins) to 1 (no bin in common).
    """
    m = (p + q) / 2
    terms = {
        "jensen_shannon": (special.rel_entr(p, m) + special.rel_entr(q, m)) / (2 * np.log(2)),
        # As a difference of roots, which rounding does not leave above 0 for equal shares.
        "hellinger": (np.sqrt(p) - np.sqrt(q)) ** 2 / 2,
        "total_variation": np.abs(p - q) / 2,
    }
    sums = {name: np.bincount(bin_class, weights=x) for name, x in terms.items()}
    sums["hellinger"] = np.sqrt(sums["hellinger"])
    return {name: np.clip(x, 0.0, 1.0) for name, x in sums.items()}


def bin_edges(values: Floats, counts: Ints) -> Floats:
    """Edges of bins ``(-inf, e0), [e0, e1), ..., [ek, inf)`` that suit a sample of counted values.

    Values that stand for themselves get a bin that holds nothing else: all of them if there are
    at most 64, each four times on average; otherwise those that fill a quantile bin alone. The
    remaining edges are sqrt(n), at most 50, quantiles. The outermost two enclose the sample.

    Args:
        values: (m,), the different numbers, ascending.
        counts: (m,), how often each comes, n together.
    """
    n = int(counts.sum())
    if len(values) <= min(MOST_ATOMS, max(n // PER_ATOM, 1)):
        return np.unique([values, np.nextafter(values, np.inf)])
    return quantile_edges(values, counts, min(MOST_BINS, int(np.sqrt(n))))


def quantile_edges(values: Floats, counts: Ints, bins: int) -> Floats:
    """Edges of quantile bins, with a bin of its own for any value that fills one."""
    upper = np.cumsum(counts)
    ranks = np.ceil(np.linspace(0, 1, bins + 1) * upper[-1]).clip(1)
    cuts = values[np.searchsorted(upper, ranks)]
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
    """Autocorrelation of each series (N, L) of these lengths (N,), at the lags 1 to K, (N, K).

    For one series of n points, ``r_k = sum_t (x_t - m)(x_{t+k} - m) / sum_t (x_t - m)**2``. A
    constant series repeats itself exactly, so its ``r_k`` is 1. NaN at lags above half the length.
    """
    inside = np.arange(series.shape[1]) < lengths[:, None]
    mean = np.where(inside, series, 0.0).sum(axis=1) / lengths
    centered = np.where(inside, series - mean[:, None], 0.0)
    # Rounding leaves the variance of equal points above 0.
    constant = ((series == series[:, :1]) | ~inside).all(axis=1)
    power = np.where(constant, 1.0, (centered**2).sum(axis=1))
    result = np.full((len(series), lags), np.nan)
    for k in range(1, min(lags, series.shape[1] - 1) + 1):
        products = np.einsum("nt,nt->n", centered[:, :-k], centered[:, k:])
        r = np.where(constant, 1.0, products / power)
        result[:, k - 1] = np.where(lengths >= 2 * k, r, np.nan)
    return result


def mean_autocorrelation(r: Floats, label: Ints, classes: int) -> Floats:
    """(classes, K): mean over the series of each class of r (N, K); NaN where all is NaN."""
    reached = ~np.isnan(r)
    member = (np.arange(classes)[:, None] == label).astype(np.float64)
    count = member @ reached
    return np.where(count > 0, member @ np.where(reached, r, 0.0) / np.maximum(count, 1), np.nan)


def autocorrelation_distance(r: Floats, reference: Floats) -> float:
    """Mean absolute difference of two autocorrelation functions (K,): 0 to 2.

    Lags that the reference does not reach (NaN) are left out; those that r does not reach count
    as 0. It is 0 if the reference reaches no lag.
    """
    reached = ~np.isnan(reference)
    if not reached.any():
        return 0.0
    return float(np.abs(np.nan_to_num(r[reached]) - reference[reached]).mean())
