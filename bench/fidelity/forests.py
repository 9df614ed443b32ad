"""What random forests say of traces, with intervals over the traces that judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from netdiffus.traces.traces import Floats, Ints

FOLDS = 3
LEVEL = (2.5, 97.5)  # percentiles of an interval
Figure = dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """How hard the judges try.

    Attributes:
        trees: Of a forest.
        repeats: Forests, each on another draw; a figure is their mean.
        resamples: Of the bootstrap that gives its interval.
    """

    trees: int = 200
    repeats: int = 3
    resamples: int = 1000


def rightly_named(x: Floats, y: Ints, held_x: Floats, held_y: Ints, protocol: Protocol) -> Floats:
    """(M,): for each held-out trace the share of forests that name it rightly.

    They learn from x (N, n) of classes y (N,).
    """
    forests = [forest(protocol, seed).fit(x, y) for seed in range(protocol.repeats)]
    return np.asarray(np.mean([f.predict(held_x) == held_y for f in forests], axis=0))


def mean_figure(values: Floats, units: Ints, protocol: Protocol) -> Figure:
    """The mean of one value per trace (M,), and `low` and `high`, its 95 % interval.

    The bootstrap draws traces with one number in `units` (M,) together.
    """
    return _interval(lambda w: (w @ values) / w.sum(axis=1), units, protocol)


def two_sample_auc(
    x: Floats, y: Ints, held_x: Floats, held_y: Ints, units: Ints, protocol: Protocol
) -> Figure:
    """Area under the ROC curve of forests that tell (x, y) from held-out traces, see `mean_figure`.

    Each repeat draws as many traces of each class from both; three folds, each scored by a forest
    that did not see it, and the mean of their areas. 0.5 if they cannot be told apart, 1 if they
    always can. `units` (M,) are those of the held-out traces; others are each its own.
    """
    runs = [_scored(x, y, held_x, held_y, units, protocol, s) for s in range(protocol.repeats)]
    folds = [fold for run in runs for fold in run]
    ends = np.cumsum([len(fold.unit) for fold in folds])[:-1]

    def areas(weights: Floats) -> Floats:
        parts = zip(folds, np.split(weights, ends, axis=1), strict=True)
        return np.asarray(np.mean([area(f.score, f.real, w) for f, w in parts], axis=0))

    return _interval(areas, np.concatenate([fold.unit for fold in folds]), protocol)


def area(score: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """(R,): area under the ROC curve for each of R weightings (R, m); ties count half."""
    levels, place = np.unique(score, return_inverse=True)
    at = (place[:, None] == np.arange(len(levels))).astype(np.float64)
    good, bad = (np.where(side, weights, 0.0) @ at for side in (positive, ~positive))
    below = np.cumsum(bad, axis=1) - bad / 2
    # A draw without one of the sides says nothing: chance.
    pairs = good.sum(axis=1) * bad.sum(axis=1)
    return np.where(pairs > 0, (good * below).sum(axis=1) / np.where(pairs > 0, pairs, 1), 0.5)


@dataclass(frozen=True)
class _Fold:
    """Traces scored by a forest that did not see them: whether real, their score, their unit."""

    real: npt.NDArray[np.bool_]
    score: Floats
    unit: Ints


def _scored(
    x: Floats, y: Ints, held_x: Floats, held_y: Ints, units: Ints, protocol: Protocol, seed: int
) -> list[_Fold]:
    ours, theirs = equal_draws(y, held_y, np.random.default_rng(seed))
    both = np.concatenate([x[ours], held_x[theirs]])
    real = np.repeat([False, True], [len(ours), len(theirs)])
    # A synthetic trace is a unit of its own, numbered after the real ones.
    unit = np.concatenate([units.max() + 1 + ours, units[theirs]])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(both, real)
    found = []
    for fit, held in folds:
        chance = forest(protocol, seed).fit(both[fit], real[fit]).predict_proba(both[held])[:, 1]
        found.append(_Fold(real[held], chance, unit[held]))
    return found


def equal_draws(y: Ints, held_y: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows of both sides, as many of each class on one as on the other, at random."""
    rows: tuple[list[Ints], list[Ints]] = ([], [])
    for label in np.unique(held_y):
        mine, theirs = np.flatnonzero(y == label), np.flatnonzero(held_y == label)
        n = min(len(mine), len(theirs))
        rows[0].append(rng.permutation(mine)[:n])
        rows[1].append(rng.permutation(theirs)[:n])
    return np.concatenate(rows[0]), np.concatenate(rows[1])


def forest(protocol: Protocol, seed: int) -> RandomForestClassifier:
    """An untrained forest with scikit-learn's settings but for the number of trees."""
    return RandomForestClassifier(protocol.trees, random_state=seed, n_jobs=-1)


def _interval(statistic: Callable[[Floats], Floats], units: Ints, protocol: Protocol) -> Figure:
    """The statistic and its bootstrap interval over units; it maps weights (R, M) to (R,)."""
    rng = np.random.default_rng(0)
    numbers, unit = np.unique(units, return_inverse=True)
    k = len(numbers)
    weights = rng.multinomial(k, np.full(k, 1 / k), size=protocol.resamples)[:, unit]
    low, high = np.percentile(statistic(weights.astype(np.float64)), LEVEL)
    mean = statistic(np.ones((1, len(unit))))[0]
    return {"mean": float(mean), "low": float(low), "high": float(high)}
