"""A lower bound on epsilon from one training, to which canaries were added by fair coins.

Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run", 2023.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binom

from netdiffus.errors import InputError
from netdiffus.traces.traces import Bools, Floats

CANARIES = 1000  # that a stated bound needs
CONFIDENCE = 0.95
DELTA = 1e-5
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)  # of the canaries that are guessed
MOST, HALVINGS = 100.0, 40  # of the search: the largest epsilon, and its steps


def epsilon_bound(scores: Floats, included: Bools, delta: float = DELTA) -> dict[str, Any]:
    """A lower bound on the epsilon of a training, by how well the added canaries are guessed.

    The canaries with the highest scores are guessed to be added, as many with the lowest to be left
    out; the rest is not guessed. Several shares of canaries are tried, and the best bound counts;
    the chance of error is divided among them, so the confidence holds for all together.

    Args:
        scores: (m,); a higher one says that a canary was learned from.
        included: (m,), whether it was added, by a fair coin.
        delta: Of the guarantee that is tested.

    Returns:
        `epsilon` with `delta` and `confidence`; the numbers of `canaries`, of `guesses` and of
        `right` guesses; `most`, the bound if all guesses were right. With fewer than 1,000 canaries
        `epsilon` is None, and there is a `reason`.
    """
    if len(scores) != len(included):
        raise InputError(f"{len(scores)} scores and {len(included)} canaries: one each is needed")
    m, error = len(scores), (1 - CONFIDENCE) / len(SHARES)
    found: dict[str, Any] = {"delta": delta, "confidence": CONFIDENCE, "canaries": m}
    if m < CANARIES:
        reason = f"not stated: a bound needs at least {CANARIES:,} canaries, there are {m:,}"
        return {**found, "epsilon": None, "reason": reason}
    guesses = [max(int(part * m) // 2, 1) for part in SHARES]
    right = [_right(scores, included, half) for half in guesses]
    bounds = [bound(m, 2 * k, v, delta, error) for k, v in zip(guesses, right, strict=True)]
    best = int(np.argmax(bounds))
    most = bound(m, 2 * guesses[0], 2 * guesses[0], delta, error)
    told = {"guesses": 2 * guesses[best], "right": right[best], "most": most}
    return {**found, "epsilon": bounds[best], **told}


def bound(canaries: int, guesses: int, right: int, delta: float, error: float) -> float:
    """The smallest epsilon under which so many right guesses have a probability above `error`."""
    if chance(canaries, guesses, right, 0.0, delta) >= error:
        return 0.0
    low, high = 0.0, MOST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_likely = chance(canaries, guesses, right, middle, delta) >= error
        low, high = (low, middle) if is_likely else (middle, high)
    return low


def chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Upper limit of the probability of so many right guesses under (epsilon, delta), theorem 5.2.

    ``P[B >= v] + 2 m delta max_i P[v > B >= v - i] / i``, B the number of right ones of r
    guesses, each right with probability ``e^eps / (1 + e^eps)``.
    """
    q = 1 / (1 + np.exp(-epsilon))
    at_least = float(binom.sf(right - 1, guesses, q))
    if right == 0 or delta == 0:
        return min(at_least, 1.0)
    i = np.arange(1, right + 1)
    worst = float((np.cumsum(binom.pmf(right - i, guesses, q)) / i).max())
    return min(at_least + 2 * canaries * delta * worst, 1.0)


def _right(scores: Floats, included: Bools, half: int) -> int:
    """How many of the `half` highest were added, and of the `half` lowest left out."""
    order = np.argsort(scores, kind="stable")
    return int(included[order[-half:]].sum() + (~included[order[:half]]).sum())
