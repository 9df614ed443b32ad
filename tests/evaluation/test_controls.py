"""What stands beside "added to real": real traces repeated, and a second classifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netdiffus.evaluation.evaluator import evaluate
from netdiffus.evaluation.report.report import Report
from netdiffus.traces.traces import Traces


def waves(n: int, seed: int) -> Traces:
    """Two classes that differ by where the volume is, not by how much there is."""
    rng = np.random.default_rng(seed)
    label, phase = np.arange(n) % 2, rng.uniform(0, 1, (n, 1))
    x = np.sin(np.arange(16) * (0.4 + 0.8 * label[:, None]) + phase) + rng.normal(0, 0.3, (n, 16))
    values = np.round(200 * (x - x.min())).astype(int)
    return Traces.from_lists(
        {"value": values.tolist()}, ["slow" if k == 0 else "fast" for k in label]
    )


@pytest.fixture(scope="module")
def report(quick_judges_of_module: None) -> Report:
    return evaluate(waves(40, 0), waves(40, 1), holdout=waves(40, 2), repeats=1, cnn=True)


def test_every_set_has_both_classifiers(report: Report) -> None:
    for name, found in report.figures["candidates"].items():
        for use in ("trained_on_equal", "trained_with_real"):
            assert 0 <= found["cnn"][use]["balanced_accuracy"]["mean"] <= 1, name
    assert "convolutional" in report.to_html()


def test_a_class_that_order_alone_tells_is_learned_by_the_cnn(report: Report) -> None:
    made = report.figures["candidates"]["synthetic"]["cnn"]
    assert made["trained_on_equal"]["balanced_accuracy"]["mean"] > 0.9


def test_the_cnn_sees_an_order_of_points_that_no_real_trace_has(
    report: Report, quick_judges: None
) -> None:
    made = waves(40, 1)
    shuffled = replace(made, values=np.random.default_rng(3).permuted(made.values, axis=2))
    found = evaluate(waves(40, 0), shuffled, holdout=waves(40, 2), repeats=1, cnn=True)
    auc, as_real = (
        one.figures["candidates"]["synthetic"]["cnn"]["two_sample_auc"]["mean"]
        for one in (found, report)
    )
    assert as_real < 0.75 < auc


def test_repeated_traces_are_a_control_of_their_own(report: Report) -> None:
    candidates = report.figures["candidates"]
    again, alone = (candidates[name]["trained_with_real"] for name in ("copy", "real"))
    assert np.sum(again["confusion"]) == np.sum(alone["confusion"])  # the same held-out traces
    assert again is not alone


def test_it_is_asked_for(quick_reports: None) -> None:
    plain = evaluate(waves(20, 0), waves(20, 1), holdout=waves(20, 2), repeats=1)
    assert all("cnn" not in found for found in plain.figures["candidates"].values())
    assert "convolutional" not in plain.to_html()
