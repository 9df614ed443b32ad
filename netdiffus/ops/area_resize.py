"""The weights of resizing by area, as OpenCV's INTER_AREA has them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from netdiffus.ops import _backend


def area_weights(n: int, m: int, like: Tensor) -> Tensor:
    """:func:`area_matrix`, of the dtype and device of a tensor."""
    # What torch traces must not come from a cache, nor stay in one.
    make = _make if _backend.is_traced(like) else _cached
    return make(n, m, like.dtype, like.device)


def _make(n: int, m: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    weights = _shrink(n, m) if m <= n else _enlarge(n, m)
    return weights.to(device=device, dtype=dtype)


_cached = lru_cache(maxsize=32)(_make)


def _shrink(n: int, m: int) -> Tensor:
    # Widths in units of 1/(n m): output o covers [o n, (o+1) n), input t covers [t m, (t+1) m).
    # Integers keep the overlaps exact; window edges in float32 would cost 1e-5 on odd sizes.
    o = torch.arange(m).unsqueeze(1)
    t = torch.arange(n).unsqueeze(0)
    overlap = torch.minimum((o + 1) * n, (t + 1) * m) - torch.maximum(o * n, t * m)
    return overlap.clamp(min=0).double() / n


def _enlarge(n: int, m: int) -> Tensor:
    # OpenCV's own arithmetic. It means the same overlap, at most two inputs an output, but where
    # an edge falls on a pixel's its rounding can take the neighbour (70 -> 125 is such a size).
    o = torch.arange(m, dtype=torch.float64)
    grow = m / n
    left = torch.floor(o * (1 / grow))
    share = ((o + 1) - (left + 1) * grow).float().clamp(min=0)
    share = (share - torch.floor(share)).double().unsqueeze(1)
    column = left.long().unsqueeze(1)
    weights = torch.zeros(m, n, dtype=torch.float64).scatter_add_(1, column, 1 - share)
    return weights.scatter_add_(1, (column + 1).clamp(max=n - 1), share)


def area_matrix(
    n: int, m: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Tensor:
    """Makes the matrix R that resizes a vector of ``n`` values to ``m`` by area.

    ``R[o, t]`` is the share of output ``o`` that lies over input ``t``, so each row sums to 1 and
    ``n == m`` gives the identity. Equal to OpenCV's INTER_AREA along one axis (tested to 1e-5),
    save that OpenCV drops shares below 0.001 pixels, which only ``m > 1000`` can make.

    Args:
        n: Input length, at least 1.
        m: Output length, at least 1.
        dtype: Type of the result; the weights are computed as exact integers.
        device: Where the result lives.

    Returns:
        Tensor of shape (m, n).

    Raises:
        ValueError: ``n`` or ``m`` below 1.
    """
    if n < 1 or m < 1:
        raise ValueError(f"area_matrix: expected n and m of at least 1, found n={n}, m={m}")
    return _make(n, m, dtype, torch.device(device))
