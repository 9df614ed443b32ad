from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

from bench.completion import (
    BASELINES,
    Figures,
    Seen,
    _any_of,
    compared,
    judged,
    main,
    neighbours,
    scores,
    table,
)
from netdiffus.traces.traces import Floats, Traces


def seen(values: Floats, names: list[str]) -> Seen:
    """Traces (N, T) of one channel, which end where zeros begin."""
    return Seen(values[:, None].astype(float), np.array(names), (values != 0).sum(1))


class TestFigures:
    def test_the_crps_is_that_of_a_normal_forecast(self) -> None:
        """Gneiting, Raftery, 2007: of N(0, 1) at y it is y (2 P(y) - 1) + 2 p(y) - 1 / sqrt(pi)."""
        drawn = np.random.default_rng(0).normal(size=(4_000, 1, 1, 50))
        truth = np.linspace(0.5, 3, 50).reshape(1, 1, 50)
        exact = truth * (2 * norm.cdf(truth) - 1) + 2 * norm.pdf(truth) - 1 / np.sqrt(np.pi)
        # The deviation of a mean of 4,000 draws is 0.016 of each point's own.
        assert judged(drawn, truth)["crps"] == pytest.approx(exact.mean() / truth.mean(), abs=0.005)

    def test_coverage_is_80_percent_where_points_are_drawn_as_the_draws_are(self) -> None:
        rng = np.random.default_rng(0)
        drawn, truth = rng.normal(size=(20, 50, 2, 200)), rng.normal(size=(50, 2, 200))
        # 20,000 points, those of one draw being independent: a deviation of 0.003.
        assert judged(drawn, truth)["coverage"] == pytest.approx(0.8, abs=0.01)

    def test_one_draw_is_judged_by_its_distance(self) -> None:
        found = judged(np.full((1, 1, 1, 4), -3.0), np.full((1, 1, 4), 2.0))
        assert found == {"crps": 2.5, "sum": 0.5, "coverage": 0.0}  # 12 B beside 8 B

    def test_the_sum_tells_whether_points_fit_together(self) -> None:
        """Two sets of draws, each point being 1 or 3; only in one they always add up to 4."""
        truth = np.array([[[1.0, 3.0]]])
        together, apart = (
            judged(np.tile(np.array(one).reshape(2, 1, 1, 2), (1000, 1, 1, 1)), truth)
            for one in ([[1.0, 3.0], [3.0, 1.0]], [[1.0, 1.0], [3.0, 3.0]])
        )
        assert together["crps"] == apart["crps"]
        assert together["sum"] == 0
        # Of x = 2 or 6, E|x - 4| - E|x - x'| / 2 is 2 - 2 / 2; of different draws 1/2000 less.
        assert apart["sum"] == pytest.approx((2 - 2 / 2) / 4, abs=0.001)

    def test_a_baseline_is_above_the_model_by_so_much(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.uniform(1, 2, size=(30, 1, 4))
        exact, off = truth[None], truth[None] + rng.uniform(0, 1, size=(1, 30, 1, 1))
        found = compared({"model": exact, "off": off}, truth)
        lost = scores(off, truth)
        assert found["model"]["above"] == 0
        assert found["off"]["above"] == pytest.approx(lost.mean())
        assert found["off"]["error"] == pytest.approx(lost.std() / np.sqrt(30))
        assert "0.000 (1.00)" in table("x", {"25%": found})


class TestWhatIsSeen:
    def test_sizes_have_the_sign_of_their_direction_and_0_behind_the_end(self) -> None:
        traces = Traces.from_lists(
            {"packet_length": [[60, 1500], [40]], "direction": [[1, -1], [-1]]}, ["a", "b"]
        )
        found = Seen.of(traces, 3)
        assert found.values.tolist() == [[[60, -1500, 0]], [[-40, 0, 0]]]
        assert found.lengths.tolist() == [2, 1]
        assert found.names.tolist() == ["a", "b"]


class TestBaselines:
    def test_the_last_value_is_repeated(self) -> None:
        held = seen(np.array([[1, 2, 3, 4]]), ["a"])
        assert BASELINES["last value"](held, held, 2).tolist() == [[[[2, 2]]]]

    def test_a_chain_follows_its_class_and_stays_at_the_end(self) -> None:
        """In `a` 1 follows 5 and -5 ends; in `b` all is 7, whatever comes before."""
        real = seen(
            np.array([[5, 1, -5, 0, 0], [1, -5, 0, 0, 0], [7, 7, 7, 7, 7]]), ["a", "a", "b"]
        )
        held = seen(np.array([[2, 5, 1, 1, 1], [7, 7, 7, 7, 7]]), ["a", "b"])
        found = BASELINES["Markov chain"](real, held, 2)
        assert (found[:, 0] == [1, -5, 0]).all()
        assert (found[:, 1] == 7).all()

    def test_a_chain_branches_as_often_as_training_traces_do(self) -> None:
        real = seen(np.array([[1, 2]] * 3 + [[1, 9]]), ["a"] * 4)
        held = seen(np.ones((500, 2)), ["a"] * 500)
        found = BASELINES["Markov chain"](real, held, 1)
        # 10,000 independent draws: a deviation of 0.0043.
        assert (found == 2).mean() == pytest.approx(0.75, abs=0.02)

    def test_neighbours_are_those_of_scikit_learn_in_the_class(self) -> None:
        rng = np.random.default_rng(0)
        names = ["a"] * 60 + ["b"] * 50
        real = seen(rng.integers(-1500, 1500, size=(110, 6)), names)
        held = seen(rng.integers(-1500, 1500, size=(20, 6)), ["a", "b"] * 10)
        found = neighbours(real, held, 3, "log")
        for name in "ab":
            rows = np.flatnonzero(real.names == name)
            logs = [
                (np.sign(v) * np.log1p(np.abs(v)))[:, 0, :3] for v in (real.values, held.values)
            ]
            search = NearestNeighbors(n_neighbors=40).fit(logs[0][rows])
            want = search.kneighbors(logs[1][held.names == name], return_distance=False)
            assert np.array_equal(found[:, held.names == name].T, rows[want])
        assert (neighbours(real, real, 3, "log") != np.arange(110)).all()

    def test_few_neighbours_are_repeated(self) -> None:
        real = seen(np.array([[10, 1], [20, 2], [90, 3]]), ["a", "a", "b"])
        held = seen(np.array([[19, 5], [80, 5]]), ["a", "b"])
        assert neighbours(real, held, 1, "as is")[:5].T.tolist() == [[1, 0, 1, 0, 1], [2] * 5]

    def test_two_neighbours_are_judged_as_two_and_not_as_what_they_were_drawn_from(self) -> None:
        """Of two equally likely values the CRPS is E|x - y| - |x1 - x2| / 4, not / 2."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2, 40_000, 1, 1)), 10 + rng.normal(size=(40_000, 1, 1))
        rows = np.stack([np.arange(40_000), np.arange(40_000)])
        both = np.arange(2)[:, None] * 40_000 + rows
        drawn = (10 + x).reshape(-1, 1, 1)[_any_of(both)]
        # All differences are N(0, 2): E|d| = 2 / sqrt(pi). Deviation of the mean: below 0.005.
        exact = (2 - 2 / 4) / np.sqrt(np.pi)
        assert (scores(drawn, y).mean() * y.mean()) == pytest.approx(exact, abs=0.03)

    def test_k_is_chosen_on_training_traces(self) -> None:
        """Where the known points determine the rest k is small, and draws are alike."""
        rng = np.random.default_rng(0)
        first = np.repeat(rng.uniform(1, 1e6, size=(40, 1)), 2, axis=0)
        real = seen(np.concatenate([first, first], 1), ["a"] * 80)
        alike = BASELINES["nearest"](real, real, 1)
        assert (alike == real.values[:, :, 1:]).all()
        noise = seen(np.concatenate([first, rng.uniform(1, 9, size=(80, 1))], 1), ["a"] * 80)
        assert len(np.unique(BASELINES["nearest"](noise, noise, 1)[:, 0])) > 5


@pytest.mark.parametrize("name", ["lab", "lab_packets"])
def test_tiny_bench_prints_its_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--steps", "2", "--traces", "12", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / f"{name}.md").read_text() in printed
    figures: Figures = json.loads((tmp_path / f"{name}.json").read_text())
    assert list(figures) == ["25%", "50%", "75%"]
    for one in figures.values():
        assert list(one) == ["model", *BASELINES]
        # After two steps a network knows nothing.
        assert one["model"]["crps"] > one["nearest"]["crps"]
