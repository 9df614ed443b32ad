"""What the blocks of the default U-Net do between their matrix products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from netdiffus.ops import _backend

TAPS = 5
_KERNELS = {"cpp": (torch.float32, torch.float64)}


def modulate(
    s: Tensor,
    scale: Tensor,
    shift: Tensor,
    taps: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    backend: str = "auto",
) -> Tensor:
    """Normalises rows, scales and shifts them, and mixes in their neighbours.

    ``h = normal(s) * (1 + scale) + shift``, where ``normal`` takes each row to mean 0 and variance
    1 (LayerNorm without weights, eps 1e-5); with taps, ``h_i + bias + sum_k taps_k h_(i + k - 2)``
    over the rows that exist. Differentiable in every argument. Native on the CPU, where torch takes
    a pass over memory for each operation and two transpositions for the convolution.

    Args:
        s: (B, n, w), float32 or float64.
        scale: (B, w).
        shift: (B, w).
        taps: (5, w), or None for no neighbours.
        bias: (w,); given with taps.
        backend: ``"auto"``, ``"torch"`` or ``"cpp"``.

    Returns:
        (B, n, w).

    Raises:
        ValueError: A wrong shape, or a backend that cannot take ``s``.
        RuntimeError: The asked backend cannot run here.
    """
    _check(s, scale, shift, taps, bias)
    chosen = _backend.choose(backend, s, _KERNELS)
    if chosen == "torch" or _backend.is_traced(s):
        return modulate_reference(s, scale, shift, taps, bias)
    out: Tensor = _Modulate.apply(s, scale, shift, taps, bias)  # type: ignore[no-untyped-call]
    return out


def modulate_reference(
    s: Tensor, scale: Tensor, shift: Tensor, taps: Tensor | None, bias: Tensor | None
) -> Tensor:
    """The formula of :func:`modulate` in torch."""
    h = F.layer_norm(s, s.shape[-1:]) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)
    if taps is None:
        return h
    near = F.conv1d(h.mT, taps.T.unsqueeze(1), bias, padding=TAPS // 2, groups=taps.shape[1])
    return h + near.mT


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        s: Tensor,
        scale: Tensor,
        shift: Tensor,
        taps: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        held = [t.contiguous() if t is not None else None for t in (s, scale, shift, taps, bias)]
        ctx.save_for_backward(*held[:4])
        out = torch.empty_like(s, memory_format=torch.contiguous_format)
        addresses = map(_address, held)
        _backend.native("cpp", "modulate", s, *addresses, *s.shape, out.data_ptr())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        s, scale, shift, taps = ctx.saved_tensors
        g, gs = g.contiguous(), torch.empty_like(s)
        gscale, gshift = torch.zeros_like(scale), torch.zeros_like(shift)
        gtaps = None if taps is None else s.new_zeros(len(s), TAPS + 1, s.shape[-1])
        given = map(_address, (s, scale, shift, taps, g))
        found = map(_address, (gs, gscale, gshift, gtaps))
        _backend.native("cpp", "modulate_backward", s, *given, *s.shape, *found)
        if gtaps is None:
            return gs, gscale, gshift, None, None
        total = gtaps.sum(0)
        return gs, gscale, gshift, total[:TAPS], total[TAPS]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _check(
    s: Tensor, scale: Tensor, shift: Tensor, taps: Tensor | None, bias: Tensor | None
) -> None:
    if s.ndim != 3:
        raise ValueError(f"s: expected (B, n, w), found {tuple(s.shape)}")
    wanted = {
        "scale": (scale, (s.shape[0], s.shape[2])),
        "shift": (shift, (s.shape[0], s.shape[2])),
        "taps": (taps, (TAPS, s.shape[2])),
        "bias": (bias, (s.shape[2],)),
    }
    if (taps is None) != (bias is None):
        raise ValueError("taps and bias: expected both or neither")
    for name, (tensor, shape) in wanted.items():
        if tensor is None:
            continue
        if tensor.shape != shape or tensor.dtype != s.dtype or tensor.device != s.device:
            raise ValueError(
                f"{name}: expected {shape} {s.dtype} on {s.device}, found {tuple(tensor.shape)} "
                f"{tensor.dtype} on {tensor.device}"
            )
