from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from small import packets, volumes

from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.metrics.classifiers import forest
from netdiffus.evaluation.metrics.cnn import CnnInputs, cnn
from netdiffus.traces.traces import Traces


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdiffus.evaluation.metrics.cnn.STEPS", 9)


def peaks(n: int, seed: int) -> Traces:
    """A high point and then a low one, or the other way round, somewhere in noise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.3, (n, 32))
    labels = rng.integers(0, 2, n)
    for row, place in enumerate(rng.integers(0, 30, n)):
        values[row, place : place + 2] = (3, -3) if labels[row] else (-3, 3)
    return Traces.from_lists({"level": values.tolist()}, [str(k) for k in labels])


def test_it_sees_what_happens_wherever_it_happens() -> None:
    train, test = peaks(300, 0), peaks(300, 1)
    train_labels, test_labels = (t.label_names == "1" for t in (train, test))
    see = CnnInputs(train)
    found = cnn(see(train), train_labels.astype(np.int64), 2, 0)(see(test)).argmax(axis=1)
    assert (found == test_labels).mean() > 0.95
    trees = forest(features(train), train_labels.astype(np.int64), 2, 0)(features(test))
    assert (trees.argmax(axis=1) == test_labels).mean() < 0.8  # it looks at points by place


def test_it_tells_sizes_that_differ_by_a_few_bytes() -> None:
    common = {100: 102, 700: 702, 1300: 1302}
    rng = np.random.default_rng(0)

    def drawn(n: int) -> Traces:
        labels = rng.integers(0, 2, n)
        values = rng.choice(list(common), (n, 32)) + 2 * labels[:, None] * (
            rng.random((n, 32)) < 0.2
        )
        return Traces.from_lists({"packet_length": values.tolist()}, [str(k) for k in labels])

    train, test = drawn(200), drawn(200)
    see = CnnInputs(train)
    found = cnn(see(train), train.labels, 2, 0)(see(test)).argmax(axis=1)
    assert train.classes == test.classes
    assert (found == test.labels).mean() > 0.95


def test_ranks_are_those_of_scipy() -> None:
    real = packets(12).with_gaps()
    values = real.values[:, 0][real.mask]
    ranks = CnnInputs(real)(real)[:, len(real.channels)][real.mask]
    wanted = (rankdata(values) - 0.5) / len(values)
    np.testing.assert_allclose(ranks, wanted, atol=1e-6)  # float32


def test_same_seed_same_probabilities_whatever_came_before(few_steps: None) -> None:
    traces = volumes(24)
    x = CnnInputs(traces)(traces)
    one, two, other = (cnn(x, traces.labels, 2, seed)(x) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_class_that_was_not_learned_has_no_chance(few_steps: None) -> None:
    traces = volumes(24)
    x = CnnInputs(traces)(traces)
    found = cnn(x, np.where(traces.labels == 1, 3, 0), 4, 0)(x)
    np.testing.assert_array_equal(found[:, [1, 2]], 0)
    # Of four doubles that add up to 1.
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_it_knows_where_a_trace_ends_and_takes_any_length(few_steps: None) -> None:
    real = packets(12).with_gaps()
    see = CnnInputs(real)
    seen = see(real)
    assert seen.shape == (12, 7, real.lengths.max())  # 3 channels, their ranks and the mask
    np.testing.assert_array_equal(seen[:, 6].sum(axis=1), real.lengths)
    one = real.truncate(1)
    found = cnn(CnnInputs(one)(one), one.labels, 3, 0)(CnnInputs(one)(one))
    assert found.shape == (12, 3)
    long = Traces.from_lists({"level": [np.arange(600).tolist()] * 4}, ["a", "b"] * 2)
    assert CnnInputs(long)(long).shape == (4, 3, 200)  # means of windows of 3 points
