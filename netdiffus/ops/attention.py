"""Attention along a series, every point to every point."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops import _backend

KERNELS = {"cpp": (torch.float32, torch.float64)}


def attention(qkv: Tensor, heads: int, *, backend: str = "auto") -> Tensor:
    """Attention of several heads: ``softmax(q k' / sqrt(d)) v``, for each head of d features.

    Differentiable, by torch: the kernel has no gradient. It is for the CPU, where torch's own is
    made for series of thousands of points; on a GPU that is fast for short ones, too.

    Args:
        qkv: (B, n, 3 w), floats: queries, keys and values of every point in a row, each of w
            features, d to a head.
        heads: A divisor of w.
        backend: ``"auto"``, ``"torch"`` or ``"cpp"``, which takes float32 and float64.

    Returns:
        (B, n, w).

    Raises:
        ValueError: A wrong shape, or a backend that cannot take ``qkv``.
        RuntimeError: The asked backend cannot run here.
    """
    if qkv.ndim != 3 or heads < 1 or qkv.shape[2] % (3 * heads):
        raise ValueError(
            f"qkv: expected (B, n, 3 w), w a multiple of {heads} heads, found {tuple(qkv.shape)}"
        )
    _backend.check_size("qkv", tuple(qkv.shape))
    wanted = _backend.wants_gradient(qkv)
    chosen = _backend.choose(backend, qkv, KERNELS, differentiate=wanted)
    if chosen == "torch" or _backend.is_traced(qkv):
        return attention_reference(qkv, heads)
    batch, n, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    held, out = qkv.contiguous(), qkv.new_empty(batch, n, width)
    shape = batch, n, heads, width // heads
    _backend.native(chosen, "attention", qkv, held.data_ptr(), *shape, out.data_ptr())
    return out


def attention_reference(qkv: Tensor, heads: int) -> Tensor:
    """The formula of :func:`attention` in torch."""
    batch, n, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, key, v = qkv.reshape(batch, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    return _each(q, key, v).transpose(1, 2).reshape(batch, n, width)


def _each(q: Tensor, key: Tensor, v: Tensor) -> Tensor:
    if q.dtype is not torch.bfloat16:
        return F.scaled_dot_product_attention(q, key, v)
    # In bfloat16 on the CPU that is slow with its gradient: 18.5 ms where the plain form took 2.8,
    # for 32 traces of 64 points on one core.
    shares: Tensor = (q * q.shape[-1] ** -0.5 @ key.mT).softmax(-1)
    return shares @ v
