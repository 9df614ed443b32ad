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

    Real traces give the scales and the kernel's widths.
    """

    def __init__(self, real: Traces) -> None:
        found = {"points": joint_points(real), "totals": joint_totals(real)}
        self._scales = {name: column_scale(x) for name, x in found.items()}
        self._widths = {name: bandwidth(x / self._scales[name]) for name, x in found.items()}

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
        return JointSet(points[order][kept], trace[kept], totals, self._widths)


@dataclass(frozen=True, eq=False)
class JointSet:
    """Points (M, C) and totals (N, F) of N traces.

    `trace` (M,) is the row of each point's trace, ascending; those of a trace are in random order.
    `widths` are those of the kernels of both.
    """

    points: Floats
    trace: Ints
    totals: Floats
    widths: Mapping[str, float]

    def samples(self, rows: Ints) -> dict[str, KernelSample]:
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
                self.points[turn_by_turn], self.trace[turn_by_turn], self.widths["points"]
            ),
            "totals": KernelSample(self.totals[rows], np.arange(len(rows)), self.widths["totals"]),
        }


def _reaching(length: Ints) -> Ints:
    """(max,): how many traces have a point at each turn."""
    ended = np.bincount(length)
    return len(length) - np.cumsum(ended)[:-1]


@dataclass(frozen=True, eq=False)
class KernelSample:
    """A sample with a Gaussian kernel, ``k(a, b) = exp(-|a - b|**2 / (2 width**2))``.

    Each row of the values (n, D) belongs to the trace of this number in `trace` (n,).
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
    """Squared maximum mean discrepancy, unbiased, of two samples with kernels of the same width.

    ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)``, where x and x' are points of different
    traces (Gretton and others, 2012, equation 3). 0 on average for two samples of one
    distribution, so it may be below 0. NaN where a side has points of one trace alone.
    """
    return float(x.within + y.within - 2 * _kernel(x.values, y.values, x.width).mean())


def _kernel(x: Floats, y: Floats, width: float) -> npt.NDArray[np.floating]:
    """(n, m); squares are expanded, so that the work is one product of matrices."""
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * (x @ y.T)
    kernel: npt.NDArray[np.floating] = np.exp(np.maximum(squares, 0.0) / (-2 * width**2))
    return kernel


def bandwidth(real: Floats) -> float:
    """Median distance between different rows of (n, D): the width of the kernel.

    Of the distances above 0 of at most 1,000 evenly spaced rows; 1 if there are none.
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
