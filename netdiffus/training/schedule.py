"""When the learning rate falls, and when training ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DECAY = 1 / 3  # last share of the steps, in which the learning rate falls
LEAST_RATE = 0.05  # what it falls to, as a share
WARM_UP = 50  # steps in which it rises
FEWEST = 8  # validation losses that tell of a plateau
RECENT = 0.25  # share of them, the last, that must be lower than those before
GAIN = 0.03  # by this share at least
GAP = 0.14  # of the validation loss above that of traces that were learned from, as a share of it


@dataclass
class Schedule:
    """The learning rate of each step, and the validation losses that it depends on.

    The rate rises (warm-up), stays constant, and falls (decay) in the last third of the steps. The
    decay begins earlier if the network is overfitting, by two signs. The validation loss has
    reached a plateau: the lowest of the last quarter of all losses is not 3 % below the lowest
    before. And the loss on training traces is at least 14 % below the validation loss. Training
    then ends after half as many steps again. During the decay training also uses the validation
    traces, and no validation loss is measured.

    Attributes:
        losses: Validation losses, measured at equal distances.
        learned_loss: The last loss on as many training traces, measured the same way.
        temperature: That of the logits, in these measurements and in the model.
        decay_step: The step in which the rate began to fall; None before.
        decay_share: The share of the budget that was used by then.
        is_early: Whether it began to fall because the network was overfitting.
    """

    losses: list[float] = field(default_factory=list)
    learned_loss: float = math.inf
    temperature: float = 1.0
    decay_step: int | None = None
    decay_share: float = 0.0
    is_early: bool = False

    @property
    def least_loss(self) -> float:
        """The least validation loss; infinite before the first."""
        return min(self.losses, default=math.inf)

    @property
    def is_plateau(self) -> bool:
        """Whether the validation loss has stopped falling."""
        before = self.losses[: math.ceil((1 - RECENT) * len(self.losses))]
        return len(self.losses) >= FEWEST and self.least_loss > (1 - GAIN) * min(before)

    @property
    def is_overfitting(self) -> bool:
        """Whether the network is overfitting, by the two signs that the class names."""
        return self.is_plateau and self.learned_loss < (1 - GAP) * self.losses[-1]

    def wants_decay(self, share: float) -> bool:
        """Whether the fall should begin, after this share of the budget."""
        return share >= 1 - DECAY or self.is_overfitting

    def begin_decay(self, step: int, share: float) -> None:
        """Lets the rate fall from this step on."""
        self.decay_step, self.decay_share, self.is_early = step, share, self.is_overfitting

    def decayed(self, step: int, share: float) -> float:
        """Progress of the decay, from 0 to 1, at a step and a share of the budget."""
        if self.decay_step is None:
            return 0.0
        by_budget = (share - self.decay_share) / max(1 - self.decay_share, 1e-9)
        by_steps = (step - self.decay_step) * (1 / DECAY - 1) / max(self.decay_step, 1)
        return min(1.0, max(by_budget, by_steps if self.is_early else 0.0))

    def rate(self, step: int, share: float) -> float:
        """The rate as a share of its peak: linear warm-up, constant, half-cosine decay."""
        rising = min(1.0, (step + 1) / WARM_UP)
        wave = 0.5 * (1 + math.cos(math.pi * self.decayed(step, share)))
        return rising * (LEAST_RATE + (1 - LEAST_RATE) * wave)

    def is_over(self, step: int, share: float) -> bool:
        """Whether training ends."""
        return share >= 1 or (self.decay_step is not None and self.decayed(step, share) >= 1)
