"""Maximum mean discrepancy: whether values occur together as in real traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist

from netdiffus.evaluation.features.quantities import log_scale
from netdiffus.traces.traces import Floats, Ints, Traces

BANDWIDTH_ROWS = 1_000  # rows of the data that the bandwidth is measured on
MOST_POINTS = 256  # points of a class that are compared, each with each
SEED = 0


class JointScale:
    """Brings points and totals of traces to scale for the kernel.

    * `points`: all channels of a point at once, such as size, direction and gap.
    * `totals`: length, and sum of each size, volume and gap (bytes, duration), of a trace at once.

    Args:
        real: Real traces, which give the scales and the kernel's widths.
    """

    def __init__(self, real: Traces) -> None:
        points, totals = joint_points(real), joint_totals(real)
        self._scales = {"points": column_scale(points), "totals": column_scale(totals)}
        self.widths = {
            "points": bandwidth(points / self._scales["points"]),
            "totals": bandwidth(totals / self._scales["totals"]),
        }

    def __call__(self, traces: Traces) -> JointSet:
        """Points and totals of these traces, to scale; at most 256 random points of a trace."""
        points = joint_points(traces) / self._scales["points"]
        trace = np.repeat(np.arange(len(traces)), traces.lengths)
        order = np.lexsort((np.random.default_rng(SEED).random(len(points)), trace))
        turn = np.arange(len(points)) - np.repeat(
            np.cumsum(traces.lengths) - traces.lengths, traces.lengths
        )
        kept = turn < MOST_POINTS
        totals = joint_totals(traces) / self._scales["totals"]
        return JointSet(points[order][kept], trace[kept], turn[kept], totals)


@dataclass(frozen=True, eq=False)
class JointSet:
    """Points and totals of N traces.

    Attributes:
        points: (M, C), those of a trace in random order.
        trace: (M,), the row of each point's trace, ascending.
        turn: (M,), from 0 on within each trace.
        totals: (N, F).
    """

    points: Floats
    trace: Ints
    turn: Ints
    totals: Floats

    def samples(self, rows: Ints, widths: Mapping[str, float]) -> dict[str, KernelSample]:
        """The `points` and the `totals` of some traces.

        At most 256 points: one of each trace in turn, so that a long trace does not leave the
        others without a pair.
        """
        first = np.searchsorted(self.trace, rows)
        length = np.searchsorted(self.trace, rows, side="right") - first
        turns = int(np.searchsorted(np.cumsum(_reaching(length)), MOST_POINTS)) + 1
        place = first[:, None] + np.arange(turns)
        inside = np.arange(turns) < length[:, None]
        turn_by_turn = place.T[inside.T][:MOST_POINTS]
        return {
            "points": KernelSample(
                self.points[turn_by_turn], self.trace[turn_by_turn], widths["points"]
            ),
            "totals": KernelSample(self.totals[rows], np.arange(len(rows)), widths["totals"]),
        }


def _reaching(length: Ints) -> Ints:
    """(max,): how many traces have a point at each turn."""
    ended = np.bincount(length)
    return len(length) - np.cumsum(ended)[:-1]


@dataclass(frozen=True, eq=False)
class KernelSample:
    """A sample with a Gaussian kernel, ``k(a, b) = exp(-|a - b|**2 / (2 w**2))``.

    Attributes:
        values: (n, D).
        trace: (n,), the trace that each row belongs to.
        width: w.
    """

    values: Floats
    trace: Ints
    width: float

    @cached_property
    def within(self) -> float:
        """Mean of the kernel over pairs of different traces; NaN if there is one trace alone."""
        different = self.trace[:, None] != self.trace
        pairs = int(different.sum())
        kernel = _kernel(self.values, self.values, self.width)
        return float((kernel * different).sum() / pairs) if pairs else float("nan")


def mmd(x: KernelSample, y: KernelSample) -> float:
    """Squared maximum mean discrepancy, unbiased.

    ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)``, where x and x' are points of different
    traces (Gretton and others, 2012, equation 3). 0 on average for two samples of one
    distribution, so it may be below 0.

    Args:
        x: A sample.
        y: Another one, of the same width.

    Returns:
        The estimate; NaN where a side has points of one trace alone.
    """
    return float(x.within + y.within - 2 * _kernel(x.values, y.values, x.width).mean())


def _kernel(x: Floats, y: Floats, width: float) -> npt.NDArray[np.floating]:
    """(n, m); squares are expanded, so that the work is one product of matrices."""
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * (x @ y.T)
    kernel: npt.NDArray[np.floating] = np.exp(np.maximum(squares, 0.0) / (-2 * width**2))
    return kernel


def bandwidth(real: Floats) -> float:
    """Median distance between different rows: the width of the kernel.

    Args:
        real: (n, D).

    Returns:
        The median of the distances above 0 of at most 1,000 evenly spaced rows; 1 if there are
        none.
    """
    rows = np.linspace(0, len(real) - 1, min(BANDWIDTH_ROWS, len(real))).astype(np.int64)
    distances = pdist(real[rows])
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0


def joint_points(traces: Traces) -> Floats:
    """(sum of lengths, C): all channels of each point, the logarithm of sizes, volumes and gaps."""
    columns = [log_scale(traces.points(c), ch.kind) for c, ch in enumerate(traces.channels)]
    return np.stack(columns, axis=1)


def joint_totals(traces: Traces) -> Floats:
    """(N, F): of each trace logarithms of the length and of the sum of each size, volume or gap."""
    sums = traces.values.sum(axis=2)
    columns = [np.log(traces.lengths)]
    columns += [
        log_scale(sums[:, c], channel.kind)
        for c, channel in enumerate(traces.channels)
        if channel.kind in ("size", "volume", "gap")
    ]
    return np.stack(columns, axis=1)


def column_scale(real: Floats) -> Floats:
    """(D,): the standard deviation of each column of (n, D), 1 for one that never varies."""
    varies = real.max(axis=0) > real.min(axis=0)  # rounding leaves a deviation where nothing does
    scale: Floats = np.where(varies, real.std(axis=0), 1.0)
    return scale
