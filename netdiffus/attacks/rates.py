"""How well a score tells members from non-members: AUC, rates and ROC curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from netdiffus.errors import InputError
from netdiffus.evaluation.intervals import auc_figure, with_wilson
from netdiffus.traces.traces import Floats

FALSE_ALARMS = (0.01, 0.001)  # false-positive rates at which the true-positive rate is stated
FEWEST = 20  # members, and non-members, that an attack needs
CURVE = 60  # points of a ROC curve that are kept
Figure = dict[str, Any]


def told_apart(members: Floats, others: Floats) -> Figure:
    """The figures of one attack, by scores (N,) and (M,); higher ones say that a trace was learned.

    Returns:
        `auc` with its 95 % interval; `tpr` by false-positive rate, see `tpr_at`; `members` and
        `others`, their numbers; `roc`, pairs of false- and true-positive rate.

    Raises:
        InputError: Fewer than 20 of either.
    """
    for name, scores in (("members", members), ("others", others)):
        if len(scores) < FEWEST:
            raise InputError(f"{len(scores)} {name} are too few for an attack: {FEWEST} at least")
    return {
        "auc": _auc(members, others),
        "tpr": {f"{rate:g}": tpr_at(members, others, rate) for rate in FALSE_ALARMS},
        "members": len(members),
        "others": len(others),
        "roc": roc(members, others),
    }


def tpr_at(members: Floats, others: Floats, rate: float) -> Figure:
    """True-positive rate at a threshold whose false-positive rate is at most `rate`.

    Returns:
        `mean` with `low` and `high`, 95 % by Clopper and Pearson over members; `false_alarms`,
        the number of false positives; `fpr_high`, the upper limit (97.5 %) of the false-positive
        rate of this threshold. `mean` is None, with a `reason`, for fewer than 1 / `rate` others.
    """
    needed = round(1 / rate)
    if len(others) < needed:
        return {
            "mean": None,
            "reason": f"not stated: a false-positive rate of {rate:.1%} needs at least {needed:,} "
            f"non-members, there are {len(others):,}",
        }
    pair = rates(members, others, int(rate * len(others) + 1e-9))
    alarms, found = round(pair[0] * len(others)), round(pair[1] * len(members))
    return {
        **share(found, len(members)),
        "false_alarms": alarms,
        "fpr_high": share(alarms, len(others))["high"],
    }


def share(found: int, of: int) -> Figure:
    """A share as `mean`, with its exact 95 % interval `low` to `high` (Clopper and Pearson)."""
    if of == 0:
        return {"mean": None, "low": None, "high": None, "found": 0, "of": 0}
    interval = binomtest(int(found), int(of)).proportion_ci(0.95, method="exact")
    ends = {"low": float(interval.low), "high": float(interval.high)}
    return {"mean": found / of, **ends, "found": int(found), "of": int(of)}


def roc(members: Floats, others: Floats) -> list[tuple[float, float]]:
    """False- and true-positive rates of thresholds, from no false positive to all.

    The allowed numbers of false positives are spread evenly over their logarithm.
    """
    m = len(others)
    allowed = np.unique(np.geomspace(1, m, CURVE).round().astype(int) - 1)
    false, right = np.sort(others), np.sort(members)
    thresholds = false[::-1][allowed]
    pairs = [
        (1 - np.searchsorted(scores, thresholds, side="right") / len(scores)).tolist()
        for scores in (false, right)
    ]
    return [*zip(*pairs, strict=True), (1.0, 1.0)]


def rates(members: Floats, others: Floats, allowed: int) -> tuple[float, float]:
    """False- and true-positive rate of the threshold with at most `allowed` false positives."""
    threshold = np.sort(others)[::-1][allowed]
    return float((others > threshold).mean()), float((members > threshold).mean())


def _auc(members: Floats, others: Floats) -> Figure:
    """Area under the ROC curve, with an interval of Wilson's.

    The number of trials is the one that gives the area its standard error by DeLong. It is at most
    the one that gives the error of a random score: so an area of 1, with an error of 0, still has
    an interval.
    """
    found = auc_figure([(others, members)])
    p, sd = float(found["mean"] or 0.0), float(found["sd"] or 0.0)
    most = 3 / (1 / len(members) + 1 / len(others))  # p (1 - p) / n is then (1/N + 1/M) / 12
    n = min(most, p * (1 - p) / sd**2) if sd > 0 else most
    return {**with_wilson(found, n), "sd": sd}
