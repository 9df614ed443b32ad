"""One optimiser step: the loss of a batch, its gradient, the new weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor

from netdiffus.networks.batch import Batch
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.image import ImageNetwork
from netdiffus.training.checkpoint import State
from netdiffus.training.cuda_graph import Graphed

MOST_GRADIENT = 1.0  # norm that gradients are clipped to


def train_step(
    accelerator: Accelerator, loss: torch.nn.Module, state: State, *batch: Tensor
) -> Tensor:
    """One optimiser step on a batch; returns the loss before the step."""
    value = loss(*batch)
    state.optimizer.zero_grad()
    accelerator.backward(value)
    accelerator.clip_grad_norm_(state.net.parameters(), MOST_GRADIENT)
    state.optimizer.step()
    detached: Tensor = value.detach()
    return detached


def prepared_step(
    accelerator: Accelerator, state: State, target: torch.device
) -> Callable[..., Tensor]:
    """`train_step` of a batch, with all processes; as a CUDA graph where possible."""
    loss, state.optimizer = accelerator.prepare(Loss(state.net), state.optimizer)
    step = partial(train_step, accelerator, loss, state)
    # A graph replays the same work; the work of `series` and `masked` depends on their input.
    is_fixed = isinstance(state.net, CausalNetwork | ImageNetwork)
    if is_fixed and target.type == "cuda" and accelerator.num_processes == 1:
        state.hold_rates(target)
        return Graphed(step)
    return step


class Loss(torch.nn.Module):
    """The loss of a network as the `forward` of a module, for distributed training."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *batch: Tensor) -> Tensor:
        """The mean loss of the traces of a batch."""
        value: Tensor = self.net.loss(Batch(*batch))  # type: ignore[operator]
        return value
