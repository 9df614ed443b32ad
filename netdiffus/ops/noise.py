"""Random numbers by counter: what trace i gets does not depend on the batch it is in.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011), checked against the known answers that its authors publish with Random123.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from netdiffus.ops import _backend

_MASK = 0xFFFFFFFF
_UNIFORM_BLOCK = _MASK  # a block that normal() never reaches, so the two never share bits


def philox4x32(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox4x32-10 in int64 tensors.

    Args:
        counter: Four int64 tensors of 32-bit words, of shapes that broadcast together.
        key: Two 32-bit words.

    Returns:
        Four int64 tensors of random 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        hi0, lo0 = _multiply(0xD2511F53, c0)
        hi1, lo1 = _multiply(0xCD9E8D57, c2)
        c0, c1, c2, c3 = hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def normal(
    seed: int,
    index: Tensor,
    step: int,
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Standard normal noise that depends on (seed, trace index, step, element) alone.

    Element ``e`` of trace ``i`` comes from lane ``e % 4`` of ``Philox(counter=(e // 4, step, i),
    key=seed)`` by Box and Muller's transform of lane pairs (0, 1) and (2, 3):
    ``sqrt(-2 ln u1) * (cos(2 pi u2), sin(2 pi u2))``.

    Args:
        seed: Key, 0 <= seed < 2**64.
        index: Trace numbers, (B,) int64; the result is on their device.
        step: Which draw, 0 <= step < 2**32.
        shape: Shape of one trace's noise.
        dtype: float32 or float64; the values are float32 in either.
        out: Contiguous tensor to write into.
        backend: ``"auto"``, ``"torch"`` or ``"cpp"``; they agree to 1e-6.

    Returns:
        Noise of shape (B, *shape).

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    _check(seed, index, step)
    count = math.prod(shape)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype: expected float32 or float64, found {dtype}")
    if not 0 <= count < 4 * _UNIFORM_BLOCK:
        raise ValueError(f"shape: expected fewer than 2**34 - 4 elements, found {tuple(shape)}")
    full = (len(index), *shape)
    if out is not None:
        _backend.check_out(out, full, dtype, index.device)
    chosen = _backend.choose(backend, index, ("cpp",))
    if chosen == "torch":
        noise = normal_reference(seed, index, step, count).reshape(full).to(dtype)
        return noise if out is None else out.copy_(noise)
    if out is None:
        out = torch.empty(full, dtype=dtype)
    _run(seed, index.contiguous(), step, count, out)
    return out


def normal_reference(seed: int, index: Tensor, step: int, count: int) -> Tensor:
    """The formula of :func:`normal` in torch: float32 noise of shape (B, count).

    The uniforms are float32; the transform runs in float64 and is rounded once.
    """
    block = torch.arange((count + 3) // 4, device=index.device)
    bits = philox4x32(_counter(block, step, index.unsqueeze(-1)), _key(seed))
    lanes = torch.stack(_box_muller(bits[0], bits[1]) + _box_muller(bits[2], bits[3]), dim=-1)
    return lanes.reshape(len(index), 4 * len(block))[:, :count]


def uniform(seed: int, index: Tensor, step: int) -> Tensor:
    """Uniform numbers in [0, 1) that depend on (seed, trace index, step) alone.

    They share no bits with :func:`normal` of the same arguments.

    Args:
        seed: Key, 0 <= seed < 2**64.
        index: Trace numbers, (B,) int64.
        step: Which draw, 0 <= step < 2**32.

    Returns:
        (B,) float64 with 53 random bits each.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
    """
    _check(seed, index, step)
    block = torch.full_like(index, _UNIFORM_BLOCK)
    high, low, _, _ = philox4x32(_counter(block, step, index), _key(seed))
    return ((high >> 5) * 2.0**26 + (low >> 6).double()) * 2.0**-53


def _multiply(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    # High and low word of the 64-bit product; b in two halves, as int64 would overflow.
    low, high = a * (b & 0xFFFF), a * (b >> 16)
    high = high + (low >> 16)
    return high >> 16, (high & 0xFFFF) << 16 | low & 0xFFFF


def _counter(block: Tensor, step: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    step_word = torch.full_like(index, step)
    return block, step_word, index & _MASK, index >> 32 & _MASK


def _key(seed: int) -> tuple[int, int]:
    return seed & _MASK, seed >> 32


def _box_muller(bits_1: Tensor, bits_2: Tensor) -> tuple[Tensor, Tensor]:
    u1 = ((bits_1.float() + 0.5) * 2.0**-32).double()
    u2 = (bits_2.float() * 2.0**-32).double()
    radius, angle = torch.sqrt(-2 * torch.log(u1)), 2 * math.pi * u2
    return (radius * torch.cos(angle)).float(), (radius * torch.sin(angle)).float()


def _check(seed: int, index: Tensor, step: int) -> None:
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected 0 <= seed < 2**64, found {seed}")
    if not 0 <= step < 2**32:
        raise ValueError(f"step: expected 0 <= step < 2**32, found {step}")
    if index.ndim != 1 or index.dtype is not torch.int64:
        raise ValueError(
            f"index: expected (B,) int64, found {tuple(index.shape)} {index.dtype}; "
            "pass torch.arange(first, last)"
        )


def _run(seed: int, index: Tensor, step: int, count: int, out: Tensor) -> None:
    _backend._C.normal(
        seed,
        index.data_ptr(),
        len(index),
        step,
        count,
        out.data_ptr(),
        out.dtype is torch.float64,
        torch.get_num_threads(),
    )
