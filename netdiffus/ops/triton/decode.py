"""The series whose GASF image is nearest to an image, by Gauss-Newton steps."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.gasf import pixel
from netdiffus.ops.triton.power import power, shape_of_power
from netdiffus.ops.triton.tiles import count_pairs, mirror, pair_at, pixels, place, side

PIXELS = 2048  # of an image that a program looks at together, where a row is not longer


def gasf_decode(
    image: Tensor, gamma: float, iterations: int, exact: float, x: Tensor, residual: Tensor
) -> None:
    """Fills ``x`` (B, m) and ``residual`` (B,), float64, as :func:`netdiffus.ops.gasf_decode` says.

    A first kernel makes images symmetric and undoes gamma; in the second a program takes all the
    steps of one image. Arithmetic is float32.
    """
    m = image.shape[-1]
    p = torch.empty(image.shape, dtype=torch.float32, device=image.device)
    shape = shape_of_power(1 / gamma)
    launch(_undo_gamma, count_pairs(p), p, image, m, 1 / gamma, SIDE=side(p), SHAPE=shape)
    columns = max(16, triton.next_power_of_2(m))
    rows = max(1, min(columns, PIXELS // columns))
    guess = torch.empty((len(image), 2, m), dtype=torch.float32, device=image.device)
    launch(
        _nearest, len(image), x, residual, p, guess, m, iterations, exact,
        ROWS=rows, COLUMNS=columns, warps=max(1, min(rows * columns, PIXELS) // 256),
    )  # fmt: skip


@triton.jit
def _undo_gamma(p, image, m, exponent, SIDE: tl.constexpr, SHAPE: tl.constexpr):
    number, top, left = pair_at(m, SIDE)
    p += number * m * m
    image += number * m * m
    offset, mask = place(top, left, m, SIDE)
    across, _ = place(left, top, m, SIDE)
    other = tl.trans(_clamped(tl.load(image + across, tl.trans(mask), 0)))
    value = power(0.5 * (_clamped(tl.load(image + offset, mask, 0)) + other), exponent, SHAPE)
    tl.store(p + offset, value, mask)
    across, mask = mirror(top, left, m, SIDE)
    tl.store(p + across, tl.trans(value), mask)


@triton.jit
def _clamped(value):
    return tl.clamp(value.to(tl.float32), 0.0, 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _nearest(
    x_out, residual_out, p, guess, m, iterations, exact, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Gauss-Newton on the angles, held as x = cos and s = sin; columns beyond m hold zeros.

    Where all of x is 0 the slope is 0 too, so steps are taken from slightly above it.
    """
    number = tl.program_id(0).to(tl.int64)
    p += number * m * m
    guess += number * 2 * m
    column = tl.arange(0, COLUMNS)
    inside = column < m
    diagonal = tl.load(p + column * (m + 1), inside, 0)
    x, s = tl.sqrt_rn(diagonal), tl.where(inside, tl.sqrt_rn(1 - diagonal), 0.0)
    along_x, along_s, residual = _errors(p, guess, x, s, m, ROWS, COLUMNS)
    left = iterations
    while (left > 0) & (residual > exact):
        away = tl.where(inside, tl.maximum(x, 1e-6, propagate_nan=tl.PropagateNan.ALL), 0.0)
        next_x, next_s = _turned(x, s, _step(away, s, 2 * (s * along_x + away * along_s)))
        along_x, along_s, distance = _errors(p, guess, next_x, next_s, m, ROWS, COLUMNS)
        gained = distance < 1.000001 * residual  # a better x may hide in the rounding of the sum
        x, s = tl.where(gained, next_x, x), tl.where(gained, next_s, s)
        residual = tl.where(gained, tl.minimum(distance, residual), residual)
        left = tl.where(gained, left - 1, 0)
    x = tl.where(residual == residual, x, residual)  # NaN anywhere in an image: NaN everywhere
    tl.store(x_out + number * m + column, x.to(tl.float64), inside)
    tl.store(residual_out + number, residual.to(tl.float64))


@triton.jit
def _errors(p, guess, x, s, m, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(E x, E s, root mean square of E) for E = p - the image of x; E is symmetric.

    A program cannot index what it holds, so the rows' values of x go through memory.
    """
    column = tl.arange(0, COLUMNS)
    d = _drop(x, s)
    tl.debug_barrier()
    tl.store(guess + column, x, column < m)
    tl.store(guess + m + column, s, column < m)
    tl.debug_barrier()
    along_x = tl.zeros((ROWS, COLUMNS), tl.float32)
    along_s, squares = along_x, along_x
    for top in range(0, m, ROWS):
        i, j = pixels(top, 0, ROWS, COLUMNS)
        mask = (i < m) & (j < m)
        xi, si = tl.load(guess + i, i < m, 0), tl.load(guess + m + i, i < m, 0)
        error = tl.load(p + i * m + j, mask, 0) - pixel(xi, _drop(xi, si), x[None, :], d[None, :])
        error = tl.where(mask, error, 0.0)
        along_x += error * xi
        along_s += error * si
        squares += error * error
    mean = tl.div_rn(tl.sum(tl.sum(squares, 0), 0), tl.full((), m * 1.0 * m, tl.float32))
    return tl.sum(along_x, 0), tl.sum(along_s, 0), tl.sqrt_rn(mean)


@triton.jit
def _drop(x, s):
    """1 - s without cancellation."""
    return tl.div_rn(x * x, 1 + s)


@triton.jit
def _step(x, s, gradient):
    """Solves (S + diag(S 1)) step = gradient, where S_ij = sin(theta_i + theta_j)^2.

    S = u v' + v u' + 2 w w' with u = s^2, v = x^2, w = x s, so by Woodbury's identity a system of
    three unknowns remains. It is solved from its largest pivot on, which is at least 1/4; the
    second is at least 1/2; the third is below 0, and kept there where rounding would make it 0:
    angles of 0 and 90 degrees alone leave a direction open, which is then taken a full step.
    """
    u, v, w = s * s, x * x, x * s
    diagonal = u * _sum(v) + v * _sum(u) + 2 * w * _sum(w) + 1e-9  # all dark fixes nothing: stay
    swap = _sum(tl.div_rn(v * v, diagonal)) > _sum(tl.div_rn(u * u, diagonal))
    u, v = tl.where(swap, v, u), tl.where(swap, u, v)
    over_u, over_v, over_w = tl.div_rn(u, diagonal), tl.div_rn(v, diagonal), tl.div_rn(w, diagonal)
    uu, uv, uw = _sum(u * over_u), 1 + _sum(u * over_v), _sum(u * over_w)
    vv, vw, ww = _sum(v * over_v), _sum(v * over_w), 0.5 + _sum(w * over_w)
    gu, gv, gw = _sum(over_u * gradient), _sum(over_v * gradient), _sum(over_w * gradient)
    ratio_v, ratio_w = tl.div_rn(uv, uu), tl.div_rn(uw, uu)
    vv, vw, ww = vv - ratio_v * uv, vw - ratio_v * uw, ww - ratio_w * uw
    gv, gw = gv - ratio_v * gu, gw - ratio_w * gu
    ratio = tl.div_rn(vw, ww)
    of_v = tl.div_rn(gv - ratio * gw, tl.minimum(vv - ratio * vw, -1e-7))
    of_w = tl.div_rn(gw - vw * of_v, ww)
    of_u = tl.div_rn(gu - uv * of_v - uw * of_w, uu)
    return tl.div_rn(gradient - u * of_u - v * of_v - w * of_w, diagonal)


@triton.jit
def _sum(values):
    return tl.sum(values, 0)


@triton.jit
def _turned(x, s, step):
    """(cos, sin) of theta - step, of steps of at most 0.5 and angles from 0 to pi/2."""
    a = tl.clamp(step, -0.5, 0.5, propagate_nan=tl.PropagateNan.ALL)
    z = a * a
    sine = a * (1 + z * (-1 / 6 + z * (1 / 120 + z * (-1 / 5040))))
    cosine = 1 + z * (-1 / 2 + z * (1 / 24 + z * (-1 / 720 + z * (1 / 40320))))
    next_x, next_s = x * cosine + s * sine, s * cosine - x * sine
    shrink = 1.5 - 0.5 * (next_x * next_x + next_s * next_s)  # back onto the circle
    outside = x + s == 0
    next_x, next_s = next_x * shrink, next_s * shrink
    below, above = next_x < 0, next_s < 0
    next_x = tl.where(below, 0.0, tl.where(above, 1.0, next_x))
    next_s = tl.where(below, 1.0, tl.where(above, 0.0, next_s))
    return tl.where(outside, 0.0, next_x), tl.where(outside, 0.0, next_s)
