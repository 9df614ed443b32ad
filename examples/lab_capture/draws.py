"""The two distributions that sizes, times and rates are drawn from."""

from __future__ import annotations

import math
from random import Random


def lognormal(rng: Random, median: float, sigma: float) -> float:
    """Draw from the log-normal distribution with this median and log-scale deviation."""
    return rng.lognormvariate(math.log(median), sigma)


def log_uniform(rng: Random, low: float, high: float) -> float:
    """Draw between two positive bounds, every factor alike."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
