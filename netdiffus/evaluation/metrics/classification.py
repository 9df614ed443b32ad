"""What a classifier can do with traces: learn classes from them, or tell two sets apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics.classifiers import Learner, forest
from netdiffus.traces.traces import Floats, Ints

FOLDS = 3


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier predicted for test traces (N,) of these true classes (N,), K in all.

    Traces with the same number in `group` (N,) depend on each other; None where none do.
    """

    true: Ints
    predicted: Ints
    classes: int
    group: Ints | None = None

    @property
    def recalls(self) -> Floats:
        """(K,): share of each class labelled correctly; NaN for a class without traces."""
        correct = np.bincount(self.true[self.true == self.predicted], minlength=self.classes)
        count = np.bincount(self.true, minlength=self.classes)
        return np.where(count > 0, correct / np.maximum(count, 1), np.nan)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the recalls of the classes that have traces."""
        return float(np.nanmean(self.recalls))

    @property
    def confusion(self) -> Ints:
        """(K, K): traces by true (row) and predicted class (column)."""
        counts = np.zeros((self.classes, self.classes), dtype=np.int64)
        np.add.at(counts, (self.true, self.predicted), 1)
        return counts


def train_and_test(
    train: VectorSet, test: VectorSet, classes: int, seed: int, learn: Learner = forest
) -> Predictions:
    """What a classifier of this seed that learned from `train` predicts for `test`."""
    probabilities = learn(train.x, train.labels, classes, seed)(test.x)
    return Predictions(test.labels, probabilities.argmax(axis=1), classes, test.group)


def two_sample_scores(
    candidate: VectorSet, reference: VectorSet, seed: int, learn: Learner = forest
) -> tuple[Floats, Floats]:
    """The probability, by a classifier, that each trace of either set is of the reference.

    Three folds: each trace is scored by a classifier that saw neither it nor others of its group,
    and scores become ranks within their fold, as those of different folds need not be on one scale.
    Both sets are to be equally large.
    """
    x = np.concatenate([candidate.x, reference.x])
    side = np.repeat([0, 1], [len(candidate), len(reference)])
    group = np.concatenate([candidate.group, reference.group])
    scores = np.zeros(len(x))
    for fit, held in _folds(side, group, seed):
        if len(held):  # few groups may leave a fold empty
            probability = learn(x[fit], side[fit], 2, seed)(x[held])[:, 1]
            scores[held] = rankdata(probability) / len(held)
    return scores[side == 0], scores[side == 1]


def _folds(side: Ints, group: Ints, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Rows to learn from and rows held, for each fold; no group has rows in two folds."""
    if (count := len(np.unique(group))) < len(group):
        together = StratifiedGroupKFold(min(FOLDS, count), shuffle=True, random_state=seed)
        return together.split(side, side, group)  # type: ignore[no-any-return]
    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(side, side)  # type: ignore[no-any-return]
