"""Figures of an attack, against scikit-learn and closed forms; a bound of epsilon, likewise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from netdiffus.attacks.one_run import bound, chance, epsilon_bound
from netdiffus.attacks.rates import share, told_apart, tpr_at
from netdiffus.errors import InputError


def test_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 500).round(1), rng.normal(0, 1, 1000).round(1)  # with ties
    found = told_apart(members, others)
    truth, score = np.repeat([1, 0], [500, 1000]), np.concatenate([members, others])
    assert found["auc"]["mean"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    false, right, _ = roc_curve(truth, score, drop_intermediate=False)
    for name, rate in found["tpr"].items():
        assert rate["mean"] == right[false <= float(name)].max()
    curve = np.stack([false, right], 1)
    for pair in found["roc"]:
        assert np.abs(curve - pair).max(axis=1).min() < 1e-12
    assert (found["members"], found["others"]) == (500, 1000)


def test_a_rate_that_so_few_cannot_show_is_refused() -> None:
    few = told_apart(np.arange(200.0), np.arange(200.0))
    assert few["tpr"]["0.01"]["mean"] is not None
    assert few["tpr"]["0.001"]["mean"] is None
    assert "needs at least 1,000 non-members, there are 200" in few["tpr"]["0.001"]["reason"]
    with pytest.raises(InputError, match="19 others are too few"):
        told_apart(np.arange(50.0), np.arange(19.0))


def test_intervals_by_closed_forms() -> None:
    """All of n: Clopper and Pearson's lower end is (0.025)**(1/n); of none 1 minus that."""
    assert share(30, 30)["low"] == pytest.approx(0.025 ** (1 / 30))
    assert share(0, 30)["high"] == pytest.approx(1 - 0.025 ** (1 / 30))
    found = tpr_at(np.ones(30), np.zeros(1000), 0.001)
    assert found["fpr_high"] == pytest.approx(1 - 0.025 ** (1 / 1000))


def test_interval_of_the_area_covers_it() -> None:
    """Of normal scores d apart the area is Phi(d / sqrt 2). Of 200 draws 95 % are 190 ± 3.1."""
    rng = np.random.default_rng(1)
    for d in (0.0, 0.5, 2.0):
        truth, inside = ndtr(d / np.sqrt(2)), 0
        for _ in range(200):
            auc = told_apart(rng.normal(d, 1, 80), rng.normal(0, 1, 60))["auc"]
            inside += auc["low"] <= truth <= auc["high"]
        assert inside >= 190 - 3 * 3.1


def test_a_perfect_attack_has_an_interval() -> None:
    auc = told_apart(np.ones(40), np.zeros(40))["auc"]
    assert auc["mean"] == 1
    assert 0.9 < auc["low"] < 0.97


class TestEpsilon:
    def test_without_delta_it_is_clopper_and_pearsons(self) -> None:
        """All of r right: q**r = error, epsilon = log(q / (1 - q)); 3.49 of 100 (their figure)."""
        q = 0.05 ** (1 / 100)
        assert bound(100, 100, 100, 0.0, 0.05) == pytest.approx(np.log(q / (1 - q)), abs=1e-9)
        assert bound(100, 100, 100, 0.0, 0.05) == pytest.approx(3.49, abs=0.005)
        assert bound(1000, 100, 50, 0.0, 0.05) == 0

    def test_chance_by_hand(self) -> None:
        """r = 2, v = 2, eps = 0, q = 1/2: P[B >= 2] = 1/4; worst of pmf(1)/1 and (1/2 + 1/4)/2."""
        assert chance(10, 2, 2, 0.0, 0.001) == pytest.approx(0.25 + 2 * 10 * 0.001 * 0.5)

    def test_delta_weakens_it(self) -> None:
        given = [bound(1000, 200, 190, delta, 0.05) for delta in (0.0, 1e-5, 1e-4, 1e-2)]
        assert given == sorted(given, reverse=True)
        assert given[0] > given[-1]

    @pytest.mark.parametrize("epsilon", [0.5, 3.0])
    def test_it_holds_for_randomised_response(self, epsilon: float) -> None:
        """Each coin told right with chance e^eps / (1 + e^eps): exactly (eps, 0)."""
        rng, above, found = np.random.default_rng(2), 0, []
        right = np.exp(epsilon) / (1 + np.exp(epsilon))
        for _ in range(25):
            included = rng.random(1000) < 0.5
            told = np.where(rng.random(1000) < right, included, ~included)
            one = epsilon_bound(told + rng.uniform(0, 0.5, 1000), included)
            found.append(one["epsilon"])
            above += one["epsilon"] > epsilon
        assert above <= 4  # 1.25 at most on average; more once in 100
        assert np.mean(found) > 0.6 * epsilon

    def test_it_is_near_the_truth_for_gaussian_noise(self) -> None:
        """mu = 2 and delta 1e-5 are epsilon 9.9 (closed form): a bound below, but well above 0."""
        rng = np.random.default_rng(3)
        included = rng.random(4000) < 0.5
        found = epsilon_bound(rng.normal(2.0 * included, 1), included)
        mu, grid = 2.0, np.linspace(0, 20, 20001)
        delta = norm.cdf(mu / 2 - grid / mu) - np.exp(grid) * norm.cdf(-mu / 2 - grid / mu)
        truth = grid[np.argmax(delta < 1e-5)]
        assert 2 < found["epsilon"] < truth

    def test_guesses_by_chance_bound_nothing(self) -> None:
        rng = np.random.default_rng(4)
        bounds = [
            epsilon_bound(rng.random(1000), rng.random(1000) < 0.5)["epsilon"] for _ in range(20)
        ]
        assert sum(b > 0 for b in bounds) <= 4
        assert max(bounds) < 0.5

    def test_too_few_canaries(self) -> None:
        found = epsilon_bound(np.arange(999.0), np.arange(999) % 2 == 0)
        assert found["epsilon"] is None
        assert "1,000 canaries" in found["reason"]
        with pytest.raises(InputError, match="one each"):
            epsilon_bound(np.arange(3.0), np.arange(2) > 0)
