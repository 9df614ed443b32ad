"""Compiles Triton kernels for GPUs that are not there, and executes their PTX on the CPU."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ptxemu
import torch
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
    grid: tuple[int, ...]
    warps: int
    kernel: Any

    @property
    def ptx(self) -> str:
        return str(self.kernel.asm["ptx"])

    @property
    def sass(self) -> str:
        return self._dump("-sass")

    @property
    def usage(self) -> dict[str, int]:
        """REG (a thread), STACK, LOCAL and SHARED (bytes), as cuobjdump prints them."""
        printed = self._dump("-res-usage")
        return {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", printed)}

    def _dump(self, what: str) -> str:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(self.kernel.asm["cubin"])
            file.flush()
            command = [str(_TOOLS / "cuobjdump"), what, file.name]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Offline:
    """Stands in for `launch`: compiles the kernel, and executes its PTX unless told not to.

    Attributes:
        capability: 80 stands for sm_80, whose PTX the emulator knows.
        execute: Whether to execute; `.approx` instructions are off by up to two units then.
        launched: Every launch.
        last: How many programs run, the last of the grid; 0 for all.
        traffic: (PTX line, "ld" | "st" | "lds" | "sts", bytes a thread) to [requests of a warp,
            sectors of 32 bytes or passes over the shared memory's banks, bytes asked for].
    """

    capability: int = 80
    execute: bool = True
    last: int = 0
    launched: list[Compiled] = field(default_factory=list)
    traffic: dict[tuple[int, str, int], list[int]] = field(default_factory=dict)

    def __call__(
        self, kernel: Any, programs: int, out: Tensor, *args: Any, warps: int = 8, **constants: Any
    ) -> None:
        if programs == 0:
            return
        with _absent_gpu(self.capability):
            compiled = kernel.warmup(
                out, *args, grid=(programs,), num_warps=warps, enable_fp_fusion=False, **constants
            )
        self.launched.append(Compiled(kernel.__name__, (programs,), warps, compiled))
        if self.execute:
            self._run(self.launched[-1], (out, *args))

    def _run(self, launch: Compiled, args: tuple[Any, ...]) -> None:
        constant = {path[0] for path in launch.kernel.src.constants}
        memory = ptxemu.Memory()
        addresses: dict[int, int] = {}  # in-place arguments share one
        values = []
        for k, arg in enumerate(args):
            if isinstance(arg, Tensor) and k not in constant:
                if arg.data_ptr() not in addresses:
                    addresses[arg.data_ptr()] = _place(memory, arg)
                arg = addresses[arg.data_ptr()]
            if k not in constant:
                values.append(arg)
        parsed = ptxemu.parse(launch.ptx, launch.kernel.metadata.name)
        values += [0] * (len(parsed.params) - len(values))  # Triton's own scratch memory: unused
        ptxemu.launch(
            parsed, launch.grid, (32 * launch.warps,), values, memory,
            dyn_shared=launch.kernel.metadata.shared, stats=self.traffic, approx_ulp=2,
            blocks=range(launch.grid[0])[-self.last :],
        )  # fmt: skip
        for arg in args:
            if isinstance(arg, Tensor) and arg.data_ptr() in addresses:
                part = _present(arg)
                missing = (arg.numel() - part.numel()) * arg.element_size()
                found = memory.get(addresses[arg.data_ptr()] + missing, _as_numpy(part))
                part.copy_(torch.from_numpy(found).view(arg.dtype))


def _present(tensor: Tensor) -> Tensor:
    """All of a tensor; of one expanded along its first axis the last row, as if it had them all."""
    return tensor[-1] if tensor.stride(0) == 0 and len(tensor) > 1 else tensor


def _place(memory: ptxemu.Memory, tensor: Tensor) -> int:
    part = _present(tensor)
    missing = (tensor.numel() - part.numel()) * tensor.element_size()
    return int(memory.add(_as_numpy(part))) - missing


def _as_numpy(tensor: Tensor) -> Any:
    # NumPy has no bfloat16.
    return (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy()
