"""Classifiers that learn from traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sklearn.ensemble import HistGradientBoostingClassifier

from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.features.vector_set import Vectors
from netdiffus.evaluation.metrics import classifiers
from netdiffus.evaluation.metrics.classification import Predictions
from netdiffus.evaluation.metrics.cnn import CnnInputs, cnn
from netdiffus.evaluation.prepare import with_classes
from netdiffus.traces.traces import Floats, Ints, Traces, concat

Classifier = Callable[[Traces], Floats]
"""Traces to probabilities, (N, K): one column for each class of the traces that it learned from."""
Learner = Callable[[Traces, int], Classifier]
"""Learns from traces, by a seed."""

ROUNDS = 30  # of boosting


def train_and_test(train: Sequence[Traces], test: Traces, seed: int, learn: Learner) -> Predictions:
    """What a classifier that learned from all of `train` predicts for `test`.

    The classes are those of the first of `train`; `InputError` where a test trace has another.
    """
    known = pool(train)
    test = with_classes(test, known.classes, "test traces")
    probabilities = learn(known, seed)(test)
    return Predictions(test.labels, probabilities.argmax(axis=1), len(known.classes))


def pool(sets: Sequence[Traces]) -> Traces:
    """All sets as one; their classes by name, those of the first."""
    return concat([with_classes(t, sets[0].classes, "traces to pool") for t in sets])


def forest(train: Traces, seed: int) -> Classifier:
    """See `netdiffus.evaluation.metrics.classifiers.forest`."""
    return _on_features(classifiers.forest, train, seed)


def network(train: Traces, seed: int) -> Classifier:
    """See `netdiffus.evaluation.metrics.classifiers.network`."""
    return _on_features(classifiers.network, train, seed)


def series_cnn(train: Traces, seed: int) -> Classifier:
    """The package's 1-D CNN; see `netdiffus.evaluation.metrics.cnn.cnn`."""
    train = train.with_gaps()
    see = CnnInputs(train)
    classify = cnn(see(train), train.labels, len(train.classes), seed)
    return lambda traces: classify(see(traces.with_gaps()))


def boosting(train: Traces, seed: int) -> Classifier:
    """Gradient-boosted trees, 30 rounds (scikit-learn's histogram version)."""
    return _on_features(_boosting, train, seed)


def _boosting(x: Vectors, labels: Ints, classes: int, seed: int) -> classifiers.Classifier:
    model = HistGradientBoostingClassifier(max_iter=ROUNDS, random_state=seed, early_stopping=False)
    return classifiers.fitted(model, x, labels, classes)


def _on_features(learn: classifiers.Learner, train: Traces, seed: int) -> Classifier:
    classify = learn(features(train), train.labels, len(train.classes), seed)
    return lambda traces: classify(features(traces))
