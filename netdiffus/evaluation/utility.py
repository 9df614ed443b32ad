"""What a random forest can do with the traces: learn classes from them, or tell two sets apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from netdiffus.traces import Floats, Ints, Traces

TREES = 50
FOLDS = 3
POINTS = 64
SUMMARY = ("mean", "sd", "min", "max", "sum", "mean step")


def features(traces: Traces) -> Floats:
    """What the forests see of each trace.

    Per channel the first 64 points as they are (zero beyond the trace's end) and, over the whole
    trace, mean, standard deviation, minimum, maximum, sum and mean absolute step; then its length.

    Returns:
        (N, C * (P + 6) + 1) with P = 64, whatever the lengths are.
    """
    n, channels, length = traces.values.shape
    first = np.zeros((n, channels, POINTS))
    first[:, :, :length] = traces.values[:, :, :POINTS]
    parts = [first.reshape(n, -1), _summary(traces), traces.lengths[:, None]]
    return np.concatenate(parts, axis=1)


def _summary(traces: Traces) -> Floats:
    """(N, C * 6)."""
    values, count = traces.values, traces.lengths[:, None]
    inside = traces.mask[:, None]
    total = values.sum(axis=2)
    mean = total / count
    spread = np.sqrt((np.where(inside, values - mean[..., None], 0.0) ** 2).sum(axis=2) / count)
    low = np.where(inside, values, np.inf).min(axis=2)
    high = np.where(inside, values, -np.inf).max(axis=2)
    steps = np.where(inside[..., 1:], np.abs(np.diff(values, axis=2)), 0.0).sum(axis=2)
    parts = [mean, spread, low, high, total, steps / np.maximum(count - 1, 1)]
    return np.concatenate(parts, axis=1)


def train_and_test(train: Sequence[Traces], test: Traces, seed: int) -> dict[str, Any]:
    """Accuracy on `test` of a forest that learned the classes from `train`.

    Args:
        train: Sets to learn from together; all have the classes of `test`.
        test: Traces to label, some of every class.
        seed: Same seed, same forest.

    Returns:
        `accuracy`, `balanced_accuracy` (mean over classes of the share labelled rightly) and
        `confusion` (K, K), rows true, columns given.
    """
    x = np.concatenate([features(t) for t in train])
    y = np.concatenate([t.labels for t in train])
    given = _forest(x, y, seed).predict(features(test))
    confusion = np.zeros((len(test.classes), len(test.classes)), dtype=np.int64)
    np.add.at(confusion, (test.labels, given), 1)
    right = np.diag(confusion)
    return {
        "accuracy": float(right.sum() / confusion.sum()),
        "balanced_accuracy": float((right / confusion.sum(axis=1)).mean()),
        "confusion": confusion,
    }


def two_sample_auc(candidate: Traces, reference: Traces, seed: int) -> float:
    """Area under the ROC curve of a forest that tells one set of traces from another.

    Mean over three folds, each scored by a forest that did not see it.

    Args:
        candidate: Traces to judge.
        reference: As many traces to judge them by.
        seed: Same seed, same folds and forests.

    Returns:
        0.5 when the sets cannot be told apart, 1 when they always can. Below 0.5 is chance.
    """
    x = np.concatenate([features(candidate), features(reference)])
    y = np.repeat([0, 1], [len(candidate), len(reference)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y)
    return float(np.mean([_fold_auc(x, y, fit, held, seed) for fit, held in folds]))


def _fold_auc(x: Floats, y: Ints, fit: Ints, held: Ints, seed: int) -> float:
    chance = _forest(x[fit], y[fit], seed).predict_proba(x[held])[:, 1]
    return float(roc_auc_score(y[held], chance))


def _forest(x: Floats, y: Ints, seed: int) -> RandomForestClassifier:
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1).fit(x, y)
    # Threads would add the trees' votes in any order, and rounding could then turn a tie.
    forest.n_jobs = 1
    return forest
