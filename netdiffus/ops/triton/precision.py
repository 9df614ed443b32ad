"""Products with precision matrices: a kernel along the columns of eigenvectors, one along rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.tiles import pixels, tile_at

ROWS, COLUMNS = tl.constexpr(8), tl.constexpr(64)


def precision(given: Sequence[Tensor], found: Tensor) -> None:
    """Fills ``found`` as :func:`netdiffus.ops.precision.precision` says of the tensors ``given``.

    A group that is none gives NaN.
    """
    apart, noise, *known = given
    (batch, size), groups = apart.shape, len(given[-1])
    weights = torch.empty((2, batch, size), dtype=torch.float32, device=apart.device)
    columns, rows = triton.cdiv(size, COLUMNS.value), triton.cdiv(size, ROWS.value)
    launch(_weigh, batch * columns, *weights, apart, noise, *known, groups, size, warps=4)
    launch(_multiply, batch * rows, found, *weights, *known, groups, size, batch * size, warps=4)


@triton.jit
def _weigh(inner, k, apart, noise, group, variances, vectors, groups, size):
    """What each eigenvector weighs in K apart, and in K."""
    trace, _, left = tile_at(1, size, 1, COLUMNS)
    first, used = _lines(group + trace, groups, size)
    vectors, apart = vectors + first * size, apart + trace * size
    _, column = pixels(0, left, ROWS, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for top in range(0, size, ROWS):
        row = top + tl.arange(0, ROWS)[:, None]
        total += _tile(vectors, row, column, size, used) * _wide(apart + row, row < size)
    s = _wide(variances + first + column, column < used)
    weight = tl.div_rn(tl.full((), 1.0, tl.float32), s + tl.load(noise + trace).to(tl.float32))
    tl.store(k + trace * size + column, weight, column < size)
    pulled = weight * tl.sum(total, 0, keep_dims=True)
    tl.store(inner + trace * size + column, pulled, column < size)


@triton.jit
def _multiply(found, inner, k, group, variances, vectors, groups, size, apart):
    """K apart, and the diagonals of K, S K and S, which `found` has so far apart."""
    trace, top, _ = tile_at(size, 1, ROWS, 1)
    first, used = _lines(group + trace, groups, size)
    vectors, variances = vectors + first * size, variances + first
    inner, k = inner + trace * size, k + trace * size
    pulled = tl.zeros((ROWS, COLUMNS), tl.float32)
    of_k, of_sk, of_s = pulled, pulled, pulled
    for left in range(0, used, COLUMNS):
        row, column = pixels(top, left, ROWS, COLUMNS)
        v, s = _tile(vectors, row, column, size, used), _wide(variances + column, column < used)
        pulled += v * tl.load(inner + column, column < used, 0)
        square = v * v
        of_s += square * s
        part = square * tl.load(k + column, column < used, 0)
        of_k += part
        of_sk += part * s
    row = top + tl.arange(0, ROWS)[:, None]
    found += trace * size + row
    _store_sums(found, pulled, row, size, used)
    _store_sums(found + apart, of_k, row, size, used)
    _store_sums(found + apart + apart, of_sk, row, size, used)
    _store_sums(found + apart + apart + apart, of_s, row, size, used)


@triton.jit
def _lines(group, groups, size):
    """The first line of a trace's group, int64, and how many it has: 0 where the group is none."""
    number = tl.load(group)
    known = (number >= 0) & (number < groups)
    return tl.where(known, number, 0) * size, tl.where(known, size, 0)


@triton.jit
def _tile(vectors, row, column, size, used):
    """Of the eigenvectors, 0 where there is none."""
    return _wide(vectors + (row * size + column), (row < size) & (column < used))


@triton.jit
def _store_sums(place, total, row, size, used):
    """The sums of rows; NaN where nothing was used."""
    sums = tl.where(row < used, tl.sum(total, 1, keep_dims=True), float("nan"))
    tl.store(place, sums, row < size)


@triton.jit
def _wide(place, mask):
    return tl.load(place, mask, 0).to(tl.float32)
