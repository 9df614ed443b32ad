"""Accounting against published figures, and against dp-accounting."""

from __future__ import annotations

from math import sqrt

import dp_accounting as dp
import pytest
from dp_accounting import rdp
from dp_accounting.pld import privacy_loss_distribution as pld

from netdiffus.errors import InputError
from netdiffus.privacy.accounting import (
    calibrate,
    check_budget,
    delta_of,
    epsilon_by_pld,
    epsilon_of,
    mu_of,
    noise_for,
)


def test_delta_is_that_of_the_analytic_gaussian_mechanism() -> None:
    # Of noise as wide as the sensitivity (mu 1), at epsilon 0: the total variation distance of
    # N(0, 1) and N(1, 1), 2 Phi(1/2) - 1.
    assert delta_of(0.0, 1.0) == pytest.approx(0.3829249225, rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0, 16.0])
def test_mu_and_epsilon_are_inverse(epsilon: float) -> None:
    assert epsilon_of(mu_of(epsilon, 1e-5), 1e-5) == pytest.approx(epsilon, rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.5, 4.0])
def test_dp_accounting_agrees_within_one_percent(epsilon: float) -> None:
    mu = mu_of(epsilon, 1e-5)
    alone = pld.from_gaussian_mechanism(1 / mu).get_epsilon_for_delta(1e-5)
    assert alone == pytest.approx(epsilon, rel=0.01)
    parts = [mu * sqrt(share) for share in (0.01, 0.29, 0.7)]
    assert epsilon_by_pld(parts, 1e-5) == pytest.approx(epsilon, rel=0.01)


def test_what_is_spent_keeps_epsilon_by_both() -> None:
    shares = (0.25, 0.75)
    mu = calibrate(2.0, 1e-6, shares)
    assert epsilon_of(mu, 1e-6) <= 2.0 * (1 + 1e-9)
    assert epsilon_by_pld([mu * sqrt(share) for share in shares], 1e-6) <= 2.0


@pytest.mark.parametrize(
    ("epsilon", "delta", "message"),
    [
        (0, 1e-5, "epsilon must lie above 0 and at most 100, got 0"),
        (-1, 1e-5, "epsilon must lie above 0"),
        (101, 1e-5, "epsilon must lie above 0 and at most 100, got 101"),
        (float("nan"), 1e-5, "epsilon must be a finite number"),
        ("four", 1e-5, "epsilon must be a number, got 'four'"),
        (1, 0, "delta must lie between 0 and 1, got 0"),
        (1, 1, "delta must lie between 0 and 1, got 1"),
        (1, 0.01, r"delta is 0\.01, but must be below 1/100 = 0\.01, as there are 100 traces"),
    ],
)
def test_a_budget_out_of_range_is_refused(epsilon: object, delta: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_budget(epsilon, delta, 100, "traces")


def test_noise_of_steps_that_take_every_trace_is_that_of_the_closed_form() -> None:
    # Each of k steps is 1 / noise Gaussian private, all together sqrt(k) / noise.
    whole, before = mu_of(4.0, 1e-5), 0.4
    noise = noise_for(4.0, 1e-5, before, 1.0, 9)
    assert noise == pytest.approx(3 / sqrt(whole**2 - before**2), rel=0.01)


def test_noise_falls_with_the_probability_of_a_trace() -> None:
    rare, usual = (noise_for(4.0, 1e-5, 0.4, share, 9) for share in (0.05, 0.2))
    assert rare < usual < noise_for(4.0, 1e-5, 0.4, 1.0, 9)


def test_noise_is_that_of_another_accountant() -> None:
    # Renyi accounting is looser than privacy loss distributions, by some percent (Mironov, 2017).
    noise = noise_for(2.0, 1e-5, 1e-3, 0.05, 200)
    event = dp.SelfComposedDpEvent(
        dp.PoissonSampledDpEvent(0.05, dp.GaussianDpEvent(noise)), count=200
    )
    found = rdp.RdpAccountant().compose(event).get_epsilon(1e-5)
    assert 2.0 <= found <= 2.0 * 1.2
