"""GASF images of traces, scaled by the bounds of the real traces."""

from __future__ import annotations

import numpy as np
import torch

from netdiffus.evaluation.features.quantities import log_scale
from netdiffus.ops.gasf import gasf_image
from netdiffus.traces.traces import Traces

SIZE = 32


class GasfImages:
    """Draws GASF images of every channel.

    The logarithm of sizes, volumes and gaps is scaled to [0, 1] by the least and the greatest
    value of the real traces, zero included, which stands beyond a trace's end. What is outside
    those bounds is clipped, so images do not show how far outside it is. Traces are cut, or filled
    up with zeros, to the longest real one, and the field is resized by area.
    """

    def __init__(self, real: Traces, size: int = SIZE) -> None:
        self.size, self.length, self.bounds = size, int(real.lengths.max()), []
        for c, channel in enumerate(real.channels):
            values = log_scale(real.points(c), channel.kind)
            self.bounds.append((min(float(values.min()), 0.0), max(float(values.max()), 0.0)))

    def __call__(self, traces: Traces) -> torch.Tensor:
        """Of traces (N, C, L): float32 (N, C, size, size) in [0, 1]."""
        series = np.zeros((len(traces), len(traces.channels), self.length))
        kept = min(self.length, traces.values.shape[2])
        for c, (channel, (low, high)) in enumerate(zip(traces.channels, self.bounds, strict=True)):
            values = log_scale(traces.values[:, c, :kept], channel.kind)
            series[:, c] = -low / (high - low or 1.0)
            series[:, c, :kept] = np.clip((values - low) / (high - low or 1.0), 0.0, 1.0)
        return gasf_image(torch.from_numpy(series.astype(np.float32)), self.size)
