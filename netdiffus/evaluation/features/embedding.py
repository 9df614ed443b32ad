"""A space in which the distance between two traces has a meaning: standard deviations a point."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from netdiffus.evaluation.features.gasf_images import logarithmic
from netdiffus.traces import Floats, Traces

POINTS = 256


class Space:
    """Places traces, (N, D), by their points up to the end of the longest real trace.

    If that has more than 256, by the means of at most 256 windows of equally many points. The
    logarithm of sizes, volumes and gaps, divided by its standard deviation over all points of the
    real traces; zero beyond a trace's end. A channel that never varies in the real traces is taken
    as it is. Distances are root mean squares over all D = C P coordinates.

    Args:
        real: Real traces, times as gaps.
    """

    def __init__(self, real: Traces) -> None:
        known = [logarithmic(real.points(c), ch.kind) for c, ch in enumerate(real.channels)]
        # Rounding leaves a small deviation where nothing varies.
        self.spread = np.array([[x.std() if x.max() > x.min() else 1.0] for x in known])
        longest = int(real.lengths.max())
        self.window = -(-longest // POINTS)
        self.points = -(-longest // self.window)

    def __call__(self, traces: Traces) -> Floats:
        """(N, C * P): where the traces are."""
        n, channels, length = traces.values.shape
        placed = np.zeros((n, channels, self.points * self.window))
        for c, channel in enumerate(traces.channels):
            first = traces.values[:, c, : placed.shape[2]]
            placed[:, c, :length] = logarithmic(first, channel.kind)
        windows = placed.reshape(n, channels, self.points, self.window).mean(axis=3)
        where: Floats = (windows / self.spread).reshape(n, -1)
        return where


def distances(x: Floats, y: Floats) -> Floats:
    """(n, m): root mean square difference of placed traces (n, D) and (m, D)."""
    apart: Floats = cdist(x, y) / np.sqrt(x.shape[1])
    return apart
