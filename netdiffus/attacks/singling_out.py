"""Singling out: do synthetic traces show properties that exactly one training trace has?

After Anonymeter (Giomi et al., 2023): a guess is the class of a synthetic trace and its values at a
few places. It succeeds if exactly one real trace has them. Guesses succeed on held-out traces, too:
that share is chance, and no risk for the training traces.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from netdiffus.attacks.rates import share
from netdiffus.attacks.sample_attacks import cells
from netdiffus.traces.traces import Ints, Traces

GUESSES = 2000
PLACES = (1, 2, 4)  # cells in a guess


def singled_out(train: Traces, holdout: Traces, made: Traces, seed: int = 0) -> dict[str, Any]:
    """The share of guesses, made from the synthetic traces, that single out a trace.

    As many traces of `holdout`, each class with the same share, are looked at as of `train`.

    Returns:
        `places`: for each number of cells in a guess the share of guesses that single out a trace
        of `train` and of `holdout`, and `risk`, ``(train - holdout) / (1 - holdout)``. `alone`: the
        share of training traces with a cell that no other training trace has.
    """
    rng = np.random.default_rng(seed)
    n = min(len(train), len(holdout))
    rows = [np.sort(rng.permutation(len(t))[:n]) for t in (train, holdout)]
    ours, theirs, of_made = cells((train, holdout, made))
    sides = ours[rows[0]], theirs[rows[1]]
    found = {str(k): _attack(*sides, of_made, k, rng) for k in PLACES}
    return {"places": found, "alone": _alone(ours), "traces": n}


def _attack(ours: Ints, theirs: Ints, made: Ints, places: int, rng: Any) -> dict[str, Any]:
    guesses = {_guess(row, places, rng) for row in made[rng.integers(len(made), size=GUESSES)]}
    rates = {}
    for name, side in (("train", ours), ("holdout", theirs)):
        having = _having(side)
        rates[name] = share(sum(_isolates(having, guess) for guess in guesses), len(guesses))
    train, holdout = (rates[name]["mean"] for name in ("train", "holdout"))
    return {**rates, "risk": (train - holdout) / (1 - holdout) if holdout < 1 else 0.0}


def _guess(row: Ints, places: int, rng: Any) -> tuple[int, ...]:
    """Some cells of a synthetic trace, in the order of their numbers."""
    return tuple(sorted(rng.permutation(row[row >= 0])[:places].tolist()))


def _having(side: Ints) -> dict[int, set[int]]:
    """For each cell the rows that have it."""
    found: dict[int, set[int]] = defaultdict(set)
    for row, numbers in enumerate(side):
        for number in numbers[numbers >= 0].tolist():
            found[number].add(row)
    return found


def _isolates(having: dict[int, set[int]], guess: tuple[int, ...]) -> bool:
    """Whether exactly one trace has all cells of a guess."""
    return len(set.intersection(*(having.get(cell, set()) for cell in guess))) == 1


def _alone(side: Ints) -> dict[str, Any]:
    inside = side >= 0
    count = np.bincount(side[inside])
    has = (count[np.where(inside, side, 0)] == 1) & inside
    return share(int(has.any(axis=1).sum()), len(side))
