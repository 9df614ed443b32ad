"""The CUDA sources as a host compiler takes them: results, thread orders, sanitizers, mutants."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import stand_in
import toolchain
import torch
from cases import CASES, Case, check, outputs

from netdiffus.ops.precision import _LARGEST_ON_CUDA

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


def test_level_of_another_channel_gives_nan(host: stand_in.Host) -> None:
    levels, g = torch.zeros(1, 3, 8), torch.ones(1, 3, 2)
    own = torch.tensor([[[0, 7], [5, 4], [-1, 2**40]]])
    lost, found = torch.empty_like(g), torch.empty_like(levels)
    given, shape = [v.data_ptr() for v in (levels, levels, own, g)], (1, 3, (2, 5, 3))
    host("level_loss", torch.float32, (*given[:3], *shape, lost.data_ptr()))
    host("level_loss_backward", torch.float32, (*given, *shape, found.data_ptr()))
    assert not lost[0, 0].isnan().any()
    assert lost[0, 1:].isnan().all()
    assert not found[0, 0].isnan().any()
    assert found[0, 1:].isnan().all()


def test_group_that_is_none_gives_nan(host: stand_in.Host) -> None:
    size, group = 5, torch.tensor([1, 2, -1, 2**40])
    lines, vectors = torch.ones(4, size), torch.eye(size).repeat(2, 1, 1)
    given = [v.data_ptr() for v in (lines, lines, group, lines, vectors)]
    found = torch.empty(4, 4, size)
    host("precision", torch.float32, (*given, 2, 4, size, found.data_ptr()))
    assert torch.equal(found[:, 0, 0], torch.tensor([0.5, 0.5, 0.5, 1.0]))
    assert found[:, 1:].isnan().all()


def test_series_longer_than_a_block_holds_are_refused(host: stand_in.Host) -> None:
    line = torch.zeros(1).data_ptr()
    with pytest.raises(RuntimeError, match=r"precision: cudaError_t 1$"):
        host("precision", torch.float32, (*[line] * 5, 1, 1, _LARGEST_ON_CUDA + 1, line))


def program(folder: Path, *flags: str, csrc: Path = toolchain.CSRC) -> Path:
    return toolchain.on_host(folder / "kernels", "sanitized.cpp", "-O0", *flags, csrc=csrc)


@pytest.mark.parametrize("flags", [toolchain.MEMORY, toolchain.RACES], ids=["memory", "races"])
def test_sanitizers_find_nothing(tmp_path: Path, flags: tuple[str, ...]) -> None:
    result = subprocess.run([program(tmp_path, *flags)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


MISSING_BARRIERS = (
    ("noise.cuh", "  __syncthreads();\n  const int sides", "  const int sides"),
    ("modulate.cuh", "    __syncthreads();\n    if (used <= 0 || row", "    if (used <= 0 || row"),
    ("precision.cuh", "  __syncthreads();\n", ""),
)
OFF_BY_ONE = ("gasf.cuh", "if (o < m) field.vectors", "if (o <= m) field.vectors")


def test_orders_show_a_missing_barrier(tmp_path: Path) -> None:
    csrc = toolchain.mutant(tmp_path / "csrc", *MISSING_BARRIERS)
    library = toolchain.on_host(tmp_path / "mutant.so", "entries.cpp", "-shared", csrc=csrc)
    mutant = stand_in.Host(library)
    mutant.order(1)
    for name in ("normal-symmetric-2x33", "modulate-34x37", "precision-37-nan"):
        case = next(case for case in CASES if case.name == name)
        with stand_in.cuda(mutant), pytest.raises(AssertionError):
            check(case, torch.float32)


def test_address_sanitizer_shows_an_index_past_the_end(tmp_path: Path) -> None:
    csrc = toolchain.mutant(tmp_path / "csrc", OFF_BY_ONE)
    flags = (*toolchain.MEMORY, "-DONLY_GASF")
    result = subprocess.run([program(tmp_path, *flags, csrc=csrc)], capture_output=True, text=True)
    assert "heap-buffer-overflow" in result.stderr, result.stderr
