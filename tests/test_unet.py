from __future__ import annotations

import pytest
import torch
from torch import Tensor

from netdiffus.covariance import Covariance
from netdiffus.diffusion import Diffusion
from netdiffus.levels import Levels
from netdiffus.ops import linear as products
from netdiffus.totals import Totals
from netdiffus.unet import CONDITION, DefaultUNet, UNetConfig


def shape(preset: str = "default", totals: bool = False, **sizes: int) -> UNetConfig:
    levels = (20,) * sizes.get("channels", 1)
    same = {"border": 1, "classes": 3, "width": 16, "groups": 3}
    return UNetConfig(preset, levels=levels, totals=totals, **same, **sizes)


def inputs(config: UNetConfig, batch: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    xt = torch.randn(batch, config.channels, config.size, config.size, generator=generator)
    t = torch.randint(0, 1000, (batch,), generator=generator)
    label = torch.randint(0, config.classes, (batch,), generator=generator)
    return xt, t, label, torch.rand(batch, generator=generator)


def learned(config: UNetConfig) -> torch.nn.Module:
    """A network whose gates are open, as they are after training."""
    torch.manual_seed(3)
    net = config.build()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if isinstance(net, DefaultUNet):
        series = torch.arange(40 * config.channels * config.points) % 20 / 20
        series = series.view(config.channels, 40, config.points).transpose(0, 1)
        inside, labels = torch.ones(40, config.points) > 0, torch.arange(40) % config.classes
        given = series, inside, labels, config.classes
        known: list[Levels | Covariance | Totals] = [Levels.fit(*given), Covariance.fit(*given)]
        if config.totals:
            worth = torch.rand(config.classes, config.points, sum(config.levels))
            known.append(Totals.fit(worth, net.level_of(series), inside, labels, config.levels))
        net.know(*known, alphas_cumprod=Diffusion(schedule="log").alphas_cumprod)
    return net


# Of the largest value. What other points tell is a small difference of large numbers: either form
# is 2.5e-5 from the same in float64, at size 32.
TOLERANCE = 5e-5
# The same where products are of bfloat16, of 8 bits (measured: 1.8e-2).
HALF_TOLERANCE = 3e-2


@pytest.fixture(params=[False, True], ids=["singles", "halves"])
def tolerance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """With products of each kind, whatever the processor is faster at."""
    monkeypatch.setattr(products, "multiplies_halves", lambda: request.param)
    return HALF_TOLERANCE if request.param else TOLERANCE


SHAPES = {
    "default": shape(channels=2, size=7),
    "one point": shape(channels=2, size=2),
    "larger": shape(channels=2, size=32),
    "patches": shape(channels=2, size=12, patch=4, totals=True),
    "paper": shape("paper", channels=2, size=7),
    "paper, larger": shape("paper", channels=2, size=32),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=list(SHAPES))
def test_plain_and_fast_forms_agree(config: UNetConfig, tolerance: float) -> None:
    net, made = learned(config), {}
    for backend in ("auto", "torch"):
        net.zero_grad()
        out = net(*inputs(config, batch=9), backend)
        out.square().mean().backward()
        made[backend] = [out.detach(), *(p.grad.clone() for p in net.parameters())]
    for fast, plain in zip(*made.values(), strict=True):
        assert (fast - plain).abs().max() <= tolerance * plain.abs().max()


def test_both_forms_learn_alike(tolerance: float) -> None:
    config = shape(channels=2, size=9)
    net, made = learned(config), {}
    xt, t, label, length = inputs(config, batch=5)
    levels = net.level_of(torch.arange(5 * 2 * 8).view(5, 2, 8) % 20 / 20)
    for backend in ("auto", "torch"):
        net.zero_grad()
        out = net(xt, 500 + t // 2, label, length, backend, levels=levels)
        out.mean().backward()
        made[backend] = [out.detach(), *(p.grad.clone() for p in net.parameters())]
    for fast, plain in zip(*made.values(), strict=True):
        assert (fast - plain).abs().max() <= tolerance * plain.abs().max()


def test_a_patch_answers_for_its_own_points() -> None:
    """Blocks begin as the identity, so what a token is told reaches it and its partner alone."""
    net = shape(size=13, patch=3).build()
    torch.nn.init.normal_(net.levels.weight)
    features, c = torch.rand(1, 12, 37), torch.rand(1, CONDITION)
    before, touched = net._told(features, c, "torch"), features.clone()
    touched[:, 7] += 1
    changed = (net._told(touched, c, "torch") - before).abs().amax((0, 2)) > 1e-4
    assert changed.tolist() == [False] * 6 + [True] * 6


def test_default_is_symmetric() -> None:
    config = shape(channels=2, size=9)
    out = learned(config)(*inputs(config, batch=2))
    assert torch.equal(out, out.mT)


def test_default_takes_the_border_alone() -> None:
    config = shape(channels=2, size=9)
    net, (xt, *given) = learned(config), inputs(config, batch=3)
    assert torch.equal(net(xt, *given), net(xt[:, :, :8, 8:], *given))


def test_default_depends_on_all_it_is_told() -> None:
    config = shape(channels=1, size=9)
    net = learned(config)
    xt, t, label, length = inputs(config, batch=1)
    plain = net(xt, t, label, length)
    assert not torch.allclose(plain, net(xt + 1, t, label, length))
    assert not torch.allclose(plain, net(xt, 999 - t, label, length))
    assert not torch.allclose(plain, net(xt, t, (label + 1) % 3, length))
    assert not torch.allclose(plain, net(xt, t, label, 1 - length))
