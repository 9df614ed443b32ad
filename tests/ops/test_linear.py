from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops.linear import FEW, linear

# Of the largest value; the same float32 sums in another order (measured: 1.0e-6).
TOLERANCE = 3e-6


def run(shape: tuple[int, ...], with_bias: bool, backend: str) -> list[Tensor]:
    """What comes out, and the gradient of each argument."""
    generator = torch.Generator().manual_seed(1)
    sizes = (shape, (24, shape[-1]), *([(24,)] if with_bias else []))
    leaves = [torch.randn(size, generator=generator, requires_grad=True) for size in sizes]
    x, weight, *rest = leaves
    out = linear(x, weight, rest[0] if rest else None, backend=backend)
    out.square().sum().backward()
    return [out.detach(), *(v.grad for v in leaves)]


@pytest.mark.parametrize("shape", [(3, 5), (FEW, 5), (2, 100, 64), (0, 7), (4, 0, 7), (300, 1)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_both_forms_agree(shape: tuple[int, ...], with_bias: bool) -> None:
    pairs = zip(run(shape, with_bias, "auto"), run(shape, with_bias, "torch"), strict=True)
    for fast, plain in pairs:
        assert fast.shape == plain.shape
        if plain.numel():
            assert (fast - plain).abs().max() <= TOLERANCE * plain.abs().max()


def test_other_dtypes_take_the_plain_product() -> None:
    x, weight = torch.rand(2 * FEW, 6).double(), torch.rand(4, 6).double()
    assert torch.equal(linear(x, weight, None), F.linear(x, weight))


def test_strided_rows() -> None:
    x, weight = torch.rand(6, 2 * FEW).T, torch.rand(4, 6)
    torch.testing.assert_close(linear(x, weight, None), F.linear(x, weight))
