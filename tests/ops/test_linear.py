from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops import _backend
from netdiffus.ops import linear as fast
from netdiffus.ops.linear import FEW, linear

# Of the largest value; the same float32 sums in another order (measured: 1.0e-6).
TOLERANCE = 3e-6


def run(shape: tuple[int, ...], with_bias: bool, gelu: bool, backend: str) -> list[Tensor]:
    """What comes out without a gradient and with one, and the gradient of each argument."""
    generator = torch.Generator().manual_seed(1)
    sizes = (shape, (24, shape[-1]), *([(24,)] if with_bias else []))
    leaves = [torch.randn(size, generator=generator, requires_grad=True) for size in sizes]
    x, weight, *rest = leaves
    given = x, weight, rest[0] if rest else None
    with torch.no_grad():
        plain = linear(*given, gelu=gelu, backend=backend)
    out = linear(*given, gelu=gelu, backend=backend)
    out.square().sum().backward()
    return [plain, out.detach(), *(v.grad for v in leaves)]


@pytest.mark.parametrize("shape", [(3, 5), (FEW, 5), (2, 100, 64), (0, 7), (4, 0, 7), (300, 1)])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("gelu", [True, False])
def test_both_forms_agree(shape: tuple[int, ...], with_bias: bool, gelu: bool) -> None:
    pairs = zip(
        *(run(shape, with_bias, gelu, backend) for backend in ("auto", "torch")), strict=True
    )
    for found, plain in pairs:
        assert found.shape == plain.shape
        if plain.numel():
            assert (found - plain).abs().max() <= TOLERANCE * plain.abs().max()


def test_the_gelu_is_scipys() -> None:
    x = torch.linspace(-6, 6, 2 * FEW).unsqueeze(1)
    with torch.no_grad():
        found = linear(x, torch.ones(1, 1), None, gelu=True)[:, 0]
    exact = x[:, 0].double().numpy()
    np.testing.assert_allclose(found, exact * ndtr(exact), atol=1e-6)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of oneDNN, also where the plain one is the faster."""
    monkeypatch.setattr(_backend, "isa", lambda: "x86-64-v4")
    assert fast._fused() is not None


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("shape", [(FEW, 5), (2, 100, 64), (4 * FEW, 24)])
@pytest.mark.parametrize("gelu", [True, False])
def test_the_fused_product_is_the_plain_one(shape: tuple[int, ...], gelu: bool) -> None:
    x, weight, bias = torch.randn(shape), torch.randn(24, shape[-1]), torch.randn(24)
    with torch.no_grad():
        found = linear(x, weight, bias, gelu=gelu)
        plain = linear(x, weight, bias, gelu=gelu, backend="torch")
    assert (found - plain).abs().max() <= TOLERANCE * plain.abs().max()


def test_a_lower_instruction_set_takes_the_plain_product(instruction_set: str) -> None:
    assert (fast._fused() is not None) == (instruction_set == "x86-64-v4")


def test_other_dtypes_take_the_plain_product() -> None:
    x, weight = torch.rand(2 * FEW, 6).double(), torch.rand(4, 6).double()
    assert torch.equal(linear(x, weight, None), F.linear(x, weight))


def test_strided_rows_and_weights() -> None:
    x, weight = torch.rand(12, 2 * FEW).T, torch.rand(24, 4).T
    for part, other in ((x[:, :6], torch.rand(4, 6)), (x[:, ::2], weight[:, ::4])):
        torch.testing.assert_close(linear(part, other, None), F.linear(part, other))
