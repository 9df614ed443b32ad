"""Normal noise by counter, alone and mixed into images."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.tiles import (
    LINE,
    count_lines,
    count_pairs,
    line_at,
    mirror,
    pair_at,
    pixels,
    place,
    side,
)

_SQRT_2 = tl.constexpr(1.41421356)


def normal(seed: int, index: Tensor, step: int, symmetric: bool, out: Tensor) -> None:
    """Fills ``out`` (B, ...) with the noise of :func:`netdiffus.ops.normal`."""
    if symmetric:
        launch(
            _normal_pair,
            count_pairs(out),
            out,
            index,
            seed,
            step,
            *image_size(out),
            **pair_constants(out),
        )
    else:
        launch(_normal_line, count_lines(out), out, index, seed, step, out[0].numel())


def q_sample(
    x0: Tensor,
    signal: Tensor,
    sigma: Tensor,
    seed: int,
    index: Tensor,
    step: int,
    prediction: str,
    symmetric: bool,
    xt: Tensor,
    target: Tensor | None,
) -> None:
    """Fills ``xt`` and ``target`` (B, ...) as :func:`netdiffus.ops.q_sample` says."""
    args = (xt, target, x0, signal, sigma, index, seed, step)
    if symmetric:
        launch(
            _mix_pair,
            count_pairs(xt),
            *args,
            *image_size(xt),
            **pair_constants(xt),
            PREDICTION=prediction,
        )
    else:
        launch(_mix_line, count_lines(xt), *args, xt[0].numel(), PREDICTION=prediction)


def image_size(out: Tensor) -> tuple[int, int]:
    """Images of a trace (channels), and their side."""
    return out.shape[1:-2].numel(), out.shape[-1]


def pair_constants(out: Tensor) -> dict[str, Any]:
    """What a kernel that draws in pairs of tiles is compiled for."""
    return {"SIDE": side(out), "ALIGNED": out.shape[-1] % 4 == 0}


@triton.jit(do_not_specialize=["seed", "step"])
def _normal_line(noise, index, seed: tl.uint64, step: tl.uint32, count):
    trace, start = line_at(count)
    offset = tl.arange(0, LINE)[None, :]
    z = white_tile(seed, tl.load(index + trace), step, start, 0, 1, LINE, True)
    tl.store(noise + trace * count + start + offset, z, offset < count - start)


@triton.jit(do_not_specialize=["seed", "step"])
def _normal_pair(
    noise,
    index,
    seed: tl.uint64,
    step: tl.uint32,
    planes,
    m,
    SIDE: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    image, top, left = pair_at(m, SIDE)
    z = symmetric_tile(
        seed, tl.load(index + image // planes), step, image % planes, top, left, m, SIDE, ALIGNED
    )
    noise += image * m * m
    offset, mask = place(top, left, m, SIDE)
    tl.store(noise + offset, z, mask)
    offset, mask = mirror(top, left, m, SIDE)
    tl.store(noise + offset, tl.trans(z), mask)


@triton.jit(do_not_specialize=["seed", "step"])
def _mix_line(
    xt,
    target,
    x0,
    signal,
    sigma,
    index,
    seed: tl.uint64,
    step: tl.uint32,
    count,
    PREDICTION: tl.constexpr,
):
    trace, start = line_at(count)
    offset = tl.arange(0, LINE)[None, :]
    eps = white_tile(seed, tl.load(index + trace), step, start, 0, 1, LINE, True)
    base = trace * count + start
    _mix(
        xt,
        target,
        x0,
        base,
        offset,
        offset < count - start,
        signal + trace,
        sigma + trace,
        eps,
        PREDICTION,
    )


@triton.jit(do_not_specialize=["seed", "step"])
def _mix_pair(
    xt,
    target,
    x0,
    signal,
    sigma,
    index,
    seed: tl.uint64,
    step: tl.uint32,
    planes,
    m,
    SIDE: tl.constexpr,
    ALIGNED: tl.constexpr,
    PREDICTION: tl.constexpr,
):
    image, top, left = pair_at(m, SIDE)
    trace = image // planes
    eps = symmetric_tile(
        seed, tl.load(index + trace), step, image % planes, top, left, m, SIDE, ALIGNED
    )
    offset, mask = place(top, left, m, SIDE)
    _mix(
        xt, target, x0, image * m * m, offset, mask, signal + trace, sigma + trace, eps, PREDICTION
    )
    offset, mask = mirror(top, left, m, SIDE)
    _mix(
        xt,
        target,
        x0,
        image * m * m,
        offset,
        mask,
        signal + trace,
        sigma + trace,
        tl.trans(eps),
        PREDICTION,
    )


@triton.jit
def _mix(xt, target, x0, base, offset, mask, signal, sigma, eps, PREDICTION: tl.constexpr):
    signal, sigma = tl.load(signal).to(tl.float32), tl.load(sigma).to(tl.float32)
    clean = tl.load(x0 + base + offset, mask, other=0).to(tl.float32)
    tl.store(xt + base + offset, signal * clean + sigma * eps, mask)
    if PREDICTION == "eps":
        tl.store(target + base + offset, eps, mask)
    elif PREDICTION == "v":
        tl.store(target + base + offset, signal * eps - sigma * clean, mask)


@triton.jit
def symmetric_tile(
    seed, trace, step, plane, top, left, m, SIDE: tl.constexpr, ALIGNED: tl.constexpr
):
    """Symmetric noise of tile (I, J), I <= J."""
    z = white_tile(seed, trace, step, plane * m * m + top * m + left, m, SIDE, SIDE, ALIGNED)
    row, column = pixels(top, left, SIDE, SIDE)
    return tl.where(row < column, z, tl.where(row == column, _SQRT_2 * z, tl.trans(z)))


@triton.jit
def white_tile(
    seed, trace, step, start, m, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ALIGNED: tl.constexpr
):
    """Elements start + i m + j of a trace's noise, i < ROWS and j < COLUMNS.

    ALIGNED says that start and m are multiples of 4, so that each Philox block is drawn once.
    """
    start = start.to(tl.int64)
    low, high = (trace & 0xFFFFFFFF).to(tl.uint32), (trace >> 32).to(tl.uint32)
    if ALIGNED:
        row, column = pixels(0, 0, ROWS, COLUMNS // 4)
        block = (start // 4).to(tl.uint32) + (row * (m // 4) + column).to(tl.uint32)
        a, b, c, d = tl.philox(seed, block, step.to(tl.uint32), low, high)
        z0, z1 = _box_muller(a, b)
        z2, z3 = _box_muller(c, d)
        z = tl.reshape(tl.join(tl.join(z0, z2), tl.join(z1, z3)), (ROWS, COLUMNS))
    else:
        row, column = pixels(0, 0, ROWS, COLUMNS)
        element = start + (row * m + column)
        a, b, c, d = tl.philox(seed, (element // 4).to(tl.uint32), step.to(tl.uint32), low, high)
        second = element % 4 > 1
        even, odd = _box_muller(tl.where(second, c, a), tl.where(second, d, b))
        z = tl.where(element % 2 == 0, even, odd)
    return z


@triton.jit
def _box_muller(bits_1, bits_2):
    """Two independent standard normals from two random words (Box and Muller, 1958)."""
    u1 = (bits_1.to(tl.float32) + 0.5) * 2.0**-32
    u2 = bits_2.to(tl.float32) * 2.0**-32
    exponent, artanh = log_parts(u1)
    radius = tl.sqrt_rn(-2.0 * (0.693147181 * exponent + 2.0 * artanh))
    cosine, sine = _cos_sin_turns(u2)
    return radius * cosine, radius * sine


@triton.jit
def log_parts(u):
    """(exponent, artanh) with ln u = exponent ln 2 + 2 artanh, for normal u > 0.

    u = 2^exponent k with k in [sqrt(1/2), sqrt(2)), and artanh((k - 1) / (k + 1)) by its series.
    """
    shifted = u.to(tl.int32, bitcast=True) - 0x3F3504F3  # sqrt(1/2)
    k = ((shifted & 0x007FFFFF) + 0x3F3504F3).to(tl.float32, bitcast=True)
    s = tl.div_rn(k - 1, k + 1)
    z = s * s
    series = z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9))))
    return (shifted >> 23).to(tl.float32), s + s * series


@triton.jit
def _cos_sin_turns(u):
    """(cos, sin)(2 pi u) for u in [0, 1]: exact reduction to an eighth of a turn, then Taylor."""
    quarter = (4 * u + 0.5).to(tl.int32)
    a = 6.28318531 * (u - 0.25 * quarter.to(tl.float32))
    z = a * a
    sine = a + a * z * (-1 / 6 + z * (1 / 120 + z * (-1 / 5040 + z * (1 / 362880))))
    cosine = 1 + z * (-1 / 2 + z * (1 / 24 + z * (-1 / 720 + z * (1 / 40320 + z * (-1 / 3628800)))))
    odd = quarter % 2 == 1
    c, s = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    return tl.where((quarter + 1) & 2 != 0, -c, c), tl.where(quarter & 2 != 0, -s, s)
