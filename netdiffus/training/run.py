"""A training under way: what it works on, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from netdiffus.model.model import Model
from netdiffus.networks.build import DISTILLED
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import State
from netdiffus.training.distill import Taught
from netdiffus.training.recipe import Recipe

FEWEST_STEPS = 100  # of a student: below it would not have warmed up; the network then stays
ENOUGH_STEPS = 1000  # of a student whose teacher was overfitting, if half the teacher's are fewer


@dataclass
class Run:
    """A training under way.

    Attributes:
        accelerator: Knows the processes.
        recipe: Budget and settings.
        model: What is trained; gets the averaged weights at the end.
        state: All that changes.
        data: Gives the batches: of the traces, or to a student of what its teacher makes.
        step: Gradient and optimiser on one batch; returns the loss.
        target: The device.
        folder: Where this process writes, if it does.
        log: Its log there.
        fingerprint: What must not change between the parts of one run.
        learned: What is learned from: traces, points, budget and settings.
        progress: Called after each step.
        ended: Why training ended; None before.
    """

    accelerator: Accelerator
    recipe: Recipe
    model: Model
    state: State
    data: Batches | Taught
    step: Callable[..., Tensor]
    target: torch.device
    folder: Path | None
    log: Path | None
    fingerprint: dict[str, Any]
    learned: dict[str, Any]
    progress: Callable[[float, str], None]
    ended: str | None = None

    @property
    def used(self) -> float:
        """The share of the whole budget that is used."""
        state = self.state
        return self.recipe.share_done(state.step, state.seconds, state.cpu_seconds)

    @property
    def has_student(self) -> bool:
        """Whether a student takes the network's place, if the budget lasts for it."""
        share = self.recipe.teacher_share
        if self.model.preset not in DISTILLED or share == 1:
            return False
        steps = self.state.step / self.used if self.used else math.inf  # in the whole budget
        return self.state.teacher is not None or steps * (1 - share) >= FEWEST_STEPS

    @property
    def share(self) -> float:
        """The share of the training of this network that is done: of a teacher, of a student.

        A student takes the rest of the budget. Where its teacher was overfitting, and ended before
        its share of the budget, the student takes half as many steps, or 1,000 if those are fewer.
        """
        state, recipe = self.state, self.recipe
        if (teacher := state.teacher) is None:
            return self.used / recipe.teacher_share if self.has_student else self.used
        before = recipe.share_done(teacher.step, teacher.seconds, teacher.cpu_seconds)
        by_budget = (self.used - before) / max(1 - before, 1e-9)
        by_steps = state.own_step / max(teacher.step / 2, ENOUGH_STEPS)
        return max(by_budget, by_steps if teacher.schedule.is_overfitting else 0.0)

    @property
    def done(self) -> float:
        """The share of all training that is done, for whoever waits for it."""
        teacher = self.recipe.teacher_share if self.has_student else 1.0
        if self.state.teacher is None:
            return teacher * self.share
        return teacher + (1 - teacher) * self.share

    @property
    def is_over(self) -> bool:
        """Whether the training of this network has come to its end."""
        return self.state.schedule.is_over(self.state.own_step, self.share)

    @property
    def wants_decay(self) -> bool:
        """Whether the learning rate should begin to fall."""
        return self.state.schedule.wants_decay(self.share)
