"""Uniform numbers of many traces that are spread more evenly than independent ones."""

from __future__ import annotations

import torch
from torch import Tensor

from netdiffus.ops.noise import key_of, philox4x32, uniforms

GROUPS = 3  # Philox calls for a number; each spreads four binary digits
DIGITS = 4
SPREAD_BLOCK = 0xFE000000  # first Philox word, beyond those of `normal` and below `uniforms`
_MASK = 0xFFFFFFFF


def spread_uniforms(
    seed: int, index: Tensor, family: Tensor, rank: Tensor, first: int, count: int
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

    Returns:
        (B, count) float64.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
    """
    # 40 digits behind the first twelve: with more the sum could round to 1.
    rest = (uniforms(seed, index, first, count) * 2.0**40).floor() * 2.0**-40
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
