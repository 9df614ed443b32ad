"""How many traces may be added to each class, and the traces that are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdiffus.evaluation.baselines import jitter
from netdiffus.traces.traces import Ints, Traces

Plans = dict[str, Ints]
"""For each plan, by its name, how many traces are added to each class, (K,)."""

FILLED, FILLED_TWICE = "filled", "filled 2x"


def plan_names(counts: Ints, times: Sequence[int]) -> list[str]:
    """What is tried for real traces of which there are `counts` (K,) of each class.

    `2x` adds twice as many traces of each class as it has. `filled` adds to each class as many as
    it takes to be as large as the largest, and `filled 2x` to be twice as large; both are there
    where the classes differ.
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
    """Real traces again, `counts` (K,) of each class; none twice before all came once."""
    rows = [
        np.resize(rng.permutation(np.flatnonzero(real.labels == label)), count)
        for label, count in enumerate(counts.tolist())
    ]
    return real[np.concatenate(rows)]


def jittered(real: Traces, counts: Ints, rng: np.random.Generator) -> Traces:
    """The same with a time warp and noise, each its own; see `netdiffus.evaluation.jitter`."""
    again = repeated(real, counts, rng)
    return jitter(again, len(again), int(rng.integers(2**31)))
