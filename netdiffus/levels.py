"""How often each level of [0, 1] was taken, by class and place: what is known before looking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 128  # to a channel
CLASS_TRUST = 4.0  # points that what all classes had weighs as much as, beside those of the class
PLACE_TRUST = 8.0  # the same of all places, beside those of the place


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels that the points of the training series lie in, K = 128 to a channel.

    Attributes:
        spans: float32 (C, K, 3), least, mean and greatest x of the points in each level.
        counts: int32 (classes, C, m, K), points by class, channel, place and level.
    """

    spans: Tensor
    counts: Tensor

    @classmethod
    def fit(cls, series: Tensor, inside: Tensor, labels: Tensor, classes: int) -> Levels:
        """Counts the points of series.

        Args:
            series: (N, C, m) in [0, 1].
            inside: Bool (N, m), which of the points are the trace's.
            labels: int64 (N,).
            classes: Number of classes.
        """
        _, channels, m = series.shape
        taken = level_of(series)
        counts = torch.zeros(classes, channels, m, LEVELS, dtype=torch.int32)
        for k in range(classes):
            ones = F.one_hot(taken[labels == k], LEVELS) * inside[labels == k][:, None, :, None]
            counts[k] = ones.sum(0)
        spans = [_spans(series[:, c][inside], taken[:, c][inside]) for c in range(channels)]
        return cls(torch.stack(spans), counts)

    def usual(self) -> Tensor:
        """(C, m, K): points added to the counts of every class, so that no chance is 0.

        They are shared out as all classes have the level there, and these as at all places.
        """
        here = self.counts.sum(0).float()
        anywhere = here.sum(1, keepdim=True) + 1e-3
        here = here + PLACE_TRUST * anywhere / anywhere.sum(-1, keepdim=True)
        return CLASS_TRUST * here / here.sum(-1, keepdim=True)


def level_of(series: Tensor) -> Tensor:
    """The level 0..127 of each x in [0, 1], any shape, int64."""
    return (series * LEVELS).long().clamp(max=LEVELS - 1)


def _spans(x: Tensor, taken: Tensor) -> Tensor:
    """(K, 3); a level that no point lies in is one point, its middle."""
    middle = (torch.arange(LEVELS) + 0.5) / LEVELS
    parts = [
        middle.clone().scatter_reduce_(0, taken, x.float(), how, include_self=False)
        for how in ("amin", "mean", "amax")
    ]
    return torch.stack(parts, 1)
