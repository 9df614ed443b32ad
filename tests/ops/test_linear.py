from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from netdiffus.ops.linear import FEW, linear


@pytest.mark.parametrize("shape", [(3, 5), (FEW, 5), (2, 100, 64), (0, 7), (4, 0, 7), (300, 1)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_torch(shape: tuple[int, ...], with_bias: bool) -> None:
    made = {}
    for backend in ("auto", "torch"):
        generator = torch.Generator().manual_seed(1)
        x, weight, bias = (
            torch.randn(size, generator=generator, requires_grad=True)
            for size in (shape, (24, shape[-1]), (24,))
        )
        out = linear(x, weight, bias if with_bias else None, backend=backend)
        out.square().sum().backward()
        made[backend] = [out, x.grad, weight.grad, *([bias.grad] if with_bias else [])]
        assert torch.equal(out, F.linear(x, weight, bias if with_bias else None)) or (
            backend == "auto"
        )
    for fast, plain in zip(*made.values(), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-4 * float(shape[-1]) ** 0.5)


def test_other_dtypes_take_the_plain_product() -> None:
    x, weight = torch.rand(2 * FEW, 6).double(), torch.rand(4, 6).double()
    assert torch.equal(linear(x, weight, None), F.linear(x, weight))


def test_strided_rows() -> None:
    x, weight = torch.rand(6, 2 * FEW).T, torch.rand(4, 6)
    torch.testing.assert_close(linear(x, weight, None), F.linear(x, weight))
