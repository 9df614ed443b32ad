"""Chooses which implementation of an op runs; the only importer of the compiled extension."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch  # before the extension, so that both share torch's OpenMP runtime
from torch import Tensor

try:
    from netdiffus import _C as _C  # the ops reach it from here, once choose() says it is there
except ImportError as error:
    _why_missing = (
        f"netdiffus._C does not load: {error}"
        if find_spec("netdiffus._C")
        else "netdiffus._C is not built: install again without NETDIFFUS_EXT=0"
    )
else:
    _why_missing = "ok"

NAMES = ("auto", "torch", "cpp", "cuda")
_NATIVE = {"cpu": "cpp", "cuda": "cuda"}


@cache
def _cuda_status() -> str:
    # Looked up on first use: asking for devices at import would slow every start.
    if _why_missing != "ok":
        return _why_missing
    if not _C.cuda_built:
        return "netdiffus._C was built without CUDA: install again with nvcc on PATH"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    return "ok"


def backends() -> dict[str, str]:
    """Says which backends can run here.

    Returns:
        Backend name to ``"ok"``, or to the reason why it cannot run.
    """
    return {"torch": "ok", "cpp": _why_missing, "cuda": _cuda_status()}


def _check(backend: str, x: Tensor, kernels: tuple[str, ...], differentiate: bool) -> None:
    if backend not in NAMES:
        raise ValueError(f"backend: expected one of {', '.join(NAMES)}, found {backend!r}")
    if backend not in kernels:
        raise ValueError(
            f"backend={backend!r}: this op has no such kernel; use {kernels} or 'torch'"
        )
    if (reason := backends()[backend]) != "ok":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}; use backend='auto'")
    if _NATIVE.get(x.device.type) != backend:
        raise ValueError(f"backend={backend!r} cannot run on a tensor on {x.device}")
    if differentiate:
        raise ValueError(f"backend={backend!r} has no gradient: use 'auto', 'torch' or no_grad()")


def choose(backend: str, x: Tensor, kernels: tuple[str, ...]) -> str:
    """Chooses the implementation that runs on ``x``.

    Args:
        backend: ``"auto"``, ``"torch"``, ``"cpp"`` or ``"cuda"``. ``"auto"`` takes the native
            kernel of the tensor's device where there is one, and torch where a gradient is
            wanted or ``torch.compile`` traces.
        x: The input tensor.
        kernels: Native backends this op has.

    Returns:
        ``"torch"`` or one of ``kernels``.

    Raises:
        ValueError: An unknown backend, or one that cannot take ``x``.
        RuntimeError: A backend that is not built or has no device.
    """
    if backend == "torch":
        return backend
    differentiate = x.requires_grad and torch.is_grad_enabled()
    if backend != "auto":
        _check(backend, x, kernels, differentiate)
        return backend
    native = _NATIVE.get(x.device.type)
    if native not in kernels or differentiate or torch.compiler.is_compiling():
        return "torch"
    status = _why_missing if native == "cpp" else _cuda_status()
    return native if status == "ok" else "torch"


def check_out(
    out: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    """Refuses an ``out`` that a kernel cannot fill.

    Raises:
        ValueError: A wrong shape, dtype or device, not contiguous, or one with a gradient.
    """
    if out.shape != shape or out.dtype != dtype or out.device != device:
        raise ValueError(
            f"out: expected {shape} {dtype} on {device}, "
            f"found {tuple(out.shape)} {out.dtype} on {out.device}"
        )
    if not out.is_contiguous():
        raise ValueError("out: expected a contiguous tensor; pass out.contiguous()")
    if out.requires_grad:
        raise ValueError("out: expected a tensor without gradient; pass out.detach()")
