"""Attention of one new point to a key-value cache: a program has one head of one sequence."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.power import exponential

POINTS = tl.constexpr(16)  # of the cache at a time
SIZES = ["heads", "length", "width", "place"]


def cached_attention(qkv: Tensor, keys: Tensor, values: Tensor, place: int, out: Tensor) -> None:
    """Fills ``out`` as :func:`netdiffus.ops.cached_attention.cached_attention` says."""
    batch, heads, length, width = keys.shape
    if width:
        sizes = (heads, length, width, place)
        columns = triton.next_power_of_2(width)
        launch(_attend, batch * heads, out, qkv, keys, values, *sizes, warps=4, COLUMNS=columns)


@triton.jit(do_not_specialize=SIZES)
def _attend(out, qkv, keys, values, heads, length, width, place, COLUMNS: tl.constexpr):
    """The sums of shares and of values so far are of the largest score so far."""
    program = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, COLUMNS)[None, :]
    inside, features = column < width, heads * width
    qkv += program // heads * (3 * features) + program % heads * width
    keys += program * length * width
    values += program * length * width
    query = tl.load(qkv + column, inside, 0).to(tl.float32)
    key = tl.load(qkv + features + column, inside, 0)
    value = tl.load(qkv + 2 * features + column, inside, 0)
    tl.store(keys + place * width + column, key, inside)
    tl.store(values + place * width + column, value, inside)
    root = tl.sqrt_rn(width.to(tl.float32))
    most = tl.full((1, 1), -float("inf"), tl.float32)
    total = tl.zeros((1, 1), tl.float32)
    mean = tl.zeros((1, COLUMNS), tl.float32)
    for first in range(0, place + 1, POINTS):
        point = first + tl.arange(0, POINTS)[:, None]
        products = query * _rows(keys, key, point, place, column, width)
        score = tl.div_rn(tl.sum(products, 1, keep_dims=True), root)
        score = tl.where(point <= place, score, -float("inf"))
        before, most = most, tl.maximum(most, tl.max(score, 0, keep_dims=True))
        kept, share = exponential(before - most), exponential(score - most)
        total = total * kept + tl.sum(share, 0, keep_dims=True)
        seen = _rows(values, value, point, place, column, width)
        mean = mean * kept + tl.sum(share * seen, 0, keep_dims=True)
    tl.store(out + program * width + column, tl.div_rn(mean, total), inside)


@triton.jit
def _rows(cache, new, point, place, column, width):
    """Rows of the cache. The last is taken from the registers: its store may not be done yet."""
    mask = (point < place) & (column < width)
    rows = tl.load(cache + (point * width + column), mask, 0)
    return tl.where(point == place, new, rows).to(tl.float32)
