"""Traits of single traces: by hand, beside SciPy, and what a report makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import ks_2samp

from netdiffus.evaluation.evaluator import evaluate
from netdiffus.evaluation.features.traits import beyond, traits
from netdiffus.evaluation.metrics.distances import kolmogorov_smirnov
from netdiffus.evaluation.report.summary import spots
from netdiffus.traces.traces import Traces


def of(traces: Traces) -> dict[str, list[float]]:
    return {trait.name: trait.values.tolist() for trait in traits(traces)}


def volumes(rows: list[list[int]], labels: list[str]) -> Traces:
    return Traces.from_lists({"value": rows}, labels)


def test_the_distance_of_each_class_equals_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 30, 300).astype(float), rng.normal(12, 5, 200).round()
    of_x, of_y = (rng.permutation(np.arange(n) % 7) for n in (300, 200))
    expected = [ks_2samp(x[of_x == k], y[of_y == k]).statistic for k in range(7)]
    np.testing.assert_allclose(kolmogorov_smirnov(x, of_x, y, of_y), expected, rtol=1e-12)


def test_traits_of_volumes() -> None:
    found = of(volumes([[0, 0, 100, 104, 99, 0, 7], [5, 5, 0]], ["a", "a"]))
    assert found["plateau of value"] == [3, 2]  # 100, 104, 99; zeros are no plateau
    assert found["longest idle"] == [2, 1]
    assert found["idle points"] == [3 / 7, 1 / 3]
    assert found["bursts"] == [2, 1]
    assert found["longest burst"] == [3, 2]
    assert found["peak of value"] == [104, 5]
    assert found["total value"] == [310, 10]
    x = np.log1p([[5, 5, 0]])
    np.testing.assert_allclose(found["spread of value"][1], x.std())
    np.testing.assert_allclose(found["step of value"][1], np.abs(np.diff(x)).mean())


def test_traits_of_packets() -> None:
    lists = {"packet_length": [[40, 1500, 1500]], "direction": [[1, -1, -1]], "gap": [[0, 1, 2]]}
    found = of(Traces.from_lists(lists, ["a"]))
    assert found["bursts"] == [2]
    assert found["longest burst"] == [2]
    assert found["plateau of packet_length"] == [2]
    assert found["trace duration"] == [3]
    assert "longest idle" not in found


def test_one_point_and_plain_numbers_have_no_more_than_they_can() -> None:
    assert of(volumes([[9]], ["a"]))["step of value"] == [0]
    assert traits(Traces.from_lists({"x": [[1.0, -2.0]]}, ["a"])) == []


def test_beyond_is_by_class() -> None:
    real = volumes([[10, 20], [10, 40], [1, 2], [1, 3]], ["a", "a", "b", "b"])
    made = volumes([[10, 30], [10, 41], [2, 2], [1, 1]], ["a", "a", "b", "b"])
    assert beyond(real, made).tolist() == [False, True, False, True]


def test_a_report_names_plateaus_that_are_not_there(quick_judges: None) -> None:
    """Steady calls, each at a rate of its own; the made ones have their points in any order."""
    rng = np.random.default_rng(1)
    rate = rng.uniform(50, 5000, 120)
    values = (rate[:, None] * rng.uniform(0.99, 1.01, (120, 24))).astype(int)
    real = volumes(values.tolist(), ["call", "other"] * 60)
    learned = real[:60]
    mixed = learned.values.copy()
    for label in (0, 1):
        mine = mixed[learned.labels == label]
        mixed[learned.labels == label] = rng.permutation(mine.ravel()).reshape(mine.shape)
    report = evaluate(learned, replace(learned, values=mixed), holdout=real[60:], repeats=1)
    made, floor = (
        report.figures["candidates"][name]["coherence"]["quantities"]["plateau of value"]["overall"]
        for name in ("synthetic", "real")
    )
    assert made["mean"] > 3 * floor["mean"]
    worst = spots(report.figures)[0]
    assert worst.aspect == "whole traces"
    assert "whole traces" in worst.text
    assert "plateau of value [points]" in report.to_html()
