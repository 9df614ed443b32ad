"""What traces come to in their units, which points scaled each by itself do not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SPREAD = 0.02  # of a class whose totals are all alike


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums of a trace's values, by channel, beside those that are usual in its class.

    With normal scores the same x stands for another value in each class and at each place, so that
    a network which sees x alone cannot tell a trace of many small values from one that comes to
    ten times as much. In real traffic those differ: a burst that takes more bins has less in each.

    Attributes:
        worth: float32 (classes, m, S), the value of each level at each place, in units of the mean
            total of the class; 0 in channels that have one scale for all.
        usual: float32 (classes, C), mean of asinh(10 total).
        spread: float32 (classes, C), standard deviation of that.
    """

    worth: Tensor
    usual: Tensor
    spread: Tensor

    @classmethod
    def fit(
        cls, values: Tensor, level: Tensor, inside: Tensor, labels: Tensor, sizes: Sequence[int]
    ) -> Totals:
        """Takes the totals of the training traces.

        Args:
            values: (classes, m, S), of each level at each place, in any unit; 0 for none.
            level: int64 (N, m, C), see `level_of`.
            inside: Bool (N, m).
            labels: int64 (N,).
            sizes: How many levels each channel has.
        """
        classes = len(values)
        total = (values[labels].gather(2, level) * inside.unsqueeze(2)).sum(1)
        mean = torch.stack([total[labels == k].abs().mean(0) for k in range(classes)])
        mean = torch.where(mean > 0, mean, 1.0)
        found = _curbed(total / mean[labels])
        usual = torch.stack([found[labels == k].mean(0) for k in range(classes)])
        spread = torch.stack([found[labels == k].std(0, correction=0) for k in range(classes)])
        by_level = mean.repeat_interleave(torch.tensor(sizes), 1).unsqueeze(1)
        parts = values / by_level, usual, spread.clamp(min=LEAST_SPREAD)
        return cls(*(part.float() for part in parts))

    def expected(
        self, chances: Tensor, inside: Tensor, label: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        """How far a trace's expected total is from what is usual, in standard deviations.

        Args:
            chances: (B, m, S), of the levels of each channel.
            inside: Bool (B, m).
            label: int64 (B,).
            sizes: How many levels each channel has.

        Returns:
            (B, C).
        """
        values = torch.split(chances * self.worth[label], list(sizes), 2)
        points = torch.stack([part.sum(2) for part in values], 2)
        total = (points * inside.unsqueeze(2)).sum(1)
        return (_curbed(total) - self.usual[label]) / self.spread[label]


def _curbed(total: Tensor) -> Tensor:
    """About the logarithm, also of none and of less."""
    return torch.asinh(10 * total)
