from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from bench.paper_tasks.__main__ import main
from bench.paper_tasks.cnn import _network, paper_cnn
from bench.paper_tasks.learners import boosting, forest, network, series_cnn, train_and_test
from bench.paper_tasks.tasks import (
    entropy,
    few_originals,
    rare_classes,
    synthetic_curve,
    train_and_test_sets,
    unknown_classes,
)
from netdiffus.errors import InputError
from netdiffus.traces.traces import Ints, Traces

CLASSES = 4


def noise(seed: int, n: int = 120, shift: float = 4.0) -> Traces:
    """Each class is `shift` above the one before."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    series = rng.normal(size=(n, 10)) + shift * labels[:, None]
    return Traces.from_lists({"speed": series}, [f"class {k}" for k in labels])


def source(train: Traces, counts: Ints, seed: int) -> Traces:
    """A perfect generator: new traces of the source itself."""
    fresh = noise(seed % 1000 + 50, n=CLASSES * int(counts.max()))
    rows = [np.flatnonzero(fresh.labels == k)[:n] for k, n in enumerate(counts)]
    return fresh[np.concatenate(rows)]


@pytest.mark.parametrize("learn", [forest, boosting, network])
def test_every_classifier_learns_and_gives_probabilities(learn):
    probabilities = learn(noise(0), 0)(noise(1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == noise(1).labels).mean() > 0.95


def test_classes_are_matched_by_name():
    train, test = noise(17), noise(18)
    some = test[test.labels > 0].without_empty_classes()
    turned = replace(train, labels=CLASSES - 1 - train.labels, classes=train.classes[::-1])
    for parts in ([train], [turned, train]):
        found = train_and_test(parts, some, 0, forest)
        assert found.balanced_accuracy > 0.95
    with pytest.raises(InputError, match="test traces: class class 0 is not in training"):
        train_and_test([some], test, 0, forest)


def test_sets_are_trained_on_as_many():
    seen = []

    def counting(train: Traces, seed: int):
        seen.append(len(train))
        return forest(train, seed)

    found = train_and_test_sets(noise(7), noise(8, n=80), noise(9), learn=counting, repeats=2)
    assert seen[:4] == [80, 80, 80, 160]
    assert set(found) == {"original", "synthetic", "half", "both"}
    assert all(len(runs) == 2 and min(runs) > 0.9 for runs in found.values())
    wrong = noise(8)
    wrong = replace(wrong, labels=(wrong.labels + 1) % CLASSES)
    assert train_and_test_sets(noise(7), wrong, noise(9), repeats=1)["synthetic"][0] < 0.1


def test_sets_match_classes_by_name():
    train, made, held = noise(23), noise(24), noise(25)
    made = replace(made, labels=CLASSES - 1 - made.labels, classes=made.classes[::-1])
    some = held[held.labels > 0].without_empty_classes()
    found = train_and_test_sets(train, made, some, repeats=1)
    assert all(min(runs) > 0.9 for runs in found.values())
    curve = synthetic_curve(train[:40], made, some, times=(1,), repeats=1)
    assert curve[1]["synthetic"][0] > 0.9
    with pytest.raises(InputError, match="synthetic: class class 0 is not in training"):
        train_and_test_sets(some, made, some, repeats=1)


def test_curve_takes_multiples_and_rises():
    close = {"shift": 0.7}
    found = synthetic_curve(
        noise(10, n=16, **close),
        noise(11, n=16 * 20, **close),
        noise(12, n=400, **close),
        times=(1, 20),
    )
    assert np.mean(found[20]["synthetic"]) > np.mean(found[1]["synthetic"]) + 0.03
    with pytest.raises(InputError, match=r"synthetic: 4 traces of class 0, 8 are needed"):
        synthetic_curve(noise(10, n=16), noise(11, n=16), noise(12), times=(1, 2))


def test_few_originals_gives_the_generator_the_few_alone():
    asked = []

    def generate(train: Traces, counts: Ints, seed: int) -> Traces:
        asked.append((train.counts(), counts.tolist()))
        return source(train, counts, seed)

    held = noise(13, n=200, shift=1.0)
    found = few_originals(noise(14), held, generate, originals=(2, 5), times=3, repeats=1)
    names = noise(14).classes
    assert asked == [(dict.fromkeys(names, n), [3 * n] * CLASSES) for n in (2, 5)]
    assert set(found) == {2, 5}
    with pytest.raises(InputError, match="train: 30 traces of class 0, 31 are needed"):
        few_originals(noise(14), held, generate, originals=(31,))


def test_rare_classes_are_filled_up():
    asked = []

    def generate(train: Traces, counts: Ints, seed: int) -> Traces:
        asked.append((list(train.counts().values()), counts.tolist()))
        return noise_like(counts, seed)

    def noise_like(counts: Ints, seed: int) -> Traces:
        fresh = noise(seed % 1000, n=CLASSES * 40, shift=1.0)
        rows = [np.flatnonzero(fresh.labels == k)[:n] for k, n in enumerate(counts)]
        return fresh[np.concatenate(rows)]

    held = noise(15, n=400, shift=1.0)
    rare = ["class 1", "class 2"]
    found = rare_classes(noise(16, shift=1.0), held, generate, rare=rare, originals=3, repeats=3)
    assert asked[0] == ([30, 3, 3, 30], [0, 27, 27, 0])
    assert np.mean(found["both"]) > np.mean(found["original"]) + 0.1
    with pytest.raises(InputError, match="voice is not a class; classes: class 0, class 1"):
        rare_classes(noise(16), held, generate, rare=["voice"])


def test_unknown_classes_have_more_entropy():
    # Class 1 lies between 0 and 2, where the ensemble cannot know.
    train, held = noise(17, shift=3.0), noise(18, shift=3.0)
    found = unknown_classes(train, held, unknown=["class 1"], learn=network, repeats=1)
    assert found["auc"][0] > 0.7
    assert found["unknown"][0] > found["known"][0]
    named = replace(held, classes=held.classes[::-1], labels=CLASSES - 1 - held.labels)
    assert unknown_classes(train, named, unknown=["class 1"], learn=network, repeats=1) == found
    alone = held[held.labels > 1].without_empty_classes()
    with pytest.raises(InputError, match="holdout: 0 of 60 traces are of unknown classes; it"):
        unknown_classes(train, alone, unknown=["class 1"])
    with pytest.raises(InputError, match="4 of 4 classes chosen"):
        unknown_classes(train, held, unknown=list(train.classes))


def test_entropy_equals_scipy():
    p = np.random.default_rng(19).dirichlet(np.ones(3), size=(2, 120))
    p[:, 0] = [1.0, 0.0, 0.0]
    found = entropy([lambda _: p[0], lambda _: p[1]], noise(0))
    np.testing.assert_allclose(found, scipy_entropy(p.mean(axis=0), base=2, axis=1), atol=1e-12)


def test_paper_cnn_has_the_papers_layers():
    # Eight convolutions: weights 9 in out + out, and 2 of each batch norm; then 128, 64 and K.
    widths = [2, 32, 32, 64, 64, 128, 128, 256, 256]
    convolutions = sum(9 * a * b + 3 * b for a, b in pairwise(widths))
    layers = [256 * 2 * 2, 128, 64, 7]
    dense = sum(a * b + b for a, b in pairwise(layers))
    found = sum(p.numel() for p in _network(channels=2, size=32, classes=7).parameters())
    assert found == convolutions + dense


def test_paper_cnn_learns_and_answers_the_same_for_any_batch():
    train, held = noise(20), noise(21)
    classify = paper_cnn(train, size=16, steps=40)(train, 0)
    probabilities = classify(held)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # With batch statistics or dropout at test time, a trace alone would get another answer.
    np.testing.assert_allclose(classify(held[:1]), probabilities[:1], atol=1e-5)
    assert (probabilities.argmax(axis=1) == held.labels).mean() > 0.6  # chance is 0.25


def test_series_cnn_learns():
    train, held = noise(20), noise(21)
    found = series_cnn(train, 0)(held).argmax(axis=1)
    assert (found == held.labels).mean() > 0.6  # chance is 0.25


def test_paper_cnn_is_the_same_for_the_same_seed():
    train = noise(22, n=40)
    one, two, other = (paper_cnn(train, size=16, steps=2)(train, s)(train) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of models of few traces
def test_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--tiny", "--out", "out"]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["lab"]
    assert set(found) == {
        "train_and_test_sets",
        "synthetic_curve",
        "few_originals",
        "rare_classes",
        "unknown_classes",
    }
    assert 0 <= found["train_and_test_sets"]["both"][0] <= 1
