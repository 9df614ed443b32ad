"""Tokens drawn from the softmax of logits: a program has one row of these."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.power import exponential

TOKENS = tl.constexpr(256)  # at a time


def draw_tokens(logits: Tensor, uniforms: Tensor, tokens: Tensor) -> None:
    """Fills ``tokens`` as :func:`netdiffus.ops.draw_tokens.draw_tokens` says; -1 for no token."""
    batch, size = logits.shape
    # Half the next power of 2, as grain_of of csrc/formulas.h.
    grain = triton.next_power_of_2(size) / 2
    launch(_draw, batch, tokens, logits, uniforms, size, warps=4, GRAIN=grain)


@triton.jit(do_not_specialize=["size"])
def _draw(tokens, logits, uniforms, size, GRAIN: tl.constexpr):
    """Counts the tokens whose cumulative weight is not larger than the goal."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * size
    tile = tl.full((TOKENS,), -float("inf"), tl.float32)
    for first in range(0, size, TOKENS):
        tile = tl.maximum(tile, _read(logits, first, size))
    most = tl.max(tile, 0)
    weights = tl.zeros((TOKENS,), tl.float64)
    for first in range(0, size, TOKENS):
        weights += _weights(logits, first, size, most, GRAIN)
    total, uniform = tl.sum(weights, 0), tl.load(uniforms + row)
    goal = uniform * total
    before = tl.zeros((), tl.float64)
    count = tl.zeros((TOKENS,), tl.int64)
    for first in range(0, size, TOKENS):
        weights = _weights(logits, first, size, most, GRAIN)
        inside = first + tl.arange(0, TOKENS) < size
        count += (inside & (before + tl.cumsum(weights, 0) <= goal)).to(tl.int64)
        before += tl.sum(weights, 0)
    known = (total == total) & (uniform >= 0) & (uniform < 1)
    tl.store(tokens + row, tl.where(known, tl.sum(count, 0), -1))


@triton.jit
def _read(logits, first, size):
    v = first + tl.arange(0, TOKENS)
    return tl.load(logits + v, v < size, -float("inf")).to(tl.float32)


@triton.jit
def _weights(logits, first, size, most, GRAIN: tl.constexpr):
    """Exponentials as multiples of a grain, whose sums are exact: see `grain_of` in formulas.h."""
    part = exponential(_read(logits, first, size) - most).to(tl.float64)
    return (part + GRAIN) - GRAIN
