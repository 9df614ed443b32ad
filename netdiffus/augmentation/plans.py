"""Plans: how many traces are added to each class; the controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdiffus.evaluation.baselines import jitter
from netdiffus.traces.traces import Ints, Traces

Plans = dict[str, Ints]
"""For each plan, by its name, how many traces are added to each class, (K,)."""

FILLED, FILLED_TWICE = "filled", "filled 2x"


def plan_names(counts: Ints, times: Sequence[int]) -> list[str]:
    """The plans to try for real traces with `counts` (K,) of each class.

    `2x` adds twice as many traces of each class as it has. `filled` makes each class as large as
    the largest, and `filled 2x` twice as large; both are tried if class sizes differ.
    """
    fill = [FILLED, FILLED_TWICE] if counts.min() < counts.max() else []
    return [*(f"{k}x" for k in times), *fill]


def plans(names: Sequence[str], counts: Ints) -> Plans:
    """The plans of these names for so many traces of each class, (K,)."""
    filled = {FILLED: counts.max() - counts, FILLED_TWICE: 2 * counts.max() - counts}
    return {name: filled[name] if name in filled else int(name[:-1]) * counts for name in names}


def most(of: Plans) -> Ints:
    """(K,): how many traces of each class are enough for every plan."""
    found: Ints = np.max(list(of.values()), axis=0)
    return found


def first_of_each(labels: Ints, counts: Ints) -> Ints:
    """Rows of the first `counts` (K,) traces of each class, in their order."""
    order = np.argsort(labels, kind="stable")
    place = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.sort(order[place < counts[labels[order]]])


def repeated(real: Traces, counts: Ints, rng: np.random.Generator) -> Traces:
    """Repeated real traces, `counts` (K,) of each class, each equally often (or once more)."""
    rows = [
        np.resize(rng.permutation(np.flatnonzero(real.labels == label)), count)
        for label, count in enumerate(counts.tolist())
    ]
    return real[np.concatenate(rows)]


def jittered(real: Traces, counts: Ints, rng: np.random.Generator) -> Traces:
    """The same, each with its own time warp and noise; see `netdiffus.evaluation.jitter`."""
    again = repeated(real, counts, rng)
    return jitter(again, len(again), int(rng.integers(2**31)))
