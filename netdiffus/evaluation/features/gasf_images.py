"""GASF images of traces as the evaluation sees them: by the bounds of the real data alone."""

from __future__ import annotations

import numpy as np
import torch

from netdiffus.ops.gasf import gasf_image
from netdiffus.traces import Floats, Traces

# Kinds that are compared as log(1 + factor * value); gaps are told apart down to microseconds.
LOGARITHMIC = {"size": 1.0, "volume": 1.0, "gap": 1e6}
SIZE = 32


def logarithmic(values: Floats, kind: str) -> Floats:
    """The values of one channel, with the logarithm taken of sizes, volumes and gaps."""
    return np.log1p(values * LOGARITHMIC[kind]) if kind in LOGARITHMIC else values


class Imaging:
    """Draws GASF images of every channel.

    The logarithm of sizes, volumes and gaps is scaled to [0, 1] by the least and the greatest
    value of the real traces, zero included, which stands beyond a trace's end. What is outside
    those bounds is clipped, so images do not show how far outside it is. Traces are cut, or filled
    up with zeros, to the longest real one, and the field is resized by area.

    Args:
        real: Traces that give bounds and length; no model is needed.
        size: Height and width.
    """

    def __init__(self, real: Traces, size: int = SIZE) -> None:
        self.size, self.length, self.bounds = size, int(real.lengths.max()), []
        for c, channel in enumerate(real.channels):
            known = logarithmic(real.points(c), channel.kind)
            self.bounds.append((min(float(known.min()), 0.0), max(float(known.max()), 0.0)))

    def __call__(self, traces: Traces) -> torch.Tensor:
        """Of traces (N, C, L): float32 (N, C, size, size) in [0, 1]."""
        series = np.zeros((len(traces), len(traces.channels), self.length))
        kept = min(self.length, traces.values.shape[2])
        for c, (channel, (low, high)) in enumerate(zip(traces.channels, self.bounds, strict=True)):
            values = logarithmic(traces.values[:, c, :kept], channel.kind)
            series[:, c] = -low / (high - low or 1.0)
            series[:, c, :kept] = np.clip((values - low) / (high - low or 1.0), 0.0, 1.0)
        return gasf_image(torch.from_numpy(series.astype(np.float32)), self.size)
