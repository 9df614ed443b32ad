from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from bench.completion import judged, main


def test_the_crps_is_that_of_a_normal_forecast() -> None:
    """Gneiting and Raftery, 2007: of N(0, 1) at y it is y (2 P(y) - 1) + 2 p(y) - 1 / sqrt(pi)."""
    drawn = np.random.default_rng(0).normal(size=(4_000, 1, 1, 50))
    truth = np.linspace(0.5, 3, 50).reshape(1, 1, 50)
    exact = truth * (2 * norm.cdf(truth) - 1) + 2 * norm.pdf(truth) - 1 / np.sqrt(np.pi)
    # The deviation of a mean of 4,000 draws is 0.016 of each point's own.
    assert judged(drawn, truth)["crps"] == pytest.approx(exact.mean() / truth.mean(), abs=0.005)


def test_coverage_is_80_percent_where_points_are_drawn_as_the_draws_are() -> None:
    rng = np.random.default_rng(0)
    drawn, truth = rng.normal(size=(20, 50, 2, 200)), rng.normal(size=(50, 2, 200))
    # 20,000 points, those of one draw being independent: a deviation of 0.003.
    assert judged(drawn, truth)["coverage"] == pytest.approx(0.8, abs=0.01)


def test_one_draw_is_judged_by_its_distance() -> None:
    found = judged(np.full((1, 1, 1, 4), 3.0), np.full((1, 1, 4), 2.0))
    assert found == {"crps": 0.5, "coverage": 0.0}


def test_tiny_bench_prints_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "--steps", "2", "--traces", "12", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "lab.md").read_text() in printed
    assert [line.split("|")[1].strip() for line in printed.strip().splitlines()[2:]] == [
        "model",
        "last value",
        "Markov chain",
        "nearest",
    ]
