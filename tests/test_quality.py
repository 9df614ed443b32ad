"""A short training of the default network makes traces as good as it did when this was measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from netdiffus import Recipe, Traces, lab_traffic, sample, train

POINTS = 16

# Measured as below with the seeds 0 to 3: accuracy 0.791 to 0.822, mean 0.808 and deviation 0.015;
# AUC 0.720 to 0.760, mean 0.742 and deviation 0.017. Real traces in place of the synthetic ones:
# 0.853 and 0.702. The limits lie 6 and 4.6 deviations beyond the means: a deviation of four numbers
# is uncertain, and another processor rounds otherwise, which changes as much as another seed does.
# Damaged, with seed 0, before logits were calibrated: no class in the conditions gave 0.196 and
# 0.842, labels shuffled before the training 0.156 and 0.834, a learning rate of 1e-12 0.084 and
# 0.997, a tenth of the usual one 0.587 and 0.909.
LEAST_ACCURACY = 0.72
MOST_AUC = 0.82


def learned_and_made(seed: int = 0) -> tuple[Traces, Traces, Traces]:
    """Links that are learned from, links that are not, and what the network makes."""
    learned, holdout = lab_traffic().truncate(POINTS).split(0.25, by="group", seed=0)
    recipe = Recipe(steps=300, seed=seed)
    model = train(learned, recipe=recipe, width=48, progress=lambda *_: None)
    return learned, holdout, sample(model, len(learned), seed=seed, progress=lambda *_: None)


@pytest.fixture(scope="module")
def holdout_and_made() -> tuple[Traces, Traces]:
    """17 s of one core."""
    return learned_and_made()[1:]


def features(traces: Traces) -> npt.NDArray[np.float64]:
    """Logarithms of all bins, of their sum and of the highest, and how many are not empty."""
    v = traces.values
    whole = np.log1p(v.sum(2)), np.log1p(v.max(2)), (v > 0).sum(2)
    return np.concatenate([np.log1p(v).reshape(len(v), -1), *whole], 1)


def accuracy(holdout: Traces, made: Traces) -> float:
    """Of a forest of scikit-learn that learns from `made`, on real traces."""
    forest = RandomForestClassifier(100, random_state=0).fit(features(made), made.label_names)
    return float(balanced_accuracy_score(holdout.label_names, forest.predict(features(holdout))))


def two_sample_auc(holdout: Traces, made: Traces) -> float:
    """Of a forest that is given the class, too; as many of each class on both sides, 3 folds."""
    rng = np.random.default_rng(0)
    rows = [
        rng.permutation(np.flatnonzero(made.label_names == name))[:n]
        for name, n in holdout.counts().items()
    ]
    sides = made[np.concatenate(rows)], holdout
    names = np.concatenate([side.label_names for side in sides])
    of_class = names[:, None] == np.unique(names)
    x = np.concatenate([np.concatenate([features(side) for side in sides]), of_class], 1)
    is_real = np.repeat([0, 1], [len(side) for side in sides])
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    forest = RandomForestClassifier(100, random_state=0)
    p = cross_val_predict(forest, x, is_real, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_real, p))


def test_classes_are_learned_from_what_it_makes(holdout_and_made: tuple[Traces, Traces]) -> None:
    assert accuracy(*holdout_and_made) > LEAST_ACCURACY


def test_it_is_hard_to_tell_from_real_traces(holdout_and_made: tuple[Traces, Traces]) -> None:
    assert two_sample_auc(*holdout_and_made) < MOST_AUC
