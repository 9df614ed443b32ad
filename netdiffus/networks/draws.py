"""The traces to generate, and their random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from netdiffus.errors import InputError
from netdiffus.ops.strata import spread_uniforms

# Philox steps; those of points and columns are in the networks.
VALUE_DRAW = 2**29  # of the place inside a bin, of the first token; the others follow
CELL_DRAW = 2**30 + 2**29  # of the place inside a bin, of the first column
LABEL_DRAW = 2**31 + 1  # of the class of a trace


@dataclass(frozen=True)
class Draws:
    """B traces to generate; each depends only on its own row and the seed.

    Attributes:
        seed: Of all random numbers.
        index: int64 (B,), number of each trace.
        label: int64 (B,), class of each trace.
        rank: int64 (B,), how many traces of its class have a lower number.
    """

    seed: int
    index: Tensor
    label: Tensor
    rank: Tensor

    def to(self, device: torch.device | str) -> Draws:
        """The same, on a device."""
        return Draws(self.seed, *(part.to(device) for part in (self.index, self.label, self.rank)))

    def uniforms(self, first: int, count: int) -> Tensor:
        """(B, count) float64 in [0, 1), spread evenly over the traces of a class."""
        return spread_uniforms(self.seed, self.index, self.label, self.rank, first, count)


@contextmanager
def overflow_refused() -> Iterator[None]:
    """Names the model if sums overflow because its finite weights are too large.

    Raises:
        InputError: Nothing can be drawn by the logits of the block.
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"the model makes values that are not numbers; train it again ({error})"
        ) from None
