"""One reverse step of any sampler, with its noise drawn inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.noise import image_size, pair_constants, symmetric_tile, white_tile
from netdiffus.ops.triton.tiles import (
    LINE,
    count_lines,
    count_pairs,
    line_at,
    mirror,
    pair_at,
    place,
)


def denoise_step(
    coefficients: Sequence[float],
    xt: Tensor,
    out_net: Tensor,
    x0_prev: Tensor | None,
    seed: int,
    index: Tensor | None,
    draw: int,
    symmetric: bool,
    x_next: Tensor,
    x0: Tensor,
) -> None:
    """Fills ``x_next`` and ``x0`` (B, ...) as :func:`netdiffus.ops.denoise_step` says.

    ``x_next`` may be ``xt``, and ``x0`` may be ``x0_prev``: a pixel is read before it is written,
    by the program that writes it.
    """
    *_, e, sigma = coefficients
    args: tuple[Any, ...] = (x_next, x0, xt, out_net, x0_prev if e else None, *coefficients)
    if sigma == 0:
        launch(_step_plain, -(-xt.numel() // LINE.value), *args, xt.numel(), warps=4)
    elif symmetric:
        launch(
            _step_pair,
            count_pairs(xt),
            *args,
            index,
            seed,
            draw,
            *image_size(xt),
            **pair_constants(xt),
        )
    else:
        launch(_step_line, count_lines(xt), *args, index, seed, draw, xt[0].numel())


@triton.jit
def _step_plain(x_next, x0, xt, out_net, x0_prev, a, b, c, d, e, sigma, count):
    _, start = line_at(count)
    offset = tl.arange(0, LINE)[None, :]
    k = (a, b, c, d, e, sigma)
    _step(x_next, x0, xt, out_net, x0_prev, k, start, offset, offset < count - start, None)


@triton.jit(do_not_specialize=["seed", "step"])
def _step_line(
    x_next,
    x0,
    xt,
    out_net,
    x0_prev,
    a,
    b,
    c,
    d,
    e,
    sigma,
    index,
    seed: tl.uint64,
    step: tl.uint32,
    count,
):
    trace, start = line_at(count)
    offset = tl.arange(0, LINE)[None, :]
    z = white_tile(seed, tl.load(index + trace), step, start, 0, 1, LINE, True)
    k = (a, b, c, d, e, sigma)
    base = trace * count + start
    _step(x_next, x0, xt, out_net, x0_prev, k, base, offset, offset < count - start, z)


@triton.jit(do_not_specialize=["seed", "step"])
def _step_pair(
    x_next,
    x0,
    xt,
    out_net,
    x0_prev,
    a,
    b,
    c,
    d,
    e,
    sigma,
    index,
    seed: tl.uint64,
    step: tl.uint32,
    planes,
    m,
    SIDE: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    image, top, left = pair_at(m, SIDE)
    trace = tl.load(index + image // planes)
    z = symmetric_tile(seed, trace, step, image % planes, top, left, m, SIDE, ALIGNED)
    k = (a, b, c, d, e, sigma)
    base = image * m * m
    offset, mask = place(top, left, m, SIDE)
    _step(x_next, x0, xt, out_net, x0_prev, k, base, offset, mask, z)
    offset, mask = mirror(top, left, m, SIDE)
    _step(x_next, x0, xt, out_net, x0_prev, k, base, offset, mask, tl.trans(z))


@triton.jit
def _step(x_next, x0, xt, out_net, x0_prev, k, base, offset, mask, z):
    """The step of one tile of pixels; a term whose coefficient is 0 is absent, even if infinite."""
    a, b, c, d, e, sigma = k
    noisy = tl.load(xt + base + offset, mask, other=0).to(tl.float32)
    net = tl.load(out_net + base + offset, mask, other=0).to(tl.float32)
    clean = tl.clamp(_term(a, noisy) + _term(b, net), -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
    value = _term(c, noisy) + _term(d, clean)
    if x0_prev is not None:
        value += e * tl.load(x0_prev + base + offset, mask, other=0).to(tl.float32)
    if z is not None:
        value += sigma * z
    tl.store(x_next + base + offset, value, mask)
    tl.store(x0 + base + offset, clean, mask)


@triton.jit
def _term(coefficient, value):
    return tl.where(coefficient != 0, coefficient * value, 0.0)
