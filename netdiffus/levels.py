"""How often each level was taken, by class and place: what is known of a point before looking."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops.levels import COSINES

LEVELS, MORE_LEVELS = 256, 512  # to a channel at most; more if a class has as many points
SCORE_LEVELS = 64  # to a channel of normal scores, in which no size is to be told from its like
TRUSTS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)  # points that a guess may weigh as much as
NEAR = (0.25, 0.5, 0.25)  # shares of a point that its level and those beside it get
NEVER = 1e-30  # chance of a level with no point left


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels of the points of the training series, K to a channel, and how likely each is.

    K is 256 at most, or 512 if a class has 512 points on average: where there are fewer to tell
    levels apart by, more of them are learned by heart sooner and worse.

    A value that more than 2 in K points have is a level of its own, so that packet sizes that
    traffic is full of stay exact; the others share levels of about equal numbers of points. The S
    levels of all channels stand in a row, those of the first channel first.

    A level that no trace of the class had at a place may still come: where points are few, the
    chance leans on what the class has at all places, levels close by included, and what all
    classes have at the place, taken as independent of each other. How much it leans is what makes
    the points likeliest, each when it is left out.

    Attributes:
        sizes: K of each channel.
        spans: float32 (S, 3), least, mean and greatest x of the points in each level, rising.
        chances: float32 (classes, m, S), logarithm of the chance of each level of a channel, by
            class and place.
    """

    sizes: tuple[int, ...]
    spans: Tensor
    chances: Tensor

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
                (`Scores.spread`), from which its chances are counted, into 64 levels.
        """
        channels = series.float().unbind(1)
        most = MORE_LEVELS if int(inside.sum()) >= MORE_LEVELS * classes else LEVELS
        spans, chances = [], []
        for x, points in zip(channels, scores or [None] * len(channels), strict=True):
            spans.append(_spans(x[inside], most if points is None else SCORE_LEVELS))
            counts = _counts(_level(x, spans[-1]), inside, labels, classes, len(spans[-1]))
            chances.append(
                _leaning(counts) if points is None else _expected(points, spans[-1], counts)
            )
        return cls(tuple(len(one) for one in spans), torch.cat(spans), torch.cat(chances, -1))


def cosines(sizes: Sequence[int]) -> Tensor:
    """(S, 16) smooth functions of the rank of a level, 1 to 16 half waves, mean square 1.

    What levels close to each other share is learned by all their points through these.
    """
    rank = torch.cat([(torch.arange(k) + 0.5) / k for k in sizes])
    return 2**0.5 * (math.pi * rank.unsqueeze(1) * torch.arange(1, COSINES + 1)).cos()


def level_of(series: Tensor, spans: Tensor, sizes: Sequence[int]) -> Tensor:
    """Which of all levels each x of (N, C, m) lies in: int64 (N, m, C).

    It is the last of the channel that begins at x or before.
    """
    begins = [sum(sizes[:c]) for c in range(len(sizes))]
    parts = zip(series.unbind(1), torch.split(spans, list(sizes)), begins, strict=True)
    return torch.stack([begin + _level(x, part) for x, part, begin in parts], 2)


def _level(x: Tensor, spans: Tensor) -> Tensor:
    begins = spans[:, 0].contiguous()
    return (torch.searchsorted(begins, x.float().contiguous(), right=True) - 1).clamp(min=0)


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
    """How many points (N, m) of each class were in each level at each place, (classes, m, K)."""
    m = level.shape[1]
    where = (labels.unsqueeze(1) * m + torch.arange(m)) * k + level
    return torch.bincount(where[inside], minlength=classes * m * k).view(classes, m, k).float()


def _leaning(counts: Tensor) -> Tensor:
    """Logarithm of chances (classes, m, K) that lean as far as serves the points."""
    there, every = counts > 0, _total(counts)
    own, total = counts[there], every.expand_as(counts)[there]
    guesses = {near: _guess(counts, near, less=1.0)[there] for near in TRUSTS[:4]}

    def likely(trusts: tuple[float, float]) -> float:
        chance = _chance(own - 1, total, trusts[0], guesses[trusts[1]])
        return float((own * chance).sum(dtype=torch.float64))

    trust, near = max(itertools.product(TRUSTS, guesses), key=likely)
    return _chance(counts, every, trust, _guess(counts, near))


def _chance(counts: Tensor, total: Tensor, trust: float, guess: Tensor) -> Tensor:
    """Logarithm of the chance, where `guess` weighs as much as `trust` points."""
    return ((counts + trust * guess) / (total + trust)).clamp(min=NEVER).log()


def _guess(counts: Tensor, near_trust: float, less: float = 0.0) -> Tensor:
    """Chances (classes, m, K) by class and place alone, with `less` points fewer in the level."""
    return _unscaled(counts, near_trust, less) / _total(_unscaled(counts, near_trust, 0.0))


def _unscaled(counts: Tensor, near_trust: float, less: float) -> Tensor:
    """In proportion to the chance by class times that by place, over that of all points."""
    everywhere = counts.sum((0, 1), keepdim=True)
    of_class, here = counts.sum(1, keepdim=True), counts.sum(0, keepdim=True)
    usual = ((everywhere - less).clamp(min=0) + 0.5 * (everywhere > 0)) / _total(everywhere)
    near = (_near(of_class) - NEAR[1] * less).clamp(min=0) / _total(of_class).clamp(min=1)
    by_class = (of_class - less).clamp(min=0) + near_trust * (near + usual)
    by_place = (here - less).clamp(min=0) + near_trust * usual
    return by_class * by_place / usual.clamp(min=NEVER)


def _expected(points: Tensor, spans: Tensor, counts: Tensor) -> Tensor:
    """Logarithm of the chance (classes, m, K) of levels that points (classes, m, n) fall into.

    Each leans by one point in n on how often the level came, `counts`, anywhere.
    """
    found = torch.zeros_like(counts).scatter_add_(
        -1, _level(points, spans), torch.ones_like(points)
    )
    usual = counts.sum((0, 1)) + 0.5
    return ((found + usual / usual.sum()) / (points.shape[-1] + 1)).log()


def _near(counts: Tensor) -> Tensor:
    """Points moved to the levels beside theirs, in part."""
    flat = counts.flatten(0, -2).unsqueeze(1)
    return F.conv1d(flat, flat.new_tensor([[NEAR]]), padding=1).view_as(counts)


def _total(x: Tensor) -> Tensor:
    return x.sum(-1, keepdim=True)
