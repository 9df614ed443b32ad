"""Chooses which implementation of an op runs; the only importer of the compiled extension."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch  # before the extension, so that both share torch's OpenMP runtime
from torch import Tensor

from netdiffus.errors import InputError

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
    if _level := os.environ.get("NETDIFFUS_ISA"):
        try:
            _C.set_isa(_level)  # a level that this processor lacks stops the import
        except ValueError as error:
            raise InputError(str(error)) from None

NAMES = ("auto", "torch", "cpp", "cuda", "triton")
HALF = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, torch.float64, *HALF)
# The dtypes that the kernels of most ops take.
KERNELS = {
    "cpp": (torch.float32, torch.float64),
    "cuda": (torch.float32, *HALF),
    "triton": (torch.float32, *HALF),
}
_NATIVE = {"cpu": ("cpp",), "cuda": ("cuda", "triton")}
OLDEST_TRITON = (3, 3)
_LARGEST_IMAGE = 2**31 - 1  # elements: kernels count within an image in 32 bits

Kernels = Mapping[str, tuple[torch.dtype, ...]]


@cache
def _cuda_status() -> str:
    # Looked up on first use: asking for devices at import would slow every start.
    if _why_missing != "ok":
        return _why_missing
    if not _C.cuda_built:
        return "netdiffus._C was built without CUDA: install again with nvcc on PATH"
    return "ok" if torch.cuda.is_available() else "torch finds no CUDA device"


@cache
def _triton_status() -> str:
    if not find_spec("triton"):
        return "triton is not installed: pip install 'netdiffus[triton]'"
    if not (_interpreted() or torch.cuda.is_available()):
        return "torch finds no CUDA device; TRITON_INTERPRET=1 runs the kernels on the CPU"
    import triton

    if tuple(map(int, triton.__version__.split(".")[:2])) < OLDEST_TRITON:
        return f"triton {triton.__version__} is too old: it must be 3.3 or later"
    return "ok"


@cache  # triton itself looks once, when a kernel is defined
def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _status(name: str) -> str:
    if name == "cpp":
        return _why_missing
    return _cuda_status() if name == "cuda" else _triton_status()


def backends() -> dict[str, str]:
    """Says which backends can run here.

    Returns:
        Backend name to ``"ok"``, or to the reason why it cannot run.
    """
    return {"torch": "ok"} | {name: _status(name) for name in NAMES[2:]}


def isa() -> str:
    """Names the instruction set that the CPU kernels use.

    It is the best that the processor has, unless the environment variable ``NETDIFFUS_ISA`` named
    a lower one at import.

    Returns:
        ``"baseline"``, ``"x86-64-v3"`` or ``"x86-64-v4"``; ``"none"`` without compiled kernels.
    """
    return _C.isa() if _why_missing == "ok" else "none"


def wants_gradient(*tensors: Tensor) -> bool:
    """Says whether a result made from the tensors has to carry a gradient."""
    for tensor in tensors:  # any() would cost more than all the rest
        if tensor.requires_grad:
            return torch.is_grad_enabled()
    return False


def is_traced(*tensors: Tensor) -> bool:
    """Says whether torch traces the call: then tensors have no memory that a kernel could use."""
    for tensor in tensors:
        if type(tensor) is not Tensor:
            return True
    return torch.compiler.is_compiling()


def choose(backend: str, x: Tensor, kernels: Kernels, *, differentiate: bool = False) -> str:
    """Chooses the implementation that runs on ``x``.

    Args:
        backend: ``"auto"``, ``"torch"``, ``"cpp"``, ``"cuda"`` or ``"triton"``. ``"auto"`` takes
            the first native kernel for the tensor's device and dtype that can run, else torch.
        x: The input tensor.
        kernels: The native backends that this op has, each with the dtypes it takes.
        differentiate: The result needs a gradient and only torch can make it.

    Returns:
        ``"torch"`` or one of ``kernels``.

    Raises:
        ValueError: An unknown backend, or one that cannot take ``x``.
        RuntimeError: A backend that is not built or has no device.
    """
    if backend == "torch":
        return backend
    if backend != "auto":
        _check_backend(backend, x, kernels, differentiate)
        return backend
    if not differentiate:
        for name in _NATIVE.get(x.device.type, ()):
            if x.dtype in kernels.get(name, ()) and _status(name) == "ok":
                return name
    return "torch"


def _check_backend(backend: str, x: Tensor, kernels: Kernels, differentiate: bool) -> None:
    if backend not in NAMES:
        raise ValueError(f"backend: expected one of {', '.join(NAMES)}, found {backend!r}")
    if backend not in kernels:
        names = ", ".join(repr(name) for name in (*kernels, "torch"))
        raise ValueError(f"backend={backend!r}: this op has no such kernel; use one of {names}")
    if (reason := _status(backend)) != "ok":
        raise RuntimeError(f"backend={backend!r} cannot run: {reason}; use backend='auto'")
    if not _takes_device(backend, x.device.type):
        raise ValueError(f"backend={backend!r} cannot run on a tensor on {x.device}")
    if x.dtype not in kernels[backend]:
        names = ", ".join(str(dtype) for dtype in kernels[backend])
        raise ValueError(f"backend={backend!r}: expected {names}, found {x.dtype}; use 'auto'")
    if differentiate:
        raise ValueError(f"backend={backend!r} has no gradient: use 'auto', 'torch' or no_grad()")


def _takes_device(backend: str, device: str) -> bool:
    if backend == "triton" and _interpreted():
        return device in _NATIVE
    return backend in _NATIVE.get(device, ())


def wide(x: Tensor) -> Tensor:
    """float16 and bfloat16 as float32, for computing; other dtypes unchanged."""
    return x.float() if x.dtype in HALF else x


def check_tensor(
    name: str,
    x: Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    other: str = "",
) -> None:
    """Refuses a tensor of another shape, dtype or device; ``other`` is where these come from.

    Raises:
        ValueError: One of them differs.
    """
    if x.shape != shape or x.dtype != dtype or x.device != device:
        raise ValueError(
            f"{name}: expected {tuple(shape)} {dtype} on {device}{other}, "
            f"found {tuple(x.shape)} {x.dtype} on {x.device}"
        )


def check_out(
    out: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, name: str = "out"
) -> None:
    """Refuses an ``out`` that a kernel cannot fill.

    Raises:
        ValueError: A wrong shape, dtype or device, not contiguous, or one with a gradient.
    """
    check_tensor(name, out, shape, dtype, device)
    if not out.is_contiguous():
        raise ValueError(f"{name}: expected a contiguous tensor; pass a new one")
    if out.requires_grad:
        raise ValueError(f"{name}: expected a tensor without gradient; pass {name}.detach()")


def into(out: Tensor | None, result: Tensor) -> Tensor:
    """Copies a result that an op made anew into ``out``, where one is given, and returns it.

    Raises:
        ValueError: The result has a gradient, which ``out`` cannot carry.
    """
    if out is None:
        return result
    if result.requires_grad:
        raise ValueError("out: cannot carry a gradient; leave it out, or use no_grad()")
    return out.copy_(result)


def all_into(out: Sequence[Tensor] | None, results: Sequence[Tensor]) -> Sequence[Tensor]:
    """As :func:`into`, for an op of several results."""
    if out is None:
        return results
    return [into(place, result) for place, result in zip(out, results, strict=True)]


def check_apart(out: Tensor, name: str, x: Tensor) -> None:
    """Refuses an ``out`` that overlaps the input ``name``, which would change while it is read.

    Raises:
        ValueError: The two overlap.
    """
    if is_traced(out, x) or out.is_meta or not (out.numel() and x.numel()):
        return
    begin, other = out.data_ptr(), x.data_ptr()
    if begin < other + _extent(x) and other < begin + _extent(out):
        raise ValueError(f"out: shares memory with {name}; pass a tensor of its own")


def _extent(x: Tensor) -> int:
    """Bytes from the first element to the end of the last."""
    if x.is_contiguous():
        return x.nbytes
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return (last + 1) * x.element_size()


def check_size(name: str, shape: tuple[int, ...]) -> None:
    """Refuses a result too large for the kernels; ``name`` is the argument to make smaller.

    Raises:
        ValueError: More than 2**31 - 1 elements in the last two axes, or a total whose bytes
            overflow 64 bits.
    """
    if (elements := math.prod(shape)) <= _LARGEST_IMAGE:
        return
    if math.prod(shape[-2:]) > _LARGEST_IMAGE:
        raise ValueError(f"{name}: an image of {shape[-2:]} has more than 2**31 - 1 elements")
    if elements >= 2**60:
        raise ValueError(f"{name}: {shape} has more than 2**60 elements; work on parts of it")


def native(backend: str, op: str, x: Tensor, *arguments: Any) -> None:
    """Calls the compiled kernel of an op for tensors of the dtype and device of ``x``."""
    if backend == "cpp":
        getattr(_C, op)(x.dtype is torch.float64, *arguments, torch.get_num_threads())
        return
    with torch.cuda.device(x.device):
        stream = torch.cuda.current_stream().cuda_stream
        getattr(_C, f"{op}_cuda")(str(x.dtype), *arguments, stream)
