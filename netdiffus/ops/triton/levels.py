"""What the default U-Net does to the chances of levels: it weighs, averages and learns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from netdiffus.ops.triton._launch import launch
from netdiffus.ops.triton.noise import log_parts
from netdiffus.ops.triton.power import exponential, power, shape_of_power

# A program has some rows of one channel, and goes over its levels a tile at a time.
ROWS, LEVELS = tl.constexpr(8), tl.constexpr(32)
COSINES = tl.constexpr(16)
# One kernel for all sizes: no number of them is worth one of its own.
SIZES = ["rows", "points", "levels", "channels", "number", "begin", "count"]


def level_chances(
    given: Sequence[Tensor], sizes: Sequence[int], chances: Tensor, features: Tensor
) -> None:
    """Fills both, as :func:`netdiffus.ops.levels.level_chances` says of the tensors ``given``."""
    _launch(_level_chances, features, (chances, *given), sizes)


def level_means(given: Sequence[Tensor], sizes: Sequence[int], gamma: float, means: Tensor) -> None:
    """Fills ``means`` as :func:`netdiffus.ops.levels.level_means` says of the tensors ``given``."""
    exponent = 1 / gamma
    _launch(_level_means, means, given, sizes, exponent, SHAPE=shape_of_power(exponent))


def level_loss(given: Sequence[Tensor], sizes: Sequence[int], lost: Tensor) -> None:
    """Fills ``lost``, from chances, told and own, as :func:`netdiffus.ops.levels.level_loss` says.

    An own level of another channel gives NaN.
    """
    _launch(_level_loss, lost, given, sizes)


def level_loss_backward(given: Sequence[Tensor], sizes: Sequence[int], found: Tensor) -> None:
    """Fills ``found`` with told's gradient, from chances, told, own and the loss's gradient."""
    _launch(_level_loss_backward, found, given, sizes)


def _launch(
    kernel: Any,
    out: Tensor,
    given: Sequence[Tensor],
    sizes: Sequence[int],
    *numbers: float,
    **constants: Any,
) -> None:
    """For each channel; the first tensor of ``given`` is of all levels."""
    batch, points, levels = given[0].shape
    rows, begin = batch * points, 0
    for number, count in enumerate(sizes):
        channel = (rows, points, levels, len(sizes), number, begin, count)
        programs = triton.cdiv(rows, ROWS.value)
        launch(kernel, programs, out, *given, *numbers, *channel, **constants)
        begin += count


@triton.jit(do_not_specialize=SIZES)
def _level_chances(
    features, chances, counted, border, edge, variance, slope, curve, spans, cosines,
    rows, points, levels, channels, number, begin, count,
):  # fmt: skip
    top, row, there = _rows(rows)
    point = (top + row) * channels + number
    edge, noise = _read(edge + point, there), _read(variance + (top + row) // points, there)
    seen = edge, noise, _read(slope + point, there), _read(curve + point, there)
    chances += top * levels + begin
    counted += top * levels + begin
    across = row * levels
    spans += 3 * begin
    tile = tl.full((ROWS, LEVELS), -float("inf"), tl.float32)
    for first in range(0, count, LEVELS):
        s, at, mask = _levels(first, count, across, there)
        log = _weighed(counted + at, spans, seen, s, s < count, mask)
        tl.store(chances + at, log, mask)
        tile = tl.maximum(tile, log)
    most = tl.max(tile, 1, keep_dims=True)
    tile = tl.zeros((ROWS, LEVELS), tl.float32)
    for first in range(0, count, LEVELS):
        s, at, mask = _levels(first, count, across, there)
        tile += exponential(_weighed(counted + at, spans, seen, s, s < count, mask) - most)
    scale = _inverse(tl.sum(tile, 1, keep_dims=True))
    wide = channels + levels + COSINES * channels
    features += top * wide
    tl.store(features + (row * wide + number), tl.load(border + point, there), there)
    roots = row * wide + channels + begin
    sums = tl.zeros((ROWS, COSINES), tl.float32)
    for first in range(0, count, LEVELS):
        s, at, mask = _levels(first, count, across, there)
        part = scale * exponential(_weighed(counted + at, spans, seen, s, s < count, mask) - most)
        tl.store(features + (roots + s), 4 * tl.sqrt_rn(part), mask)
        waves = _waves(cosines + begin * COSINES, first, count)
        sums += tl.sum(part[:, :, None] * waves[None, :, :], 1)
    k = channels + levels + number * COSINES + tl.arange(0, COSINES)[None, :]
    tl.store(features + (row * wide + k), sums, there)


@triton.jit(do_not_specialize=SIZES)
def _level_means(
    means, chances, told, edge, variance, spans, exponent,
    rows, points, levels, channels, number, begin, count, SHAPE: tl.constexpr,
):  # fmt: skip
    top, row, there = _rows(rows)
    point = (top + row) * channels + number
    edge, noise = _read(edge + point, there), _read(variance + (top + row) // points, there)
    chances += top * levels + begin
    told += top * levels + begin
    across = row * levels
    spans += 3 * begin
    most = _largest(chances, told, count, across, there)
    total = tl.zeros((ROWS, LEVELS), tl.float32)
    cosine, sine, square = total, total, total
    for first in range(0, count, LEVELS):
        s, at, mask = _levels(first, count, across, there)
        part = exponential(_told(chances + at, told + at, mask) - most)
        x = _likeliest(spans, edge, noise, exponent, s, s < count, SHAPE)
        rest = 1 - x * x
        total += part
        cosine += part * x
        sine += part * tl.sqrt_rn(tl.where(rest < 0, 0.0, rest))
        square += part * (x * x)
    scale = _inverse(tl.sum(total, 1, keep_dims=True))
    apart = rows.to(tl.int64) * channels
    tl.store(means + point, scale * tl.sum(cosine, 1, keep_dims=True), there)
    tl.store(means + apart + point, scale * tl.sum(sine, 1, keep_dims=True), there)
    tl.store(means + 2 * apart + point, scale * tl.sum(square, 1, keep_dims=True), there)


@triton.jit(do_not_specialize=SIZES)
def _level_loss(
    lost, chances, told, own, rows, points, levels, channels, number, begin, count
):  # fmt: skip
    top, row, there = _rows(rows)
    point = (top + row) * channels + number
    chances += top * levels + begin
    told += top * levels + begin
    across = row * levels
    right, known = _own(own + point, begin, count, there)
    right += across
    log_right = _read(chances + right, known) + _read(told + right, known)
    most = _largest(chances, told, count, across, there)
    log_total = _log(_total(chances, told, count, across, there, most))
    result = tl.where(known, log_total + (most - log_right), float("nan"))
    tl.store(lost + point, result, there)


@triton.jit(do_not_specialize=SIZES)
def _level_loss_backward(
    found, chances, told, own, g, rows, points, levels, channels, number, begin, count
):  # fmt: skip
    """The gradient: g (p_s - [s = own])."""
    top, row, there = _rows(rows)
    point = (top + row) * channels + number
    chances += top * levels + begin
    told += top * levels + begin
    across = row * levels
    found += top * levels + begin
    right, known = _own(own + point, begin, count, there)
    slope = tl.where(known, _read(g + point, there), float("nan"))
    most = _largest(chances, told, count, across, there)
    scale = tl.div_rn(slope, _total(chances, told, count, across, there, most))
    for first in range(0, count, LEVELS):
        s, at, mask = _levels(first, count, across, there)
        part = scale * exponential(_told(chances + at, told + at, mask) - most)
        tl.store(found + at, part - tl.where(s == right, slope, 0.0), mask)


@triton.jit
def _rows(rows):
    """The first row of this program, int64; its rows (ROWS, 1) from there, and which there are."""
    top, row = tl.program_id(0).to(tl.int64) * ROWS, tl.arange(0, ROWS)[:, None]
    return top, row, row < rows - top


@triton.jit
def _levels(first, count, across, there):
    """Numbers (1, LEVELS) of levels, and where a tile has them, in rows at `across`, if it does."""
    s = first + tl.arange(0, LEVELS)[None, :]
    return s, across + s, there & (s < count)


@triton.jit
def _read(pointer, mask):
    return tl.load(pointer, mask, 0).to(tl.float32)


@triton.jit
def _span(spans, s, inside):
    """Low, x and high of levels, and a twelfth of the square of their width."""
    low, x = _read(spans + 3 * s, inside), _read(spans + 3 * s + 1, inside)
    # A level that is not there is 1 wide, so that none is divided by 0.
    high = tl.load(spans + 3 * s + 2, inside, 1).to(tl.float32)
    return low, x, high, (high - low) * (high - low) * (1 / 12)


@triton.jit
def _weighed(counted, spans, seen, s, inside, mask):
    """The logarithms of the chances of points of which edge, noise, slope and curve were seen."""
    edge, noise, slope, curve = seen
    _, x, _, width = _span(spans, s, inside)
    apart = edge - x
    sharpness = tl.div_rn(tl.full((), 0.5, tl.float32), noise + width)
    log = (_read(counted, mask) - apart * apart * sharpness) + (slope + curve * x) * x
    return tl.where(mask, log, -float("inf"))


@triton.jit
def _told(chances, told, mask):
    return tl.where(mask, _read(chances, mask) + _read(told, mask), -float("inf"))


@triton.jit
def _largest(chances, told, count, across, there):
    """The largest logarithm of each row, (ROWS, 1); a NaN may be passed over."""
    most = tl.full((ROWS, LEVELS), -float("inf"), tl.float32)
    for first in range(0, count, LEVELS):
        _, at, mask = _levels(first, count, across, there)
        most = tl.maximum(most, _told(chances + at, told + at, mask))
    return tl.max(most, 1, keep_dims=True)


@triton.jit
def _total(chances, told, count, across, there, most):
    """The sum of what the logarithms stand for, as parts of the largest. NaN among them stays."""
    total = tl.zeros((ROWS, LEVELS), tl.float32)
    for first in range(0, count, LEVELS):
        _, at, mask = _levels(first, count, across, there)
        total += exponential(_told(chances + at, told + at, mask) - most)
    return tl.sum(total, 1, keep_dims=True)


@triton.jit
def _waves(cosines, first, count):
    """(LEVELS, COSINES) of a tile of levels."""
    s, k = first + tl.arange(0, LEVELS)[:, None], tl.arange(0, COSINES)[None, :]
    return _read(cosines + s * COSINES + k, s < count)


@triton.jit
def _likeliest(spans, edge, noise, exponent, s, inside, SHAPE: tl.constexpr):
    """The value in each level that is likeliest, contrast undone."""
    low, x, high, width = _span(spans, s, inside)
    x += tl.div_rn(width, width + noise) * (edge - x)
    x = tl.where(x < low, low, tl.where(x > high, high, x))
    if SHAPE != "1":
        x = 2 * power(0.5 * (x + 1), exponent, SHAPE) - 1
    return x


@triton.jit
def _own(own, begin, count, there):
    """Which of the channel's levels is right in each row, and whether any is."""
    right = tl.load(own, there, 0) - begin
    return right, there & (right >= 0) & (right < count)


@triton.jit
def _inverse(v):
    return tl.div_rn(tl.full((), 1.0, tl.float32), v)


@triton.jit
def _log(v):
    """Of numbers from 1 on. NaN stays NaN."""
    exponent, artanh = log_parts(v)
    return tl.where(v == v, 0.693147181 * exponent + 2 * artanh, v)
