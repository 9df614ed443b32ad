"""A series as an image: the Gramian angular summation field, resized by area."""

from __future__ import annotations

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops.area_resize import _weights


def gasf_image(
    x: Tensor,
    size: int,
    *,
    gamma: float = 1.0,
    out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Turns series in [0, 1] into GASF images in [0, 1].

    The GASF of a series is ``G[i, j] = cos(phi_i + phi_j)`` with ``phi = arccos(x)`` (Wang and
    Oates, 2015). The image is ``((R G R' + 1) / 2) ** gamma``, where ``R`` resizes by area as
    OpenCV's INTER_AREA. ``G`` has rank 2, so only vectors are resized: O(n + size**2) a series.

    Args:
        x: Series, (..., n), float32 or float64, in [0, 1]. NaN and values above 1 come out as NaN.
        size: Height and width of the image.
        gamma: Contrast, above 0.
        out: Contiguous tensor to write the images into; reusing one saves most of the time.
        backend: ``"auto"``, ``"torch"``, ``"cpp"`` or ``"cuda"``.

    Returns:
        Images, (..., size, size), of the dtype of ``x``, exactly symmetric. With ``"torch"`` they
        are differentiable; as the angle's, their slope in ``x`` is infinite at ``x = 1``.

    Raises:
        ValueError: An argument of the wrong shape, dtype or value.
        RuntimeError: The asked backend cannot run here.
    """
    _check(x, size, gamma)
    shape = (*x.shape[:-1], size, size)
    if out is not None:
        _backend.check_out(out, shape, x.dtype, x.device)
    chosen = _backend.choose(backend, x, ("cpp", "cuda"))
    if chosen == "torch":
        image = gasf_image_reference(x, size, gamma)
        return image if out is None else out.copy_(image)
    if out is None:
        out = torch.empty(shape, dtype=x.dtype, device=x.device)
    if out.numel():
        _run(chosen, x.contiguous(), size, gamma, out)
    return out


def gasf_image_reference(x: Tensor, size: int, gamma: float = 1.0) -> Tensor:
    """The formula of :func:`gasf_image` in torch.

    With ``s = sqrt(1 - x**2)``, ``d = 1 - s``, ``X = R x`` and ``D = R d``, the image before
    ``gamma`` is ``(X_i X_j + D_i + D_j - D_i D_j) / 2``. This is ``(X_i X_j - S_i S_j + 1) / 2``,
    ``S = R s``, without the cancellation: dark pixels keep their relative precision in float32.
    """
    d = x * x / (1 + torch.sqrt((1 - x) * (1 + x)))
    resize = _weights(x.shape[-1], size, x.dtype, x.device).T
    # Rounding in the sums may pass 1 by one step; the image must not.
    row, flat = ((v @ resize).clamp(max=1) for v in (x, d))
    column, drop = row.unsqueeze(-1), flat.unsqueeze(-1)
    row, flat = row.unsqueeze(-2), flat.unsqueeze(-2)
    image = 0.5 * (column * row + ((drop + flat) - drop * flat))
    if gamma == 1:
        return image
    image = image**gamma
    return 0.5 * (
        image + image.mT
    )  # torch's power rounds tails of rows otherwise than their bodies


def _check(x: Tensor, size: int, gamma: float) -> None:
    if x.ndim < 1 or x.shape[-1] < 1:
        raise ValueError(f"x: expected (..., n) with n of at least 1, found {tuple(x.shape)}")
    if x.dtype is not torch.float32 and x.dtype is not torch.float64:
        raise ValueError(f"x: expected float32 or float64, found {x.dtype}; convert with x.float()")
    if size < 1:
        raise ValueError(f"size: expected at least 1, found {size}")
    if not 0 < gamma < float("inf"):
        raise ValueError(f"gamma: expected a number above 0, found {gamma}")


def _run(backend: str, x: Tensor, size: int, gamma: float, out: Tensor) -> None:
    n = x.shape[-1]
    double = x.dtype is torch.float64
    args = (x.data_ptr(), x.numel() // n, n, size, gamma, out.data_ptr(), double)
    if backend == "cpp":
        _backend._C.gasf_image(*args, torch.get_num_threads())
        return
    with torch.cuda.device(x.device):
        _backend._C.gasf_image_cuda(*args, torch.cuda.current_stream().cuda_stream)
