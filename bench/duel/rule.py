"""How the duel is decided. The rule was written before there were results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from bench.duel.summary import COPYING, Summary, over_sets
from netdiffus.traces.traces import Floats

AUTOREGRESSIVE = "causal"
RULE = f"""This rule decides which preset becomes the default. It was set before the results.
It looks at the longest training. The standard error is that over seeds.

1. A preset is admitted if its traces are not copies: each of exact copies, near copies and
   closeness is above its floor by no more than the standard error, on average over the sets. The
   floor is the same figure of held-out traces, or of one half of the training traces beside the
   other half, whichever is higher.
2. On each set the admitted presets are ranked by accuracy and by two-sample AUC. The best preset
   has the least mean rank.
3. If that is the autoregressive network ({AUTOREGRESSIVE}), a diffusion network that is admitted
   still wins if it is within the error: on average over the sets, both accuracy and AUC are worse
   by no more than the standard error of the difference. Of several, the one with the least mean
   rank wins.
"""


@dataclass(frozen=True)
class Candidate:
    """What the rule looks at.

    Attributes:
        preset: Its name.
        above: For each kind of copying how far above the floor, and the standard error.
        rank: Mean rank among the admitted; NaN if it is not.
    """

    preset: str
    above: dict[str, tuple[float, float]]
    rank: float = math.nan

    @property
    def is_admitted(self) -> bool | None:
        """Whether its traces are no more copies than real ones are; None without an error."""
        if any(math.isnan(error) for _, error in self.above.values()):
            return None
        return all(excess <= error for excess, error in self.above.values())


@dataclass(frozen=True)
class Decision:
    """The outcome.

    Attributes:
        candidates: All presets, the best first.
        winner: None if the rule names none.
        reason: One sentence.
    """

    candidates: list[Candidate]
    winner: str | None
    reason: str


def decide(found: Summary, sets: Sequence[str], presets: Sequence[str], minutes: float) -> Decision:
    """Applies the rule.

    Args:
        found: All figures.
        sets: Sets that count.
        presets: Those that compete.
        minutes: The budget that counts.
    """
    candidates = [Candidate(preset, _above(found, sets, preset, minutes)) for preset in presets]
    if any(one.is_admitted is None for one in candidates):
        return Decision(candidates, None, "No decision: one seed has no standard error.")
    admitted = [one.preset for one in candidates if one.is_admitted]
    if not admitted:
        return Decision(candidates, None, "No decision: every preset copies more than its floor.")
    ranks = mean_ranks(found, sets, admitted, minutes)
    candidates = [replace(one, rank=ranks.get(one.preset, math.nan)) for one in candidates]
    candidates.sort(key=lambda one: (math.isnan(one.rank), one.rank))
    best, *others = (one.preset for one in candidates if one.is_admitted)
    if best == AUTOREGRESSIVE:
        for other in others:
            if _is_within_error(found, sets, best, other, minutes):
                reason = f"{other} wins: it is within the standard error of {best}."
                return Decision(candidates, other, reason)
    return Decision(candidates, best, f"{best} wins: it has the least mean rank.")


def mean_ranks(
    found: Summary, sets: Sequence[str], presets: Sequence[str], minutes: float
) -> dict[str, float]:
    """Of each preset the mean of its ranks by accuracy and by AUC over the sets; 1 is best."""
    ranks = []
    for name in sets:
        for figure, sign in (("accuracy", -1), ("auc", 1)):
            means = [sign * found.mean((name, preset, minutes), figure) for preset in presets]
            ranks.append(rankdata(means))
    return dict(zip(presets, np.mean(ranks, axis=0).tolist(), strict=True))


def _above(
    found: Summary, sets: Sequence[str], preset: str, minutes: float
) -> dict[str, tuple[float, float]]:
    return {
        kind: over_sets([found.above_floor((name, preset, minutes), kind) for name in sets])
        for kind in COPYING
    }


def _is_within_error(
    found: Summary, sets: Sequence[str], best: str, other: str, minutes: float
) -> bool:
    """Whether the other is worse by no more than the error; both see the same splits."""

    def behind(name: str, figure: str, sign: int) -> Floats:
        ours, theirs = (found.values((name, preset, minutes), figure) for preset in (best, other))
        return sign * (ours - theirs)

    differences = (
        over_sets([behind(name, figure, sign) for name in sets])
        for figure, sign in (("accuracy", 1), ("auc", -1))
    )
    return all(mean <= error for mean, error in differences)
