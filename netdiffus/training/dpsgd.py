"""DP-SGD (Abadi et al., 2016, https://arxiv.org/abs/1607.00133) of the default network.

Each step draws every unit of privacy (a trace, or a group of traces) with the same probability q,
clips the gradient of each of its traces, adds normal noise to the sum of all, and divides by the
number of traces that a step draws on average. The contribution of a unit to the sum has norm 1 at
most.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from netdiffus.arrays import Ints
from netdiffus.networks.causal import CausalNetwork

MOST_GRADIENT = 1.0  # norm of what one unit adds to the sum, at most
AT_ONCE = 128  # traces whose gradients are in memory at the same time
AVERAGED = 0.95  # share of the average of the weights that one step keeps
LAST_RATE = 0.05  # learning rate of the last step, over that of the first
SUMMANDS = 4  # normal numbers that each number of the noise is made of
Weights = dict[str, Tensor]
OfEach = Callable[[Weights, Tensor, Tensor, Tensor], Weights]


@dataclass(frozen=True)
class Private:
    """Settings of DP-SGD.

    Attributes:
        steps: Of the optimiser.
        share: Probability q with which a step draws a unit.
        traces: Traces that a step draws on average, as a number that reveals nothing private.
        noise: Standard deviation of the noise, over `MOST_GRADIENT`.
        most: Traces of a unit at most.
        rate: Learning rate of the first step.
    """

    steps: int
    share: float
    traces: float
    noise: float
    most: int
    rate: float


def learn_privately(
    net: CausalNetwork,
    data: tuple[Tensor, Tensor, Tensor],
    units: Ints,
    private: Private,
    shown: Callable[[int], bool],
) -> int:
    """Trains a network from its present weights, and leaves it with weights averaged over steps.

    Dropout, jitter and hidden points are off, as the noise prevents overfitting.

    Args:
        net: The network.
        data: Tokens (N, T, F), classes (N,) and columns (N, J), of any type of whole numbers.
        units: (N,) the unit of each trace, from 0.
        private: How.
        shown: Called after each step with its number; true ends the training.

    Returns:
        Steps done.
    """
    net.eval()
    net.logits.temperature.fill_(1.0)
    rng = np.random.default_rng(secrets.randbits(128))
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, private.rate, (0.9, 0.95), weight_decay=0.0)
    last = private.rate * LAST_RATE
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, private.steps, last)
    averages = [one.detach().clone() for one in parameters]
    of_each, number = gradient_of_each(net), int(units.max()) + 1
    for step in range(1, private.steps + 1):
        is_drawn = rng.random(number) < private.share
        rows = torch.from_numpy(np.flatnonzero(is_drawn[units]))
        drawn = [one[rows].long() for one in data]
        found = clipped_sum(of_each, net, drawn, MOST_GRADIENT / private.most)
        for name, parameter in net.named_parameters():
            noise = normal(parameter.shape) * (private.noise * MOST_GRADIENT)
            parameter.grad = (found[name] + noise) / private.traces
        optimizer.step()
        schedule.step()
        torch._foreach_lerp_(averages, [one.detach() for one in parameters], 1 - AVERAGED)
        if shown(step):
            break
    with torch.no_grad():
        for parameter, average in zip(parameters, averages, strict=True):
            parameter.copy_(average)
            parameter.grad = None
    return step


def gradient_of_each(net: CausalNetwork) -> OfEach:
    """A function: weights, tokens (B, T, F), classes (B,), columns (B, J) -> gradients (B, …)."""
    module = _LossOfTrace(net)

    def loss(weights: Weights, *trace: Tensor) -> Tensor:
        named = {f"net.{name}": one for name, one in weights.items()}
        value: Tensor = functional_call(module, named, trace)
        return value

    return vmap(grad(loss), in_dims=(None, 0, 0, 0))


class _LossOfTrace(nn.Module):
    """-log p(points, columns | class) of one trace, over T."""

    def __init__(self, net: CausalNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor, label: Tensor, columns: Tensor) -> Tensor:
        """Of tokens (T, F), a class and columns (J,)."""
        tokens, label, columns = (one.unsqueeze(0) for one in (tokens, label, columns))
        with sdpa_kernel(SDPBackend.MATH):  # the others cannot do single gradients
            points, _ = self.net.log_loss(tokens, label, columns, fixed=True)
        lost = points.sum() + self.net.conditions.log_loss(label, columns).sum()
        return lost / tokens.shape[1]


def clipped_sum(of_each: OfEach, net: CausalNetwork, data: list[Tensor], most: float) -> Weights:
    """Sum of the gradients of traces, each clipped to the norm `most`.

    Gradients that are not finite are left out, because clipping would not bound them.
    """
    weights = {name: one.detach() for name, one in net.named_parameters()}
    total = {name: torch.zeros_like(one) for name, one in weights.items()}
    for part in torch.split(torch.arange(len(data[0])), AT_ONCE):
        if not len(part):  # no trace was drawn
            break
        found = of_each(weights, *(one[part] for one in data))
        norms = torch.stack([one.flatten(1).norm(dim=1) for one in found.values()]).norm(dim=0)
        is_finite = norms.isfinite()
        scale = (most / norms.clamp(min=1e-12)).clamp(max=1.0)[is_finite]
        for name, one in found.items():
            total[name] += torch.tensordot(scale, one[is_finite], 1)
    return total


def normal(shape: torch.Size) -> Tensor:
    """Normal numbers from the system's random source, float32; no seed reproduces them.

    Each is the sum of four numbers, divided by 2, so that rounding does not reveal earlier numbers
    (Holohan and Braghin, 2021, https://arxiv.org/abs/2107.10138).
    """
    count = SUMMANDS * shape.numel()
    bits = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
    found = ndtri((bits + 0.5) * 2.0**-53).reshape(SUMMANDS, -1).sum(0) / SUMMANDS**0.5
    return torch.from_numpy(found).float().view(shape)
