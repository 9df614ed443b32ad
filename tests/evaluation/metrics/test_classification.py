from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    roc_auc_score,
)
from sklearn.preprocessing import QuantileTransformer

from netdiffus.evaluation.features.table import POINTS, features
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics import classification
from netdiffus.evaluation.metrics.classification import Predictions
from netdiffus.evaluation.metrics.classifiers import (
    forest,
    network,
    normal_scores,
    quantiles,
)
from netdiffus.traces.traces import Traces


def table(traces: Traces, first: int = 0) -> VectorSet:
    return VectorSet(features(traces), traces.labels, first + np.arange(len(traces)))


def train_and_test(train: list[Traces], test: Traces, seed: int) -> Predictions:
    learned = table(train[0])
    for part in train[1:]:
        learned = learned.joined(table(part))
    return classification.train_and_test(learned, table(test), len(test.classes), seed)


def two_sample_auc(a: Traces, b: Traces, seed: int, learn=forest) -> float:
    scores = classification.two_sample_scores(table(a), table(b, len(a)), seed, learn)
    return float(roc_auc_score(np.repeat([0, 1], [len(a), len(b)]), np.concatenate(scores)))


def noise(seed: int, n: int = 120, shift: float = 0.0, length: int = 10) -> Traces:
    """Three classes; each is `shift` above the one before."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    series = rng.normal(size=(n, length)) + shift * labels[:, None]
    return Traces.from_lists({"speed": series}, [f"class {k}" for k in labels])


def test_features_equal_numpy_trace_by_trace():
    rng = np.random.default_rng(0)
    lists = [rng.normal(size=n).tolist() for n in (5, 1, 100)]
    columns = {"speed": lists, "value": [np.abs(one).tolist() for one in lists]}
    traces = Traces.from_lists(columns, ["a", "b", "c"])
    found = features(traces)
    assert found.shape == (3, 2 * (POINTS + 6) + 1)
    for i, one in enumerate(lists):
        for c, x in enumerate((np.array(one), np.abs(one))):
            padded = np.zeros(POINTS)
            padded[: len(x[:POINTS])] = x[:POINTS]
            np.testing.assert_array_equal(found[i, c * POINTS : (c + 1) * POINTS], padded)
            step = np.abs(np.diff(x)).mean() if len(x) > 1 else 0.0
            expected = [x.mean(), x.std(), x.min(), x.max(), x.sum(), step]
            np.testing.assert_allclose(found[i, 2 * POINTS + c : -1 : 2], expected, atol=1e-12)
        assert found[i, -1] == len(one)


def test_separable_classes_are_learned():
    found = train_and_test([noise(1, shift=10)], noise(2, shift=10), seed=0)
    assert found.balanced_accuracy == 1
    np.testing.assert_array_equal(found.confusion, np.diag([40, 40, 40]))


def test_shuffled_labels_give_chance():
    train = noise(3, n=600, shift=10)
    shuffled = replace(train, labels=np.random.default_rng(4).permutation(train.labels))
    found = train_and_test([shuffled], noise(5, n=600, shift=10), seed=0)
    # Test traces of one class are alike, so their labels go wrong together: a wide interval.
    assert found.balanced_accuracy == pytest.approx(1 / 3, abs=0.15)


def test_balanced_accuracy_counts_classes_and_accuracy_traces():
    test = noise(6, n=120, shift=10)
    test = test[(test.labels == 0) | (np.arange(120) < 6)]  # 40 of class 0, 2 of 1 and of 2
    train = noise(7, shift=10)
    train = replace(train, labels=np.where(train.labels == 2, 1, train.labels))
    found = train_and_test([train], test, seed=0)
    true, predicted = np.sort(test.labels), np.repeat([0, 1, 1], [40, 2, 2])
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(true, predicted))
    np.testing.assert_array_equal(found.confusion, confusion_matrix(true, predicted))


def test_sets_are_learned_together():
    every = noise(8, shift=10)
    parts = [every[every.labels == 0], every[every.labels > 0]]
    assert train_and_test(parts, noise(9, shift=10), seed=0).balanced_accuracy == 1


def test_auc_of_one_distribution_is_a_half():
    found = [two_sample_auc(noise(s, n=300), noise(s + 100, n=300), seed=s) for s in range(5)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)  # standard error 0.011


def test_auc_of_far_sets_is_1():
    far = noise(11)
    far = replace(far, values=far.values + 50)
    assert two_sample_auc(far, noise(12), seed=0) == 1


def test_auc_of_normals_has_the_right_size():
    # One number a trace, N(0, 1) against N(1, 1): the best AUC is Phi(1 / sqrt(2)) = 0.760.
    a, b = noise(13, n=900, length=1), noise(14, n=900, length=1)
    found = two_sample_auc(replace(b, values=b.values + 1), a, seed=0)
    assert 0.64 < found < 0.78


def test_same_seed_same_figures():
    a, b = noise(15), noise(16)
    assert two_sample_auc(a, b, seed=3) == two_sample_auc(a, b, seed=3)
    first, second = (train_and_test([a], b, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.confusion, second.confusion)


@pytest.mark.parametrize("learn", [forest, network])
def test_every_classifier_learns_and_gives_probabilities(learn):
    train, test = table(noise(20, shift=4)), table(noise(21, shift=4))
    found = learn(train.x, train.labels, 3, 0)(test.x)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == test.labels).mean() > 0.95
    np.testing.assert_array_equal(found, learn(train.x, train.labels, 3, 0)(test.x))


@pytest.mark.parametrize("learn", [forest, network])
def test_classes_that_are_empty_in_training_have_probability_0(learn):
    train, test = table(noise(22)), table(noise(23))
    some = train[np.flatnonzero(train.labels != 1)]
    assert (learn(some.x, some.labels, 3, 0)(test.x)[:, 1] == 0).all()
    alone = train[np.flatnonzero(train.labels == 2)]
    np.testing.assert_array_equal(
        learn(alone.x, alone.labels, 3, 0)(test.x), np.tile([0, 0, 1], (120, 1))
    )


def test_a_network_tells_sets_apart():
    near, far = noise(24), replace(noise(25), values=noise(25).values + 50)
    assert two_sample_auc(near, noise(26), 0, network) == pytest.approx(0.5, abs=0.15)
    assert two_sample_auc(far, noise(26), 0, network) == 1


def test_many_classes_are_learned():
    rng = np.random.default_rng(27)
    labels = np.arange(600) % 150
    x, test = (labels[:, None] + rng.normal(0, 0.1, (600, 5)) for _ in range(2))
    assert (forest(x, labels, 150, 0)(test).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize("n", [7, 1_000, 1_700])
def test_normal_scores_are_those_of_scikit_learn(n: int) -> None:
    rng = np.random.default_rng(n)
    x, other = (
        np.stack(
            [rng.normal(size=m), rng.integers(0, 3, m), np.full(m, 5.0), rng.exponential(9, m)], 1
        )
        for m in (n, 300)
    )
    cuts = min(n, 1_000)
    judge = QuantileTransformer(n_quantiles=cuts, output_distribution="normal").fit(x)
    ours = quantiles(x, cuts)
    # A place among 1,700 numbers is rounded by 2e-13, and neighbours are less than 50 apart.
    np.testing.assert_allclose(ours, judge.quantiles_, rtol=0, atol=1e-11)
    for some in (x, other):
        found = normal_scores(some, judge.quantiles_)
        np.testing.assert_allclose(found, judge.transform(some), rtol=0, atol=1e-9)
