from __future__ import annotations

import pytest
import torch
from everywhere import assert_same_everywhere
from scipy.special import softmax
from torch import Tensor

from netdiffus.ops.attention import attention

# Of the largest value; measured 1.1e-6 and 1.6e-15 with the kernel.
TOLERANCE = {torch.float32: 3e-6, torch.float64: 4e-15}
SHAPES = [(1, 1, 4, 1), (2, 3, 8, 2), (3, 17, 96, 4), (2, 64, 40, 5), (1, 131, 9, 3)]
both = pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)


def made(batch: int, n: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(n + width)
    return torch.randn(batch, n, 3 * width, generator=generator, dtype=torch.float64).to(dtype)


def by_hand(qkv: Tensor, heads: int) -> Tensor:
    """With NumPy and SciPy."""
    batch, n, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = qkv.double().numpy().reshape(batch, n, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    shares = softmax(q @ k.swapaxes(2, 3) / (width / heads) ** 0.5, axis=3)
    return torch.from_numpy((shares @ v).swapaxes(1, 2).reshape(batch, n, width))


@both
@pytest.mark.parametrize(("batch", "n", "width", "heads"), SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values(
    backend: str, batch: int, n: int, width: int, heads: int, dtype: torch.dtype
) -> None:
    qkv = made(batch, n, width, dtype)
    found, expected = attention(qkv, heads, backend=backend), by_hand(qkv, heads)
    assert found.dtype is dtype
    assert (found - expected).abs().max() <= TOLERANCE[dtype] * max(1, expected.abs().max())


@both
def test_products_of_any_size(backend: str) -> None:
    """Neither overflow nor lose what is small beside the largest."""
    qkv = 100 * made(2, 20, 12)
    torch.testing.assert_close(
        attention(qkv, 2, backend=backend).double(), by_hand(qkv, 2), rtol=1e-4, atol=1e-3
    )


@both
def test_strides_and_nothing(backend: str) -> None:
    qkv = made(3, 19, 8)
    turned = qkv.mT.contiguous().mT
    found = attention(turned, 2, backend=backend)
    torch.testing.assert_close(found, attention(qkv, 2, backend=backend), rtol=0, atol=1e-6)
    for none in (qkv[:0], qkv[:, :0], qkv[..., :0]):
        assert attention(none, 2, backend=backend).shape == (*none.shape[:2], none.shape[2] // 3)


@both
def test_nan_stays_in_its_trace_and_head(backend: str) -> None:
    qkv = made(3, 19, 8)
    qkv[1, 5, 2] = torch.nan  # a query of the first head
    qkv[2, 4, 13] = torch.nan  # a key of the second
    bad = attention(qkv, 2, backend=backend).isnan()
    assert bad[1, 5, :4].all()
    assert bad[2, :, 4:].all()
    assert bad.sum() == 4 + 19 * 4


def test_batches_change_nothing() -> None:
    qkv = made(9, 35, 24)
    whole = attention(qkv, 3, backend="cpp")
    for part in (slice(0, 1), slice(1, 9)):
        assert torch.equal(attention(qkv[part], 3, backend="cpp"), whole[part])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_same_bits_everywhere(dtype: torch.dtype) -> None:
    qkv = made(16, 67, 24, dtype)  # several threads' work
    assert_same_everywhere(lambda: [attention(qkv, 3, backend="cpp")])


def test_gradients_are_torchs() -> None:
    qkv = made(2, 5, 6, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attention(x, 2), [qkv])
    with pytest.raises(ValueError, match="has no gradient"):
        attention(qkv, 2, backend="cpp")


def test_bfloat16_is_the_same_but_for_its_rounding() -> None:
    """On the CPU a form of its own, for learning."""
    qkv = made(3, 19, 8, torch.bfloat16)
    found = attention(qkv, 2)
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.double(), by_hand(qkv, 2), rtol=2e-2, atol=2e-2)


def test_compiles_into_one_graph() -> None:
    qkv = made(2, 5, 8)
    compiled = torch.compile(attention, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(qkv, 2), attention(qkv, 2))


@pytest.mark.parametrize(
    ("qkv", "heads", "backend", "message"),
    [
        (torch.rand(4, 12), 2, "auto", r"qkv: expected \(B, n, 3 w\), .* found \(4, 12\)"),
        (torch.rand(1, 4, 12), 3, "auto", r"w a multiple of 3 heads, found \(1, 4, 12\)"),
        (torch.rand(1, 4, 12), 0, "auto", "0 heads"),
        (torch.rand(1, 1, 1).expand(1, 2**16, 3 * 2**16), 1, "auto", "qkv: .* more than 2"),
        (torch.rand(1, 4, 12).half(), 2, "cpp", "backend='cpp': expected torch.float32"),
        (torch.rand(1, 4, 12), 2, "triton", "no such kernel; use one of 'cpp', 'torch'"),
    ],
)
def test_bad_input(qkv: Tensor, heads: int, backend: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention(qkv, heads, backend=backend)
