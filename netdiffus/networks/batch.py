"""The input of a training step."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Given(NamedTuple):
    """Points of B traces that are known; the others are drawn.

    Attributes:
        tokens: int64 (B, T, F); behind the last point of a trace `end`.
        known: bool (B, T).
    """

    tokens: Tensor
    known: Tensor


class Batch(NamedTuple):
    """B traces, coded, with their conditions.

    Attributes:
        data: Tokens int64 (B, T, F), or series (B, C, k) in [0, 1].
        label: int64 (B,).
        columns: int64 (B, J).
        draws: int64 (B,), a distinct number for each trace of each step, for noise.
    """

    data: Tensor
    label: Tensor
    columns: Tensor
    draws: Tensor
