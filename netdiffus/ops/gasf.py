"""A series as an image: the Gramian angular summation field, whole or resized by area."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops._library import register
from netdiffus.ops.area_resize import area_weights


def gasf(x: Tensor, *, out: Tensor | None = None, backend: str = "auto") -> Tensor:
    """Makes the Gramian angular summation field of series. Differentiable.

    ``G[i, j] = cos(phi_i + phi_j) = x_i x_j - s_i s_j`` with ``phi = arccos(x)`` and ``s =
    sqrt((1 - x)(1 + x))`` (Wang and Oates, 2015). Equal to pyts' GramianAngularField with
    ``sample_range=None`` (tested).

    Args:
        x: Series, (..., n), float32 or float64, in [-1, 1]; float16 and bfloat16 are computed in
            float32 and rounded once. NaN and values outside come out as NaN.
        out: Contiguous tensor to write the fields into; reusing one saves most of the time.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        Fields, (..., n, n), of the dtype of ``x``, exactly symmetric, in [-1, 1] (for negative
        ``x`` to within a rounding step). As the angle's, their slope is infinite at ``x = 1``.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    shape = _check(x, x.shape[-1] if x.ndim else 0, out, "x")
    if backend != "torch" and (_backend.is_traced(x) or _backend.wants_gradient(x)):
        return _backend.into(out, _gasf(x, backend))
    return _run("gasf", x, (), backend, shape, out)


def gasf_image(
    x: Tensor,
    size: int,
    *,
    gamma: float = 1.0,
    out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Turns series in [0, 1] into GASF images in [0, 1]. Differentiable.

    The image is ``((R G R' + 1) / 2) ** gamma``, where ``G`` is the series' :func:`gasf` and ``R``
    resizes by area as OpenCV's INTER_AREA. ``G`` has rank 2, so only vectors are resized:
    O(n + size**2) a series.

    Args:
        x: Series, (..., n), float32 or float64, in [0, 1]; float16 and bfloat16 are computed in
            float32 and rounded once. NaN and values above 1 come out as NaN.
        size: Height and width of the image.
        gamma: Contrast, above 0.
        out: Contiguous tensor to write the images into; reusing one saves most of the time.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        Images, (..., size, size), of the dtype of ``x``, exactly symmetric. As the angle's, their
        slope in ``x`` is infinite at ``x = 1``.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1, found {size}")
    if not 0 < gamma < float("inf"):
        raise ValueError(f"gamma: expected a number above 0, found {gamma}")
    shape = _check(x, size, out, "size")
    if backend != "torch" and (_backend.is_traced(x) or _backend.wants_gradient(x)):
        return _backend.into(out, _gasf_image(x, size, gamma, backend))
    return _run("gasf_image", x, (size, gamma), backend, shape, out)


def gasf_reference(x: Tensor) -> Tensor:
    """The formula of :func:`gasf` in torch."""
    wide = _backend.wide(x)
    s = torch.sqrt((1 - wide) * (1 + wide))
    column, drop = wide.unsqueeze(-1), s.unsqueeze(-1)
    return (column * column.mT - drop * drop.mT).to(x.dtype)


def gasf_image_reference(x: Tensor, size: int, gamma: float = 1.0) -> Tensor:
    """The formula of :func:`gasf_image` in torch.

    With ``s = sqrt(1 - x**2)``, ``d = 1 - s``, ``X = R x`` and ``D = R d``, the image before
    ``gamma`` is ``(X_i X_j + D_i + D_j - D_i D_j) / 2``. This is ``(X_i X_j - S_i S_j + 1) / 2``,
    ``S = R s``, without the cancellation: dark pixels keep their relative precision in float32.
    """
    wide = _backend.wide(x)
    resize = area_weights(x.shape[-1], size, wide).T
    # Rounding in the sums may pass 1 by one step; the image must not.
    row, flat = ((v @ resize).clamp(max=1).unsqueeze(-2) for v in (wide, _flat(wide)))
    image = _pixels(row, flat)
    if gamma != 1:
        image = image**gamma
        image = 0.5 * (image + image.mT)  # torch's power rounds tails of rows unlike their bodies
    return image.to(x.dtype)


def _flat(x: Tensor) -> Tensor:
    return x * x / (1 + torch.sqrt((1 - x) * (1 + x)))


def _pixels(row: Tensor, flat: Tensor) -> Tensor:
    """(..., 1, m) area means of x and d to (..., m, m) pixels."""
    column, drop = row.mT, flat.mT
    return 0.5 * (column * row + ((drop + flat) - drop * flat))


def _check(x: Tensor, side: int, out: Tensor | None, name: str) -> tuple[int, ...]:
    if x.ndim < 1 or x.shape[-1] < 1:
        raise ValueError(f"x: expected (..., n) with n of at least 1, found {tuple(x.shape)}")
    if x.dtype not in _backend.DTYPES:
        raise ValueError(f"x: expected a floating dtype, found {x.dtype}; convert with x.float()")
    shape = (*x.shape[:-1], side, side)
    _backend.check_size(name, shape)
    if out is not None:
        _backend.check_out(out, shape, x.dtype, x.device)
        _backend.check_apart(out, "x", x)
    return shape


_REFERENCES: dict[str, Callable[..., Tensor]] = {
    "gasf": gasf_reference,
    "gasf_image": gasf_image_reference,
}


def _run(
    op: str,
    x: Tensor,
    arguments: tuple[Any, ...],
    backend: str,
    shape: tuple[int, ...],
    out: Tensor | None = None,
) -> Tensor:
    chosen = _backend.choose(backend, x, _backend.KERNELS)
    if chosen == "torch":
        return _backend.into(out, _REFERENCES[op](x, *arguments))
    out = x.new_empty(shape) if out is None else out
    if not out.numel():
        return out
    x = x.contiguous()
    if chosen == "triton":
        from netdiffus.ops.triton import gasf as kernels

        getattr(kernels, op)(x, *arguments, out)
    else:
        n = x.shape[-1]
        _backend.native(chosen, op, x, x.data_ptr(), x.numel() // n, n, *arguments, out.data_ptr())
    return out


def _keep_x(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.arguments = inputs[1:]


def _gasf_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (x,) = ctx.saved_tensors
    g, row = _backend.wide(gradient), _backend.wide(x).unsqueeze(-2)
    s = torch.sqrt((1 - row) * (1 + row))
    both = g + g.mT
    # ds/dx = -x / s
    return (row @ both + (s @ both) * row / s).squeeze(-2).to(x.dtype), None


_gasf = register(
    "gasf(Tensor x, str backend) -> Tensor",
    lambda x, backend: _run("gasf", x, (), backend, (*x.shape, x.shape[-1])),
    fake=lambda x, backend: x.new_empty((*x.shape, x.shape[-1])),
    save=_keep_x,
    backward=_gasf_backward,
)


def _gasf_image_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    (x,), (size, gamma, _) = ctx.saved_tensors, ctx.arguments
    g, wide = _backend.wide(gradient), _backend.wide(x).unsqueeze(-2)
    resize = area_weights(x.shape[-1], size, wide)
    mean, drop = (v @ resize.T for v in (wide, _flat(wide)))
    if gamma != 1:
        g = g * gamma * _pixels(mean, drop) ** (gamma - 1)
    both = 0.5 * (g + g.mT)
    to_mean, to_drop = mean @ both, (1 - drop) @ both
    slope = wide / torch.sqrt((1 - wide) * (1 + wide))  # of d = 1 - s
    back = to_mean @ resize + (to_drop @ resize) * slope
    return back.squeeze(-2).to(x.dtype), None, None, None


_gasf_image = register(
    "gasf_image(Tensor x, SymInt size, float gamma, str backend) -> Tensor",
    lambda x, size, gamma, backend: _run(
        "gasf_image", x, (size, gamma), backend, (*x.shape[:-1], size, size)
    ),
    fake=lambda x, size, gamma, backend: x.new_empty((*x.shape[:-1], size, size)),
    save=_keep_x,
    backward=_gasf_image_backward,
)
