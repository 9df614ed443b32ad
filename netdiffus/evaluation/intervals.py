"""Figures with their uncertainty: mean, standard error and a 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netdiffus.evaluation.utility import Answers
from netdiffus.traces import Floats

Z = 1.96


def figure(mean: float, sd: float) -> dict[str, float | None]:
    """A figure as a report holds it: `mean`, `sd`, and `low` to `high`, 1.96 sd on either side.

    Args:
        mean: The figure; NaN if it cannot be computed, and then all are None.
        sd: Its standard error; NaN if there is none.
    """
    if np.isnan(mean):
        return {"mean": None, "sd": None, "low": None, "high": None}
    if np.isnan(sd):
        return {"mean": float(mean), "sd": None, "low": None, "high": None}
    low, high = mean - Z * sd, mean + Z * sd
    return {"mean": float(mean), "sd": float(sd), "low": float(low), "high": float(high)}


def half_sample_sd(halves: npt.ArrayLike) -> Floats:
    """Standard error of a figure of whole sets from its values on their halves.

    ``sqrt(mean (a - b)**2) / 2`` over random divisions of all sets into two. A half without putting
    back varies about the whole as the whole does about the truth (delete-half jackknife: Shao and
    Wu, 1989), and no trace comes twice, which would look like a copy to neighbours and forests.

    Args:
        halves: (S, 2, ...), the figure on both halves of S divisions. NaN where it is not defined.

    Returns:
        (...), too large rather than too small where the figure stands at the floor.
    """
    a, b = np.moveaxis(np.asarray(halves, dtype=np.float64), 1, 0)
    sd: Floats = np.sqrt(((a - b) ** 2).mean(axis=0)) / 2
    return sd


def accuracy_figure(tests: Sequence[Answers]) -> dict[str, float | None]:
    """Mean accuracy of classifiers on test traces.

    Its variance is that of one test, ``p (1 - p) / n``, which the bootstrap over its traces tends
    to, and that between classifiers, divided by their number.
    """
    p, n = np.array([test.accuracy for test in tests]), len(tests[0].true)
    return _share(p, _sd(p, p * (1 - p) / n), n)


def balanced_figure(tests: Sequence[Answers]) -> dict[str, float | None]:
    """The same for the mean over the K classes, ``sum p_k (1 - p_k) / n_k / K**2``."""
    p = np.array([test.balanced_accuracy for test in tests])
    n = np.bincount(tests[0].true)
    n = n[n > 0]
    as_many = len(n) ** 2 / (1 / n).sum()  # traces, whose one share would vary as much
    return _share(p, _sd(p, [_balanced_variance(test) for test in tests]), as_many)


def lost_figure(tests: Sequence[Answers], real: Sequence[Answers]) -> dict[str, float | None]:
    """By how much their balanced accuracy is less than that of classifiers of real traces.

    As many, of the same test traces: what is hard for both adds nothing to the error of the
    difference, which so is less than those of the two accuracies together.
    """
    pairs = zip(tests, real, strict=True)
    lost = np.array([1.0 * (b.true == b.given) - (a.true == a.given) for a, b in pairs])
    classes = [lost[:, tests[0].true == k] for k in np.unique(tests[0].true)]
    runs = np.mean([of_class.mean(axis=1) for of_class in classes], axis=0)
    within = [of_class.mean(axis=0).var() / of_class.shape[1] for of_class in classes]
    return figure(float(runs.mean()), _sd(runs, [float(np.sum(within)) / len(classes) ** 2]))


def recall_figures(tests: Sequence[Answers]) -> list[dict[str, float | None]]:
    """The same for each class."""
    p = np.array([test.recalls for test in tests])
    n = np.bincount(tests[0].true, minlength=tests[0].classes)
    return [
        _share(of_class, _sd(of_class, of_class * (1 - of_class) / max(k, 1)), k)
        for of_class, k in zip(p.T, n, strict=True)
    ]


def auc_figure(scores: Sequence[tuple[Floats, Floats]]) -> dict[str, float | None]:
    """Mean area under the ROC curve.

    Its variance is that over the scored traces (DeLong and others, 1988), which the bootstrap over
    them tends to, and that between classifiers, divided by their number.

    Args:
        scores: For each classifier the scores of the negatives (n,) and the positives (m,).
    """
    areas, variances = zip(*(_area(ours, theirs) for ours, theirs in scores), strict=True)
    return clipped(figure(float(np.mean(areas)), _sd(np.array(areas), variances)))


def share_figure(found: Floats) -> dict[str, float | None]:
    """Share of the traces that a thing is true of.

    Args:
        found: (N,), 1 where it is true and 0 elsewhere.
    """
    n, p = len(found), found.mean(keepdims=True)
    return _share(p, float(np.sqrt(p * (1 - p) / (n - 1))[0]) if n > 1 else np.nan, n)


def clipped(found: dict[str, float | None]) -> dict[str, float | None]:
    """The figure with its interval inside [0, 1], where chances are."""
    ends = {end: found[end] for end in ("low", "high")}
    return {**found, **{end: x if x is None else min(max(x, 0.0), 1.0) for end, x in ends.items()}}


def _share(runs: Floats, sd: float, traces: float) -> dict[str, float | None]:
    """Mean share of runs, its interval by Wilson (1927), which is within [0, 1].

    With `traces` n or, where the standard error is larger than of so many, as many as have it.
    Of a share of 0 or 1, whose standard error is 0, the interval is still right.
    """
    p = float(runs.mean())
    found = figure(p, sd)
    if found["sd"] is None:
        return found
    n = min(traces, p * (1 - p) / sd**2) if sd > 0 else traces
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return clipped({**found, "low": float(middle - half), "high": float(middle + half)})


def _balanced_variance(test: Answers) -> float:
    n = np.bincount(test.true, minlength=test.classes)
    p = test.recalls
    return float(np.nansum(p * (1 - p) / np.maximum(n, 1)) / (n > 0).sum() ** 2)


def _area(negative: Floats, positive: Floats) -> tuple[float, float]:
    """Area under the ROC curve and DeLong's variance."""
    above = (positive > negative[:, None]) + 0.5 * (positive == negative[:, None])
    variance = above.mean(axis=1).var(ddof=1) / len(negative)
    variance += above.mean(axis=0).var(ddof=1) / len(positive)
    return float(above.mean()), float(variance)


def _sd(runs: Floats, variances: Floats | Sequence[float]) -> float:
    """Of a mean over runs: from the variance within them and, where there are several, between.

    All runs have the same test traces, so only what is between them falls with their number.
    """
    between = runs.var(ddof=1) / len(runs) if len(runs) > 1 else 0.0
    return float(np.sqrt(np.mean(variances) + between))
