"""Whether values occur together as in real traces: maximum mean discrepancy of several at once."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist

from netdiffus.evaluation.features.gasf_images import logarithmic
from netdiffus.traces import Floats, Ints, Traces

MOST = 1_000  # points of the data that the bandwidth is measured on
MOST_POINTS = 500  # points of a set that are compared, each with each
SEED = 0


class Joint:
    """Squared maximum mean discrepancy of points and of whole traces.

    * `points`: all channels of a point at once, such as size, direction and gap; 500 random
      points of a set, if it has more, of each trace as many as of the others if it has them.
    * `facts`: length, and sum of each size, volume and gap (bytes, duration), of a trace at once.

    Args:
        real: Real traces, which scale the numbers and give the kernel's widths.
    """

    def __init__(self, real: Traces) -> None:
        points, facts = joint_points(real), joint_facts(real)
        self._units = {"points": unit(points), "facts": unit(facts)}
        self._width = {
            "points": bandwidth(points / self._units["points"]),
            "facts": bandwidth(facts / self._units["facts"]),
        }

    def __call__(self, candidate: Traces, reference: Traces) -> dict[str, float]:
        """Both by name; below 0 by chance where the sets are of one distribution."""
        x, y = (_some_points(t, self._units["points"]) for t in (candidate, reference))
        facts = [joint_facts(t) / self._units["facts"] for t in (candidate, reference)]
        return {
            "points": mmd(x[0], y[0], self._width["points"], x[1], y[1]),
            "facts": mmd(facts[0], facts[1], self._width["facts"]),
        }


def _some_points(traces: Traces, units: Floats) -> tuple[Floats, Ints]:
    """At most 500 points, (n, C), in these units, and the trace of each, (n,).

    One of each trace in turn, so that a long one does not leave the others without a pair.
    """
    points, rows = joint_points(traces) / units, np.repeat(np.arange(len(traces)), traces.lengths)
    chance = np.random.default_rng(SEED).random(len(points))
    by_trace, first = np.lexsort((chance, rows)), np.cumsum(traces.lengths) - traces.lengths
    turn = np.arange(len(points)) - np.repeat(first, traces.lengths)
    some = by_trace[np.lexsort((chance[by_trace], turn))[:MOST_POINTS]]
    return points[some], rows[some]


def bandwidth(real: Floats) -> float:
    """Median distance between different real points: the width of the kernel.

    Args:
        real: (n, D).

    Returns:
        The median of the distances above 0 of at most 1,000 evenly spaced points; 1 if there are
        none.
    """
    some = real[np.linspace(0, len(real) - 1, min(MOST, len(real))).astype(np.int64)]
    apart = pdist(some)
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def mmd(
    x: Floats, y: Floats, width: float, x_of: Ints | None = None, y_of: Ints | None = None
) -> float:
    """Squared maximum mean discrepancy, unbiased, with a Gaussian kernel.

    ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)``, ``k(a, b) = exp(-|a - b|**2 / (2 w**2))``,
    where x and x' are different points, or points of different traces (Gretton and others, 2012,
    equation 3). 0 on average for two samples of one distribution, so it may be below 0.

    Args:
        x: (n, D).
        y: (m, D).
        width: w.
        x_of: (n,), the trace that each point belongs to; each is its own without.
        y_of: (m,), the same.

    Returns:
        The estimate; NaN where a side has points of one trace alone.
    """
    within = [_within(x, width, x_of), _within(y, width, y_of)]
    return float(sum(within) - 2 * _kernel(x, y, width).mean())


def _within(x: Floats, width: float, trace: Ints | None) -> float:
    """Mean of the kernel over pairs of different traces."""
    trace = np.arange(len(x)) if trace is None else trace
    different = trace[:, None] != trace
    pairs = int(different.sum())
    return float((_kernel(x, x, width) * different).sum() / pairs) if pairs else float("nan")


def _kernel(x: Floats, y: Floats, width: float) -> Floats:
    kernel: Floats = np.exp(cdist(x, y, "sqeuclidean") / (-2 * width**2))
    return kernel


def joint_points(traces: Traces) -> Floats:
    """(sum of lengths, C): all channels of each point, the logarithm of sizes, volumes and gaps."""
    columns = [logarithmic(traces.points(c), ch.kind) for c, ch in enumerate(traces.channels)]
    return np.stack(columns, axis=1)


def joint_facts(traces: Traces) -> Floats:
    """(N, F): of each trace logarithms of the length and of the sum of each size, volume or gap."""
    sums = traces.values.sum(axis=2)
    columns = [np.log(traces.lengths)]
    columns += [
        logarithmic(sums[:, c], channel.kind)
        for c, channel in enumerate(traces.channels)
        if channel.kind in ("size", "volume", "gap")
    ]
    return np.stack(columns, axis=1)


def unit(real: Floats) -> Floats:
    """(D,): the standard deviation of each column of (n, D), 1 for one that never varies."""
    varies = real.max(axis=0) > real.min(axis=0)  # rounding leaves a deviation where nothing does
    found: Floats = np.where(varies, real.std(axis=0), 1.0)
    return found
