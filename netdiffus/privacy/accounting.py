"""How much privacy Gaussian noise costs: closed form, and privacy loss distributions beside it.

A release of L2 sensitivity Delta with noise of standard deviation sigma is mu-Gaussian private with
mu = Delta / sigma; several releases, each of which may depend on the answers before, have together
mu = sqrt(sum of mu_i²) (Dong, Roth, Su 2019, https://arxiv.org/abs/1905.02383).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, sqrt

from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import norm

from netdiffus.errors import InputError

MOST_EPSILON = 100.0  # far beyond, no guarantee is left
TOLERANCE = 0.01  # between closed form and privacy loss distributions
LEAST_MU, MOST_MU = 1e-6, 1e3
LEAST_NOISE, MOST_NOISE = 0.2, 1e4  # of DP-SGD; with less, noise is no guarantee


def delta_of(epsilon: float, mu: float) -> float:
    """The least delta of a mu-Gaussian private release at epsilon.

    delta = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)
    (Balle, Wang 2018, https://arxiv.org/abs/1805.06530).
    """
    second = exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)))
    return float(norm.cdf(mu / 2 - epsilon / mu)) - second


def epsilon_of(mu: float, delta: float) -> float:
    """The least epsilon of a mu-Gaussian private release at delta."""
    if delta_of(0.0, mu) <= delta:
        return 0.0
    most = mu * mu / 2 + mu * float(norm.isf(delta)) + 1
    return float(brentq(lambda epsilon: delta_of(epsilon, mu) - delta, 0.0, most, xtol=1e-12))


def mu_of(epsilon: float, delta: float) -> float:
    """The largest mu that keeps (epsilon, delta)."""
    return float(brentq(lambda mu: delta_of(epsilon, mu) - delta, LEAST_MU, MOST_MU, xtol=1e-12))


def epsilon_by_pld(mus: Sequence[float], delta: float) -> float:
    """Epsilon of releases together, by composed privacy loss distributions of dp-accounting.

    It is an upper bound: the distributions are made pessimistic where they are made discrete.
    """
    from dp_accounting.pld import privacy_loss_distribution as pld

    step = max(1e-4, epsilon_of(sqrt(sum(mu * mu for mu in mus)), delta) / 2000)
    parts = [pld.from_gaussian_mechanism(1 / mu, value_discretization_interval=step) for mu in mus]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.compose(part)
    return float(whole.get_epsilon_for_delta(delta))


def calibrate(epsilon: float, delta: float, shares: Sequence[float]) -> float:
    """The mu to spend so that both ways of accounting keep (epsilon, delta).

    `shares` are those of mu² for each release, with a sum of 1.

    Raises:
        RuntimeError: The two ways differ by more than 1 %.
    """
    mu = mu_of(epsilon, delta)
    for _ in range(8):
        found = epsilon_by_pld([mu * sqrt(share) for share in shares], delta)
        exact = epsilon_of(mu, delta)
        if abs(found - exact) > TOLERANCE * exact:
            raise RuntimeError(
                f"accounting: closed form gives epsilon {exact:.5g}, dp-accounting {found:.5g}; "
                "they must agree within 1 %"
            )
        if found <= epsilon:
            return mu
        mu *= (epsilon / found) * (1 - 1e-4)
    return mu


def noise_for(epsilon: float, delta: float, mu: float, share: float, steps: int) -> float:
    """The noise of DP-SGD after a mu-Gaussian private release, both together (epsilon, delta).

    Args:
        epsilon: Of both.
        delta: Of both.
        mu: Of the release.
        share: Probability with which a step draws a unit of privacy.
        steps: How many.

    Returns:
        Standard deviation over the norm of what a unit adds at most, by composed privacy loss
        distributions; at most 0.1 % more than needed, and 0.2 at least.
    """
    from dp_accounting.pld import privacy_loss_distribution as pld

    step = max(1e-4, epsilon / 2000)
    before = pld.from_gaussian_mechanism(1 / mu, value_discretization_interval=step)

    def excess(noise: float) -> float:
        one = pld.from_gaussian_mechanism(
            noise, sampling_prob=share, value_discretization_interval=step
        )
        both = before.compose(one.self_compose(steps))
        return float(both.get_epsilon_for_delta(delta)) - epsilon

    if excess(LEAST_NOISE) <= 0:
        return LEAST_NOISE
    return float(brentq(excess, LEAST_NOISE, MOST_NOISE, rtol=5e-4)) * 1.0005


def check_budget(epsilon: object, delta: object, n: int, what: str) -> tuple[float, float]:
    """Epsilon and delta as plain numbers, for data of n units, which are called `what`.

    Raises:
        InputError: Epsilon is not in (0, 100], or delta not in (0, 1/n).
    """
    epsilon, delta = _number("epsilon", epsilon), _number("delta", delta)
    if not 0 < epsilon <= MOST_EPSILON:
        raise InputError(
            f"epsilon must lie above 0 and at most {MOST_EPSILON:g}, got {epsilon:g}; 1 is strong, "
            "8 is weak"
        )
    if not 0 < delta < 1:
        raise InputError(f"delta must lie between 0 and 1, got {delta:g}; 1e-5 is usual")
    if delta >= 1 / n:
        raise InputError(
            f"delta is {delta:g}, but must be below 1/{n:,} = {1 / n:.3g}, as there are {n:,} "
            f"{what}: otherwise one whole trace could be released; lower delta"
        )
    return epsilon, delta


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, got {value!r}") from None
    if not isfinite(number):
        raise InputError(f"{name} must be a finite number, got {number}")
    return number
