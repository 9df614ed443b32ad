"""Compiles Triton kernels for GPUs that are not there."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class _AbsentGpu:
    """What Triton asks of a driver before it compiles; nothing can be launched."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability  # a device of its own, as Triton keeps what it compiled by device

    def get_current_stream(self, device: int) -> int:
        return 0


@contextlib.contextmanager
def _absent_gpu(capability: int) -> Iterator[None]:
    before = driver._active  # reset_active() would look for a real GPU, and fail
    driver.set_active(_AbsentGpu(capability))
    try:
        yield
    finally:
        driver.set_active(before)


@dataclass
class Compiled:
    """One launch: the kernel's name, and what the compiler made of it."""

    name: str
    warps: int
    kernel: Any

    @property
    def ttir(self) -> str:
        """Triton's own form of the kernel, before it is of a GPU."""
        return str(self.kernel.asm["ttir"])

    @property
    def ptx(self) -> str:
        return str(self.kernel.asm["ptx"])

    @property
    def sass(self) -> str:
        return _dumped(self.kernel.asm["cubin"], "-sass")

    @property
    def usage(self) -> dict[str, int]:
        """REG (a thread), STACK, LOCAL and SHARED (bytes), as cuobjdump prints them."""
        printed = _dumped(self.kernel.asm["cubin"], "-res-usage")
        return {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", printed)}


@cache  # to take machine code apart takes as long as to make it
def _dumped(cubin: bytes, what: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_TOOLS / "cuobjdump"), what, file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Offline:
    """Stands in for `launch`: compiles the kernel, and runs nothing.

    Attributes:
        capability: 80 stands for sm_80.
        launched: Every launch.
    """

    capability: int = 80
    launched: list[Compiled] = field(default_factory=list)

    def __call__(
        self, kernel: Any, programs: int, out: Tensor, *args: Any, warps: int = 8, **constants: Any
    ) -> None:
        with _absent_gpu(self.capability):
            compiled = kernel.warmup(
                out, *args, grid=(programs,), num_warps=warps, enable_fp_fusion=False, **constants
            )
        self.launched.append(Compiled(kernel.__name__, warps, compiled))
