"""Lets the public ops run their CUDA launchers on tensors of the CPU, where there is no GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from netdiffus.ops import _backend

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LONG, DOUBLE, INT, POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_int, ctypes.c_void_p


class Draw(ctypes.Structure):
    _fields_ = (("seed", ctypes.c_uint64), ("index", POINTER), ("step", ctypes.c_uint32))


class Planes(ctypes.Structure):
    _fields_ = (
        ("batch", LONG),
        ("planes", LONG),
        ("rows", LONG),
        ("columns", LONG),
        ("symmetric", ctypes.c_bool),
    )


class Coefficients(ctypes.Structure):
    _fields_ = tuple((name, DOUBLE) for name in ("a", "b", "c", "d", "e", "sigma"))


# The arguments of each launcher after the dtype.
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "gasf": (POINTER, LONG, LONG, POINTER),
    "gasf_image": (POINTER, LONG, LONG, LONG, DOUBLE, POINTER),
    "gasf_decode": (POINTER, LONG, LONG, DOUBLE, INT, DOUBLE, POINTER, POINTER),
    "normal": (Draw, Planes, POINTER),
    "q_sample": (POINTER, POINTER, POINTER, Draw, Planes, INT, POINTER, POINTER),
    "denoise_step": (Coefficients, POINTER, POINTER, POINTER, Draw, Planes, POINTER, POINTER),
    "cached_attention": (POINTER, *[LONG] * 5, *[POINTER] * 3),
    "draw_tokens": (POINTER, POINTER, LONG, LONG, POINTER),
}


def load(library: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library))
    for op, signature in SIGNATURES.items():
        structures = (Draw, Planes, Coefficients)
        types = [ctypes.POINTER(t) if t in structures else t for t in signature]
        getattr(loaded, op).argtypes = [INT, *types]
    return loaded


def call(library: ctypes.CDLL, op: str, dtype: torch.dtype, arguments: tuple[Any, ...]) -> None:
    typed = [
        value if kind is POINTER else kind(*value) if isinstance(value, tuple) else kind(value)
        for kind, value in zip(SIGNATURES[op], arguments, strict=True)
    ]
    code = getattr(library, op)(DTYPES.index(dtype), *typed)
    if code:
        raise RuntimeError(f"{op}: cudaError_t {code}")


@contextmanager
def cuda(run: Callable[[str, torch.dtype, tuple[Any, ...]], None]) -> Iterator[None]:
    """Within it backend="cuda" calls `run` with CPU tensors' addresses."""
    choose, run_native = _backend.choose, _backend.native

    def choose_cuda(backend: str, x: Tensor, kernels: Any, **rest: Any) -> str:
        if backend != "cuda":
            return choose(backend, x, kernels, **rest)
        assert x.dtype in kernels["cuda"]
        return backend

    def native(backend: str, op: str, x: Tensor, *arguments: Any) -> None:
        if backend == "cuda":
            run(op, x.dtype, arguments)
        else:
            run_native(backend, op, x, *arguments)

    with mock.patch.multiple(_backend, choose=choose_cuda, native=native):
        yield


class Host:
    """The kernels as a host compiler made them."""

    def __init__(self, library: Path) -> None:
        self.library = load(library)

    def order(self, order: int) -> None:
        """In which order a block's threads run: 0 ascending, 1 descending, else by a seed."""
        self.library.shim_order(order)

    def __call__(self, op: str, dtype: torch.dtype, arguments: tuple[Any, ...]) -> None:
        call(self.library, op, dtype, arguments)
