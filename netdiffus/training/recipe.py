"""Budget and settings of a training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from netdiffus.errors import InputError, checked_seed, whole
from netdiffus.networks.causal import HIDDEN_COLUMNS


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Optimiser steps in all; None is no limit.
        minutes: Minutes of training in all; None is no limit.
        cpu_minutes: Minutes of processor time in all, of all threads of this process; None is no
            limit. Use it to compare trainings on a machine that does other work.
        batch_size: Traces per step, over all processes.
        learning_rate: Peak learning rate of AdamW; see `training.schedule` for how it changes.
        weight_decay: Of AdamW, for matrices and embeddings; None is 0.2 for networks of tokens and
            0.01 for networks of images.
        ema_width: The average of the weights covers about this last share of the training so far
            (Karras et al., 2024, power-function averaging). So one value suits every budget.
        validation_fraction: Share of each class that is held out at first as validation traces,
            about 256 at most. If they were fewer than 16, the share is a quarter; if that is also
            fewer than 16, there are none. They detect overfitting, which ends training before the
            budget, and calibrate the logits (`training.validation`). Once the learning rate falls,
            training also uses them. With 0 training uses all traces from the start and never ends
            early, and the temperature of the logits stays 1.
        hidden_columns: Largest share of a trace's columns that training does not show to the
            points, drawn uniformly for each trace. Several columns together identify a trace, and
            the network would memorise its points. Only for `causal`.
        checkpoint_seconds: Time between checkpoints.
        seed: Of initial weights, order of traces, dropout, diffusion times and noise.
        deterministic: Train on one thread, so that the same seed gives the same weights, bit for
            bit, whatever number of threads the process has. On the CPU only. It takes as much
            processor time; on two or more idle cores a step takes longer.

    Raises:
        InputError: No budget is given, or a value is out of range.
    """

    steps: int | None = None
    minutes: float | None = None
    cpu_minutes: float | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float | None = None
    ema_width: float = 0.1
    validation_fraction: float = 0.1
    hidden_columns: float = HIDDEN_COLUMNS
    checkpoint_seconds: float = 60.0
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", checked_seed(self.seed))
        for name in ("steps", "batch_size"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name)))
        if not self.budget():
            raise InputError("training needs an end: give steps or minutes")
        if not 0 <= self.validation_fraction <= 0.5:
            raise InputError(
                f"validation_fraction must lie in 0..0.5, got {self.validation_fraction}"
            )
        if not 0 <= self.hidden_columns <= 1:
            raise InputError(f"hidden_columns must lie in 0..1, got {self.hidden_columns}")
        for name, value in asdict(self).items():
            if name not in MAY_BE_0 and value is not None and not _is_above_0(value):
                raise InputError(f"{name} must be a number above 0, got {value!r}")

    def budget(self) -> dict[str, float]:
        """The given limits among steps, minutes and cpu_minutes."""
        ends = {name: getattr(self, name) for name in ("steps", "minutes", "cpu_minutes")}
        return {name: end for name, end in ends.items() if end is not None}

    def halved(self) -> Recipe:
        """Half of the minutes, for each of two trainings."""
        minutes, cpu = (None if m is None else m / 2 for m in (self.minutes, self.cpu_minutes))
        return replace(self, minutes=minutes, cpu_minutes=cpu)

    def share_done(self, step: int, seconds: float, cpu_seconds: float) -> float:
        """0 at the start, 1 or more at the end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        by_cpu_time = cpu_seconds / (60 * self.cpu_minutes) if self.cpu_minutes else 0.0
        return max(by_steps, by_time, by_cpu_time)


MAY_BE_0 = ("seed", "validation_fraction", "hidden_columns", "weight_decay", "deterministic")


def _is_above_0(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf
