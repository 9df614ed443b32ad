"""Series as Gramian angular summation fields, whole or resized by area."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.area_resize import area_matrix
from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.power import power, shape_of_power
from netdiffus.ops.triton.tiles import count_tiles, pixels, tile_at

ROWS, COLUMNS = tl.constexpr(8), tl.constexpr(64)
OUTPUTS = tl.constexpr(128)  # means that one program makes


def gasf(x: Tensor, out: Tensor) -> None:
    """Fills ``out`` (..., n, n) with the fields of ``x`` (..., n)."""
    launch(_gasf, count_tiles(out, ROWS, COLUMNS), out, x, x.shape[-1], warps=4)


def gasf_image(x: Tensor, size: int, gamma: float, out: Tensor) -> None:
    """Fills ``out`` (..., size, size) with the images of ``x`` (..., n).

    A field has rank 2: a first kernel resizes the two vectors it is made of, which a second one
    multiplies out.
    """
    n = x.shape[-1]
    means = torch.empty((2, *x.shape[:-1], size), dtype=torch.float32, device=x.device)
    first, weights = _windows(n, size, x.device)
    programs = x.shape[:-1].numel() * triton.cdiv(size, OUTPUTS.value)
    launch(_area_means, programs, *means, x, first, weights, len(weights), n, size, warps=4)
    launch(
        _gasf_image,
        count_tiles(out, ROWS, COLUMNS),
        out,
        *means,
        size,
        gamma,
        SHAPE=shape_of_power(gamma),
        warps=4,
    )


@lru_cache(maxsize=32)
def _windows(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrix of :func:`netdiffus.ops.area_matrix` without most of its zeros.

    Returns:
        (first, weights): the first input of each output, int32 (m,), and the weights of the inputs
        from there on, float32 (k, m), k the longest window. Inputs of weight 0 may not exist.
    """
    matrix = area_matrix(n, m)
    used = (matrix != 0).int()
    first = used.argmax(1)
    longest = int((n - used.flip(1).argmax(1) - first).max())
    inputs = first + torch.arange(longest).unsqueeze(1)
    weights = matrix.gather(1, inputs.T.clamp(max=n - 1)).T * (inputs < n)
    return first.int().to(device), weights.float().contiguous().to(device)


@triton.jit
def _gasf(field, x, n):
    number, top, left = tile_at(n, n, ROWS, COLUMNS)
    row, column = pixels(top, left, ROWS, COLUMNS)
    x += number * n
    xi, xj = (
        tl.load(x + row, row < n, 0).to(tl.float32),
        tl.load(x + column, column < n, 0).to(tl.float32),
    )
    value = xi * xj - _sine(xi) * _sine(xj)
    tl.store(field + number * n * n + (row * n + column), value, (row < n) & (column < n))


@triton.jit
def _area_means(mean, drop, x, first, weights, longest, n, m):
    """Area means of x and of d = 1 - sqrt(1 - x^2)."""
    number, _, start = tile_at(1, m, 1, OUTPUTS)
    o = start + tl.arange(0, OUTPUTS)
    x += number * n
    begin = tl.load(first + o, o < m, 0)
    sum_x, sum_d = tl.zeros((OUTPUTS,), tl.float32), tl.zeros((OUTPUTS,), tl.float32)
    for k in range(longest):
        weight = tl.load(weights + k * m + o, o < m, 0)
        value = tl.load(x + begin + k, weight != 0, 0).to(tl.float32)
        sum_x += weight * value
        sum_d += weight * tl.div_rn(value * value, 1 + _sine(value))
    tl.store(mean + number * m + o, _at_most_one(sum_x), o < m)
    tl.store(drop + number * m + o, _at_most_one(sum_d), o < m)


@triton.jit
def _gasf_image(image, mean, drop, m, gamma, SHAPE: tl.constexpr):
    number, top, left = tile_at(m, m, ROWS, COLUMNS)
    row, column = pixels(top, left, ROWS, COLUMNS)
    mean += number * m
    drop += number * m
    xi, xj = tl.load(mean + row, row < m, 0), tl.load(mean + column, column < m, 0)
    di, dj = tl.load(drop + row, row < m, 0), tl.load(drop + column, column < m, 0)
    value = power(pixel(xi, di, xj, dj), gamma, SHAPE)
    tl.store(image + number * m * m + (row * m + column), value, (row < m) & (column < m))


@triton.jit
def pixel(xi, di, xj, dj):
    """(cos(phi_i + phi_j) + 1) / 2 from x = cos(phi) and d = 1 - sin(phi); no term is below 0."""
    return 0.5 * (xi * xj + ((di + dj) - di * dj))


@triton.jit
def _sine(x):
    return tl.sqrt_rn((1 - x) * (1 + x))


@triton.jit
def _at_most_one(mean):
    return tl.minimum(mean, 1.0, propagate_nan=tl.PropagateNan.ALL)
