"""What a classifier can do with the traces: learn classes from them, or tell two sets apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from netdiffus.errors import InputError
from netdiffus.evaluation.groups import units, units_of_both
from netdiffus.evaluation.metrics.classifiers import Learner, forest
from netdiffus.traces import Floats, Ints, Traces

FOLDS = 3


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier said of test traces.

    Attributes:
        true: (N,), their classes.
        given: (N,), the classes it gave them.
        classes: How many classes there are.
        unit: (N,), see `groups.units`; None where each is its own.
    """

    true: Ints
    given: Ints
    classes: int
    unit: Ints | None = None

    @property
    def accuracy(self) -> float:
        """Share of the traces labelled rightly."""
        return float(np.mean(self.true == self.given))

    @property
    def recalls(self) -> Floats:
        """(K,): share of each class labelled rightly; NaN for a class without traces."""
        right = np.bincount(self.true[self.true == self.given], minlength=self.classes)
        all_of_it = np.bincount(self.true, minlength=self.classes)
        return np.where(all_of_it > 0, right / np.maximum(all_of_it, 1), np.nan)

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that have traces of the share labelled rightly."""
        return float(np.nanmean(self.recalls))

    @property
    def confusion(self) -> Ints:
        """(K, K): traces by true (row) and given class (column)."""
        counts = np.zeros((self.classes, self.classes), dtype=np.int64)
        np.add.at(counts, (self.true, self.given), 1)
        return counts


def train_and_test(
    train: Sequence[Traces], test: Traces, seed: int, learn: Learner = forest
) -> Answers:
    """What a classifier that learned from `train` says of `test`.

    Args:
        train: Sets to learn from together, of the channels of `test`; classes are those of the
            first.
        test: Traces to label.
        seed: Same seed, same classifier.
        learn: The kind of classifier.

    Raises:
        InputError: Traces of a class that the first set does not name.
    """
    known = pool(train)
    test = with_classes(test, known.classes, "test traces")
    chances = learn(known, seed)(test)
    return Answers(test.labels, chances.argmax(axis=1), len(known.classes), units(test))


def two_sample_scores(
    candidate: Traces, reference: Traces, seed: int, learn: Learner = forest
) -> tuple[Floats, Floats]:
    """Chances that a classifier gives each trace of being of the reference.

    Three folds: each trace is scored by a classifier that saw neither it nor others of its unit,
    and scores become ranks within their fold, as those of different folds need not be on one scale.

    Args:
        candidate: Traces to judge.
        reference: As many traces to judge them by.
        seed: Same seed, same folds and classifiers.
        learn: The kind of classifier.

    Returns:
        Scores of the candidate (n,) and of the reference (m,).
    """
    side = np.repeat([0, 1], [len(candidate), len(reference)])
    sides = ("candidate", "reference")
    both = pool(
        [
            replace(t, labels=np.full(len(t), i), classes=sides)
            for i, t in enumerate((candidate, reference))
        ]
    )
    scores = np.zeros(len(both))
    for fit, held in _folds(side, np.concatenate(units_of_both(candidate, reference)), seed):
        if len(held):  # few units may leave a fold empty
            scores[held] = rankdata(learn(both[fit], seed)(both[held])[:, 1]) / len(held)
    return scores[side == 0], scores[side == 1]


def _folds(side: Ints, unit: Ints, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Rows to learn from and rows held, for each fold; no unit has rows in two folds."""
    if (count := len(np.unique(unit))) < len(unit):
        together = StratifiedGroupKFold(min(FOLDS, count), shuffle=True, random_state=seed)
        return together.split(side, side, unit)  # type: ignore[no-any-return]
    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(side, side)  # type: ignore[no-any-return]


def two_sample_auc(
    candidate: Traces, reference: Traces, seed: int, learn: Learner = forest
) -> float:
    """Area under the ROC curve of a classifier that tells one set of traces from another.

    Args: see `two_sample_scores`.

    Returns:
        0.5 when the sets cannot be told apart, 1 when they always can. Below 0.5 is chance.
    """
    ours, theirs = two_sample_scores(candidate, reference, seed, learn)
    true = np.repeat([0, 1], [len(ours), len(theirs)])
    return float(roc_auc_score(true, np.concatenate([ours, theirs])))


def pool(sets: Sequence[Traces]) -> Traces:
    """Sets with the same channels as one, without meta; classes by name, those of the first."""
    sets = [with_classes(t, sets[0].classes, "traces to pool") for t in sets]
    longest = max(t.values.shape[2] for t in sets)
    wide = [np.pad(t.values, ((0, 0), (0, 0), (0, longest - t.values.shape[2]))) for t in sets]
    return Traces(
        np.concatenate(wide),
        np.concatenate([t.lengths for t in sets]),
        sets[0].channels,
        np.concatenate([t.labels for t in sets]),
        sets[0].classes,
    )


def with_classes(traces: Traces, classes: Sequence[str], name: str) -> Traces:
    """The traces with their labels as places in `classes`.

    Sets name the same classes in another order, or fewer, where they were loaded from files.

    Args:
        traces: Traces of any classes.
        classes: The names that labels stand for afterwards.
        name: What the traces are, for errors.

    Raises:
        InputError: Traces of a class that is not one of `classes`.
    """
    place = {k: i for i, k in enumerate(classes)}
    if other := sorted({k for k, n in traces.counts().items() if n} - place.keys()):
        raise InputError(
            f"{name}: traces of {', '.join(other)}, which is not learned; the classes are "
            f"{', '.join(classes)}: leave these traces out, or learn from some"
        )
    labels = np.array([place.get(k, -1) for k in traces.classes])[traces.labels]
    return replace(traces, labels=labels, classes=tuple(classes))
