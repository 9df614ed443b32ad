"""One reverse step, beside the expression in torch and beside moving as many bytes."""

from __future__ import annotations

import pytest
import torch
from conftest import Ratio
from torch import Tensor

from netdiffus.ops import Step, denoise_step

BATCH, SIZE = 1024, 64
PLAIN = Step(0, a=0.9, b=-0.4, c=0.7, d=0.3)
SECOND_ORDER = Step(0, a=0.9, b=-0.4, c=0.7, d=0.4, e=-0.1)
NOISY = Step(0, a=0.9, b=-0.4, c=0.7, d=0.3, sigma=0.2)


def eager(step: Step, xt: Tensor, out_net: Tensor, x0_prev: Tensor) -> tuple[Tensor, Tensor]:
    x0 = (step.a * xt + step.b * out_net).clamp(-1, 1)
    x_next = step.c * xt + step.d * x0
    if step.e:
        x_next = x_next + step.e * x0_prev
    if step.sigma:
        x_next = x_next + step.sigma * torch.randn_like(xt)
    return x_next, x0


@pytest.fixture
def images() -> list[Tensor]:
    """xt, out_net, x0_prev and room for x_next and x0."""
    return [torch.rand(BATCH, 1, SIZE, SIZE) for _ in range(5)]


@pytest.mark.parametrize(
    ("step", "moved"), [(PLAIN, 4), (SECOND_ORDER, 5)], ids=["first", "second"]
)
def test_beside_copy_of_as_many_bytes(
    ratio: Ratio, images: list[Tensor], step: Step, moved: int
) -> None:
    source = torch.rand(moved * images[0].numel() // 2)
    target = torch.empty_like(source)
    ours = lambda: denoise_step(step, *images[:3], out=images[3:])  # noqa: E731
    ratio(ours, lambda: target.copy_(source), bar=0.8, guard=0.4)


@pytest.mark.parametrize("step", [PLAIN, SECOND_ORDER], ids=["first", "second"])
def test_beside_torch(ratio: Ratio, images: list[Tensor], step: Step) -> None:
    ours = lambda: denoise_step(step, *images[:3], out=images[3:])  # noqa: E731
    ratio(ours, lambda: eager(step, *images[:3]), bar=3, guard=1.6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_with_noise_beside_torch(ratio: Ratio, images: list[Tensor], symmetric: bool) -> None:
    index = torch.arange(BATCH)

    def ours() -> None:
        denoise_step(NOISY, *images[:3], index=index, symmetric=symmetric, out=images[3:])

    ratio(ours, lambda: eager(NOISY, *images[:3]), bar=2, guard=3)


@pytest.mark.parametrize("step", [PLAIN, NOISY], ids=["plain", "noisy"])
def test_of_one_small_image(ratio: Ratio, step: Step) -> None:
    xt, out_net, index = torch.rand(1, 8, 8), torch.rand(1, 8, 8), torch.arange(1)
    ours = lambda: denoise_step(step, xt, out_net, None, index=index)  # noqa: E731
    ratio(ours, lambda: eager(step, xt, out_net, xt), bar=1, guard=0.9)
