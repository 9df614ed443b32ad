"""Uniform numbers of many traces that are spread more evenly than independent ones."""

from __future__ import annotations

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops.noise import (
    UNIFORM_KERNELS,
    check_draw,
    key_of,
    philox4x32,
    uniforms_reference,
)

GROUPS = 3  # Philox calls for a number; each spreads four binary digits
DIGITS = 4
SPREAD_BLOCK = 0xFE000000  # first Philox word, beyond those of `normal` and below `uniforms`
_MASK = 0xFFFFFFFF


def spread_uniforms(
    seed: int,
    index: Tensor,
    family: Tensor,
    rank: Tensor,
    first: int,
    count: int,
    *,
    backend: str = "auto",
) -> Tensor:
    """Uniform numbers in [0, 1), spread evenly over the traces of a family.

    Of each draw, the numbers of the ranks 0 to 2**k - 1 of a family, or of any later 2**k ranks
    whose first is a multiple of 2**k, lie one in each of 2**k equal parts of [0, 1), for k up to
    12. What a mean over traces of a family depends on then varies less than with independent
    numbers, while each trace alone gets independent uniform numbers. This is a van der Corput
    sequence, scrambled by Owen's method, in an order of its own for each draw (Owen, 1995; Burley,
    2020).

    Args:
        seed: Key, 0 <= seed < 2**64.
        index: Trace numbers, (B,) int64: of the digits behind the twelfth.
        family: (B,) int64 from 0, the family of each trace.
        rank: (B,) int64 from 0, its place in the family.
        first: The first draw, 0 <= first < 2**32.
        count: How many draws.
        backend: ``"torch"`` or ``"cpp"``, which give the same bits; ``"auto"`` takes the faster.

    Returns:
        (B, count) float64.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    check_draw(seed, index, first)
    check_draw(seed, index, first + max(count, 1) - 1)
    for name, of in (("family", family), ("rank", rank)):
        _backend.check_tensor(name, of, tuple(index.shape), torch.int64, index.device, " as index")
    chosen = _backend.choose(backend, index, UNIFORM_KERNELS)
    if chosen == "torch" or _backend.is_traced(index):
        return spread_reference(seed, index, family, rank, first, count)
    out = torch.empty(len(index), count, dtype=torch.float64)
    if out.numel():
        index, family, rank = index.contiguous(), family.contiguous(), rank.contiguous()
        draw = seed, index.data_ptr(), first
        shape = family.data_ptr(), rank.data_ptr(), len(index), count
        _backend.native(chosen, "spread_uniforms", out, draw, *shape, out.data_ptr())
    return out


def spread_reference(
    seed: int, index: Tensor, family: Tensor, rank: Tensor, first: int, count: int
) -> Tensor:
    """The numbers of :func:`spread_uniforms` in torch, on any device."""
    # 40 digits behind the first twelve: with more the sum could round to 1.
    rest = (uniforms_reference(seed, index, first, count) * 2.0**40).floor() * 2.0**-40
    draw = torch.arange(first, first + count, device=index.device)
    place = torch.zeros_like(rest, dtype=torch.int64)
    rank = rank.unsqueeze(1)
    for group in range(GROUPS):
        above = rank >> DIGITS * (group + 1) & _MASK
        counter = SPREAD_BLOCK + (group << 20) + place, draw, family.unsqueeze(1), above
        word = philox4x32(counter, key_of(seed))[0]
        place = place << DIGITS | _digits(rank >> DIGITS * group, word)
    return (place + rest) * 2.0 ** -(GROUPS * DIGITS)


def _digits(rank: Tensor, word: Tensor) -> Tensor:
    """Four digits, each a digit of the rank that is flipped or not by a bit of the word.

    Which bit depends on the higher digits of the rank and on the digits made before.
    """
    made = torch.zeros_like(word)
    for k in range(DIGITS):
        higher = (rank >> k + 1) & ((1 << DIGITS - 1 - k) - 1)
        flip = word >> (8 * k + (higher << k | made)) & 1
        made = made << 1 | ((rank >> k) & 1) ^ flip
    return made
