"""Classifiers, each as a function that learns from feature tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from netdiffus.evaluation.features.vector_set import Vectors
from netdiffus.traces.traces import Floats, Ints

Classifier = Callable[[Vectors], Floats]
"""Features (N, F) to probabilities (N, K)."""
Learner = Callable[[Vectors, Ints, int, int], Classifier]
"""Learns from features (N, F), labels (N,), the number of classes K and a seed."""

TREES = 50
MANY_CLASSES = 100
HIDDEN = 64  # units of the network's one hidden layer
EPOCHS = 30
MOST_QUANTILES = 1_000  # that ranks are counted by
BATCH = 32
MOST_BATCHES = 32  # of an epoch
LEAST = 1e-7 - np.spacing(1)  # of a rank between 0 and 1, as scikit-learn has it


def forest(x: Vectors, labels: Ints, classes: int, seed: int) -> Classifier:
    """Random forest of 50 trees.

    Of more than 100 classes a forest of extremely randomised trees, which try one threshold per
    feature: to try all costs the number of classes for each of them.
    """
    kind = RandomForestClassifier if classes <= MANY_CLASSES else ExtraTreesClassifier
    model = kind(TREES, random_state=seed, n_jobs=-1)
    # scikit-learn's threads save and restore the filters of warnings in any order.
    with warnings.catch_warnings():
        classify = fitted(model, x, labels, classes)
    # Threads would add the trees' votes in any order, and rounding could then turn a tie.
    model.n_jobs = 1
    return classify


def network(x: Vectors, labels: Ints, classes: int, seed: int) -> Classifier:
    """Neural network with one hidden layer of 64 units, 30 epochs.

    Batches are of 32 traces, or larger where an epoch would have more than 32 of them. Each feature
    is first brought to a normal distribution by its rank among the training traces, so that neither
    its unit nor a heavy tail matters.
    """
    batch = min(max(BATCH, -(-len(x) // MOST_BATCHES)), len(x))
    cuts = quantiles(x, min(len(x), MOST_QUANTILES))
    model = MLPClassifier(HIDDEN, batch_size=batch, max_iter=EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant
        classify = fitted(model, normal_scores(x, cuts), labels, classes)
    return lambda features: classify(normal_scores(features, cuts))


def quantiles(x: Vectors, n: int) -> Floats:
    """(n, F): evenly spaced quantiles of each feature, between neighbours by interpolation."""
    ordered = np.sort(x, axis=0)
    place = np.linspace(0, len(x) - 1, n)
    low = place.astype(np.int64)
    step = ordered[np.minimum(low + 1, len(x) - 1)] - ordered[low]
    found: Floats = np.maximum.accumulate(ordered[low] + (place - low)[:, None] * step)
    return found


def normal_scores(x: Vectors, cuts: Floats) -> Floats:
    """Each feature as the normal quantile of its rank: `QuantileTransformer` of scikit-learn.

    With `output_distribution="normal"` that gives the same, but takes six times as long.
    """
    ranks, places = np.empty_like(x, dtype=np.float64), np.linspace(0, 1, len(cuts))
    for f, (column, cut) in enumerate(zip(x.T, cuts.T, strict=True)):
        below = np.interp(column, cut, places)
        above = np.interp(-column, -cut[::-1], -places[::-1])  # another place where cuts are equal
        ranks[:, f] = (below - above) / 2
        ranks[column == cut[-1], f] = 1
        ranks[column == cut[0], f] = 0
    scores: Floats = np.clip(ndtri(ranks), ndtri(LEAST), ndtri(1 - LEAST))
    return scores


def fitted(model: Any, x: Vectors, labels: Ints, classes: int) -> Classifier:
    """The model of scikit-learn, fitted.

    A class that it never saw has probability 0; a class that it saw alone has probability 1.
    """
    seen = np.unique(labels)
    if len(seen) > 1:
        model.fit(x, labels)

    def probabilities(features: Vectors) -> Floats:
        result = np.zeros((len(features), classes))
        result[:, seen] = 1.0 if len(seen) == 1 else model.predict_proba(features)
        return result

    return probabilities
