"""What the compiler makes of the kernels for each generation of GPUs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton", reason="backend triton: triton is not installed")

import torch
from torch import Tensor

from netdiffus.ops.triton import (
    cached_attention,
    decode,
    denoise,
    draw_tokens,
    gasf,
    noise,
)

M = 64
SEED, DRAW = 2**63 + 2**31 + 11, 2**32 - 3
FIRST_ORDER = (1.2, -0.7, 0.3, 0.9, -0.3, 0.0)  # a, b, c, d, e, sigma of a step
NOISY = (0.0, 1.0, 0.3, 0.9, -0.3, 0.25)
# Registers of a thread at most. The first ones move pixels and are bound by memory: 40 registers
# leave three quarters of the threads that an SM can hold.
ELEMENTWISE = {
    "_gasf": 40,
    "_gasf_image": 40,
    "_normal_line": 40,
    "_normal_pair": 40,
    "_mix_line": 40,
    "_mix_pair": 40,
    "_step_plain": 40,
    "_step_line": 40,
    "_step_pair": 40,
    "_undo_gamma": 40,
}
# A tile of keys or values, a query and a mean at once; sums of float64 take two registers each.
REGISTERS = ELEMENTWISE | {"_attend": 64, "_draw": 48}
REGISTERS |= {"_area_means": 40, "_nearest": 128}


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape).to(dtype)


def launch_gasf(dtype: torch.dtype) -> None:
    x, image = random(2, 500, dtype=dtype), torch.empty(2, M, M, dtype=dtype)
    gasf.gasf_image(x, M, 0.25, image)
    gasf.gasf(x[:, :M].contiguous(), image)


def launch_decode(dtype: torch.dtype) -> None:
    x, residual = (torch.empty(shape, dtype=torch.float64) for shape in ((2, M), (2,)))
    decode.gasf_decode(random(2, M, M, dtype=dtype), 1.0, 6, 1e-6, x, residual)


def launch_noise(dtype: torch.dtype) -> None:
    x, scale = random(2, 1, M, M, dtype=dtype), random(2, dtype=dtype)
    for symmetric in (True, False):
        noise.normal(SEED, torch.arange(2), DRAW, symmetric, x)
        mixing = (x, scale, scale, SEED, torch.arange(2), DRAW, "v")
        noise.q_sample(*mixing, symmetric, x + 1, x + 2)


def launch_denoise(dtype: torch.dtype) -> None:
    x = random(2, 1, M, M, dtype=dtype)
    for step, symmetric in ((FIRST_ORDER, True), (NOISY, True), (NOISY, False)):
        tensors = (x, x + 1, x + 2, SEED, torch.arange(2), DRAW, symmetric, x + 3, x + 4)
        denoise.denoise_step(step, *tensors)


def launch_cached_attention(dtype: torch.dtype) -> None:
    qkv, caches = random(2, 3 * M, dtype=dtype), random(2, 2, 2, 40, M // 2, dtype=dtype)
    out = torch.empty(2, M, dtype=dtype)
    cached_attention.cached_attention(qkv, *caches, 30, out)


def launch_draw_tokens(dtype: torch.dtype) -> None:
    uniforms, tokens = torch.zeros(2, dtype=torch.float64), torch.zeros(2).long()
    draw_tokens.draw_tokens(random(2, 256, dtype=dtype), uniforms, tokens)


LAUNCHES = (
    launch_gasf,
    launch_decode,
    launch_noise,
    launch_denoise,
    launch_cached_attention,
    launch_draw_tokens,
)


# Of float64: the decoder's final conversion, and the sums by which tokens are drawn.
DOUBLES = {
    "_nearest": {"cvt.f64.f32"},
    "_draw": {"cvt.f64.f32", "add.rn.f64", "mul.rn.f64", "selp.f64"}
    | {f"setp.{how}.f64" for how in ("ge", "le", "lt", "num")},
}


def occupancy(registers: int, warps: int) -> float:
    """Share of the 64 warps of an SM (sm_80, sm_90) that 65,536 registers hold in whole blocks."""
    of_a_warp = 32 * (-(-registers // 8) * 8)
    return min(64, 65536 // of_a_warp // warps * warps) / 64


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("launch", LAUNCHES)
def test_budgets(
    offline: Callable[..., Any], launch: Callable[[torch.dtype], None], capability: int
) -> None:
    used = offline(capability)
    launch(torch.float32)
    assert used.launched
    for made in used.launched:
        usage, sass = made.usage, made.sass
        assert usage["STACK"] == usage["LOCAL"] == 0, made.name
        assert not re.search(r"\b(LDL|STL)\b", sass), made.name
        assert usage["REG"] <= REGISTERS[made.name], (made.name, usage["REG"])
        if made.name in ELEMENTWISE:
            assert occupancy(usage["REG"], made.warps) >= 0.75, made.name
            assert set(re.findall(r"\bSTG[.\w]*", sass)) == {"STG.E.128"}, made.name
        if made.name in (
            "_mix_line",
            "_mix_pair",
            "_step_plain",
            "_step_line",
            "_step_pair",
        ):
            assert "LDG.E.128" in sass, made.name


@pytest.mark.parametrize("launch", LAUNCHES)
def test_arithmetic_is_single_and_exact(
    offline: Callable[..., Any], launch: Callable[[torch.dtype], None]
) -> None:
    """No fused multiply-add, no approximation; doubles where the decoder and draws say so."""
    used = offline()
    launch(torch.float32)
    for made in used.launched:
        assert not re.search(r"\b(fma|mad)\.\w*\.?f32|\.approx|\.full", made.ptx), made.name
        doubles = set(re.findall(r"\S*\.f64\S*", made.ptx))
        assert doubles <= DOUBLES.get(made.name, set()), (made.name, doubles)
        if made.name != "_draw":
            assert not re.search(r"\bD(ADD|MUL|FMA|SETP)\b|64H", made.sass), made.name


@pytest.mark.parametrize("launch", LAUNCHES)
def test_offsets_of_traces_have_64_bits(
    offline: Callable[..., Any], launch: Callable[[torch.dtype], None]
) -> None:
    """A batch may hold more than 2^31 elements: which trace it is counts in int64.

    In 32 bits the number of a program is divided, by the programs of a trace, and nothing else.
    """
    used = offline()
    launch(torch.float32)
    for made in used.launched:
        numbers = set(re.findall(r"(%\w+) = tt\.get_program_id", made.ttir))
        assert numbers, made.name
        divided = re.findall(r"(%\w+) = arith\.divsi (%\w+), .* : i32", made.ttir)
        numbers |= {quotient for quotient, number in divided if number in numbers}
        for line in made.ttir.splitlines():
            operands = re.findall(r"%\w+", line.partition(" = ")[2])
            if numbers & set(operands):
                assert re.search(r"arith\.(divsi|remsi|extsi) ", line), (made.name, line)


def assert_barriers_around_stores(ptx: str) -> None:
    """What the threads of a program hand each other through memory stands between barriers."""
    pattern = r"(?P<store>st\.global[.\w]*\.b32)|(?P<load>ld\.global)|(?P<barrier>bar\.sync)"
    events = [found.lastgroup for found in re.finditer(pattern, ptx)]
    runs = [kind for kind, _ in itertools.groupby(events)]
    assert "store" in runs
    for before, kind, after in zip(runs, runs[1:], runs[2:], strict=False):
        if kind == "store":
            assert before == after == "barrier"


def test_decoder_waits_for_its_threads(offline: Callable[..., Any]) -> None:
    used = offline()
    launch_decode(torch.float32)
    assert_barriers_around_stores(used.launched[-1].ptx)


@pytest.mark.parametrize("capability", [75, 89, 100, 120])  # 80 and 90 have budgets
def test_every_generation(offline: Callable[..., Any], capability: int) -> None:
    used = offline(capability)
    launch_gasf(torch.bfloat16)
    launch_denoise(torch.float16)
    for made in used.launched:
        assert made.usage["STACK"] == made.usage["LOCAL"] == 0, made.name
        assert f"sm_{capability}" in made.ptx
