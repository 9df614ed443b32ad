"""What the U-Net does between its matrix products."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.tiles import count_tiles, pixels, tile_at

ROWS, COLUMNS = tl.constexpr(8), tl.constexpr(64)


def modulate(
    s: Tensor, scale: Tensor, shift: Tensor, taps: Tensor | None, bias: Tensor | None, out: Tensor
) -> None:
    """Fills ``out`` (B, n, w) as :func:`netdiffus.ops.modulate.modulate` says.

    A first kernel measures the rows; tiles then read those that their taps reach.
    """
    programs = count_tiles(out, ROWS, COLUMNS)
    args = (s, *_measured(s), scale, shift, taps, bias, _reach(taps), *s.shape[1:])
    launch(_modulate, programs, out, *args, warps=4)


def modulate_backward(
    s: Tensor,
    scale: Tensor,
    shift: Tensor,
    taps: Tensor | None,
    g: Tensor,
    gs: Tensor,
    gscale: Tensor,
    gshift: Tensor,
    gtaps: Tensor | None,
) -> None:
    """From the gradient ``g`` of the output fills those of the arguments.

    ``gscale`` and ``gshift`` are (B, 1, w) and ``gtaps`` (B, 1, 6, w), taps and bias for each trace
    on its own, float32. One kernel goes along rows, one along columns.
    """
    moments, (batch, n, width) = _measured(s), s.shape
    reach = _reach(taps)
    strips, columns = triton.cdiv(n, ROWS.value), triton.cdiv(width, COLUMNS.value)
    launch(_rows, batch * strips, gs, s, g, *moments, scale, taps, reach, n, width, warps=4)
    sums = (gscale, gshift, gtaps)
    args = (s, g, *moments, scale, shift, taps, reach, n, width)
    launch(_columns, batch * columns, *sums, *args, warps=4)


def _reach(taps: Tensor | None) -> int:
    """How many rows to either side; a number that the compiler does not know saves registers."""
    return 0 if taps is None else len(taps) // 2


def _measured(s: Tensor) -> Tensor:
    """Mean and 1 / standard deviation of each row, (2, B, n) float32."""
    moments = torch.empty((2, *s.shape[:2]), dtype=torch.float32, device=s.device)
    rows = moments[0].numel()
    launch(_measure, triton.cdiv(rows, ROWS.value), *moments, s, rows, s.shape[2], warps=4)
    return moments


@triton.jit
def _measure(mean, inverse, s, rows, width):
    row, column = pixels(tl.program_id(0).to(tl.int64) * ROWS, 0, ROWS, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for left in range(0, width, COLUMNS):
        inside = (row < rows) & (left + column < width)
        total += _wide(s + row * width + (left + column), inside)
    middle = _over(total, width)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for left in range(0, width, COLUMNS):
        inside = (row < rows) & (left + column < width)
        away = tl.where(inside, _wide(s + row * width + (left + column), inside) - middle, 0.0)
        total += away * away
    tl.store(mean + row, middle, row < rows)
    tl.store(inverse + row, tl.div_rn(1.0, tl.sqrt_rn(_over(total, width) + 1e-5)), row < rows)


@triton.jit
def _modulate(out, s, mean, inverse, scale, shift, taps, bias, reach, n, width):
    """With (1 + scale) and shift taken out of the sum over the taps."""
    trace, top, left = tile_at(n, width, ROWS, COLUMNS)
    row, column = pixels(top, left, ROWS, COLUMNS)
    used, base = column < width, trace * n * width
    s, mean, inverse = s + base, mean + trace * n, inverse + trace * n
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    weight = total
    for k in range(-reach, reach + 1):
        tap = _tap(taps, k, reach, column, width)
        total += tap * _normal(s, mean, inverse, row + k, column, n, width)
        weight += tl.where((row + k >= 0) & (row + k < n), tap, 0.0)
    total *= 1 + _wide(scale + trace * width + column, used)
    total += weight * _wide(shift + trace * width + column, used)
    if taps is not None:
        total += _wide(bias + column, used)
    tl.store(out + base + (row * width + column), total, (row < n) & used)


@triton.jit
def _rows(gs, s, g, mean, inverse, scale, taps, reach, n, width):
    """The gradient of rows, whose means and variances are functions of them too."""
    trace, top, _ = tile_at(n, 1, ROWS, 1)
    row, column = pixels(top, 0, ROWS, COLUMNS)
    base = trace * n * width
    s, g, gs = s + base, g + base, gs + base
    mean, inverse, scale = mean + trace * n, inverse + trace * n, scale + trace * width
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    along = total
    for left in range(0, width, COLUMNS):
        pull = _pull(g, scale, taps, reach, row, left + column, n, width)
        total += pull
        along += pull * _normal(s, mean, inverse, row, left + column, n, width)
    middle, share = _over(total, width), _over(along, width)
    for left in range(0, width, COLUMNS):
        pull = _pull(g, scale, taps, reach, row, left + column, n, width)
        value = (pull - middle) - _normal(s, mean, inverse, row, left + column, n, width) * share
        inside = (row < n) & (left + column < width)
        value *= tl.load(inverse + row, row < n, 0)
        tl.store(gs + (row * width + (left + column)), value, inside)


@triton.jit
def _columns(gscale, gshift, gtaps, s, g, mean, inverse, scale, shift, taps, reach, n, width):
    """The gradients that are sums over the rows of a trace.

    For each tap it sums what comes back through it, times the normal row and alone; all of them
    follow from that.
    """
    trace, _, left = tile_at(1, width, 1, COLUMNS)
    column = left + tl.arange(0, COLUMNS)
    used, base, here = column < width, trace * n * width, trace * width + column
    s, g, mean, inverse = s + base, g + base, mean + trace * n, inverse + trace * n
    of_scale = tl.zeros((COLUMNS,), tl.float32)
    of_shift = of_scale
    for k in range(-reach, reach + 1):
        along, plain = _through(s, g, mean, inverse, k, left, n, width)
        tap = _tap(taps, k, reach, column, width)
        of_scale += tap * along
        of_shift += tap * plain
        if taps is not None:
            of_tap = (1 + _wide(scale + here, used)) * along + _wide(shift + here, used) * plain
            line = gtaps + trace * (2 * reach + 2) * width + column
            tl.store(line + (k + reach) * width, of_tap, used)
            tl.store(line + (2 * reach + 1) * width, plain, used & (k == 0))
    tl.store(gscale + here, of_scale, used)
    tl.store(gshift + here, of_shift, used)


@triton.jit
def _through(s, g, mean, inverse, k, left, n, width):
    """Sums over rows of what comes back through tap k: times the normal row, and alone."""
    along = tl.zeros((ROWS, COLUMNS), tl.float32)
    plain = along
    for top in range(0, n, ROWS):
        row, column = pixels(top, left, ROWS, COLUMNS)
        up = tl.where(row < n, _row(g, row - k, column, n, width), 0.0)
        along += up * _normal(s, mean, inverse, row, column, n, width)
        plain += up
    return tl.sum(along, 0), tl.sum(plain, 0)


@triton.jit
def _pull(g, scale, taps, reach, row, column, n, width):
    """The gradient of the normal rows: what comes back to a row from itself and its neighbours."""
    up = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in range(-reach, reach + 1):
        up += _tap(taps, k, reach, column, width) * _row(g, row - k, column, n, width)
    return up * (1 + _wide(scale + column, column < width))


@triton.jit
def _tap(taps, k, reach, column, width):
    """What row i + k weighs in the output's row i, which has itself too."""
    weight = tl.where(k == 0, 1.0, 0.0)
    if taps is not None:
        weight += _wide(taps + (k + reach) * width + column, column < width)
    return weight


@triton.jit
def _normal(s, mean, inverse, row, column, n, width):
    inside = (row >= 0) & (row < n)
    away = _row(s, row, column, n, width) - tl.load(mean + row, inside, 0)
    return away * tl.load(inverse + row, inside, 0)


@triton.jit
def _row(x, row, column, n, width):
    """Values of rows, 0 where there is none."""
    return _wide(x + (row * width + column), (row >= 0) & (row < n) & (column < width))


@triton.jit
def _wide(place, mask):
    return tl.load(place, mask, 0).to(tl.float32)


@triton.jit
def _over(total, width):
    """The sum of each line, over the width."""
    return tl.div_rn(tl.sum(total, 1, keep_dims=True), tl.full((), width * 1.0, tl.float32))
