from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest, rankdata, wasserstein_distance

from netdiffus import scores
from netdiffus.codec import GasfCodec
from netdiffus.errors import InputError
from netdiffus.scores import REACH, Scores
from netdiffus.traces import Traces

CLASSES, PLACES = 3, 4


def volumes(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two fifths of zeros, and whole numbers over five decades that grow with class and place."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % CLASSES
    size = np.round(rng.lognormal(6 + labels[:, None], 2, (n, PLACES)) * (1 + np.arange(PLACES)))
    values = np.where(rng.random(size.shape) < 0.4, 0.0, size)
    return values, np.ones(values.shape, bool), labels


def z_of(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - 0.5) * 2 * REACH)


def test_values_come_back() -> None:
    values, inside, labels = volumes()
    known = Scores.fit(values, inside, labels, CLASSES)
    x = known.encode(values, labels)
    assert x.min() >= 0
    assert x.max() <= 1
    np.testing.assert_allclose(known.decode(x, labels), values, rtol=1e-12, atol=1e-9)


def test_points_are_the_normal_scores_of_their_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "CLASS_TRUST", 1e-9)
    values, labels = np.random.default_rng(1).random((90, 2)), np.arange(90) % 2
    known = Scores.fit(values, np.ones(values.shape, bool), labels, 2)
    z = z_of(known.encode(values, labels))
    for k in range(2):
        theirs = ndtri((rankdata(values[labels == k], axis=0) - 0.5) / 45)
        inner = np.abs(theirs) < 2  # the outermost values stand for all beyond them
        np.testing.assert_allclose(z[labels == k][inner], theirs[inner], atol=0.05)  # a knot's step


def test_points_of_a_class_and_place_are_normal() -> None:
    values, inside, labels = volumes(3000)
    values += np.random.default_rng(2).random(values.shape)  # no value twice
    z = z_of(Scores.fit(values, inside, labels, CLASSES).encode(values, labels))
    for k in range(CLASSES):
        for place in range(PLACES):
            assert kstest(z[labels == k, place], "norm").pvalue > 0.05


def test_normal_points_decode_to_what_the_class_has_at_the_place() -> None:
    values, inside, labels = volumes()
    known = Scores.fit(values, inside, labels, CLASSES)
    drawn_labels = np.repeat(np.arange(CLASSES), 4000)
    z = np.random.default_rng(3).standard_normal((len(drawn_labels), PLACES))
    drawn = known.decode(0.5 + z / (2 * REACH), drawn_labels)
    for k in range(CLASSES):
        for place in range(PLACES):
            real, made = values[labels == k, place], drawn[drawn_labels == k, place]
            assert abs((made == 0).mean() - (real == 0).mean()) < 0.04
            distance = wasserstein_distance(np.log1p(real), np.log1p(made))
            assert distance < 0.06 * np.log1p(real).mean()


def test_a_common_value_owns_a_stretch() -> None:
    values, inside, labels = volumes()
    known = Scores.fit(values, inside, labels, CLASSES)
    x = known.encode(np.zeros((1, PLACES)), np.array([1]))
    for move in (-0.05, 0.0, 0.03):
        assert (known.decode(x + move, np.array([1])) == 0).all()


def test_beyond_what_was_fitted() -> None:
    values, inside, labels = volumes()
    inside[labels == 2, 3] = False  # class 2 never gets there
    known = Scores.fit(values, inside, labels, CLASSES)
    one = np.array([2])
    much = known.encode(np.full((1, PLACES + 2), 1e12), one)
    assert much.shape == (1, PLACES + 2)
    assert (much <= 1).all()
    assert (known.decode(much, one) <= values[labels == 2].max()).all()
    assert known.decode(np.full((1, PLACES), 0.9), one)[0, 3] > 0


def labelled(*names: str) -> Traces:
    values, _, _ = volumes(30)
    rows = [names[i % len(names)] for i in range(30)]
    return Traces.from_lists({"value": values.tolist()}, rows)


def test_codec_knows_classes_by_name() -> None:
    codec = GasfCodec(8).fit(labelled("a", "b", "c"))
    whole, some = labelled("a", "b", "c"), labelled("a", "b", "c")[np.arange(30) % 3 == 2]
    only = Traces.from_lists({"value": some.values[:, 0].tolist()}, ["c"] * 10)
    assert only.classes == ("c",)
    np.testing.assert_array_equal(codec.series(only), codec.series(whole)[2::3])
    np.testing.assert_allclose(codec.decode(codec.encode(only)).values, only.values, rtol=1e-4)
    with pytest.raises(InputError, match="class d is not among those that the codec was fitted"):
        codec.series(labelled("a", "d"))


def test_area_has_no_scores() -> None:
    traces = labelled("a", "b", "c")
    assert GasfCodec(2, resize="area").fit(traces).scales[0].kind == "quantile"
    with pytest.raises(InputError, match="'score' needs resize='bin'"):
        GasfCodec(2, resize="area", scales={"value": "score"}).fit(traces)
