"""Noise and the forward step, beside torch's own."""

from __future__ import annotations

import pytest
import torch
from conftest import Ratio
from torch import Tensor

from netdiffus.ops import normal, q_sample

BATCH, SIZE = 1024, 64


@pytest.fixture
def x0() -> Tensor:
    return 2 * torch.rand(BATCH, 1, SIZE, SIZE) - 1


@pytest.mark.parametrize("symmetric", [True, False])
def test_normal_beside_torch(ratio: Ratio, x0: Tensor, symmetric: bool) -> None:
    index, shape = torch.arange(BATCH), x0.shape[1:]
    ours = lambda: normal(0, index, 0, shape, symmetric=symmetric, out=x0)  # noqa: E731
    ratio(ours, x0.normal_, bar=1, guard=1.2)


@pytest.mark.parametrize("symmetric", [True, False])
def test_q_sample_beside_torch(ratio: Ratio, x0: Tensor, symmetric: bool) -> None:
    """Ours gives the target v as well."""
    signal = torch.rand(BATCH)
    sigma, index = torch.sqrt(1 - signal**2), torch.arange(BATCH)
    a, b = signal.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    out = [torch.empty_like(x0), torch.empty_like(x0)]

    def ours() -> None:
        q_sample(x0, signal, sigma, 0, index, symmetric=symmetric, out=out)

    ratio(ours, lambda: a * x0 + b * torch.randn_like(x0), bar=1.5, guard=1.5)


def test_q_sample_of_one_small_image(ratio: Ratio) -> None:
    x0, signal, sigma, index = torch.rand(1, 8, 8), torch.rand(1), torch.rand(1), torch.arange(1)

    def eager() -> tuple[Tensor, Tensor]:
        a, b, eps = signal.view(-1, 1, 1), sigma.view(-1, 1, 1), torch.randn_like(x0)
        return a * x0 + b * eps, a * eps - b * x0

    ratio(lambda: q_sample(x0, signal, sigma, 0, index), eager, bar=1, guard=0.5)
