"""The checks, checked: each of these mistakes in a kernel is found."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="backend triton: triton is not installed")

import torch
import triton_cases as cases
from ptxemu import PtxError
from test_triton_compiled import assert_barriers_around_stores
from triton_cases import Check

import netdiffus.ops.triton

single = torch.float32
PACKAGE = "mutant_kernels"

MUTANTS: dict[str, tuple[str, str, str, Check, tuple[Any, ...]]] = {
    "a mask that lets one row more pass": (
        "tiles", "(row < m) & (column < m)", "(row <= m) & (column < m)",
        cases.check_normal, ((1, 33, 33), True, single),
    ),
    "a mask that lets one element more pass": (
        "noise", "offset < count - start)", "offset <= count - start)",
        cases.check_normal, ((2, 1031), False, single),
    ),
    "a stride that is one too long": (
        "gasf", "(row * n + column)", "(row * (n + 1) + column)",
        cases.check_gasf, (1, 40, single),
    ),
    "a mirror image that is not transposed": (
        "noise", "tl.trans(z), mask", "z, mask",
        cases.check_normal, ((1, 64, 64), True, single),
    ),
    "a tile on the diagonal that is stepped twice": (
        "tiles", "tl.where(top < left, m, 0)", "m",
        cases.check_denoise_step, ((1, 64, 64), True, "all", True, single),
    ),
    "a pair of tiles that nobody fills": (
        "tiles", "tl.where(folded, tiles - row - spare, row)", "row",
        cases.check_normal, ((1, 96, 96), True, single),
    ),
    "planes that draw the same noise": (
        "noise", "plane * m * m + top * m + left", "top * m + left",
        cases.check_normal, ((1, 2, 36, 36), True, single),
    ),
    "a lane of the wrong half": (
        "noise", "element % 4 > 1", "element % 4 > 2",
        cases.check_normal, ((1, 9, 9), True, single),
    ),
    "a window that ends early": (
        "gasf", "range(longest)", "range(longest - 1)",
        cases.check_gasf_image, (1, 70, 33, 1.0, single),
    ),
    "a square root that is approximate": (
        "gasf", "tl.sqrt_rn((1 - x)", "tl.sqrt((1 - x)",
        cases.check_gasf, (1, 64, single),
    ),
    "rounding before the last sum": (
        "denoise", "clean = tl.clamp(", "clean = 1.000001 * tl.clamp(",
        cases.check_denoise_step, ((2, 64), False, "dpm++", False, single),
    ),
    "a step down the wrong slope": (
        "decode", "s * along_x + away * along_s", "s * along_x - away * along_s",
        cases.check_gasf_decode, (1, 16, 1.0, 0.1, single),
    ),
    "a key past the new one": (
        "cached_attention", "point <= place", "point <= place + 1",
        cases.check_cached_attention, (1, 2, 40, 16, 20, single),
    ),
    "values that stay of the largest score before": (
        "cached_attention", "mean * kept +", "mean +",
        cases.check_cached_attention, (3, 3, 70, 16, 66, single),
    ),
    "a row of another head": (
        "cached_attention", "program * length * width\n    values", "program * width\n    values",
        cases.check_cached_attention, (1, 2, 40, 16, 36, single),
    ),
    "sums of one tile alone": (
        "draw_tokens", "before + tl.cumsum", "tl.cumsum",
        cases.check_draw_tokens, (6, 600, single),
    ),
    "a limit that belongs to the token before it": (
        "draw_tokens", "(weights, 0) <= goal", "(weights, 0) < goal",
        cases.check_draw_tokens, (6, 64, single),
    ),
}  # fmt: skip


@pytest.fixture
def mutate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str, str], None]]:
    """Puts a copy of the kernels with one text replaced in the place of the kernels."""

    def use(module: str, old: str, new: str) -> None:
        shutil.copytree(Path(netdiffus.ops.triton.__path__[0]), tmp_path / PACKAGE)
        for file in (tmp_path / PACKAGE).glob("*.py"):
            file.write_text(file.read_text().replace("netdiffus.ops.triton", PACKAGE))
        file = tmp_path / PACKAGE / f"{module}.py"
        text = file.read_text()
        assert old in text, f"{module}.py has no {old!r} any more: renew this mutant"
        file.write_text(text.replace(old, new))
        monkeypatch.syspath_prepend(tmp_path)
        for name in cases.KERNELS:
            monkeypatch.setattr(cases, name, importlib.import_module(f"{PACKAGE}.{name}"))

    yield use
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_missing_barrier_is_caught(
    mutate: Callable[[str, str, str], None], offline: Callable[..., Any]
) -> None:
    mutate("decode", "tl.debug_barrier()", "")
    used = offline(execute=False)
    x, residual = torch.empty(1, 64, dtype=torch.float64), torch.empty(1, dtype=torch.float64)
    cases.decode.gasf_decode(cases.random(1, 64, 64), 1.0, 6, 1e-6, x, residual)
    with pytest.raises(AssertionError):
        assert_barriers_around_stores(used.launched[-1].ptx)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(
    mutate: Callable[[str, str, str], None], offline: Callable[..., Any], mutant: str
) -> None:
    module, old, new, check, arguments = MUTANTS[mutant]
    offline()
    check(*arguments)  # as it is, it passes
    mutate(module, old, new)
    offline()
    with pytest.raises((AssertionError, PtxError)):
        check(*arguments)
