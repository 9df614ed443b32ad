"""The CUDA sources as a host compiler takes them: results, thread orders, sanitizers, mutants."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import stand_in
import toolchain
import torch
from cases import CASES, Case, check, outputs

from netdiffus.ops.cached_attention import _LONGEST_ON_CUDA

pytestmark = pytest.mark.skipif(
    not shutil.which(toolchain.COMPILER), reason=f"no C++ compiler {toolchain.COMPILER}"
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> stand_in.Host:
    return stand_in.Host(
        toolchain.on_host(tmp_path_factory.mktemp("host") / "kernels.so", "entries.cpp", "-shared")
    )


@pytest.mark.parametrize("dtype", stand_in.DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results_in_any_order_of_threads(
    host: stand_in.Host, case: Case, dtype: torch.dtype
) -> None:
    with stand_in.cuda(host):
        host.order(0)
        expected = check(case, dtype)
        for order in (1, 12345):
            host.order(order)
            found = outputs(case, "cuda", dtype)
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_caches_longer_than_a_block_holds_are_refused(host: stand_in.Host) -> None:
    line = torch.zeros(1).data_ptr()
    shape = (1, 1, _LONGEST_ON_CUDA + 1, 1)
    with pytest.raises(RuntimeError, match=r"cached_attention: cudaError_t 1$"):
        host("cached_attention", torch.float32, (line, *shape, _LONGEST_ON_CUDA, *[line] * 3))


def test_grids_past_the_limit_are_refused(host: stand_in.Host) -> None:
    with pytest.raises(RuntimeError, match=r"gasf: cudaError_t 9$"):  # invalid configuration
        host("gasf", torch.float32, (1 << 40, 2**31, 1, 1 << 40))


def test_rows_without_a_token_give_minus_one(host: stand_in.Host) -> None:
    logits, tokens = torch.zeros(9, 40), torch.full((9,), 7)
    logits[1, 33], logits[2, 5], logits[3] = torch.nan, torch.inf, -torch.inf
    uniforms = torch.full((9,), 0.5, dtype=torch.float64)
    uniforms[4:8] = torch.tensor([-0.1, 1.0, torch.nan, torch.inf])
    addresses = logits.data_ptr(), uniforms.data_ptr()
    host("draw_tokens", torch.float32, (*addresses, 9, 40, tokens.data_ptr()))
    assert tokens.tolist() == [20, *[-1] * 7, 20]


def program(folder: Path, *flags: str, **sources: Any) -> Path:
    return toolchain.on_host(folder / "kernels", "sanitized.cpp", "-O0", *flags, **sources)


@pytest.mark.parametrize("flags", [toolchain.MEMORY, toolchain.RACES], ids=["memory", "races"])
def test_sanitizers_find_nothing(tmp_path: Path, flags: tuple[str, ...]) -> None:
    result = subprocess.run([program(tmp_path, *flags)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# README.md says which of these mistakes no other tool finds.
IN_SOME_ORDER = {
    "normal-symmetric-2x33": ("  __syncthreads();\n  const int sides", "  const int sides"),
    # Threads past the end step the last values again.
    "denoise-ddim-white": (
        "  const int64_t at = (int64_t{kThreads} * (blockIdx.x % work) + threadIdx.x) * V;\n"
        "  if (at >= count) return;",
        "  int64_t at = (int64_t{kThreads} * (blockIdx.x % work) + threadIdx.x) * V;\n"
        "  if (at >= count) at = (count - 1) / V * V;",
    ),
}
# Flags, what runs, its sources, the change, what is said.
SANITIZED = {
    "a value past a thread's own": (
        toolchain.MEMORY, "gasfs<float>(37,50)", ("gasf",),
        ("gasf.cuh", "for (int l = 0; l < V; l += 4)", "for (int l = 0; l <= V; l += 4)"),
        "stack-buffer-overflow|out of bounds",
    ),
    "shared memory that no barrier orders": (
        toolchain.RACES, "attentions<float>(33,37)", ("cached_attention",),
        ("cached_attention.cuh", "  __syncthreads();\n", ""),
        "data race",
    ),
    "a key that another lane writes": (
        toolchain.RACES, "attentions<__half>(1,5)", ("cached_attention",),
        ("cached_attention.cuh", "c = lane(); c < width; c += kLanes) {\n    key[c]",
         "c = kLanes - 1 - lane(); c < width; c += kLanes) {\n    key[c]"),
        "data race",
    ),
}  # fmt: skip


def test_orders_show_a_mutant(tmp_path: Path) -> None:
    changes = [("noise.cuh", *change) for change in IN_SOME_ORDER.values()]
    csrc = toolchain.mutant(tmp_path / "csrc", *changes)
    library = toolchain.on_host(tmp_path / "mutant.so", "entries.cpp", "-shared", "-O0", csrc=csrc)
    mutant = stand_in.Host(library)
    mutant.order(1)
    for name in IN_SOME_ORDER:
        case = next(case for case in CASES if case.name == name)
        with stand_in.cuda(mutant), pytest.raises(AssertionError):
            check(case, torch.float32)


@pytest.mark.parametrize("name", SANITIZED)
def test_sanitizers_show_a_mutant(tmp_path: Path, name: str) -> None:
    flags, only, stems, change, said = SANITIZED[name]
    csrc = toolchain.mutant(tmp_path / "csrc", change)
    built = program(tmp_path, *flags, f"-DONLY={only}", csrc=csrc, stems=stems)
    result = subprocess.run([built], capture_output=True, text=True)
    assert result.returncode
    assert re.search(said, result.stderr), result.stderr
