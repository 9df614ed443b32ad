"""A running training: its parts and its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from netdiffus.model.model import Model
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import State
from netdiffus.training.recipe import Recipe


@dataclass
class Run:
    """A running training.

    Attributes:
        accelerator: Knows the processes.
        recipe: Budget and settings.
        model: The model that is trained; gets the averaged weights at the end.
        state: Everything that changes.
        data: Gives the batches.
        step: Gradient and optimiser on one batch; returns the loss.
        target: The device.
        folder: Where this process writes, if it does.
        log: Its log there.
        fingerprint: Settings and hash that must stay the same when a run is resumed.
        learned: Traces, points, budget and settings, for the model card.
        progress: Called after each step.
        ended: Why training ended; None before.
    """

    accelerator: Accelerator
    recipe: Recipe
    model: Model
    state: State
    data: Batches
    step: Callable[..., Tensor]
    target: torch.device
    folder: Path | None
    log: Path | None
    fingerprint: dict[str, Any]
    learned: dict[str, Any]
    progress: Callable[[float, str], None]
    ended: str | None = None

    @property
    def share(self) -> float:
        """The share of the budget that is used."""
        state = self.state
        return self.recipe.share_done(state.step, state.seconds, state.cpu_seconds)
