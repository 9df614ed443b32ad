"""Classifiers, each as a function that learns the classes of traces and returns what it knows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from netdiffus.traces import Floats, Traces

Classifier = Callable[[Traces], Floats]
"""Traces to chances, (N, K): one column for each class of the traces that it learned from."""
Learner = Callable[[Traces, int], Classifier]
"""Learns from traces, by a seed."""

TREES = 50
ROUNDS = 30  # of boosting
HIDDEN = 64  # units of the network's one hidden layer
EPOCHS = 50
BATCH = 32
POINTS = 64


def forest(train: Traces, seed: int) -> Classifier:
    """Random forest of 50 trees on `features`."""
    model = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
    learned = _learned(model, train)
    # Threads would add the trees' votes in any order, and rounding could then turn a tie.
    model.n_jobs = 1
    return learned


def boosting(train: Traces, seed: int) -> Classifier:
    """Gradient-boosted trees, 30 rounds, on `features` (scikit-learn's histogram version)."""
    model = HistGradientBoostingClassifier(max_iter=ROUNDS, random_state=seed, early_stopping=False)
    return _learned(model, train)


def network(train: Traces, seed: int) -> Classifier:
    """Neural net with one hidden layer of 64 units, 50 epochs of batches of 32, on `features`.

    Each feature is first brought to a normal distribution by its rank among the training traces,
    so that neither its unit nor a heavy tail matters.
    """
    model = make_pipeline(
        QuantileTransformer(n_quantiles=min(len(train), 1000), output_distribution="normal"),
        MLPClassifier(
            HIDDEN, batch_size=min(BATCH, len(train)), max_iter=EPOCHS, random_state=seed
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are the budget
        return _learned(model, train)


def _learned(model: Any, train: Traces) -> Classifier:
    """The model, fitted; a class that it never saw has chance 0, one that is alone chance 1."""
    seen = np.unique(train.labels)
    if len(seen) > 1:
        model.fit(features(train), train.labels)

    def chances(traces: Traces) -> Floats:
        found = np.zeros((len(traces), len(train.classes)))
        found[:, seen] = 1.0 if len(seen) == 1 else model.predict_proba(features(traces))
        return found

    return chances


def features(traces: Traces) -> Floats:
    """What forests, boosting and the network see of each trace.

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
