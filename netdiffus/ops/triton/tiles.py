"""Which pixels a program works on: a line, a tile, or a pair of tiles across the diagonal."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

LINE = tl.constexpr(1024)  # elements of a line


def count_lines(out: Tensor) -> int:
    """Programs that fill ``out`` (B, ...), each a line of one trace."""
    return len(out) * _ceil(out[0].numel(), LINE.value) if out.numel() else 0


def count_tiles(out: Tensor, rows: tl.constexpr, columns: tl.constexpr) -> int:
    """Programs that fill ``out`` (..., h, w), each a tile of one image."""
    h, w = out.shape[-2:]
    return out.shape[:-2].numel() * _ceil(h, rows.value) * _ceil(w, columns.value)


def count_pairs(out: Tensor) -> int:
    """Programs that fill ``out`` (..., m, m), each a pair of tiles (I, J), I <= J, of one image."""
    tiles = _ceil(out.shape[-1], side(out))
    return out.shape[:-2].numel() * tiles * (tiles + 1) // 2


def side(out: Tensor) -> int:
    """Side of the tiles in pairs: a power of 2."""
    return max(8, min(32, 1 << (out.shape[-1] - 1).bit_length()))


def _ceil(count: int, of: int) -> int:
    return -(-count // of)


@triton.jit
def line_at(count):
    """Trace of this program, and the element where its line starts; int64."""
    program, across = tl.program_id(0), tl.cdiv(count, LINE)
    return (program // across).to(tl.int64), (program % across).to(tl.int64) * LINE


@triton.jit
def tile_at(h, w, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Image of this program (int64), and the first row and column of its tile."""
    across = tl.cdiv(w, COLUMNS)
    count = tl.cdiv(h, ROWS) * across
    tile = tl.program_id(0) % count
    return (tl.program_id(0) // count).to(tl.int64), tile // across * ROWS, tile % across * COLUMNS


@triton.jit
def pair_at(m, SIDE: tl.constexpr):
    """Image of this program (int64), and the first row and column of tile (I, J), I <= J.

    The triangle of pairs is folded into a rectangle of odd width: what the upper rows leave free
    on the left holds the lower rows, turned round.
    """
    tiles = tl.cdiv(m, SIDE)
    width, count = tiles | 1, tiles * (tiles + 1) // 2
    spare, pair = width - tiles, tl.program_id(0) % count
    row, at = pair // width, pair % width
    folded = at < row + spare
    i = tl.where(folded, tiles - row - spare, row)
    j = tl.where(folded, tiles - 1 - at, at - spare)
    return (tl.program_id(0) // count).to(tl.int64), i * SIDE, j * SIDE


@triton.jit
def pixels(top, left, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Row numbers (ROWS, 1) and column numbers (1, COLUMNS) of a tile."""
    return top + tl.arange(0, ROWS)[:, None], left + tl.arange(0, COLUMNS)[None, :]


@triton.jit
def place(top, left, m, SIDE: tl.constexpr):
    """Offsets of a tile's pixels in an m x m image, and which of them are in the image."""
    row, column = pixels(top, left, SIDE, SIDE)
    return row * m + column, (row < m) & (column < m)


@triton.jit
def mirror(top, left, m, SIDE: tl.constexpr):
    """As :func:`place` for the tile across the diagonal; empty where that is the tile itself."""
    row, column = pixels(left, top, SIDE, SIDE)
    return row * m + column, (row < tl.where(top < left, m, 0)) & (column < m)
