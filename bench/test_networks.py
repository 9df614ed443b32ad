"""Training and sampling of the default model, beside the same in plain torch; ops of networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from conftest import Ratio
from torch import Tensor, nn

import netdiffus
from netdiffus.codec import TokenCodec
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.ops.linear import linear
from netdiffus.traces.lab import lab_traffic
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import State
from netdiffus.training.cuda_graph import Graphed
from netdiffus.training.recipe import Recipe

RECIPE = Recipe(steps=1, weight_decay=0.2)
TRACES = 256  # to sample
POINTS, WIDTH = 64, 96
ROWS = 64 * POINTS  # of a batch


def new_model() -> Model:
    """Of the width that the bars were set at; a narrower one spends more time beside products."""
    return Model.new(lab_traffic(), TokenCodec(POINTS), width=WIDTH, seed=0)


class Training:
    """A model, its optimiser and averaged weights, and a batch to learn from."""

    def __init__(self, fast: bool, device: str = "cpu", batch: int = RECIPE.batch_size) -> None:
        model = new_model()
        self.state = State.new(model.network.to(device), RECIPE)
        data = Batches(model, lab_traffic(), batch, 0.0, 0, device=torch.device(device))
        self.batch = data.batch(0)
        self.learn: Callable[..., Tensor] = self.update
        if device == "cuda" and fast:
            self.state.hold_rates(torch.device(device))
            self.learn = Graphed(self.update)

    def update(self, *batch: Tensor) -> Tensor:
        loss: Tensor = self.state.net.loss(Batch(*batch))  # type: ignore[operator]
        self.state.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.state.net.parameters(), 1.0)
        self.state.optimizer.step()
        return loss.detach()

    def step(self) -> None:
        self.learn(*self.batch)
        self.state.average(RECIPE.ema_width)


def test_training_step_beside_products(ratio: Ratio) -> None:
    """How near a step comes to the time that its arithmetic takes in one large product."""
    from torch.utils.flop_counter import FlopCounterMode

    training = Training(fast=True)
    with FlopCounterMode(display=False) as counted:
        training.step()
    x, weight = torch.rand(2048, 1024), torch.rand(1024, 1024)
    share = counted.get_total_flops() / (2 * x.numel() * len(weight))

    def products() -> None:
        for _ in range(round(share)):
            torch.mm(x, weight.T)

    ratio(training.step, products, bar=0.5, guard=0.3)


def test_sampling_beside_reference(ratio: Ratio) -> None:
    model = new_model()

    def run(fast: bool) -> None:
        netdiffus.sample(model, TRACES, fast=fast, seed=0)

    ratio(lambda: run(True), lambda: run(False), bar=1.5, guard=1, pairs=3)


def test_linear_with_gelu_beside_torch(ratio: Ratio) -> None:
    """As sampling has it, without a gradient."""
    x, weight, bias = torch.rand(ROWS, WIDTH), torch.rand(4 * WIDTH, WIDTH), torch.rand(4 * WIDTH)

    def run(backend: str) -> None:
        with torch.inference_mode():
            linear(x, weight, bias, gelu=True, backend=backend)

    ratio(lambda: run("auto"), lambda: run("torch"), bar=1, guard=0.6)
