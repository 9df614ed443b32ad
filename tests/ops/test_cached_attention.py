from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from everywhere import DTYPES
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops.cached_attention import _LONGEST_ON_CUDA, cached_attention

# Of the largest value; measured 1.7e-7, 4e-16, 3e-4 and 2.7e-3 with torch, less with the kernel for
# the CPU. Halves are rounded by half a step at the end, of torch's own attention the shares, too;
# Triton's interpreter cuts bfloat16 off.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TOLERANCE = {
    torch.float32: 1e-6,
    torch.float64: 2e-15,
    torch.float16: 2**-10,
    torch.bfloat16: 2 ** (-6 if INTERPRETED else -7),
}
# Batch, heads, points of the cache, features of a head.
SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (3, 4, 33, 24), (2, 2, 70, 32), (1, 2, 19, 77)]


def made(
    batch: int, heads: int, length: int, width: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Queries, keys and values of a whole sequence: (length, batch, 3 heads width)."""
    generator = torch.Generator().manual_seed(length + width)
    shape = length, batch, 3 * heads * width
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def caches(qkv: Tensor, heads: int, length: int) -> list[Tensor]:
    """Empty ones; what is not written yet must not be read."""
    shape = (qkv.shape[-2], heads, length, qkv.shape[-1] // (3 * heads))
    return [torch.full(shape, torch.nan, dtype=qkv.dtype, device=qkv.device) for _ in range(2)]


def sampled(qkv: Tensor, heads: int, backend: str) -> list[Tensor]:
    """All points of a sequence one after the other, and the caches at the end."""
    keys, values = caches(qkv, heads, len(qkv))
    out = [cached_attention(q, keys, values, k, backend=backend) for k, q in enumerate(qkv)]
    return [torch.stack(out), keys, values]


def split(qkv: Tensor, heads: int) -> Tensor:
    """(3, batch, heads, length, width)."""
    length, batch, features = qkv.shape
    return qkv.view(length, batch, 3, heads, features // (3 * heads)).permute(2, 1, 3, 0, 4)


def at_once(qkv: Tensor, heads: int) -> Tensor:
    """The whole sequence by torch's causal attention, in float64."""
    out = F.scaled_dot_product_attention(*split(qkv.double().cpu(), heads), is_causal=True)
    return out.permute(2, 0, 1, 3).flatten(2)


@pytest.mark.parametrize(("batch", "heads", "length", "width"), SHAPES)
def test_sampling_is_causal_attention(
    backend: str, device: str, batch: int, heads: int, length: int, width: int
) -> None:
    for dtype in DTYPES[backend]:
        qkv = made(batch, heads, length, width, dtype).to(device)
        found, keys, values = sampled(qkv, heads, backend)
        expected = at_once(qkv, heads)
        assert found.dtype is dtype
        assert found.shape == expected.shape
        off = (found.double().cpu() - expected).abs().max()
        assert off <= TOLERANCE[dtype] * max(1, expected.abs().max())
        assert torch.equal(keys, split(qkv, heads)[1])
        assert torch.equal(values, split(qkv, heads)[2])


def test_one_step_by_hand(backend: str, device: str) -> None:
    """With NumPy and SciPy, on caches that hold more than was seen."""
    qkv, place = made(3, 4, 6, 24).to(device), 4
    _, keys, values = sampled(qkv, 4, backend)
    new = made(3, 4, 7, 24)[6].to(device)
    found = cached_attention(new, keys, values, place, backend=backend)
    q, k, v = new.double().cpu().numpy().reshape(3, 3, 4, 24).swapaxes(0, 1)
    seen = slice(place + 1)
    held_k, held_v = (t.double().cpu().numpy()[:, :, seen] for t in (keys, values))
    np.testing.assert_array_equal(held_k[:, :, -1], k)
    np.testing.assert_array_equal(held_v[:, :, -1], v)
    shares = softmax(np.einsum("bhd,bhtd->bht", q, held_k) / 24**0.5, axis=-1)
    expected = np.einsum("bht,bhtd->bhd", shares, held_v).reshape(3, -1)
    np.testing.assert_allclose(found.cpu(), expected, rtol=0, atol=3e-6)


def test_products_of_any_size(backend: str, device: str) -> None:
    """Neither overflow nor lose what is small beside the largest."""
    qkv = 100 * made(2, 2, 20, 12).to(device)
    found = sampled(qkv, 2, backend)[0].double().cpu()
    torch.testing.assert_close(found, at_once(qkv, 2), rtol=1e-4, atol=1e-3)


def test_long_caches(backend: str, device: str) -> None:
    """Alike keys make a mean; CUDA's kernel takes as many points as its shared memory can."""
    length = _LONGEST_ON_CUDA + 1
    keys = torch.ones(1, 1, length, 8, device=device)
    values = torch.arange(length, device=device).float().view(1, 1, length, 1).repeat(1, 1, 1, 8)
    for place in (length - 2, length - 1):
        qkv = torch.ones(1, 24, device=device)
        qkv[:, 16:] = place
        if backend == "cuda" and place == length - 1:
            with pytest.raises(ValueError, match="no such kernel"):
                cached_attention(qkv, keys, values, place, backend=backend)
            backend = "auto"
        found = cached_attention(qkv, keys, values, place, backend=backend)
        torch.testing.assert_close(found, torch.full_like(found, place / 2), rtol=1e-5, atol=0)


def test_strides_and_nothing(backend: str, device: str) -> None:
    qkv = made(6, 2, 5, 8).to(device)
    expected = sampled(qkv, 2, backend)[0]
    turned = qkv.mT.contiguous().mT
    torch.testing.assert_close(sampled(turned, 2, backend)[0], expected, rtol=0, atol=1e-6)
    for none in (qkv[:, :0], qkv[..., :0]):
        assert sampled(none, 2, backend)[0].shape == (5, none.shape[1], none.shape[2] // 3)


@pytest.mark.parametrize("backend", ["cpp", "cuda", "triton"], indirect=True)
def test_nan_stays_in_its_trace_and_head(backend: str, device: str) -> None:
    """Of torch's own attention, a query that is NaN may make zeros."""
    qkv = made(3, 2, 4, 8)
    qkv[3, 1, 2] = torch.nan  # a query of the first head
    qkv[1, 2, 16 + 9] = torch.nan  # a key of the second
    bad = sampled(qkv.to(device), 2, backend)[0].isnan()
    assert bad[3, 1, :8].all()
    assert bad[1:, 2, 8:].all()
    assert bad.sum() == 8 + 3 * 8


def test_gradients_are_torchs() -> None:
    qkv = made(2, 2, 3, 4)[0].requires_grad_()
    keys, values = caches(qkv, 2, 3)
    assert cached_attention(qkv, keys, values, 0).requires_grad
    with pytest.raises(ValueError, match="has no gradient"):
        cached_attention(qkv, *caches(qkv, 2, 3), 0, backend="cpp")


def arguments() -> dict[str, Any]:
    qkv = made(2, 2, 5, 4)[0]
    keys, values = caches(qkv, 2, 5)
    return {"qkv": qkv, "keys": keys, "values": values, "place": 0}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keys", torch.rand(2, 2, 5), r"keys: expected floats \(B, H, T, d\), found \(2, 2, 5\)"),
        ("keys", torch.zeros(2, 2, 5, 4).long(), "keys: expected floats .* torch.int64"),
        ("qkv", torch.rand(2, 23), r"qkv: expected \(2, 24\) torch.float32 .* found \(2, 23\)"),
        ("qkv", torch.rand(2, 24).double(), r"qkv: expected .* found \(2, 24\) torch.float64"),
        ("values", torch.rand(2, 2, 4, 4), r"values: expected \(2, 2, 5, 4\) .* \(2, 2, 4, 4\)"),
        ("values", torch.rand(2, 5, 2, 4).mT.mT.swapaxes(1, 2), "values: expected a contiguous"),
        ("place", 5, "place: expected 0 to 4, as keys have room, found 5"),
        ("place", -1, "place: expected 0 to 4, as keys have room, found -1"),
        ("backend", "nothing", "backend: expected one of auto"),
    ],
)
def test_bad_input(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cached_attention(**{**arguments(), name: value})
