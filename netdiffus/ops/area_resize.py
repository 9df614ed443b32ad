"""Resizing by area, as OpenCV's INTER_AREA does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops._library import register

_KERNELS = {
    "cpp": (torch.float32, torch.float64),
    "cuda": (torch.float32, *_backend.HALF),
    "triton": (torch.float32, *_backend.HALF),
}
_DTYPES = (torch.float32, torch.float64, *_backend.HALF)


def _weights(n: int, m: int, like: Tensor) -> Tensor:
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


def area_resize(
    image: Tensor,
    size: int | tuple[int, int],
    *,
    out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Resizes images by area: ``R_h @ image @ R_w.T``. Differentiable.

    Equal to ``cv2.resize(..., interpolation=cv2.INTER_AREA)`` as :func:`area_matrix` says, where
    both axes shrink or both grow. Where one shrinks and the other grows, OpenCV samples linearly
    along both; here each axis is resized by area.

    Args:
        image: Tensor (..., h, w), float32 or float64; float16 and bfloat16 are computed in
            float32 and rounded once. NaN spreads over the outputs that it touches.
        size: New height and width, or one number for both.
        out: Contiguous tensor to write the images into; reusing one saves most of the time.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        Tensor (..., h2, w2) of the same dtype.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    height, width = (size, size) if isinstance(size, int) else size
    shape = _check(image, height, width)
    if out is not None:
        _backend.check_out(out, shape, image.dtype, image.device)
        _backend.check_apart(out, "image", image)
    if backend == "torch":
        return _backend.into(out, area_resize_reference(image, height, width))
    if _backend.is_traced(image) or _backend.wants_gradient(image):
        return _backend.into(out, _area_resize(image, height, width, backend))
    return _resized(image, shape, backend, out)


def area_resize_reference(image: Tensor, height: int, width: int) -> Tensor:
    """The formula of :func:`area_resize` in torch."""
    wide = image.float() if image.dtype in _backend.HALF else image
    rows = _weights(image.shape[-2], height, wide)
    columns = _weights(image.shape[-1], width, wide)
    return (rows @ wide @ columns.T).to(image.dtype)


def area_spread(image: Tensor, height: int, width: int) -> Tensor:
    """The transpose of :func:`area_resize`: ``R_h.T @ image @ R_w`` of shape (..., height, width).

    Backward passes use it, under its registered name, as it hides the weights from tracing.
    """
    spread: Tensor = _area_spread(image, height, width)
    return spread


def _check(image: Tensor, height: int, width: int) -> tuple[int, ...]:
    """The shape of the result."""
    given = tuple(image.shape)
    if len(given) < 2 or given[-1] < 1 or given[-2] < 1:
        raise ValueError(f"image: expected (..., h, w) not empty, found {given}")
    if image.dtype not in _DTYPES:
        raise ValueError(f"image: expected a floating dtype, found {image.dtype}; use .float()")
    if height < 1 or width < 1:
        raise ValueError(f"size: expected at least 1, found {(height, width)}")
    shape = (*given[:-2], height, width)
    _backend.check_size("image", given)
    _backend.check_size("size", shape)
    return shape


def _resized(
    image: Tensor, shape: tuple[int, ...], backend: str, out: Tensor | None = None
) -> Tensor:
    chosen = _backend.choose(backend, image, _KERNELS)
    if chosen == "torch":
        return _backend.into(out, area_resize_reference(image, *shape[-2:]))
    if out is None:
        out = image.new_empty(shape)
    if out.numel():
        _run(chosen, image.contiguous(), out)
    return out


def _run(backend: str, image: Tensor, out: Tensor) -> None:
    if backend == "triton":
        from netdiffus.ops.triton import area_resize as kernels

        kernels.area_resize(image, out)
        return
    h, w, h2, w2 = image.size(-2), image.size(-1), out.size(-2), out.size(-1)
    sizes = (image.numel() // (h * w), h, w, h2, w2)
    _backend.native(backend, "area_resize", image, image.data_ptr(), *sizes, out.data_ptr())


def _keep_size(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.size = inputs[0].shape[-2:]


_area_resize: Callable[..., Any] = register(
    "area_resize(Tensor image, SymInt height, SymInt width, str backend) -> Tensor",
    lambda image, height, width, backend: _resized(
        image, (*image.shape[:-2], height, width), backend
    ),
    fake=lambda image, height, width, backend: image.new_empty((*image.shape[:-2], height, width)),
    save=_keep_size,
    backward=lambda ctx, g: (_area_spread(g, *ctx.size), None, None, None),
)


def _spread(image: Tensor, height: int, width: int) -> Tensor:
    wide = image.float() if image.dtype in _backend.HALF else image
    rows = _weights(height, image.shape[-2], wide)
    columns = _weights(width, image.shape[-1], wide)
    return (rows.T @ wide @ columns).to(image.dtype)


_area_spread: Callable[..., Any] = register(
    "area_spread(Tensor image, SymInt height, SymInt width) -> Tensor",
    _spread,
    fake=lambda image, height, width: image.new_empty((*image.shape[:-2], height, width)),
    save=_keep_size,
    backward=lambda ctx, g: (_area_resize(g, *ctx.size, "auto"), None, None),
)
