"""Resizing by area."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.area_resize import area_matrix
from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.tiles import count_tiles, pixels, tile_at

ROWS, COLUMNS = tl.constexpr(8), tl.constexpr(64)


def area_resize(image: Tensor, out: Tensor) -> None:
    """Fills ``out`` (..., h2, w2) with ``image`` (..., h, w) resized by area."""
    (h, w), (h2, w2) = image.shape[-2:], out.shape[-2:]
    rows, columns = windows(h, h2, out.device), windows(w, w2, out.device)
    longest = len(rows[1]), len(columns[1])
    launch(
        _area_resize,
        count_tiles(out, ROWS, COLUMNS),
        out,
        image,
        *rows,
        *columns,
        *longest,
        h,
        w,
        h2,
        w2,
    )


@lru_cache(maxsize=32)
def windows(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor]:
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
def _area_resize(
    out,
    image,
    first_row,
    row_weights,
    first_column,
    column_weights,
    row_count,
    column_count,
    h,
    w,
    h2,
    w2,
):
    number, top, left = tile_at(h2, w2, ROWS, COLUMNS)
    row, column = pixels(top, left, ROWS, COLUMNS)
    image += number * h * w
    corner = tl.load(first_row + row, row < h2, 0) * w + tl.load(
        first_column + column, column < w2, 0
    )
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in range(row_count):
        down = tl.load(row_weights + i * h2 + row, row < h2, 0)
        line = tl.zeros((ROWS, COLUMNS), tl.float32)
        for j in range(column_count):
            across = tl.load(column_weights + j * w2 + column, column < w2, 0)
            value = tl.load(image + corner + (i * w + j), (down != 0) & (across != 0), 0)
            line += across * value.to(tl.float32)
        total += down * line
    out += number * h2 * w2
    tl.store(out + row * w2 + column, total, (row < h2) & (column < w2))
