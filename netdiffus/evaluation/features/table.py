"""What classifiers see of each trace."""

from __future__ import annotations

import numpy as np

from netdiffus.traces.traces import Floats, Traces

POINTS = 64


def features(traces: Traces) -> Floats:
    """One row of numbers per trace.

    Per channel the first 64 points as they are (zero beyond the trace's end) and, over the whole
    trace, mean, standard deviation, minimum, maximum, sum and mean absolute step; then its length.

    Returns:
        (N, C * (P + 6) + 1) with P = 64, whatever the lengths are.
    """
    n, channels, length = traces.values.shape
    first = np.zeros((n, channels, POINTS))
    first[:, :, :length] = traces.values[:, :, :POINTS]
    parts = [first.reshape(n, -1), _summary(traces), traces.lengths[:, None]]
    return np.concatenate(parts, axis=1)


def _summary(traces: Traces) -> Floats:
    """(N, C * 6)."""
    values, count = traces.values, traces.lengths[:, None]
    inside = traces.mask[:, None]
    total = values.sum(axis=2)
    mean = total / count
    deviation = np.sqrt((np.where(inside, values - mean[..., None], 0.0) ** 2).sum(axis=2) / count)
    low = np.where(inside, values, np.inf).min(axis=2)
    high = np.where(inside, values, -np.inf).max(axis=2)
    steps = np.where(inside[..., 1:], np.abs(np.diff(values, axis=2)), 0.0).sum(axis=2)
    parts = [mean, deviation, low, high, total, steps / np.maximum(count - 1, 1)]
    return np.concatenate(parts, axis=1)
