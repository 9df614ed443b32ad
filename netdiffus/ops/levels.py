"""What the default U-Net does to the chances of levels, before its blocks and after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from netdiffus.ops import _backend
from netdiffus.ops.noise import KERNELS, wide

COSINES = 16


def level_chances(
    counted: Tensor,
    border: Tensor,
    edge: Tensor,
    variance: Tensor,
    slope: Tensor,
    curve: Tensor,
    spans: Tensor,
    cosines: Tensor,
    sizes: Sequence[int],
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Weighs levels by what was seen, and writes down for the network how likely each is.

    With low, x and high the span of a level, its chance at a point of its channel has the logarithm
    ``counted - (edge - x)**2 / (2 variance + (high - low)**2 / 6) + (slope + curve x) x``, up to
    a constant: by Bayes' rule, of normal noise on a level as wide as it is, and of a second normal
    distribution that slope and curve describe. The features are the border, then four times the
    roots of the chances p, then sums over the levels of each channel, ``sum_s p_s cosines_sk``.
    Native where torch takes a pass over memory for each operation. No gradient but torch's own.

    Args:
        counted: (B, m, S), the S levels of the C channels in a row; float32 or float64; float16
            and bfloat16 are computed in float32 and rounded once.
        border: (B, m, C), handed on to the features.
        edge: (B, m, C), points with noise.
        variance: (B,), of the noise, at least 0 and above it where a level has no width.
        slope: (B, m, C).
        curve: (B, m, C).
        spans: (S, 3), low, x and high of each level.
        cosines: (S, 16).
        sizes: How many levels each channel has; their sum is S.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        The logarithms (B, m, S) and the features (B, m, C + S + 16 C).

    Raises:
        ValueError: A wrong shape or dtype, or a backend that cannot take ``counted``.
        RuntimeError: The asked backend cannot run here.
    """
    b, m, s = _check_chances("counted", counted, sizes)
    points = {"border": border, "edge": edge, "slope": slope, "curve": curve}
    _check(counted, {k: (v, (b, m, len(sizes))) for k, v in points.items()})
    tables = {
        "variance": (variance, (b,)),
        "spans": (spans, (s, 3)),
        "cosines": (cosines, (s, COSINES)),
    }
    _check(counted, tables)
    given = (counted, border, edge, variance, slope, curve, spans, cosines)
    if (chosen := _chosen(backend, given)) == "torch":
        return level_chances_reference(*given, sizes)
    held = [v.contiguous() for v in given]  # their memory must outlive the call
    chances = torch.empty_like(held[0])
    features = counted.new_empty(b, m, len(sizes) + s + COSINES * len(sizes))
    if chosen == "triton":
        from netdiffus.ops.triton import levels as kernels

        kernels.level_chances(held, sizes, chances, features)
    else:
        addresses, shape = [v.data_ptr() for v in held], (b, m, list(sizes))
        found = chances.data_ptr(), features.data_ptr()
        _backend.native(chosen, "level_chances", counted, addresses, *shape, *found)
    return chances, features


def level_chances_reference(
    counted: Tensor,
    border: Tensor,
    edge: Tensor,
    variance: Tensor,
    slope: Tensor,
    curve: Tensor,
    spans: Tensor,
    cosines: Tensor,
    sizes: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The formula of :func:`level_chances` in torch."""
    low, x, high = wide(spans).unbind(-1)
    sharpness = 0.5 / (wide(variance).view(-1, 1, 1) + (high - low).square() / 12)
    explained = (_by_level(edge, sizes) - x).square() * sharpness
    varied = (_by_level(slope, sizes) + _by_level(curve, sizes) * x) * x
    chances = (wide(counted) - explained) + varied
    shares = [part.softmax(-1) for part in torch.split(chances, list(sizes), -1)]
    sums = [p @ w for p, w in zip(shares, torch.split(wide(cosines), list(sizes)), strict=True)]
    features = torch.cat([wide(border), *[4 * p.sqrt() for p in shares], *sums], -1)
    return chances.to(counted.dtype), features.to(counted.dtype)


def level_means(
    chances: Tensor,
    told: Tensor,
    edge: Tensor,
    variance: Tensor,
    spans: Tensor,
    sizes: Sequence[int],
    *,
    gamma: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """Means of each point over its levels, for the image that they make.

    A level gives the point that is likeliest in its span: with ``w = (high - low)**2 / 12``, the
    value ``x + w / (w + variance) (edge - x)`` between low and high, its contrast undone. The
    means of its cosine x, its sine ``sqrt(1 - x**2)`` and ``x**2`` are weighted by the softmax of
    ``chances + told`` over the levels of a channel. No gradient but torch's own.

    Args:
        chances: (B, m, S), logarithms up to a constant by channel; dtypes as :func:`level_chances`.
        told: (B, m, S), added to them.
        edge: (B, m, C), points with noise.
        variance: (B,), of the noise, above 0 where a level has no width.
        spans: (S, 3), low, x and high of each level, in [-1, 1].
        sizes: How many levels each channel has; their sum is S.
        gamma: Contrast of the points, above 0.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        (3, B, m, C): means of cosine, sine and square.

    Raises:
        ValueError: A wrong shape or dtype, or a backend that cannot take ``chances``.
        RuntimeError: The asked backend cannot run here.
    """
    b, m, s = _check_chances("chances", chances, sizes)
    shapes = {
        "told": (told, (b, m, s)),
        "edge": (edge, (b, m, len(sizes))),
        "variance": (variance, (b,)),
        "spans": (spans, (s, 3)),
    }
    _check(chances, shapes)
    if not gamma > 0:
        raise ValueError(f"gamma: expected a number above 0, found {gamma}")
    given = (chances, told, edge, variance, spans)
    if (chosen := _chosen(backend, given)) == "torch":
        return level_means_reference(*given, sizes, gamma)
    means = chances.new_empty(3, b, m, len(sizes))
    held = [v.contiguous() for v in given]  # their memory must outlive the call
    if chosen == "triton":
        from netdiffus.ops.triton import levels as kernels

        kernels.level_means(held, sizes, gamma, means)
    else:
        addresses, shape = [v.data_ptr() for v in held], (b, m, list(sizes))
        _backend.native(chosen, "level_means", chances, *addresses, *shape, gamma, means.data_ptr())
    return means


def level_means_reference(
    chances: Tensor,
    told: Tensor,
    edge: Tensor,
    variance: Tensor,
    spans: Tensor,
    sizes: Sequence[int],
    gamma: float,
) -> Tensor:
    """The formula of :func:`level_means` in torch."""
    low, x, high = wide(spans).unbind(-1)
    width = (high - low).square() / 12
    pull = width / (width + wide(variance).view(-1, 1, 1))
    x = (x + pull * (_by_level(edge, sizes) - x)).clamp(low, high)
    if gamma != 1:
        x = 2 * (0.5 * (x + 1)) ** (1 / gamma) - 1
    values = torch.stack([x, (1 - x.square()).clamp(min=0).sqrt(), x.square()])
    parts = torch.split(wide(chances) + wide(told), list(sizes), -1)
    shares = torch.cat([part.softmax(-1) for part in parts], -1)
    means = [part.sum(-1) for part in torch.split(shares * values, list(sizes), -1)]
    return torch.stack(means, -1).to(chances.dtype)


def level_loss(
    chances: Tensor, told: Tensor, own: Tensor, sizes: Sequence[int], *, backend: str = "auto"
) -> Tensor:
    """Minus the logarithm of the chance of the right level of each point.

    ``log sum_s exp(chances_s + told_s) - (chances + told)_own``, the sum over the levels of a
    channel. Differentiable in told, and in chances by torch alone.

    Args:
        chances: (B, m, S), logarithms up to a constant by channel; dtypes as :func:`level_chances`.
        told: (B, m, S), added to them.
        own: int64 (B, m, C), the right levels, counted over all channels. One of another channel
            gives NaN on a GPU, where to look first would wait for the device.
        sizes: How many levels each channel has; their sum is S.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        (B, m, C).

    Raises:
        ValueError: A wrong shape or dtype, or a backend that cannot take ``chances``.
        RuntimeError: The asked backend cannot run here.
    """
    b, m, s = _check_chances("chances", chances, sizes)
    _check(chances, {"told": (told, (b, m, s))})
    if own.shape != (b, m, len(sizes)) or own.dtype != torch.int64 or own.device != told.device:
        raise ValueError(
            f"own: expected {(b, m, len(sizes))} torch.int64 on {told.device}, found "
            f"{tuple(own.shape)} {own.dtype} on {own.device}"
        )
    differentiate = _backend.wants_gradient(chances)
    _check_own(own, sizes)
    chosen = _backend.choose(backend, chances, KERNELS, differentiate=differentiate)
    if chosen == "torch" or _backend.is_traced(chances, told):
        return level_loss_reference(chances, told, own, sizes)
    given = chances, told, own, tuple(sizes), chosen
    lost: Tensor = _Loss.apply(*given)  # type: ignore[no-untyped-call]
    return lost


def level_loss_reference(
    chances: Tensor, told: Tensor, own: Tensor, sizes: Sequence[int]
) -> Tensor:
    """The formula of :func:`level_loss` in torch."""
    total = wide(chances) + wide(told)
    parts = torch.split(total, list(sizes), -1)
    lost = torch.stack([part.logsumexp(-1) for part in parts], -1) - total.gather(-1, own)
    return lost.to(chances.dtype)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, chances: Tensor, told: Tensor, own: Tensor, sizes: tuple[int, ...], backend: str
    ) -> Tensor:
        held = [v.contiguous() for v in (chances, told, own)]
        ctx.save_for_backward(*held)
        ctx.sizes, ctx.backend = sizes, backend
        lost = chances.new_empty(own.shape)
        _fill(backend, "level_loss", held, sizes, lost)
        return lost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        held = *ctx.saved_tensors, g.contiguous()
        found = torch.empty_like(held[1])
        _fill(ctx.backend, "level_loss_backward", held, ctx.sizes, found)
        return None, found, None, None, None


def _fill(
    backend: str, op: str, given: Sequence[Tensor], sizes: Sequence[int], found: Tensor
) -> None:
    if backend == "triton":
        from netdiffus.ops.triton import levels as kernels

        getattr(kernels, op)(given, sizes, found)
    else:
        addresses, shape = [v.data_ptr() for v in given], given[0].shape[:2]
        _backend.native(backend, op, given[0], *addresses, *shape, list(sizes), found.data_ptr())


def _chosen(backend: str, given: Sequence[Tensor]) -> str:
    differentiate = _backend.wants_gradient(*given)
    chosen = _backend.choose(backend, given[0], KERNELS, differentiate=differentiate)
    return "torch" if _backend.is_traced(*given) else chosen


def _by_level(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """What each level's channel has, of (B, m, C), ready to go with (S,)."""
    x = wide(x)
    if x.shape[2] == 1:
        return x
    each = torch.tensor(sizes, device=x.device)
    return x.repeat_interleave(each, 2, output_size=sum(sizes))


def _check_chances(name: str, x: Tensor, sizes: Sequence[int]) -> tuple[int, int, int]:
    if x.ndim != 3 or not x.is_floating_point():
        raise ValueError(f"{name}: expected floats (B, m, S), found {tuple(x.shape)} {x.dtype}")
    if min(sizes, default=0) < 1 or sum(sizes) != x.shape[2]:
        raise ValueError(
            f"sizes: expected numbers above 0 that add up to {x.shape[2]}, the last axis of "
            f"{name}, found {list(sizes)}"
        )
    b, m, s = x.shape
    return b, m, s


def _check_own(own: Tensor, sizes: Sequence[int]) -> None:
    """A kernel reads there unasked. On a GPU, where looking waits, it checks by itself."""
    if own.device.type != "cpu" or _backend.is_traced(own) or not own.numel():
        return
    begin = 0
    for c, size in enumerate(sizes):
        least, most = (int(v) for v in own[..., c].aminmax())
        last = begin + size - 1
        if least < begin or most > last:
            raise ValueError(
                f"own: expected {begin} to {last} in channel {c}, found {least} to {most}"
            )
        begin += size


def _check(like: Tensor, wanted: dict[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape or tensor.dtype != like.dtype or tensor.device != like.device:
            raise ValueError(
                f"{name}: expected {shape} {like.dtype} on {like.device}, found "
                f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
            )
