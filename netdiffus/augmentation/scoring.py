"""Accuracy of classifiers on validation traces, for each training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netdiffus.augmentation.plans import first_of_each, jittered, most, plans, repeated
from netdiffus.evaluation.draws import class_counts
from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.features.vector_set import Vectors
from netdiffus.evaluation.metrics.classifiers import Learner, forest
from netdiffus.evaluation.metrics.cnn import CnnInputs, cnn
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

View = Callable[[Traces], Vectors]
SetName = tuple[str, str]
"""What is added, and by which plan: ("made", "5x")."""
REAL: SetName = ("real", "")
MADE = "made"
CONTROLS = ("repeated", "jittered")

# For each classifier: the function that makes its input features, and the one that trains it.
CLASSIFIERS: dict[str, tuple[Callable[[Traces], View], Learner]] = {
    "forest": (lambda real: features, forest),
    "cnn": (CnnInputs, cnn),
}


@dataclass(frozen=True, eq=False)
class Round:
    """A split of real traces, and synthetic traces of a model trained on one side.

    All have the same classes and channels, with gaps for times.

    Attributes:
        learn: What the model learned from.
        validation: V traces that the model has not learned from.
        made: Its synthetic traces, enough of each class for every plan.
        unit: (V,), validation traces with the same number depend on each other, in all rounds.
    """

    learn: Traces
    validation: Traces
    made: Traces
    unit: Ints

    @property
    def weights(self) -> Floats:
        """(V,): of each validation trace, so that every class counts the same; their sum is 1."""
        counts = class_counts(self.validation.labels, len(self.validation.classes))
        of_each: Floats = 1.0 / (np.count_nonzero(counts) * counts[self.validation.labels])
        return of_each


def named_rightly(
    one: Round, names: Sequence[str], classifier: str, seed: int
) -> dict[SetName, Bools]:
    """(V,) for each set: which validation traces a classifier trained on it recognises.

    The sets are the real traces alone, with repeated ones, with jittered copies, and with synthetic
    traces. The last three exist for each plan of `names`, with equally many added traces. The same
    seed gives the same result.
    """
    view, learn = CLASSIFIERS[classifier]
    of = plans(names, class_counts(one.learn.labels, len(one.learn.classes)))
    see = view(one.learn)
    real, test, classes = see(one.learn), see(one.validation), len(one.learn.classes)

    def right(x: Vectors, labels: Ints) -> Bools:
        probabilities = learn(x, labels, classes, seed)(test)
        return np.asarray(probabilities.argmax(axis=1) == one.validation.labels)

    found = {REAL: right(real, one.learn.labels)}
    for kind, pool in _pools(one, most(of), seed).items():
        seen = see(pool)
        for plan, counts in of.items():
            rows = first_of_each(pool.labels, counts)
            x = np.concatenate([real, seen[rows]])
            found[kind, plan] = right(x, np.concatenate([one.learn.labels, pool.labels[rows]]))
    return found


def _pools(one: Round, counts: Ints, seed: int) -> dict[str, Traces]:
    """The traces to add: the controls, and the synthetic traces."""
    rng = np.random.default_rng(seed)
    controls = (repeated(one.learn, counts, rng), jittered(one.learn, counts, rng))
    return {**dict(zip(CONTROLS, controls, strict=True)), MADE: one.made}
