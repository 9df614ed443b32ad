"""Counter-based random numbers: those of trace i do not depend on the batch it is in.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011), checked against the known answers that its authors publish with Random123.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops._library import register

UNIFORM_KERNELS = {"cpp": (torch.int64,)}  # by the dtype of the trace numbers
PREDICTIONS = ("eps", "v", "x0")  # in the order of the native code's Target
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
    symmetric: bool = False,
    dtype: torch.dtype = torch.float32,
    out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Standard normal noise that depends on (seed, trace index, step, element) alone.

    Element ``e`` of trace ``i`` comes from lane ``e % 4`` of ``Philox(counter=(e // 4, step, i),
    key=seed)`` by Box and Muller's transform of lane pairs (0, 1) and (2, 3):
    ``sqrt(-2 ln u1) * (cos(2 pi u2), sin(2 pi u2))``. Symmetric noise takes the upper triangle of
    these w: ``eps_ij = eps_ji = w_ij`` for i < j, and ``eps_ii = sqrt(2) w_ii``. That is the law of
    ``(w + w') / sqrt(2)``.

    Args:
        seed: Key, 0 <= seed < 2**64.
        index: Trace numbers, (B,) int64; the result is on their device.
        step: Which draw, 0 <= step < 2**32.
        shape: Shape of one trace's noise, at most 2**31 - 1 elements.
        symmetric: Noise equal to its transpose in the last two axes, which must be square.
        dtype: float32 or float64, or float16 or bfloat16; the values are float32 rounded to it.
        out: Contiguous tensor to write into.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``; they agree to 1e-6.

    Returns:
        Noise of shape ``(B, *shape)``.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    full = (len(index) if index.ndim else 0, *shape)
    check_draw(seed, index, step)
    check_planes("shape", full, symmetric)
    if dtype not in _backend.DTYPES:
        raise ValueError(f"dtype: expected float32, float64 or a half, found {dtype}")
    if out is not None:
        _backend.check_out(out, full, dtype, index.device)
    if backend != "torch" and _backend.is_traced(index):
        found = _normal_op(as_signed(seed), index, step, list(shape), symmetric, dtype, backend)
        return _backend.into(out, found)
    if out is None:
        out = torch.empty(full, dtype=dtype, device=index.device)
    chosen = _backend.choose(backend, out, _backend.KERNELS)
    if chosen == "torch":
        return out.copy_(normal_reference(seed, index, step, shape, symmetric))
    if not out.numel():
        return out
    index = index.contiguous()
    if chosen == "triton":
        from netdiffus.ops.triton import noise as kernels

        kernels.normal(seed, index, step, symmetric, out)
    else:
        draw, places = (seed, index.data_ptr(), step), planes(full, symmetric)
        _backend.native(chosen, "normal", out, draw, places, out.data_ptr())
    return out


def normal_reference(
    seed: int, index: Tensor, step: int, shape: Sequence[int], symmetric: bool = False
) -> Tensor:
    """The formula of :func:`normal` in torch: float32 noise of shape (B, *shape).

    The uniforms are float32; the transform runs in float64 and is rounded once.
    """
    count = math.prod(shape)
    block = torch.arange((count + 3) // 4, device=index.device)
    counter = block, torch.full_like(block, step), *_words(index)
    bits = philox4x32(counter, key_of(seed))
    lanes = torch.stack(_box_muller(bits[0], bits[1]) + _box_muller(bits[2], bits[3]), dim=-1)
    white = lanes.reshape(len(index), 4 * len(block))[:, :count].reshape(len(index), *shape)
    if not symmetric:
        return white
    upper = white.triu(1)
    return upper + upper.mT + torch.diag_embed(math.sqrt(2) * white.diagonal(dim1=-2, dim2=-1))


def q_sample(
    x0: Tensor,
    signal: Tensor,
    sigma: Tensor,
    seed: int,
    index: Tensor,
    step: int = 0,
    *,
    prediction: str = "v",
    symmetric: bool = True,
    out: Sequence[Tensor] | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Adds noise to images (the forward process), and returns the target of the network.

    With ``eps = normal(seed, index, step, x0.shape[1:], symmetric=symmetric)``: ``xt = signal x0 +
    sigma eps`` (Ho et al., 2020, Eq. 4), and the target is ``eps``, ``v = signal eps - sigma x0``
    (Salimans and Ho, 2022) or ``x0``. The noise is drawn inside and never stored on its own.

    Args:
        x0: Images in [-1, 1], (B, ...), float32 or float64; float16 and bfloat16 are computed in
            float32 and rounded once.
        signal: sqrt(alphas_cumprod) at each trace's time, (B,) of the dtype of ``x0``.
        sigma: sqrt(1 - alphas_cumprod), likewise.
        seed: As in :func:`normal`, with ``index`` and ``step``.
        index: Trace numbers, (B,) int64.
        step: Which draw.
        prediction: ``"eps"``, ``"v"`` or ``"x0"``.
        symmetric: Symmetric noise, for square images.
        out: Contiguous tensors to write (xt, target) into; for ``"x0"`` only (xt,).
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``. Where an input
            needs a gradient, ``"auto"`` takes torch.

    Returns:
        (xt, target), of the shape and dtype of ``x0``; for ``"x0"`` the target is ``x0`` itself.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value, or overlapping memory.
        RuntimeError: The asked backend cannot run here.
    """
    _check_q_sample(x0, signal, sigma, seed, index, step, prediction, symmetric)
    if out is not None:
        _check_room(out, x0, signal, sigma, prediction)
    drawn = (index, step, prediction, symmetric, backend)
    traced = backend != "torch" and _backend.is_traced(x0, signal, sigma, index)
    if traced and not _backend.wants_gradient(x0, signal, sigma):
        found = _backend.all_into(out, _q_sample_op(x0, signal, sigma, as_signed(seed), *drawn))
    else:
        found = _q_sample(x0, signal, sigma, seed, *drawn, out)
    return found[0], x0 if prediction == "x0" else found[1]


def q_sample_reference(
    x0: Tensor,
    signal: Tensor,
    sigma: Tensor,
    seed: int,
    index: Tensor,
    step: int,
    prediction: str,
    symmetric: bool,
) -> list[Tensor]:
    """The formula of :func:`q_sample` in torch: [xt, target], and [xt] for ``"x0"``."""
    eps = normal_reference(seed, index, step, x0.shape[1:], symmetric)
    keep, add = (v.reshape(-1, *[1] * (x0.ndim - 1)) for v in map(_backend.wide, (signal, sigma)))
    clean = _backend.wide(x0)
    found = [keep * clean + add * eps]
    if prediction != "x0":
        found.append(keep * eps - add * clean if prediction == "v" else eps)
    return [v.to(x0.dtype) for v in found]


def uniform(seed: int, index: Tensor, step: int) -> Tensor:
    """Uniform numbers (B,) in [0, 1): those of one draw of :func:`uniforms`."""
    return uniforms(seed, index, step, 1)[:, 0]


def uniforms(seed: int, index: Tensor, first: int, count: int, *, backend: str = "auto") -> Tensor:
    """Uniform numbers in [0, 1) that depend on (seed, trace index, draw) alone.

    They share no bits with :func:`normal` of the same arguments.

    Args:
        seed: Key, 0 <= seed < 2**64.
        index: Trace numbers, (B,) int64.
        first: The first draw, 0 <= first < 2**32.
        count: How many draws; the last is below 2**32, too.
        backend: ``"torch"`` or ``"cpp"``, which give the same bits; ``"auto"`` takes the faster.

    Returns:
        (B, count) float64 with 53 random bits each.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    check_draw(seed, index, first)
    check_draw(seed, index, first + max(count, 1) - 1)
    chosen = _backend.choose(backend, index, UNIFORM_KERNELS)
    if chosen == "torch" or _backend.is_traced(index):
        return uniforms_reference(seed, index, first, count)
    out = torch.empty(len(index), count, dtype=torch.float64)
    if out.numel():
        index = index.contiguous()
        draw, shape = (seed, index.data_ptr(), first), (len(index), count)
        _backend.native(chosen, "uniforms", out, draw, *shape, out.data_ptr())
    return out


def uniforms_reference(seed: int, index: Tensor, first: int, count: int) -> Tensor:
    """The numbers of :func:`uniforms` in torch, on any device."""
    step = torch.arange(first, first + count, device=index.device)
    counter = torch.full_like(step, _UNIFORM_BLOCK), step, *_words(index)
    high, low, _, _ = philox4x32(counter, key_of(seed))
    # In double before the product: in float32 the highest words would round up to 1.
    return ((high >> 5).double() * 2.0**26 + (low >> 6).double()) * 2.0**-53


def _multiply(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    # High and low word of the 64-bit product; b in two halves, as int64 would overflow.
    low, high = a * (b & 0xFFFF), a * (b >> 16)
    high = high + (low >> 16)
    return high >> 16, (high & 0xFFFF) << 16 | low & 0xFFFF


def _words(index: Tensor) -> tuple[Tensor, Tensor]:
    """Trace numbers as two words each, (B, 1)."""
    index = index.unsqueeze(1)
    return index & _MASK, index >> 32 & _MASK


def key_of(seed: int) -> tuple[int, int]:
    """A seed as two words."""
    return seed & _MASK, seed >> 32


def _box_muller(bits_1: Tensor, bits_2: Tensor) -> tuple[Tensor, Tensor]:
    u1 = ((bits_1.float() + 0.5) * 2.0**-32).double()
    u2 = (bits_2.float() * 2.0**-32).double()
    radius, angle = torch.sqrt(-2 * torch.log(u1)), 2 * math.pi * u2
    return (radius * torch.cos(angle)).float(), (radius * torch.sin(angle)).float()


def planes(shape: tuple[int, ...], symmetric: bool) -> tuple[int, int, int, int, bool]:
    """A batch's shape as native code takes it: batch, planes, rows, columns, symmetric."""
    one = shape[1:]
    if not symmetric:
        return shape[0], 1, 1, math.prod(one), False
    return shape[0], math.prod(one[:-2]), one[-2], one[-1], True


def check_draw(seed: int, index: Tensor, step: int, name: str = "step") -> None:
    """Refuses a seed, trace numbers or a draw that cannot be part of a counter.

    Raises:
        ValueError: One out of range or of another type.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected 0 <= seed < 2**64, found {seed}")
    if not 0 <= step < 2**32:
        raise ValueError(f"{name}: expected 0 <= {name} < 2**32, found {step}")
    if index.ndim != 1 or index.dtype is not torch.int64:
        raise ValueError(
            f"index: expected (B,) int64, found {tuple(index.shape)} {index.dtype}; "
            "pass torch.arange(first, last)"
        )


def check_planes(name: str, shape: tuple[int, ...], symmetric: bool) -> None:
    """Refuses a shape (B, ...) that has no such noise.

    Raises:
        ValueError: Too many elements, or symmetric noise of what is not square.
    """
    _backend.check_size(name, (shape[0], 1, math.prod(shape[1:])))
    if symmetric and (len(shape) < 3 or shape[-1] != shape[-2]):
        raise ValueError(
            f"{name}: symmetric noise needs square last axes, found {tuple(shape)}; "
            "pass symmetric=False"
        )


def check_images(name: str, x: Tensor, index: Tensor | None, symmetric: bool) -> None:
    """Refuses images (B, ...) that cannot be given noise for the traces of ``index``.

    Raises:
        ValueError: A wrong dtype, rank, batch size or device, or no such noise.
    """
    if x.dtype not in _backend.DTYPES:
        raise ValueError(f"{name}: expected float32, float64 or a half, found {x.dtype}")
    if x.ndim < 1:
        raise ValueError(f"{name}: expected (B, ...), found a scalar")
    if index is None:
        return
    check_planes(name, x.shape, symmetric)
    if index.shape[0] != x.shape[0] or index.device != x.device:
        raise ValueError(
            f"index: expected ({len(x)},) on {x.device} as {name}, "
            f"found ({index.shape[0]},) on {index.device}"
        )


def as_signed(seed: int) -> int:
    """The seed as a signed 64-bit integer, as torch's ops take it; modulo 2**64 it is the same."""
    return seed - 2**64 if seed >= 2**63 else seed


def _check_q_sample(
    x0: Tensor,
    signal: Tensor,
    sigma: Tensor,
    seed: int,
    index: Tensor,
    step: int,
    prediction: str,
    symmetric: bool,
) -> None:
    check_draw(seed, index, step)
    check_images("x0", x0, index, symmetric)
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"prediction: expected one of {', '.join(PREDICTIONS)}, found {prediction!r}"
        )
    for name, v in (("signal", signal), ("sigma", sigma)):
        _backend.check_tensor(name, v, x0.shape[:1], x0.dtype, x0.device, " as x0")


def _check_room(
    out: Sequence[Tensor], x0: Tensor, signal: Tensor, sigma: Tensor, prediction: str
) -> None:
    if len(out) != (1 if prediction == "x0" else 2):
        raise ValueError(f"out: expected (xt, target), (xt,) for 'x0', found {len(out)} tensors")
    for k, place in enumerate(out):
        _backend.check_out(place, tuple(x0.shape), x0.dtype, x0.device, f"out[{k}]")
        for name, v in (("x0", x0), ("signal", signal), ("sigma", sigma)):
            _backend.check_apart(place, name, v)
    if len(out) == 2:
        _backend.check_apart(out[0], "out[1]", out[1])


def _q_sample(
    x0: Tensor,
    signal: Tensor,
    sigma: Tensor,
    seed: int,
    index: Tensor,
    step: int,
    prediction: str,
    symmetric: bool,
    backend: str,
    out: Sequence[Tensor] | None = None,
) -> Sequence[Tensor]:
    differentiate = _backend.wants_gradient(x0, signal, sigma)
    chosen = _backend.choose(backend, x0, _backend.KERNELS, differentiate=differentiate)
    if chosen == "torch":
        found = q_sample_reference(x0, signal, sigma, seed, index, step, prediction, symmetric)
        return _backend.all_into(out, found)
    x0, index = x0.contiguous(), index.contiguous()
    signal, sigma = signal.contiguous(), sigma.contiguous()
    made = _room(x0, prediction) if out is None else out
    if not x0.numel():
        return made
    goal = made[1] if len(made) == 2 else None
    if chosen == "triton":
        from netdiffus.ops.triton import noise as kernels

        mixing = (seed, index, step, prediction, symmetric, made[0], goal)
        kernels.q_sample(x0, signal, sigma, *mixing)
    else:
        addresses = (x0.data_ptr(), signal.data_ptr(), sigma.data_ptr())
        drawn = ((seed, index.data_ptr(), step), planes(tuple(x0.shape), symmetric))
        places = (made[0].data_ptr(), 0 if goal is None else goal.data_ptr())
        target = PREDICTIONS.index(prediction)
        _backend.native(chosen, "q_sample", x0, *addresses, *drawn, target, *places)
    return made


def _room(x0: Tensor, prediction: str) -> list[Tensor]:
    like = x0.contiguous()
    return [torch.empty_like(like) for _ in range(1 if prediction == "x0" else 2)]


_normal_op = register(
    "normal(int seed, Tensor index, int step, SymInt[] shape, bool symmetric, ScalarType dtype, "
    "str backend) -> Tensor",
    lambda seed, index, step, shape, symmetric, dtype, backend: normal(
        seed % 2**64, index, step, shape, symmetric=symmetric, dtype=dtype, backend=backend
    ),
    fake=lambda seed, index, step, shape, symmetric, dtype, backend: index.new_empty(
        (len(index), *shape), dtype=dtype
    ),
)
_q_sample_op = register(
    "q_sample(Tensor x0, Tensor signal, Tensor sigma, int seed, Tensor index, int step, "
    "str prediction, bool symmetric, str backend) -> Tensor[]",
    lambda x0, signal, sigma, seed, *drawn: list(
        _q_sample(x0, signal, sigma, seed % 2**64, *drawn)
    ),
    fake=lambda x0, signal, sigma, seed, index, step, prediction, *_: _room(x0, prediction),
)
