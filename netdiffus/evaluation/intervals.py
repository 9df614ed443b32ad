"""Figures with their uncertainty: mean, standard error and a 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netdiffus.evaluation.metrics.classification import Predictions
from netdiffus.traces.traces import Bools, Floats, Ints

Z = 1.96


def figure(mean: float, sd: float) -> dict[str, float | None]:
    """A figure as a report holds it: `mean`, `sd`, and `low` to `high`, 1.96 sd on either side.

    If the mean is NaN (not computable), all are None; if the standard error is NaN, all except the
    mean.
    """
    if np.isnan(mean):
        return {"mean": None, "sd": None, "low": None, "high": None}
    if np.isnan(sd):
        return {"mean": float(mean), "sd": None, "low": None, "high": None}
    low, high = mean - Z * sd, mean + Z * sd
    return {"mean": float(mean), "sd": float(sd), "low": float(low), "high": float(high)}


def half_sample_sd(halves: npt.ArrayLike) -> Floats:
    """Standard error (...) of a figure of whole sets from its values on their halves, (S, 2, ...).

    ``sqrt(mean (a - b)**2) / 2`` over S random divisions of all sets into two. A half drawn without
    replacement varies about the whole as the whole does about the truth (delete-half jackknife:
    Shao and Wu, 1989). No trace occurs twice, which neighbours and forests would treat as a copy.
    For figures at the floor, the error is rather too large than too small.
    """
    a, b = np.moveaxis(np.asarray(halves, dtype=np.float64), 1, 0)
    sd: Floats = np.sqrt(((a - b) ** 2).mean(axis=0)) / 2
    return sd


def accuracy_figure(tests: Sequence[Predictions]) -> dict[str, float | None]:
    """Mean accuracy of classifiers on test traces.

    Its variance is that of one test, over its groups, ``p (1 - p) / (n - 1)`` where each trace is
    its own, which the bootstrap over them tends to, and that between classifiers, divided by their
    number.
    """
    return _right_figure(tests, np.ones(len(tests[0].true), dtype=np.bool_))


def balanced_figure(tests: Sequence[Predictions]) -> dict[str, float | None]:
    """The same for the mean over the K classes, ``sum p_k (1 - p_k) / (n_k - 1) / K**2``."""
    p, group, true = np.array([t.balanced_accuracy for t in tests]), _group(tests[0]), tests[0].true
    n = np.array([len(np.unique(group[true == k])) for k in np.unique(true)])
    as_many = len(n) ** 2 / (1 / n).sum()  # groups of which one share would vary as much
    within = [_variance(test.true == test.predicted, true, group) for test in tests]
    return _share(p, _sd(p, within), as_many)


def lost_figure(
    tests: Sequence[Predictions], real: Sequence[Predictions]
) -> dict[str, float | None]:
    """Loss of balanced accuracy, compared with classifiers trained on real traces.

    Both have the same test traces. Traces that both classify wrongly add nothing to the error of
    the difference. So this error is smaller than the errors of both accuracies together.
    """
    pairs = zip(tests, real, strict=True)
    lost = np.array([1.0 * (b.true == b.predicted) - (a.true == a.predicted) for a, b in pairs])
    true = tests[0].true
    runs = np.mean([lost[:, true == k].mean(axis=1) for k in np.unique(true)], axis=0)
    within = _variance(lost.mean(axis=0), true, _group(tests[0]))
    return figure(float(runs.mean()), _sd(runs, [within]))


def recall_figures(tests: Sequence[Predictions]) -> list[dict[str, float | None]]:
    """The same for each class."""
    return [_right_figure(tests, tests[0].true == k) for k in range(tests[0].classes)]


def auc_figure(
    scores: Sequence[tuple[Floats, Floats]], groups: Sequence[tuple[Ints, Ints]] | None = None
) -> dict[str, float | None]:
    """Mean area under the ROC curve.

    Its variance is that over the scored traces (DeLong and others, 1988) or their groups
    (Obuchowski, 1997), which the bootstrap over them tends to, and that between classifiers,
    divided by their number. For each classifier there are the scores of the negatives (n,) and the
    positives (m,), and the numbers of their groups, one numbering for both; without groups all are
    independent.
    """
    groups = groups or [(np.arange(len(a)), len(a) + np.arange(len(b))) for a, b in scores]
    pairs = zip(scores, groups, strict=True)
    areas, variances = zip(*(_area(*each, *group) for each, group in pairs), strict=True)
    return clipped(figure(float(np.mean(areas)), _sd(np.array(areas), variances)))


def share_figure(is_true: Floats, group: Ints | None = None) -> dict[str, float | None]:
    """Share of the traces for which a condition (N,), 1 or 0, is true.

    Traces of the same number in `group` (N,) depend on each other; without, all are independent.
    """
    group = np.arange(len(is_true)) if group is None else group
    sd = np.sqrt(_variance(is_true, np.zeros_like(group), group)) if len(is_true) > 1 else np.nan
    return _share(is_true.mean(keepdims=True), float(sd), len(np.unique(group)))


def clipped(result: dict[str, float | None]) -> dict[str, float | None]:
    """The figure with its interval inside [0, 1], where shares are."""
    ends = {end: result[end] for end in ("low", "high")}
    return {**result, **{end: x if x is None else min(max(x, 0.0), 1.0) for end, x in ends.items()}}


def with_wilson(result: dict[str, float | None], n: float) -> dict[str, float | None]:
    """The figure with the interval of Wilson (1927) of a share of n trials."""
    p = result["mean"] or 0.0
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return clipped({**result, "low": float(middle - half), "high": float(middle + half)})


def _share(runs: Floats, sd: float, groups: float) -> dict[str, float | None]:
    """Mean share of runs, its interval by Wilson (1927), which is within [0, 1].

    n is `groups`, or smaller where the standard error is larger than that of so many. The interval
    is right for a share of 0 or 1 too, whose standard error is 0.
    """
    p = float(runs.mean())
    result = figure(p, sd)
    if result["sd"] is None:
        return result
    n = min(groups, p * (1 - p) / sd**2 + 1) if sd > 0 else groups
    return with_wilson(result, n)


def _right_figure(tests: Sequence[Predictions], mine: Bools) -> dict[str, float | None]:
    """Mean accuracy on some test traces."""
    if not mine.any():
        return figure(np.nan, np.nan)
    right = np.array([(test.true == test.predicted)[mine] for test in tests])
    group, one_stratum = _group(tests[0])[mine], np.zeros(int(mine.sum()), dtype=np.int64)
    p, within = right.mean(axis=1), [_variance(one, one_stratum, group) for one in right]
    return _share(p, _sd(p, within), len(np.unique(group)))


def _group(test: Predictions) -> Ints:
    return np.arange(len(test.true)) if test.group is None else test.group


def _variance(values: npt.ArrayLike, stratum: Ints, group: Ints) -> float:
    """Variance of the mean over strata of the mean of each, where whole groups are drawn.

    ``sum over groups of (sum over its traces of c_k (x - mean_k) / (n_k K))**2``, for stratum k of
    n_k traces in g_k groups, with ``c_k**2 = g_k / (g_k - 1)`` (Cochran, 1977, chapter 9A).
    """
    x, stratum = np.asarray(values, np.float64), np.unique(stratum, return_inverse=True)[1]
    n = np.bincount(stratum)
    pairs = np.unique(np.stack([stratum, group]), axis=1)[0]
    g = np.bincount(pairs)
    weight = np.sqrt(g / np.maximum(g - 1, 1)) / (n * len(n))
    deviation = weight[stratum] * (x - (np.bincount(stratum, x) / n)[stratum])
    return float((np.bincount(np.unique(group, return_inverse=True)[1], deviation) ** 2).sum())


def _area(
    negative: Floats, positive: Floats, negative_group: Ints, positive_group: Ints
) -> tuple[float, float]:
    """Area under the ROC curve, and its variance: the sum of what either side contributes."""
    above = (positive > negative[:, None]) + 0.5 * (positive == negative[:, None])
    each = np.concatenate([above.mean(axis=1), above.mean(axis=0)])
    side = np.repeat([0, 1], [len(negative), len(positive)])
    group = np.concatenate([negative_group, positive_group])
    return float(above.mean()), 4 * _variance(each, side, group)  # that of half the sum


def _sd(runs: Floats, variances: Floats | Sequence[float]) -> float:
    """Standard error of a mean over runs, from the variances within and between runs.

    All runs have the same test traces, so only the variance between runs falls with their number.
    """
    between = runs.var(ddof=1) / len(runs) if len(runs) > 1 else 0.0
    return float(np.sqrt(np.mean(variances) + between))
