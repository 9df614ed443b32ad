from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

from bench.completion import (
    CONTINUING,
    FILLING,
    Figures,
    Rest,
    Seen,
    _any_of,
    at_first,
    compared,
    in_part,
    judged,
    main,
    neighbours,
    scores,
    table,
)
from netdiffus.traces.traces import Floats, Traces


def all_of(truth: Floats) -> Seen:
    """(N, C, T) of which nothing is known."""
    n, _, t = truth.shape
    return Seen(truth, np.array(["a"] * n), np.zeros((n, t), dtype=bool), np.ones(n, dtype=bool))


def begun(values: Floats, names: list[str], count: int) -> Seen:
    """Traces (N, T) of one channel, which end where zeros begin; so many points are known."""
    known = np.broadcast_to(np.arange(values.shape[1]) < count, values.shape)
    fits = (values != 0).sum(1) >= count
    return Seen(values[:, None].astype(float), np.array(names), known, fits)


class TestFigures:
    def test_the_crps_is_that_of_a_normal_forecast(self) -> None:
        """Gneiting, Raftery, 2007: of N(0, 1) at y it is y (2 P(y) - 1) + 2 p(y) - 1 / sqrt(pi)."""
        drawn = np.random.default_rng(0).normal(size=(4_000, 1, 1, 50))
        truth = np.linspace(0.5, 3, 50).reshape(1, 1, 50)
        exact = truth * (2 * norm.cdf(truth) - 1) + 2 * norm.pdf(truth) - 1 / np.sqrt(np.pi)
        # The deviation of a mean of 4,000 draws is 0.016 of each point's own.
        assert judged(drawn, all_of(truth))["crps"] == pytest.approx(
            exact.mean() / truth.mean(), abs=0.005
        )

    def test_coverage_is_80_percent_where_points_are_drawn_as_the_draws_are(self) -> None:
        rng = np.random.default_rng(0)
        drawn, truth = rng.normal(size=(20, 50, 2, 200)), rng.normal(size=(50, 2, 200))
        # 20,000 points, those of one draw being independent: a deviation of 0.003.
        assert judged(drawn, all_of(truth))["coverage"] == pytest.approx(0.8, abs=0.01)

    def test_one_draw_is_judged_by_its_distance(self) -> None:
        found = judged(np.full((1, 1, 1, 4), -3.0), all_of(np.full((1, 1, 4), 2.0)))
        assert found == {"crps": 2.5, "sum": 0.5, "coverage": 0.0}  # 12 B beside 8 B

    def test_the_sum_tells_whether_points_fit_together(self) -> None:
        """Two sets of draws, each point being 1 or 3; only in one they always add up to 4."""
        truth = np.array([[[1.0, 3.0]]])
        together, apart = (
            judged(np.tile(np.array(one).reshape(2, 1, 1, 2), (1000, 1, 1, 1)), all_of(truth))
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
        found = compared({"model": exact, "off": off}, all_of(truth))
        lost = scores(off, all_of(truth))
        assert found["model"]["above"] == 0
        assert found["off"]["above"] == pytest.approx(lost.mean())
        assert found["off"]["error"] == pytest.approx(lost.std() / np.sqrt(30))
        assert "0.000 (1.00)" in table("x", {"25%": found})

    def test_known_points_are_not_judged(self) -> None:
        truth = np.array([[[5.0, 2.0, 2.0, 7.0]]])
        known = np.array([[True, False, False, True]])
        drawn = np.array([[[[99.0, 3.0, 2.0, 99.0]]]])
        found = judged(drawn, Seen(truth, np.array(["a"]), known, np.array([True])))
        assert found == {"crps": 0.25, "sum": 0.25, "coverage": 0.5}


class TestWhatIsKnown:
    traces = Traces.from_lists(
        {"packet_length": [[60, 1500, 80], [40]], "direction": [[1, -1, 1], [-1]]}, ["a", "b"]
    )

    def test_sizes_have_the_sign_of_their_direction_and_0_behind_the_end(self) -> None:
        found = at_first(self.traces, 4, 0.5, seed=0)
        assert found.values.tolist() == [[[60, -1500, 80, 0]], [[-40, 0, 0, 0]]]
        assert found.names.tolist() == ["a", "b"]
        assert found.known.tolist() == [[True, True, False, False]] * 2
        assert found.fits.tolist() == [True, False]
        assert found.truth[0].tolist() == [[0, 0, 80, 0]]

    def test_random_points_are_known_and_the_end(self) -> None:
        lengths = np.random.default_rng(0).integers(1, 60, size=400)
        traces = Traces.from_lists({"value": [np.ones(n) for n in lengths]}, ["a"] * 400)
        found = in_part(traces, 64, 0.25, seed=0)
        inside = np.arange(64) < lengths[:, None]
        assert found.known[~inside].all()
        assert (found.known & inside).any(1).all()
        assert not found.fits[lengths == 1].any()
        # Some 10,000 points: a deviation of 0.004.
        long = inside & (lengths >= 30)[:, None]
        assert found.known[long].mean() == pytest.approx(0.25, abs=0.02)
        assert not np.array_equal(found.known, in_part(traces, 64, 0.25, seed=1).known)


class TestBaselines:
    def test_the_last_value_is_repeated(self) -> None:
        held = begun(np.array([[1, 2, 3, 4]]), ["a"], 2)
        assert CONTINUING["last value"](held, held)[..., 2:].tolist() == [[[[2, 2]]]]

    def test_lines_are_drawn_between_known_points(self) -> None:
        known = np.array([[False, True, False, False, True, False]])
        values = np.array([[[9.0, 1, 9, 9, 7, 9], [9, -2, 9, 9, 4, 9]]])
        held = Seen(values, np.array(["a"]), known, np.array([True]))
        found = FILLING["interpolation"](held, held)
        assert found.tolist() == [[[[1, 1, 3, 5, 7, 7], [-2, -2, 0, 2, 4, 4]]]]

    def test_a_chain_follows_its_class_and_stays_at_the_end(self) -> None:
        """In `a` 1 follows 5 and -5 ends; in `b` all is 7, whatever comes before."""
        values = np.array([[5, 1, -5, 0, 0], [1, -5, 0, 0, 0], [7, 7, 7, 7, 7]])
        real = begun(values, ["a", "a", "b"], 2)
        held = begun(np.array([[2, 5, 1, 1, 1], [7, 7, 7, 7, 7]]), ["a", "b"], 2)
        found = CONTINUING["Markov chain"](real, held)[..., 2:]
        assert (found[:, 0] == [1, -5, 0]).all()
        assert (found[:, 1] == 7).all()

    def test_a_chain_branches_as_often_as_training_traces_do(self) -> None:
        real = begun(np.array([[1, 2]] * 3 + [[1, 9]]), ["a"] * 4, 1)
        held = begun(np.ones((500, 2)), ["a"] * 500, 1)
        found = CONTINUING["Markov chain"](real, held)[..., 1]
        # 10,000 independent draws: a deviation of 0.0043.
        assert (found == 2).mean() == pytest.approx(0.75, abs=0.02)

    def test_neighbours_are_those_of_scikit_learn_in_the_class(self) -> None:
        rng = np.random.default_rng(0)
        names = ["a"] * 60 + ["b"] * 50
        real = begun(rng.integers(-1500, 1500, size=(110, 6)), names, 3)
        held = begun(rng.integers(-1500, 1500, size=(20, 6)), ["a", "b"] * 10, 3)
        found = neighbours(real, held, "log")
        for name in "ab":
            rows = np.flatnonzero(real.names == name)
            logs = [
                (np.sign(v) * np.log1p(np.abs(v)))[:, 0, :3] for v in (real.values, held.values)
            ]
            search = NearestNeighbors(n_neighbors=40).fit(logs[0][rows])
            want = search.kneighbors(logs[1][held.names == name], return_distance=False)
            assert np.array_equal(found[:, held.names == name].T, rows[want])
        assert (neighbours(real, real, "log") != np.arange(110)).all()

    def test_neighbours_are_near_where_points_are_known(self) -> None:
        """What is known differs from trace to trace."""
        real = begun(np.array([[1, 9], [9, 2]]), ["a"] * 2, 1)
        known = np.array([[True, False], [False, True]])
        held = Seen(np.full((2, 1, 2), 1.0), np.array(["a"] * 2), known, np.array([True] * 2))
        assert neighbours(real, held, "as is")[0].tolist() == [0, 1]

    def test_few_neighbours_are_repeated(self) -> None:
        real = begun(np.array([[10, 1], [20, 2], [90, 3]]), ["a", "a", "b"], 1)
        held = begun(np.array([[19, 5], [80, 5]]), ["a", "b"], 1)
        assert neighbours(real, held, "as is")[:5].T.tolist() == [[1, 0, 1, 0, 1], [2] * 5]

    def test_two_neighbours_are_judged_as_two_and_not_as_what_they_were_drawn_from(self) -> None:
        """Of two equally likely values the CRPS is E|x - y| - |x1 - x2| / 4, not / 2."""
        n, rng = 40_000, np.random.default_rng(0)
        values, truth = 10 + rng.normal(size=2 * n), 10 + rng.normal(size=(n, 1, 1))
        drawn = values[_any_of(np.arange(2 * n).reshape(2, n))][:, :, None, None]
        # All differences are N(0, 2): E|d| = 2 / sqrt(pi). Deviation of the mean: below 0.005.
        exact = (1 - 1 / 4) * 2 / np.sqrt(np.pi)
        found = scores(drawn, all_of(truth)).mean() * truth.mean()
        assert found == pytest.approx(exact, abs=0.03)

    def test_k_is_chosen_on_training_traces(self) -> None:
        """Where the known points determine the rest k is small, and draws are alike."""
        rng = np.random.default_rng(0)
        first = np.repeat(rng.uniform(1, 1e6, size=(40, 1)), 2, axis=0)
        real = begun(np.concatenate([first, first], 1), ["a"] * 80, 1)
        assert (CONTINUING["nearest"](real, real)[..., 1] == real.values[..., 1]).all()
        noise = begun(np.concatenate([first, rng.uniform(1, 9, size=(80, 1))], 1), ["a"] * 80, 1)
        assert len(np.unique(CONTINUING["nearest"](noise, noise)[:, 0, 0, 1])) > 5


@pytest.mark.parametrize(
    ("name", "preset", "baselines"),
    [
        ("lab", "causal", CONTINUING),
        ("lab_packets", "causal", CONTINUING),
        ("lab_packets", "masked", FILLING),
    ],
)
def test_tiny_bench_prints_its_table(
    name: str,
    preset: str,
    baselines: dict[str, Rest],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.completion.DRAWS", 10)
    small = ["--steps", "2", "--traces", "12"]
    assert main([name, "--preset", preset, *small, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / f"{name}-{preset}.md").read_text() in printed
    figures: Figures = json.loads((tmp_path / f"{name}-{preset}.json").read_text())
    assert list(figures) == ["25%", "50%", "75%"]
    for one in figures.values():
        assert list(one) == ["model", *baselines]
        # After two steps a network knows nothing.
        assert one["model"]["crps"] > one["nearest"]["crps"]
