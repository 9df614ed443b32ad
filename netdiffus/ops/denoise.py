"""One reverse step of any sampler, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops._library import register
from netdiffus.ops.noise import (
    as_signed,
    check_draw,
    check_images,
    normal_reference,
    planes,
)


@dataclass(frozen=True)
class Step:
    """One reverse step: at time t, `x_next = c xt + d x0 + e x0_prev + sigma z`."""

    t: int
    a: float
    b: float
    c: float
    d: float
    e: float = 0.0
    sigma: float = 0.0


def denoise_step(
    step: Step,
    xt: Tensor,
    out_net: Tensor,
    x0_prev: Tensor | None,
    *,
    seed: int = 0,
    index: Tensor | None = None,
    draw: int = 0,
    symmetric: bool = True,
    out: Sequence[Tensor] | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Makes one reverse step of diffusion, from noise towards images.

    ``x0 = clip(a xt + b out_net, -1, 1)``, then ``x_next = c xt + d x0 + e x0_prev + sigma z`` with
    ``z = normal(seed, index, draw, xt.shape[1:], symmetric=symmetric)``, drawn inside. With its
    coefficients this is a step of DDPM, DDIM or DPM-Solver++(2M); see ``Diffusion.steps``. Where e
    or sigma is 0 its term is left out. NaN stays NaN.

    Args:
        step: The coefficients.
        xt: Images at time t, (B, ...), float32 or float64; float16 and bfloat16 are computed in
            float32 and rounded once.
        out_net: The network's output for them, likewise.
        x0_prev: The x0 of the step before, likewise; may be None where e is 0.
        seed: As in :func:`netdiffus.ops.normal`.
        index: Trace numbers, (B,) int64; may be None where sigma is 0.
        draw: Which draw of the trace, 0 <= draw < 2**32.
        symmetric: Symmetric noise, for square images.
        out: Contiguous tensors to write (x_next, x0) into. The first may be ``xt`` and the second
            ``x0_prev``; else they share no memory with another.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``. Where an input
            needs a gradient, ``"auto"`` takes torch.

    Returns:
        (x_next, x0), of the shape and dtype of ``xt``.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value, or overlapping memory.
        RuntimeError: The asked backend cannot run here.
    """
    factors = (step.a, step.b, step.c, step.d, step.e, step.sigma)
    _check(step, xt, out_net, x0_prev, seed, index, draw, symmetric)
    if out is not None:
        _check_room(out, xt, out_net, x0_prev)
    before, numbers = (x0_prev if step.e else None), (index if step.sigma else None)
    inputs = [v for v in (xt, out_net, before) if v is not None]
    drawn = (numbers, draw, symmetric, backend)
    if backend != "torch" and _backend.is_traced(*inputs) and not _backend.wants_gradient(*inputs):
        found = _op(list(factors), xt, out_net, before, as_signed(seed), *drawn)
        x_next, x0 = _backend.all_into(out, found)
    else:
        x_next, x0 = _run(factors, xt, out_net, before, seed, *drawn, out)
    return x_next, x0


def denoise_step_reference(
    factors: Sequence[float],
    xt: Tensor,
    out_net: Tensor,
    x0_prev: Tensor | None,
    seed: int,
    index: Tensor | None,
    draw: int,
    symmetric: bool,
) -> list[Tensor]:
    """The formula of :func:`denoise_step` in torch; None leaves the term out."""
    a, b, c, d, e, sigma = factors
    noisy = _backend.wide(xt)
    x0 = (a * noisy + b * _backend.wide(out_net)).clamp(-1, 1)
    x_next = c * noisy + d * x0
    if x0_prev is not None:
        x_next = x_next + e * _backend.wide(x0_prev)
    if index is not None:
        z = normal_reference(seed, index, draw, xt.shape[1:], symmetric)
        x_next = x_next + sigma * z.to(x_next.dtype)
    return [x_next.to(xt.dtype), x0.to(xt.dtype)]


def _check(
    step: Step,
    xt: Tensor,
    out_net: Tensor,
    x0_prev: Tensor | None,
    seed: int,
    index: Tensor | None,
    draw: int,
    symmetric: bool,
) -> None:
    if step.e and x0_prev is None:
        raise ValueError(f"x0_prev: expected the x0 of the step before, as e={step.e}, found None")
    if step.sigma and index is None:
        raise ValueError(f"index: expected trace numbers, as sigma={step.sigma}, found None")
    if index is not None:
        check_draw(seed, index, draw, "draw")
    check_images("xt", xt, index if step.sigma else None, symmetric)
    for name, v in (("out_net", out_net), ("x0_prev", x0_prev)):
        if v is not None:
            _backend.check_tensor(name, v, xt.shape, xt.dtype, xt.device, " as xt")


def _check_room(out: Sequence[Tensor], xt: Tensor, out_net: Tensor, x0_prev: Tensor | None) -> None:
    if len(out) != 2:
        raise ValueError(f"out: expected (x_next, x0), found {len(out)} tensors")
    named = (("xt", xt), ("out_net", out_net), ("x0_prev", x0_prev))
    for k, (place, own) in enumerate(zip(out, ("xt", "x0_prev"), strict=True)):
        _backend.check_out(place, tuple(xt.shape), xt.dtype, xt.device, f"out[{k}]")
        for name, v in named:
            if v is not None and not (name == own and _same(place, v)):
                _backend.check_apart(place, name, v)
    _backend.check_apart(out[0], "out[1]", out[1])


def _same(place: Tensor, v: Tensor) -> bool:
    return v.is_contiguous() and place.data_ptr() == v.data_ptr()


def _run(
    factors: Sequence[float],
    xt: Tensor,
    out_net: Tensor,
    x0_prev: Tensor | None,
    seed: int,
    index: Tensor | None,
    draw: int,
    symmetric: bool,
    backend: str,
    out: Sequence[Tensor] | None = None,
) -> Sequence[Tensor]:
    inputs = [v for v in (xt, out_net, x0_prev) if v is not None]
    differentiate = _backend.wants_gradient(*inputs)
    chosen = _backend.choose(backend, xt, _backend.KERNELS, differentiate=differentiate)
    if chosen == "torch":
        found = denoise_step_reference(factors, xt, out_net, x0_prev, seed, index, draw, symmetric)
        return _backend.all_into(out, found)
    xt, out_net = xt.contiguous(), out_net.contiguous()
    made = [torch.empty_like(xt), torch.empty_like(xt)] if out is None else out
    if not xt.numel():
        return made
    x0_prev = None if x0_prev is None else x0_prev.contiguous()
    index = None if index is None else index.contiguous()
    if chosen == "triton":
        from netdiffus.ops.triton import denoise as kernels

        kernels.denoise_step(factors, xt, out_net, x0_prev, seed, index, draw, symmetric, *made)
    else:
        addresses = (xt.data_ptr(), out_net.data_ptr(), _address(x0_prev))
        shape = planes(tuple(xt.shape), symmetric and index is not None)
        places = (made[0].data_ptr(), made[1].data_ptr())
        drawn = (seed, _address(index), draw)
        _backend.native(chosen, "denoise_step", xt, factors, *addresses, drawn, shape, *places)
    return made


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


_op = register(
    "denoise_step(float[] factors, Tensor xt, Tensor out_net, Tensor? x0_prev, int seed, "
    "Tensor? index, int draw, bool symmetric, str backend) -> Tensor[]",
    lambda factors, xt, out_net, x0_prev, seed, *drawn: list(
        _run(factors, xt, out_net, x0_prev, seed % 2**64, *drawn)
    ),
    fake=lambda factors, xt, *_: [xt.new_empty(xt.shape), xt.new_empty(xt.shape)],
)
