"""Products with the precision matrices of normal distributions, by their eigenvectors."""

from __future__ import annotations

import torch
from torch import Tensor

from netdiffus.ops import _backend
from netdiffus.ops.noise import KERNELS, wide

_LARGEST_ON_CUDA = 1024  # D: one block of threads holds what a series needs
_KERNELS_OF_LONGER = {name: KERNELS[name] for name in ("cpp", "triton")}


def precision(
    apart: Tensor,
    noise: Tensor,
    group: Tensor,
    variances: Tensor,
    vectors: Tensor,
    *,
    backend: str = "auto",
) -> Tensor:
    """What the covariance S of a group and its noisy inverse K make of a series.

    With ``S = V diag(v) V'`` and ``K = (S + noise I)^-1 = V diag(1 / (v + noise)) V'``: the product
    ``K apart`` and the diagonals of K, of S K and of S. Native where torch copies the eigenvectors
    for each series; CUDA's kernel takes D up to 1024, Triton's any. No gradient but torch's own.

    Args:
        apart: (B, D), float32 or float64; float16 and bfloat16 are computed in float32 and rounded
            once.
        noise: (B,), variance of the noise, above 0 or v above 0.
        group: int64 (B,), which of the G covariances. One that is none of them gives NaN on a
            GPU, where to look first would wait for the device.
        variances: v (G, D).
        vectors: V (G, D, D), eigenvectors as columns.
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``.

    Returns:
        (4, B, D).

    Raises:
        ValueError: A wrong shape, dtype or group, or a backend that cannot take ``apart``.
        RuntimeError: The asked backend cannot run here.
    """
    given = (apart, noise, group, variances, vectors)
    _check(*given)
    differentiate = _backend.wants_gradient(apart, noise, variances, vectors)
    kernels = KERNELS if apart.shape[1] <= _LARGEST_ON_CUDA else _KERNELS_OF_LONGER
    chosen = _backend.choose(backend, apart, kernels, differentiate=differentiate)
    if chosen == "torch" or _backend.is_traced(*given):
        return precision_reference(*given)
    found = apart.new_empty(4, *apart.shape)
    held = [v.contiguous() for v in given]  # their memory must outlive the call
    if chosen == "triton":
        from netdiffus.ops.triton import precision as kernel

        kernel.precision(held, found)
    else:
        addresses = [v.data_ptr() for v in held]
        shape = apart.shape if chosen == "cpp" else (len(variances), *apart.shape)
        _backend.native(chosen, "precision", apart, *addresses, *shape, found.data_ptr())
    return found


def precision_reference(
    apart: Tensor, noise: Tensor, group: Tensor, variances: Tensor, vectors: Tensor
) -> Tensor:
    """The formula of :func:`precision` in torch."""
    v, s = wide(vectors[group]), wide(variances[group])
    k = 1 / (s + wide(noise).unsqueeze(1))
    inner = k * (v.mT @ wide(apart).unsqueeze(-1)).squeeze(-1)
    pulled = v @ inner.unsqueeze(-1)
    diagonals = v.square() @ torch.stack([k, s * k, s], -1)
    return torch.cat([pulled, diagonals], -1).movedim(-1, 0).to(apart.dtype)


def _check(apart: Tensor, noise: Tensor, group: Tensor, variances: Tensor, vectors: Tensor) -> None:
    if apart.ndim != 2 or not apart.is_floating_point():
        raise ValueError(f"apart: expected floats (B, D), found {tuple(apart.shape)} {apart.dtype}")
    _backend.check_size("vectors", tuple(vectors.shape))
    b, d = apart.shape
    groups = len(variances)
    wanted = {
        "noise": (noise, (b,), apart.dtype),
        "group": (group, (b,), torch.int64),
        "variances": (variances, (groups, d), apart.dtype),
        "vectors": (vectors, (groups, d, d), apart.dtype),
    }
    for name, (tensor, shape, dtype) in wanted.items():
        if tensor.shape != shape or tensor.dtype != dtype or tensor.device != apart.device:
            raise ValueError(
                f"{name}: expected {shape} {dtype} on {apart.device}, found "
                f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
            )
    if b and group.device.type == "cpu" and not _backend.is_traced(group):
        least, most = (int(v) for v in group.aminmax())
        if least < 0 or most >= groups:
            raise ValueError(f"group: expected 0 to {groups - 1}, found {least} to {most}")
