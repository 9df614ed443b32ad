"""Training and sampling of the default model, beside the same in plain torch and in diffusers."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from conftest import Ratio, interleaved
from torch import Tensor, nn

import netdiffus
from netdiffus.codec import GasfCodec
from netdiffus.graphed import Graphed
from netdiffus.lab import lab_traffic
from netdiffus.model import Model
from netdiffus.ops.attention import attention
from netdiffus.ops.levels import COSINES, level_chances, level_loss, level_means
from netdiffus.ops.linear import linear
from netdiffus.ops.modulate import TAPS, modulate
from netdiffus.ops.precision import precision
from netdiffus.recipe import ROWS, Recipe
from netdiffus.training import BORDER
from netdiffus.training_state import State
from netdiffus.unet import HEADS
from netdiffus.variants import variants_of

SIZE, STEPS, TRACES = 64, 20, 256
BATCH = ROWS // SIZE


class Training:
    """A model, its optimisers and averaged weights, and a batch to learn from."""

    def __init__(self, backend: str, device: str = "cpu", batch: int | None = None) -> None:
        torch.manual_seed(0)
        self.backend, traces, batch = backend, lab_traffic(), batch or BATCH
        self.model = Model.new(traces, GasfCodec(SIZE, border=BORDER))
        self.model.unet.to(device)
        self.state = State.new(self.model.unet, Recipe(steps=1).learning_rate)
        rows = torch.arange(batch) * 7 % len(traces)
        series, n = self.model.codec.series(traces)[rows], self.model.codec.length
        self.levels = self.model.unet.level_of(series)
        drawn = self.model.codec.edge if backend == "auto" else self.model.codec.draw
        self.x0 = 2 * drawn(series.float().to(device)) - 1
        self.t = torch.randint(0, 1000, (batch,)).to(device)
        self.index = torch.arange(batch, device=device)
        self.variant = torch.from_numpy(variants_of(traces)[0])[rows].to(device)
        self.length = (torch.from_numpy(traces.lengths)[rows].clamp(max=n).float() / n).to(device)

        self.learn: Callable[..., Tensor] = self.update
        if device == "cuda" and backend == "auto":
            self.state.hold_rates(torch.device(device))
            self.learn = Graphed(self.update)

    def update(self, *given: Tensor) -> Tensor:
        *seen, levels = given
        loss = self.state.net(*seen, self.backend, levels=levels).mean()
        for optimizer in self.state.optimizers:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.state.net.parameters(), 1.0)
        for optimizer in self.state.optimizers:
            optimizer.step()
        return loss.detach()

    def noisy(self) -> Tensor:
        diffusion = self.model.diffusion
        if self.backend == "auto":
            return diffusion.q_sample(self.x0, self.t, 0, self.index, whole=False)[0]
        w = torch.randn_like(self.x0)
        alpha = diffusion.alphas_cumprod.to(w.device)[self.t].float().view(-1, 1, 1, 1)
        return alpha.sqrt() * self.x0 + (1 - alpha).sqrt() * (w + w.mT) * 0.5**0.5

    def step(self) -> None:
        self.learn(self.noisy(), self.t, self.variant, self.length, self.levels)
        with torch.no_grad():
            torch._foreach_lerp_(self.state.ema, list(self.state.net.parameters()), 0.01)


def test_training_step_beside_plain(ratio: Ratio) -> None:
    ours, plain = Training("auto"), Training("torch")
    ratio(ours.step, plain.step, bar=1.3, guard=1.05)


def test_training_step_beside_products(ratio: Ratio) -> None:
    """How near a step comes to the time that its arithmetic takes in one large product."""
    from torch.utils.flop_counter import FlopCounterMode

    training = Training("auto")
    with FlopCounterMode(display=False) as counted:
        training.step()
    x, weight = torch.rand(2048, 1024), torch.rand(1024, 1024)
    share = counted.get_total_flops() / (2 * x.numel() * len(weight))

    def products() -> None:
        for _ in range(round(share)):
            linear(x, weight, None)

    ratio(training.step, products, bar=0.5, guard=0.3)


def test_modulate_beside_torch(ratio: Ratio) -> None:
    held = [torch.randn(shape) for shape in ((BATCH, SIZE, 96), *[(BATCH, 96)] * 2)]
    held = [v.requires_grad_() for v in (*held, torch.randn(TAPS, 96), torch.randn(96))]
    g = torch.randn(BATCH, SIZE, 96)

    def run(backend: str) -> None:
        modulate(*held, backend=backend).backward(g)

    ratio(lambda: run("auto"), lambda: run("torch"), bar=2, guard=2)


def test_linear_with_gelu_beside_torch(ratio: Ratio) -> None:
    """As sampling has it, without a gradient."""
    x, weight, bias = torch.rand(ROWS, 96), torch.rand(384, 96), torch.rand(384)

    def run(backend: str) -> None:
        with torch.inference_mode():
            linear(x, weight, bias, gelu=True, backend=backend)

    ratio(lambda: run("auto"), lambda: run("torch"), bar=1, guard=0.6)


@pytest.mark.parametrize(("batch", "points", "bar", "guard"), [(64, SIZE, 1.5, 1.2), (1, 8, 1, 1)])
def test_attention_beside_torch(
    ratio: Ratio, batch: int, points: int, bar: float, guard: float
) -> None:
    """As sampling has it, without a gradient; and of one short trace."""
    qkv = torch.randn(batch, points, 3 * 96)

    def run(backend: str) -> None:
        attention(qkv, HEADS, backend=backend)

    ratio(lambda: run("auto"), lambda: run("torch"), bar=bar, guard=guard)


def series(batch: int = BATCH, device: str = "cpu") -> tuple[Tensor, ...]:
    """Series of two channels, each with the matrix of its class, as `precision` takes them."""
    size, groups = 2 * SIZE, 9
    apart, noise = torch.randn(batch, size), torch.rand(batch) + 0.1
    group, vectors = torch.arange(batch) % groups, torch.randn(groups, size, size)
    given = apart, noise, group, torch.rand(groups, size), vectors
    return tuple(v.to(device) for v in given)


def test_precision_beside_torch(ratio: Ratio) -> None:
    given = series()
    run = lambda backend: precision(*given, backend=backend)  # noqa: E731
    ratio(lambda: run("auto"), lambda: run("torch"), bar=2, guard=2)


class Points:
    """What is known of a batch of points, of one channel of 256 levels and one of 3."""

    def __init__(self, batch: int = BATCH, device: str = "cpu") -> None:
        self.sizes, points = (256, 3), (batch, SIZE, 2)
        levels = sum(self.sizes)
        self.counted, self.told = torch.randn(2, batch, SIZE, levels, device=device)
        self.edge = torch.randn(points, device=device)
        self.variance = torch.rand(batch, device=device) + 0.1
        self.spans = torch.rand(levels, 3, device=device).sort(1).values
        self.known = (self.edge, self.edge, self.variance, self.edge, self.edge, self.spans)
        self.cosines = torch.randn(levels, COSINES, device=device)
        self.own = torch.tensor([7, 257], device=device).expand(points)

    def image(self, backend: str) -> None:
        known = self.counted, *self.known, self.cosines, self.sizes
        chances, _ = level_chances(*known, backend=backend)
        given = chances, self.told, self.edge, self.variance, self.spans, self.sizes
        level_means(*given, backend=backend)

    def loss(self, backend: str) -> None:
        told = self.told.detach().requires_grad_()
        level_loss(self.counted, told, self.own, self.sizes, backend=backend).sum().backward()


@pytest.mark.parametrize("what", ["image", "loss"])
def test_levels_beside_torch(ratio: Ratio, what: str) -> None:
    run = getattr(Points(), what)
    ratio(lambda: run("auto"), lambda: run("torch"), bar=1.5, guard=1.2)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model.new(lab_traffic(), GasfCodec(SIZE, border=BORDER))


def with_diffusers(model: Model) -> Tensor:
    """The images of as many traces, by diffusers' own sampler and torch's noise."""
    from diffusers import DPMSolverMultistepScheduler

    warnings.simplefilter("ignore")  # NumPy's deprecations inside diffusers; pytest restores them
    scheduler = DPMSolverMultistepScheduler(
        trained_betas=_betas(model.diffusion.alphas_cumprod), prediction_type="sample"
    )
    scheduler.set_timesteps(STEPS)
    parts = []
    for first in range(0, TRACES, 64):
        label = torch.arange(first, first + 64) % len(model.classes)
        side = model.unet_config.size
        xt = torch.randn(64, model.unet_config.channels, side, side)
        for t in scheduler.timesteps:
            out = model.unet(xt, t.expand(64), label, torch.ones(64), "torch")
            xt = scheduler.step(out, t, xt).prev_sample
        scheduler.set_timesteps(STEPS)
        parts.append(xt)
    return torch.cat(parts)


def _betas(alphas_cumprod: Tensor) -> list[float]:
    before = torch.cat([torch.ones(1), alphas_cumprod[:-1]])
    return (1 - alphas_cumprod / before).tolist()


def test_sampling_beside_reference(ratio: Ratio, model: Model) -> None:
    def run(fast: bool) -> None:
        netdiffus.sample(model, TRACES, fast=fast, steps=STEPS, seed=0)

    ratio(lambda: run(True), lambda: run(False), bar=1.5, guard=1, pairs=3)


def test_sampling_beside_diffusers(ratio: Ratio, model: Model) -> None:
    """Theirs makes images only; ours reads them back as traces, too."""

    def theirs() -> None:
        with torch.inference_mode():
            with_diffusers(model)

    ours = lambda: netdiffus.sample(model, TRACES, steps=STEPS, seed=0)  # noqa: E731
    ratio(ours, theirs, bar=1.5, guard=1, pairs=3)


def test_reference_beside_diffusers(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    """The third of the three times, for the record: the plain path beside diffusers' loop."""
    ours = lambda: netdiffus.sample(model, TRACES, fast=False, steps=STEPS, seed=0)  # noqa: E731
    with torch.inference_mode(), capsys.disabled():
        found = interleaved(ours, lambda: with_diffusers(model), 3)
        print(f"\nfast=False beside diffusers: {found:.2f}")
