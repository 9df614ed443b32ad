"""Lets the public ops run their CUDA launchers on tensors of the CPU, where there is no GPU."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import ptxemu
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


def extents(op: str, item: int, a: tuple[Any, ...]) -> dict[int, int]:
    """Bytes behind each address of an op's arguments, by position."""
    if op == "gasf":
        return {0: a[1] * a[2] * item, 3: a[1] * a[2] ** 2 * item}
    if op == "gasf_image":
        return {0: a[1] * a[2] * item, 5: a[1] * a[3] ** 2 * item}
    if op == "gasf_decode":
        return {0: a[1] * a[2] ** 2 * item, 6: a[1] * a[2] * 8, 7: a[1] * 8}
    if op == "normal":
        return {2: math.prod(a[1][:4]) * item}
    if op == "q_sample":
        whole = math.prod(a[4][:4]) * item
        return {0: whole, 1: a[4][0] * item, 2: a[4][0] * item, 6: whole, 7: whole}
    if op == "cached_attention":
        cache, point = math.prod(a[1:5]) * item, a[1] * a[2] * a[4] * item
        return {0: 3 * point, 6: cache, 7: cache, 8: point}
    if op == "draw_tokens":
        return {0: a[2] * a[3] * item, 1: 8 * a[2], 4: 8 * a[2]}
    whole = math.prod(a[5][:4]) * item
    return {1: whole, 2: whole, 3: whole, 6: whole, 7: whole}


class Emulated:
    """nvcc's own launchers and PTX: the runtime stands in, and ptxemu executes."""

    def __init__(self, library: Path, kernels: dict[str, ptxemu.Kernel]) -> None:
        self.library, self.kernels = load(library), kernels
        self.execute = True
        self.executed = 0  # instructions, over all threads
        self.launches: list[tuple[str, int]] = []  # kernel, blocks
        self.traffic: dict[tuple[int, str, int], list[int]] = {}
        self.memory = ptxemu.Memory()
        self.failure: Exception | None = None
        kind = ctypes.CFUNCTYPE(INT, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, POINTER)
        self._callback = kind(self._launch)  # kept, as the library holds its address
        self.library.set_on_launch(self._callback)

    def _launch(self, name: bytes, blocks: int, threads: int, arguments: int) -> int:
        kernel = self.kernels[name.decode()]
        self.launches.append((kernel.name, blocks))
        addresses = (ctypes.c_void_p * len(kernel.params)).from_address(arguments)
        values = [
            ctypes.string_at(address, parameter.size)
            for address, parameter in zip(addresses, kernel.params, strict=True)
        ]
        if not self.execute:
            return 0
        try:
            self.executed += ptxemu.launch(
                kernel, (blocks,), (threads,), values, self.memory, stats=self.traffic
            )
        except Exception as error:  # an exception cannot pass through the C code between
            self.failure = error
            return 1
        return 0

    def __call__(self, op: str, dtype: torch.dtype, arguments: tuple[Any, ...]) -> None:
        self.memory, self.failure = ptxemu.Memory(), None
        places: dict[int, tuple[int, int]] = {}  # address here: address there, bytes

        def there(address: int, size: int) -> int:
            if address and address not in places:
                places[address] = self.memory.add_bytes(ctypes.string_at(address, size)), size
            return places[address][0] if address else 0

        moved = list(arguments)
        for at, size in extents(op, dtype.itemsize, arguments).items():
            moved[at] = there(arguments[at], size)
        for at, kind in enumerate(SIGNATURES[op]):
            if kind is Draw:
                seed, index, step = arguments[at]
                moved[at] = (seed, there(index, 8 * arguments[at + 1][0]), step)
        try:
            call(self.library, op, dtype, tuple(moved))
        finally:
            if self.failure:
                raise self.failure
        for address, (place, size) in places.items():
            ctypes.memmove(address, self.memory.get_bytes(place, size), size)
