"""What nvcc makes of the CUDA sources: budgets, machine code, and its PTX executed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import ptxemu
import pytest
import stand_in
import toolchain
import torch
from cases import CASES, Case, check

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


@dataclass
class Built:
    folder: Path
    library: Path
    usages: list[Usage]
    kernels: dict[str, ptxemu.Kernel]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("nvcc")
    library = folder / "kernels.so"
    said = toolchain.with_nvcc(folder, library, toolchain.ARCHITECTURES)
    kernels: dict[str, ptxemu.Kernel] = {}
    for stem in toolchain.STEMS:
        kernels |= ptxemu.parse((folder / f"{stem}.compute_80.ptx").read_text())
    return Built(folder, library, usages(said), kernels)


@pytest.fixture
def emulated(built: Built) -> stand_in.Emulated:
    return stand_in.Emulated(built.library, built.kernels)


def test_registers_memory_and_occupancy(built: Built) -> None:
    assert len(built.usages) == 36 * len(toolchain.ARCHITECTURES)
    for usage in built.usages:
        assert usage.registers <= 40, usage
        assert usage.stack == usage.spills == 0, usage
        assert usage.occupancy >= 0.75, usage


def test_machine_code(built: Built) -> None:
    tool = toolchain.cuobjdump()
    if not tool:
        pytest.skip("no nvcc tools: cuobjdump is neither on PATH nor in the triton wheel")
    for stem in toolchain.STEMS:
        for architecture in toolchain.ARCHITECTURES:
            cubin = str(built.folder / f"{stem}.compute_{architecture}.cubin")
            command = (tool, "-sass", cubin)
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


# Halves differ from float32 in loads and stores alone; on the host all cases run with all types.
HALVES = ("gasf-37", "gasf-72", "decode-5", "denoise-ddpm-40", "q_sample-eps-37")
SLOW = ("decode-64-exact", "decode-37-nan", "normal-symmetric-2x72")
RUNS = [
    pytest.param(case, dtype, id=f"{case.name}-{dtype}")
    for case in CASES
    for dtype in stand_in.DTYPES
    if case.name not in SLOW and (dtype is torch.float32 or case.name in HALVES)
]


@pytest.mark.parametrize(("case", "dtype"), RUNS)
def test_ptx_results(emulated: stand_in.Emulated, case: Case, dtype: torch.dtype) -> None:
    with stand_in.cuda(emulated):
        check(case, dtype)
    assert emulated.launches


IDEAL = ("gasf-48", "gasf_image-96-48", "q_sample-v-48", "denoise-ddpm-48")


@pytest.mark.parametrize("dtype", stand_in.DTYPES, ids=str)
@pytest.mark.parametrize("name", IDEAL)
def test_memory_traffic_is_ideal(
    emulated: stand_in.Emulated, name: str, dtype: torch.dtype
) -> None:
    case = next(case for case in CASES if case.name == name)
    with stand_in.cuda(emulated):
        check(case, dtype)
    wide = 0
    for (line, kind, size), (requests, cost, useful) in emulated.traffic.items():
        where = f"{kind} of {size} bytes at PTX line {line}"
        if kind in ("lds", "sts"):  # a request of 16 bytes a lane takes four passes
            assert cost <= requests * max(1, size // 4), f"bank conflicts, {where}"
        elif size == 16:
            assert cost * 32 == useful, f"sectors, {where}"
            wide += useful
        else:
            assert kind == "ld", f"narrow, {where}"
    assert wide


def test_large_batches_launch(emulated: stand_in.Emulated) -> None:
    emulated.execute = False
    x, field = torch.zeros(70_000, 4), torch.empty(70_000, 4, 4)
    emulated("gasf", x.dtype, (x.data_ptr(), 70_000, 4, field.data_ptr()))
    (launch,) = emulated.launches
    assert launch[1] == 70_000


def test_large_batches_of_points_launch(emulated: stand_in.Emulated) -> None:
    emulated.execute = False
    qkv, numbers = torch.zeros(3 * 70_000), torch.zeros(70_000).double()
    line, tokens = qkv.data_ptr(), torch.zeros(70_000).long()
    emulated("cached_attention", torch.float32, (line, 7_000, 10, 1, 1, 0, *[line] * 3))
    addresses = line, numbers.data_ptr()
    emulated("draw_tokens", torch.float32, (*addresses, 70_000, 1, tokens.data_ptr()))
    assert [blocks for _, blocks in emulated.launches] == [70_000 // 8] * 2


def test_grids_past_the_limit_are_refused(emulated: stand_in.Emulated) -> None:
    code = emulated.library.gasf(0, 1 << 40, 2**31, 1, 1 << 40)
    assert code == 9  # cudaErrorInvalidConfiguration
    assert not emulated.launches


# A case, text in its source, what stands there instead, and what shows it.
MUTANTS = {
    "missing barrier": ("gasf-37", "  __syncthreads();\n", "", "was not written|race"),
    "off by one": ("gasf-37", "if (o < m) field", "if (o <= m) field", "load out of bounds"),
    "stride": ("gasf-37", "line + i * m)", "line + i * (m + 1))", "store out of bounds|misaligned"),
    "missing barrier between the lanes of a warp": (
        "cached_attention-40x37-nan", "  __syncthreads();\n", "", "race, read after write",
    ),
    "a mean that is not of its shares": (
        "cached_attention-32x64", "narrow(mean / sum, ", "narrow(mean, ", "not close"
    ),
    "a key past the end": (
        "cached_attention-40x37-nan", "row * cache.length * cache.width",
        "(row * cache.length + 4) * cache.width", "out of bounds|not close|not equal",
    ),
    "a limit that belongs to the token before it": (
        "draw_tokens-70", "before + sum_up_to_lane", "sum_up_to_lane", "not equal|not close"
    ),
    "a token past the end": (
        "draw_tokens-70", "v < size ? weight(v) : 0", "weight(v)", "out of bounds"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_emulator_shows_a_mutant(built: Built, tmp_path: Path, name: str) -> None:
    on, old, new, shown = MUTANTS[name]
    stem = on.split("-")[0]
    case = next(case for case in CASES if case.name == on)
    csrc = toolchain.mutant(tmp_path / "csrc", (f"{stem}.cuh", old, new))
    kernels = ptxemu.parse(toolchain.ptx(csrc, stem))
    mutant = stand_in.Emulated(built.library, kernels)
    errors = (ptxemu.PtxError, AssertionError)
    with stand_in.cuda(mutant), pytest.raises(errors, match=shown):
        check(case, torch.float32)
