"""Canaries: unusual traces that are added to a training, to see what of them was memorised.

A fair coin decides for each canary whether it is added. Added and left-out canaries have the same
distribution, so any difference between them comes from the training. It gives exposure (Carlini et
al., 2019) and a lower bound on epsilon from this one training (Steinke et al., 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netdiffus.attacks.extraction import Value, of_points
from netdiffus.attacks.one_run import DELTA, epsilon_bound
from netdiffus.attacks.rates import FEWEST, share, told_apart
from netdiffus.attacks.sides import keys
from netdiffus.channels import Channel
from netdiffus.errors import InputError, whole
from netdiffus.traces.traces import Bools, Floats, Traces, concat

FEWEST_CANARIES = 2 * FEWEST + 20  # either kind is then too few once in a million times
LEAST_GAP = 1e-6  # seconds


@dataclass(frozen=True)
class Learned:
    """The result of an audited training.

    Attributes:
        score: A function of traces to (n,) scores; a higher one says that a trace was learned from.
        made: Synthetic traces of the generator.
    """

    score: Callable[[Traces], Floats]
    made: Traces


def canary_audit(
    traces: Traces,
    learn: Callable[[Traces], Learned],
    canaries: int,
    *,
    delta: float = DELTA,
    seed: int = 0,
) -> dict[str, Any]:
    """Trains with canaries and looks for them.

    Args:
        traces: What is learned from, with the canaries.
        learn: The whole training, with all that protects privacy. It is called once, with `traces`
            and the added canaries.
        canaries: How many are made; about half of them are added. A bound on epsilon needs at least
            1,000.
        delta: Of the guarantee that is tested.
        seed: Of the canaries and the coins.

    Returns:
        `attack`, see `told_apart`; `exposure` in bits, see `exposure`; `regenerated`, the share of
        added canaries that are among the synthetic traces, with every point; `values`, the share of
        numbers of canaries alone that synthetic traces have: of added (`included`) and, as chance,
        of `left_out` canaries; `epsilon`, see `epsilon_bound`.

    Raises:
        InputError: Fewer than 60 canaries.
    """
    count = whole("canaries", canaries)
    if count < FEWEST_CANARIES:
        raise InputError(f"canaries: {FEWEST_CANARIES} at least are needed, got {count}")
    planted, inside = make_canaries(traces, count, seed), coins(count, seed)
    learned = learn(concat([traces, planted[inside]]))
    scores = learned.score(planted)
    found, left, made = scores[inside], scores[~inside], set(keys(learned.made))
    return {
        "canaries": count,
        "included": int(inside.sum()),
        "attack": told_apart(found, left),
        "exposure": exposure(found, left),
        "regenerated": share(sum(key in made for key in keys(planted[inside])), int(inside.sum())),
        "values": _values(traces, planted, inside, learned.made),
        "epsilon": epsilon_bound(scores, inside, delta),
    }


def make_canaries(traces: Traces, count: int, seed: int = 0) -> Traces:
    """Unusual traces: the class and each point are drawn by themselves, from uniform distributions.

    Lengths and meta-data are those of real traces. Sizes, volumes and numbers are uniform between
    the smallest and the largest real one, and whole if those are; gaps are log-uniform.
    """
    rng = np.random.default_rng((seed, 0))
    base = traces[rng.integers(len(traces), size=count)]
    values = np.zeros_like(base.values)
    for c, channel in enumerate(traces.channels):
        values[:, c] = _drawn(traces.points(c), channel, base.values[:, c].shape, rng)
    present = np.unique(traces.labels)
    labels = rng.choice(present, count)
    return replace(base, values=np.where(base.mask[:, None], values, 0.0), labels=labels)


def coins(count: int, seed: int = 0) -> Bools:
    """(count,): which canaries are added."""
    return np.random.default_rng((seed, 1)).random(count) < 0.5


def exposure(included: Floats, left_out: Floats) -> dict[str, Any]:
    """How early an added canary ranks among the R that were left out, in bits.

    ``log2(R + 1) - log2(rank)``; of equal scores the worst rank counts. `mean`, `chance` (the mean
    of random ranks), `most` (of rank 1), and `at_most`, the share of canaries with rank 1.
    """
    ordered = np.sort(left_out)
    rank = 1 + len(ordered) - np.searchsorted(ordered, included, side="left")
    bits, most = np.log2(len(ordered) + 1) - np.log2(rank), float(np.log2(len(ordered) + 1))
    at_most = share(int((rank == 1).sum()), len(rank))
    chance = float(most - np.log2(np.arange(1, len(ordered) + 2)).mean())
    return {"mean": float(bits.mean()), "most": most, "chance": chance, "at_most": at_most}


def _drawn(known: Floats, channel: Channel, shape: tuple[int, ...], rng: Any) -> Floats:
    """(n, L) values of a channel."""
    if channel.kind == "direction":
        return np.asarray(rng.choice([-1.0, 1.0], shape))
    if channel.kind in ("time", "gap"):
        return _times(known, channel.kind == "time", shape, rng)
    low, high = float(known.min()), float(known.max())
    if bool((known == np.rint(known)).all()):
        return np.asarray(rng.integers(int(low), int(high) + 1, shape), dtype=np.float64)
    return np.asarray(rng.uniform(low, high, shape))


def _times(known: Floats, is_time: bool, shape: tuple[int, ...], rng: Any) -> Floats:
    """Gaps, of which the first is 0, or the times that they add up to."""
    most = max(float(known.max()) / (shape[1] if is_time else 1), 10 * LEAST_GAP)
    gaps = np.exp(rng.uniform(np.log(LEAST_GAP), np.log(most), shape))
    gaps[:, 0] = 0.0
    return np.cumsum(gaps, axis=1) if is_time else gaps


def _values(traces: Traces, planted: Traces, inside: Bools, made: Traces) -> dict[str, Any]:
    """Shares of numbers of points that only added, or only left-out, canaries have."""
    real, kept, left, come = (
        _numbers(t) for t in (traces, planted[inside], planted[~inside], made)
    )
    sides = {"included": kept - real - left, "left_out": left - real - kept}
    return {name: share(len(one & come), len(one)) for name, one in sides.items()}


def _numbers(traces: Traces) -> set[tuple[str, Value]]:
    return {(k, v) for k, sets in of_points(traces).items() for s in sets for v in s}
