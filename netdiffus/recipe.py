"""How to train: budget and settings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from netdiffus.errors import InputError, checked_seed, whole

ROWS = 4096  # of products in a step: enough for them to reach their speed


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Total optimiser steps, counted over resumed runs; None has no such end.
        minutes: Total minutes of training, likewise.
        batch_size: Traces per step, over all processes; None takes as many as have 4096 image rows
            together (tokens, where those hold several points), so that a step costs about the same
            at every image size.
        learning_rate: Of Muon for the matrices inside the blocks, of AdamW for the rest; after a
            linear warm-up of 50 steps.
        ema_width: The averaged weights look back over about this share of the training so far
            (Karras et al., 2024, power-function averaging), so one value serves every budget.
        held: Share of each class that is kept from the network at first, about 64 traces at most
            and none if they would be fewer than 16. They tell whether what it learns holds for
            traces that it has not seen: training ends before the budget once the averaged weights
            are 1.4 times as far from them as they were at best, as from there on it learns by
            heart. The last sixth of the steps learns from them, too; from then on they tell nothing
            more, and a larger budget given to a resumed run is used up. 0 uses all traces from the
            start, and never ends early.
        checkpoint_seconds: Time between checkpoints.
        seed: Of weights, order, times and noise.

    Raises:
        InputError: No end at all, or a value out of range.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    ema_width: float = 0.1
    held: float = 0.1
    checkpoint_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", checked_seed(self.seed))
        for name in ("steps", "batch_size"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name)))
        if self.steps is None and self.minutes is None:
            raise InputError("training needs an end: give steps or minutes")
        if not 0 <= self.held <= 0.5:
            raise InputError(f"held must lie in 0..0.5, got {self.held}")
        for name, value in asdict(self).items():
            if name not in ("seed", "held") and value is not None and not _is_above_0(value):
                raise InputError(f"{name} must be a number above 0, got {value!r}")

    def batch_of(self, rows: int) -> int:
        """Traces per step for images of so many rows."""
        return self.batch_size or max(1, ROWS // rows)

    def budget(self) -> dict[str, float]:
        """Steps, minutes or both."""
        ends = {"steps": self.steps, "minutes": self.minutes}
        return {name: end for name, end in ends.items() if end is not None}

    def share_done(self, step: int, seconds: float) -> float:
        """0 at the start, 1 or more at the end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_steps, by_time)


def _is_above_0(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf
