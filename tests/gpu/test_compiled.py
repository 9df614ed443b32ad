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

from netdiffus.ops.modulate import TAPS, modulate

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
    assert len(built.usages) == 54 * len(toolchain.ARCHITECTURES)
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
                # Conversions alone make gasf_decode's float64 outputs.
                assert not re.search(r"\bD(ADD|MUL|FMA|SETP|MNMX)\b", code), f"{name}: double"
                if not re.search("decode|area_resize|level|precision", name):
                    assert "STG.E.128" in code, name
                if re.search("QSample|Denoise|modulate", name):
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


IDEAL = ("gasf-48", "gasf_image-96-48", "q_sample-v-48", "denoise-ddpm-48", "modulate-32x96")


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


@pytest.mark.parametrize("dtype", stand_in.DTYPES, ids=str)
@pytest.mark.parametrize(
    ("name", "spans"), [("level_chances", True), ("level_means", True), ("level_loss", False)]
)
def test_lanes_take_levels_side_by_side(
    emulated: stand_in.Emulated, name: str, spans: bool, dtype: torch.dtype
) -> None:
    """Rows of features start anywhere, which costs a sector a request.

    Spans come three to a level: a request reads each third number of a table that stays in cache.
    """
    case = next(case for case in CASES if case.name == f"{name}-8x64+32")
    with stand_in.cuda(emulated):
        check(case, dtype)
    thirds = []
    for (line, kind, size), (requests, cost, useful) in emulated.traffic.items():
        few = useful <= 3 * size * requests  # what a point has once
        if not few and 32 * cost > useful + 32 * requests:
            assert (kind, 32 * cost) == ("ld", 3 * useful), f"PTX line {line}: {cost} sectors"
            thirds.append(line)
    assert bool(thirds) == spans


@pytest.mark.parametrize("dtype", stand_in.DTYPES, ids=str)
def test_lanes_take_eigenvectors_side_by_side(
    emulated: stand_in.Emulated, dtype: torch.dtype
) -> None:
    """A warp stores eight rows' results: of halves they fill a sector by half."""
    case = next(case for case in CASES if case.name == "precision-64")
    with stand_in.cuda(emulated):
        check(case, dtype)
    for (line, kind, size), (requests, cost, useful) in emulated.traffic.items():
        where = f"{kind} of {size} bytes at PTX line {line}"
        if kind in ("lds", "sts"):
            assert cost <= requests, f"bank conflicts, {where}"
        else:
            asked = useful if kind == "ld" else useful * 4 // size
            assert 32 * cost <= asked or cost == requests, f"sectors, {where}"


def test_large_batches_launch(emulated: stand_in.Emulated) -> None:
    emulated.execute = False
    x, field = torch.zeros(70_000, 4), torch.empty(70_000, 4, 4)
    emulated("gasf", x.dtype, (x.data_ptr(), 70_000, 4, field.data_ptr()))
    (launch,) = emulated.launches
    assert launch[1] == 70_000


def test_every_strip_of_a_large_batch_has_a_block(emulated: stand_in.Emulated) -> None:
    emulated.execute = False
    s, line, taps = torch.zeros(70_000, 33, 1), torch.zeros(70_000, 1), torch.zeros(TAPS, 1)
    leaves = [v.requires_grad_() for v in (s, line, line.clone(), taps, torch.zeros(1))]
    with stand_in.cuda(emulated):
        modulate(*leaves, backend="cuda").sum().backward()
    assert [blocks for _, blocks in emulated.launches] == [140_000, 140_000]


def test_large_batches_of_levels_launch(emulated: stand_in.Emulated) -> None:
    emulated.execute = False
    given = [torch.zeros(70_000, 1, 3), torch.zeros(70_000, 1, 3), torch.zeros(70_000, 1, 2)]
    own, addresses = torch.zeros(70_000, 1, 2).long(), [v.data_ptr() for v in given]
    shape = (70_000, 1, (2, 2, 1))
    emulated("level_loss", torch.float32, (*addresses[:2], own.data_ptr(), *shape, addresses[2]))
    assert [blocks for _, blocks in emulated.launches] == [70_000 // 8] * 2


def test_large_batches_of_precisions_launch(emulated: stand_in.Emulated) -> None:
    emulated.execute = False
    line, group, found = torch.zeros(70_000, 1), torch.zeros(70_000).long(), torch.empty(4, 70_000)
    addresses = [v.data_ptr() for v in (line, line, group, line, line)]
    emulated("precision", torch.float32, (*addresses, 1, 70_000, 1, found.data_ptr()))
    assert [blocks for _, blocks in emulated.launches] == [70_000]


def test_grids_past_the_limit_are_refused(emulated: stand_in.Emulated) -> None:
    code = emulated.library.gasf(0, 1 << 40, 2**31, 1, 1 << 40)
    assert code == 9  # cudaErrorInvalidConfiguration
    assert not emulated.launches


# A case, text in its source, what stands there instead, and what shows it.
MUTANTS = {
    "missing barrier": ("gasf-37", "  __syncthreads();\n", "", "was not written|race"),
    "off by one": ("gasf-37", "if (o < m) field", "if (o <= m) field", "load out of bounds"),
    "stride": ("gasf-37", "line + i * m)", "line + i * (m + 1))", "store out of bounds|misaligned"),
    "missing barrier before the gradient of rows": (
        "modulate-34x37", "    __syncthreads();\n    if (column", "    if (column",
        "was not written|race",
    ),
    "a neighbour past the end": (
        "modulate-34x37", "if (i >= first && i < last)", "if (i >= first && i <= last)",
        "was not written",
    ),
    "largest not taken off": (
        "level_loss-5x40+17", "sum += exponential(log(s) - most)", "sum += exponential(log(s))",
        "not close",
    ),
    "begin of another channel": (
        "level_chances-5x40+17", "at.channels + at.begin + s", "at.channels + s", "not close"
    ),
    "missing barrier before the rows": (
        "precision-37-nan", "  __syncthreads();\n", "", "was not written|race"
    ),
    "a row past the end": (
        "precision-37-nan", "if (own < rows) narrow", "narrow", "store out of bounds|not close"
    ),
    "results in each other's place": (
        "precision-64", "half_sum(pulled, sk, ", "half_sum(sk, pulled, ", "not close"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_emulator_shows_a_mutant(built: Built, tmp_path: Path, name: str) -> None:
    on, old, new, shown = MUTANTS[name]
    stem = "levels" if on.startswith("level") else on.split("-")[0]
    case = next(case for case in CASES if case.name == on)
    csrc = toolchain.mutant(tmp_path / "csrc", (f"{stem}.cuh", old, new))
    kernels = ptxemu.parse(toolchain.ptx(csrc, stem))
    mutant = stand_in.Emulated(built.library, kernels)
    errors = (ptxemu.PtxError, AssertionError)
    with stand_in.cuda(mutant), pytest.raises(errors, match=shown):
        check(case, torch.float32)
