"""What the blocks of the default U-Net do between their matrix products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from netdiffus.ops import _backend
from netdiffus.ops.noise import KERNELS, wide

TAPS = 5
STRIP = 32  # rows whose gradients a block of the CUDA kernel adds up: kStrip of modulate.cuh


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
    over the rows that exist. Differentiable in every argument. The kernels make one pass over
    memory, where torch makes one for each operation and two transpositions for the convolution.

    Args:
        s: (B, n, w), float32 or float64; float16 and bfloat16 are computed in float32 and rounded
            once, gradients too.
        scale: (B, w).
        shift: (B, w).
        taps: (5, w), or None for no neighbours.
        bias: (w,); given with taps.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        (B, n, w).

    Raises:
        ValueError: A wrong shape, or a backend that cannot take ``s``.
        RuntimeError: The asked backend cannot run here.
    """
    _check(s, scale, shift, taps, bias)
    chosen = _backend.choose(backend, s, KERNELS)
    if chosen == "torch" or _backend.is_traced(s):
        return modulate_reference(s, scale, shift, taps, bias)
    out: Tensor = _Modulate.apply(chosen, s, scale, shift, taps, bias)  # type: ignore[no-untyped-call]
    return out


def modulate_reference(
    s: Tensor, scale: Tensor, shift: Tensor, taps: Tensor | None, bias: Tensor | None
) -> Tensor:
    """The formula of :func:`modulate` in torch."""
    v, a, b = wide(s), wide(scale), wide(shift)
    h = F.layer_norm(v, v.shape[-1:]) * (1 + a.unsqueeze(1)) + b.unsqueeze(1)
    if taps is not None and bias is not None:
        each = wide(taps).T.unsqueeze(1)
        near = F.conv1d(h.mT, each, wide(bias), padding=TAPS // 2, groups=taps.shape[1])
        h = h + near.mT
    return h.to(s.dtype)


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        backend: str,
        s: Tensor,
        scale: Tensor,
        shift: Tensor,
        taps: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        held = [t.contiguous() if t is not None else None for t in (s, scale, shift, taps, bias)]
        ctx.save_for_backward(*held[:4])
        ctx.backend = backend
        out = torch.empty_like(s, memory_format=torch.contiguous_format)
        _run(backend, "modulate", held, [out])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        s, scale, shift, taps = ctx.saved_tensors
        gs, (gscale, gshift, gtaps) = torch.empty_like(s), _room(ctx.backend, s, taps)
        given, found = [s, scale, shift, taps, g.contiguous()], [gs, gscale, gshift, gtaps]
        _run(ctx.backend, "modulate_backward", given, found)
        sums = [v.sum(1).to(s.dtype) for v in (gscale, gshift)]
        if gtaps is None:
            return None, gs, *sums, None, None
        total = gtaps.sum((0, 1)).to(s.dtype)
        return None, gs, *sums, total[:TAPS], total[TAPS]


def _room(backend: str, s: Tensor, taps: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """For the gradients of scale, shift, and taps with bias, of parts of each trace."""
    batch, n, width = s.shape
    parts = -(-n // STRIP) if backend == "cuda" else 1
    make = s.new_zeros if backend == "cpp" else s.new_empty
    dtype = wide(s[:0]).dtype
    lines = make((2, batch, parts, width), dtype=dtype)
    more = None if taps is None else make((batch, parts, TAPS + 1, width), dtype=dtype)
    return lines[0], lines[1], more


def _run(backend: str, op: str, given: list[Tensor | None], found: list[Tensor | None]) -> None:
    s = given[0]
    assert s is not None
    if backend == "triton":
        from netdiffus.ops.triton import modulate as kernels

        getattr(kernels, op)(*given, *found)
    else:
        _backend.native(backend, op, s, *map(_address, given), *s.shape, *map(_address, found))


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _check(
    s: Tensor, scale: Tensor, shift: Tensor, taps: Tensor | None, bias: Tensor | None
) -> None:
    if s.ndim != 3:
        raise ValueError(f"s: expected (B, n, w), found {tuple(s.shape)}")
    _backend.check_size("s", tuple(s.shape))
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
