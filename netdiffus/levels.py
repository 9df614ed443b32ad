"""How often each level was taken, by class and place: what is known of a point before looking."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 256  # to a channel, at most
SCORE_LEVELS = 64  # to a channel of normal scores, in which no size is to be told from its like
TRUSTS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)  # points that a guess may weigh as much as
NEAR = (0.25, 0.5, 0.25)  # shares of a point that its level and those beside it get
ABSENT = 2.0  # x of the levels that a channel has fewer of than another; images end at 1
NEVER = 1e-30  # chance of them
COSINES = 16


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels of the points of the training series, K <= 256 to a channel, and how likely each is.

    A value that more than 2 in K points have is a level of its own, so that packet sizes that
    traffic is full of stay exact; the others share levels of about equal numbers of points.

    A level that no trace of the class had at a place may still come: where points are few, the
    chance leans on what the class has at all places, levels close by included, and what all
    classes have at the place, taken as independent of each other. How much it leans is what makes
    the points likeliest, each when it is left out.

    Attributes:
        spans: float32 (C, K, 3), least, mean and greatest x of the points in each level, rising.
        chances: float32 (classes, C, m, K), logarithm of the chance of each level, by class,
            channel and place.
        left_out: The same, had one of the points in the level not been counted.
    """

    spans: Tensor
    chances: Tensor
    left_out: Tensor

    @classmethod
    def fit(
        cls,
        series: Tensor,
        inside: Tensor,
        labels: Tensor,
        classes: int,
        scores: Sequence[Tensor | None] | None = None,
    ) -> Levels:
        """Counts the points of series.

        Args:
            series: (N, C, m), at most 1.
            inside: Bool (N, m), which of the points are the trace's.
            labels: int64 (N,).
            classes: Number of classes.
            scores: For a channel of normal scores, the points (classes, m, n) to be expected there
                (`Scores.spread`), from which its chances are counted, into 64 levels. Of the
                training points, scores put the due number into each level by class and place, so
                that a level one point short would give away the trace that is left out.
        """
        series = series.float()
        scores = scores or [None] * series.shape[1]
        most = [LEVELS if one is None else SCORE_LEVELS for one in scores]
        parts = [_spans(series[:, c][inside], k) for c, k in enumerate(most)]
        k = max(len(part) for part in parts)
        spans = torch.stack([F.pad(p, (0, 0, 0, k - len(p)), value=ABSENT) for p in parts])
        counts = _counts(level_of(series, spans), inside, labels, classes, k).float()

        def likely(trusts: tuple[float, float]) -> float:
            return float((counts * _chances(counts, *trusts, less=1.0)).sum(dtype=torch.float64))

        trusts = max(itertools.product(TRUSTS, TRUSTS[:4]), key=likely)
        chances, left_out = (_chances(counts, *trusts, less=less) for less in (0.0, 1.0))
        for c, points in enumerate(scores):
            if points is not None:
                chances[:, c] = left_out[:, c] = _expected(points, spans[c], counts[:, c])
        return cls(spans, chances, left_out)


def cosines(spans: Tensor) -> Tensor:
    """(C, K, 16) smooth functions of the rank of a level, 1 to 16 half waves each, mean square 1.

    What levels close to each other share is learned by all their points through these.
    """
    k = torch.arange(spans.shape[1], device=spans.device) + 0.5
    there = (spans[..., 0] < ABSENT).sum(1, keepdim=True)
    waves = torch.arange(1, COSINES + 1, device=spans.device)
    return 2**0.5 * torch.cos(math.pi * waves * (k / there).clamp(max=1).unsqueeze(-1))


def level_of(series: Tensor, spans: Tensor) -> Tensor:
    """The level of each x of (N, C, m), int64: the last that begins at x or before."""
    x = series.float().transpose(0, 1).contiguous()
    found = torch.searchsorted(spans[..., 0].contiguous(), x.flatten(1), right=True) - 1
    return found.clamp(min=0).view_as(x).transpose(0, 1).contiguous()


def _spans(x: Tensor, most: int) -> Tensor:
    """(K, 3) of the points of one channel."""
    value, counts = torch.unique(x, return_counts=True)
    starts = torch.ones_like(value, dtype=torch.bool)
    if len(value) > most:
        starts = _starts(counts.double() / len(x), most)
    level = starts.cumsum(0) - 1
    k = int(level[-1]) + 1
    total = torch.zeros(k, dtype=torch.float64).scatter_add_(0, level, value.double() * counts)
    mean = total / torch.zeros(k, dtype=torch.float64).scatter_add_(0, level, counts.double())
    low, high = value[starts], value[torch.cat([starts[1:], starts.new_ones(1)])]
    return torch.stack([low, mean.float().clamp(low, high), high], 1)


def _starts(share: Tensor, most: int) -> Tensor:
    """Which of the distinct values begin a level: common ones, and equal parts of the rest."""
    common = share > 2 / most
    rest = torch.where(common, 0.0, share)
    middle = (rest.cumsum(0) - rest / 2) / rest.sum()
    part = (middle * max(most - 2 * int(common.sum()) - 1, 1)).long()
    new = common | (part != part.roll(1)) | common.roll(1)
    new[0] = True
    return new


def _counts(level: Tensor, inside: Tensor, labels: Tensor, classes: int, k: int) -> Tensor:
    _, channels, m = level.shape
    counts = torch.zeros(classes, channels, m, k, dtype=torch.int32)
    for label in range(classes):
        here = inside[labels == label].to(torch.int32)
        ones = here[:, None, :].expand(-1, channels, -1)
        counts[label].scatter_add_(
            -1, level[labels == label].permute(1, 2, 0), ones.permute(1, 2, 0)
        )
    return counts


def _chances(counts: Tensor, trust: float, near_trust: float, less: float = 0.0) -> Tensor:
    """Logarithm of chances (classes, C, m, K), with `less` points fewer in the level itself."""
    guess = _guess(counts, near_trust, less) / _total(_guess(counts, near_trust, 0.0))
    chance = ((counts - less).clamp(min=0) + trust * guess) / (_total(counts) + trust)
    return chance.clamp(min=NEVER).log()


def _guess(counts: Tensor, near_trust: float, less: float) -> Tensor:
    """In proportion to the chance by class times that by place, over that of all points."""
    everywhere = counts.sum((0, 2), keepdim=True)
    of_class, here = counts.sum(2, keepdim=True), counts.sum(0, keepdim=True)
    usual = ((everywhere - less).clamp(min=0) + 0.5 * (everywhere > 0)) / _total(everywhere)
    near = (_near(of_class) - NEAR[1] * less).clamp(min=0) / _total(of_class).clamp(min=1)
    by_class = (of_class - less).clamp(min=0) + near_trust * (near + usual)
    by_place = (here - less).clamp(min=0) + near_trust * usual
    return by_class * by_place / usual.clamp(min=NEVER)


def _expected(points: Tensor, spans: Tensor, counts: Tensor) -> Tensor:
    """Logarithm of the chance (classes, m, K) of levels that points (classes, m, n) fall into.

    Each leans by one point in n on how often the level came, `counts`, anywhere.
    """
    level = level_of(points, spans.expand(points.shape[1], -1, -1))
    found = torch.zeros_like(counts).scatter_add_(-1, level, torch.ones_like(points))
    usual = counts.sum((0, 1)) + 0.5 * (spans[:, 0] < ABSENT)
    chance = (found + usual / usual.sum()) / (points.shape[-1] + 1)
    return chance.clamp(min=NEVER).log()


def _near(counts: Tensor) -> Tensor:
    """Points moved to the levels beside theirs, in part."""
    flat = counts.flatten(0, -2).unsqueeze(1)
    return F.conv1d(flat, flat.new_tensor([[NEAR]]), padding=1).view_as(counts)


def _total(x: Tensor) -> Tensor:
    return x.sum(-1, keepdim=True)
