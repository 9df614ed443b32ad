"""Attention of one new point to the points before it, with a key-value cache."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from netdiffus.ops import _backend

_LONGEST_ON_CUDA = 512  # points: the scores of a query stand in shared memory
_KERNELS_OF_LONGER = {name: _backend.KERNELS[name] for name in ("cpp", "triton")}


def cached_attention(
    qkv: Tensor, keys: Tensor, values: Tensor, place: int, *, backend: str = "auto"
) -> Tensor:
    """Causal attention of one new point: ``softmax(q k' / sqrt(d)) v`` over a key-value cache.

    An autoregressive transformer samples one point after the other. The keys and values of the
    previous points do not change, so a cache holds them, and a step computes those of the new point
    alone. They are **written into the caches** at ``place``; then the query looks at the positions
    0 to ``place``. What the caches hold behind that is not read. Only the torch backend has a
    gradient; use ``torch.no_grad()`` where none is needed.

    Args:
        qkv: (B, 3 H d), floats: the queries of all heads, then the keys, then the values, each of
            H heads of d features.
        keys: (B, H, T, d), contiguous, as ``qkv`` in dtype and device; changed in place.
        values: As ``keys``.
        place: Position of the new point, from 0 to T - 1. CUDA's kernel takes places below 512.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        (B, H d), the heads side by side.

    Raises:
        ValueError: A wrong shape, dtype, device or place, caches that are not contiguous, or a
            backend that cannot take ``qkv``.
        RuntimeError: The asked backend cannot run here.
    """
    _check(qkv, keys, values, place)
    wanted = _backend.wants_gradient(qkv, keys, values)
    kernels = _backend.KERNELS if place < _LONGEST_ON_CUDA else _KERNELS_OF_LONGER
    chosen = _backend.choose(backend, qkv, kernels, differentiate=wanted)
    if chosen == "torch" or _backend.is_traced(qkv, keys, values):
        return cached_attention_reference(qkv, keys, values, place)
    held, out = qkv.contiguous(), qkv.new_empty(len(qkv), qkv.shape[1] // 3)
    if chosen == "triton":
        from netdiffus.ops.triton import cached_attention as kernel

        kernel.cached_attention(held, keys, values, place, out)
    else:
        addresses = [v.data_ptr() for v in (keys, values, out)]
        shape = (*keys.shape, place)
        _backend.native(chosen, "cached_attention", qkv, held.data_ptr(), *shape, *addresses)
    return out


def cached_attention_reference(qkv: Tensor, keys: Tensor, values: Tensor, place: int) -> Tensor:
    """The formula of :func:`cached_attention` in torch."""
    batch, heads, _, width = keys.shape
    query, key, value = qkv.reshape(batch, 3, heads, 1, width).unbind(1)
    seen = slice(place + 1)
    keys[:, :, place : place + 1] = key
    values[:, :, place : place + 1] = value
    out = F.scaled_dot_product_attention(query, keys[:, :, seen], values[:, :, seen])
    return out.reshape(batch, heads * width)


def _check(qkv: Tensor, keys: Tensor, values: Tensor, place: int) -> None:
    if keys.ndim != 4 or not keys.is_floating_point():
        raise ValueError(
            f"keys: expected floats (B, H, T, d), found {tuple(keys.shape)} {keys.dtype}"
        )
    _backend.check_size("keys", tuple(keys.shape))
    batch, heads, length, width = keys.shape
    for name, tensor, shape in (
        ("qkv", qkv, (batch, 3 * heads * width)),
        ("values", values, (batch, heads, length, width)),
    ):
        _backend.check_tensor(name, tensor, shape, keys.dtype, keys.device, " as keys")
    for name, tensor in (("keys", keys), ("values", values)):
        if not tensor.is_contiguous():
            raise ValueError(f"{name}: expected a contiguous tensor, as it is changed in place")
    if not 0 <= place < length:
        raise ValueError(f"place: expected 0 to {length - 1}, as keys have room, found {place}")
