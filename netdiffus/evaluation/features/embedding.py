"""Traces as vectors, between which distances are in standard deviations per point."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from netdiffus.evaluation.features.quantities import log_scale
from netdiffus.evaluation.features.vector_set import Vectors
from netdiffus.traces.traces import Floats, Traces

POINTS = 256
CHUNK = 4_096  # traces


class Embedding:
    """Traces, with gaps for times, as vectors (N, D) of their points, up to the longest real one.

    If that is more than 256 points, they are the means of at most 256 windows of equally many
    points. Values are the logarithm of sizes, volumes and gaps, divided by the standard deviation
    over all points of the real traces; zero beyond a trace's end. A channel that never varies in
    the real traces is taken as it is. D = C P, with P points or windows.
    """

    def __init__(self, real: Traces) -> None:
        points = [log_scale(real.points(c), ch.kind) for c, ch in enumerate(real.channels)]
        # Rounding leaves a small deviation where nothing varies.
        self.sd = np.array([[x.std() if x.max() > x.min() else 1.0] for x in points])
        longest = int(real.lengths.max())
        self.window = -(-longest // POINTS)
        self.points = -(-longest // self.window)

    def __call__(self, traces: Traces) -> Vectors:
        """(N, C * P), float32: rounding moves a distance by about 1e-7 of it."""
        starts = range(0, len(traces), CHUNK)
        return np.concatenate([self._vectors(traces, slice(i, i + CHUNK)) for i in starts])

    def _vectors(self, traces: Traces, rows: slice) -> Vectors:
        values = traces.values[rows, :, : self.points * self.window]
        n, channels, length = values.shape
        scaled = np.zeros((n, channels, self.points * self.window))
        for c, channel in enumerate(traces.channels):
            scaled[:, c, :length] = log_scale(values[:, c], channel.kind)
        windows = scaled.reshape(n, channels, self.points, self.window).mean(axis=3)
        vectors: Vectors = (windows / self.sd).reshape(n, -1).astype(np.float32)
        return vectors


def distances(x: Vectors, y: Vectors) -> Floats:
    """(n, m): root mean square difference of vectors (n, D) and (m, D)."""
    found: Floats = cdist(x, y) / np.sqrt(x.shape[1])
    return found
