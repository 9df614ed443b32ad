"""What nvcc makes of the CUDA sources: registers, memory and machine code."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import toolchain

pytestmark = pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc")

THREADS = 256
# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
SHARED_OF_SM = {80: 164 << 10, 90: 228 << 10}
REGISTERS_OF_SM, THREADS_OF_SM, BLOCKS_OF_SM = 65536, 2048, 32


@dataclass
class Usage:
    architecture: int
    kernel: str
    registers: int
    stack: int
    spills: int
    shared: int

    @property
    def occupancy(self) -> float:
        """Of the threads that fit a multiprocessor, the share that these blocks can be."""
        warp = -(-self.registers * 32 // 256) * 256  # allocated in units of 256
        by_registers = REGISTERS_OF_SM // (warp * THREADS // 32)
        by_shared = SHARED_OF_SM[self.architecture] // (self.shared + 1024)  # 1 KB is the system's
        blocks = min(by_registers, by_shared, THREADS_OF_SM // THREADS, BLOCKS_OF_SM)
        return blocks * THREADS / THREADS_OF_SM


def usages(text: str) -> list[Usage]:
    pattern = (
        r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes "
        r"spill stores, (\d+) bytes spill loads.*?Used (\d+) registers(.*?)\n"
    )
    found = []
    for name, sm, stack, stores, loads, registers, rest in re.findall(pattern, text, re.S):
        shared = re.search(r"(\d+) bytes smem", rest)
        spills, bytes_shared = int(stores) + int(loads), int(shared[1]) if shared else 0
        found.append(Usage(int(sm), name, int(registers), int(stack), spills, bytes_shared))
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[Usage]]:
    """The machine code for each architecture, and what its kernels use."""
    folder = tmp_path_factory.mktemp("nvcc")
    files = [toolchain.with_nvcc(folder, architecture) for architecture in toolchain.ARCHITECTURES]
    return {cubin: usages(said) for cubin, said in files}


def test_registers_memory_and_occupancy(built: dict[Path, list[Usage]]) -> None:
    found = [usage for used in built.values() for usage in used]
    assert len(found) == 36 * len(toolchain.ARCHITECTURES)
    for usage in found:
        assert usage.registers <= 40, usage
        assert usage.stack == usage.spills == 0, usage
        assert usage.occupancy >= 0.75, usage


def test_machine_code(built: dict[Path, list[Usage]]) -> None:
    tool = toolchain.cuobjdump()
    if not tool:
        pytest.skip("no nvcc tools: cuobjdump is neither on PATH nor in the triton wheel")
    for cubin in built:
        command = (tool, "-sass", str(cubin))
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        kernels = re.split(r"\n\s*Function : ", text)[1:]
        assert kernels
        for kernel in kernels:
            name, code = kernel.split("\n", 1)
            assert not re.search(r"\b(LDL|STL)\b", code), f"{name}: local memory"
            # Conversions alone make gasf_decode's float64 outputs; draw_tokens adds in float64.
            doubles = set(re.findall(r"\bD(?:ADD|MUL|FMA|SETP|MNMX)\b", code))
            allowed = {"DADD", "DMUL", "DSETP"} if "draw_tokens" in name else set()
            assert doubles <= allowed, f"{name}: double"
            if not re.search("decode|cached_attention|draw_tokens", name):
                assert "STG.E.128" in code, name
            if re.search("QSample|Denoise", name):
                assert "LDG.E.128" in code, name
