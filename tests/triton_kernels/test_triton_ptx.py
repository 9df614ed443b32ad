"""The kernels as compiled for sm_80, executed instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton", reason="backend triton: triton is not installed")

import torch
from torch import Tensor
from triton_cases import (
    SEED,
    STEP,
    STEPS,
    Check,
    assert_near,
    cases,
    check_cached_attention,
    check_denoise_step,
    check_draw_tokens,
    check_gasf,
    check_gasf_decode,
    check_gasf_image,
    check_normal,
    check_q_sample,
    random,
    white,
)

from netdiffus.ops.cached_attention import cached_attention_reference
from netdiffus.ops.triton import (
    cached_attention,
    denoise,
    draw_tokens,
    noise,
)

single, half, brain = torch.float32, torch.float16, torch.bfloat16

AWKWARD: dict[Check, list[tuple[Any, ...]]] = {
    check_gasf: [(1, 1, single), (3, 127, single), (2, 100, half), (2, 80, brain)],
    check_gasf_image: [
        (1, 1, 1, 0.25, single),
        (3, 449, 61, 0.3, single),
        (16, 448, 128, 1.0, single),
        (2, 70, 125, 2.2, single),
        (2, 500, 96, 0.5, half),
    ],
    check_normal: [
        ((5, 1031), False, single),
        ((2, 3, 1024), False, brain),
        ((2, 2, 101, 101), True, single),
        ((2, 3, 44, 44), True, half),
    ],
    check_q_sample: [
        ((2, 2, 67, 67), True, "v", single),
        ((3, 2047), False, "eps", single),
        ((2, 1, 96, 96), True, "x0", brain),
    ],
    check_denoise_step: [
        ((3, 1, 37, 37), True, "all", True, single),
        ((2, 2, 100, 100), True, "ddpm", False, half),
        ((5, 1031), False, "all", True, single),
        ((3, 683), False, "dpm++", True, brain),
    ],
    check_gasf_decode: [
        (2, 1, 1.0, 0.0, single),
        (2, 8, 1.0, 0.5, single),
        (3, 61, 0.3, 0.1, single),
        (2, 128, 0.25, 0.02, single),
        (1, 150, 1.0, 0.1, half),
    ],
    check_cached_attention: [
        (1, 1, 1, 1, 0, single),
        (3, 2, 70, 37, 66, single),
        (2, 2, 32, 32, 15, half),
        (1, 3, 20, 24, 16, brain),
    ],
    check_draw_tokens: [
        (3, 1, single),
        (6, 256, single),
        (5, 700, single),
        (4, 40, half),
        (4, 33, brain),
    ],
}


@pytest.mark.parametrize(("check", "arguments"), cases(AWKWARD))
def test_results(offline: Callable[..., Any], check: Check, arguments: tuple[Any, ...]) -> None:
    used = offline()
    check(*arguments)
    assert used.launched


def last_of(tensor: Tensor, traces: int = 70_000) -> Tensor:
    """So many traces, of which only the last is there."""
    return tensor.expand(traces, *tensor.shape[1:])


@pytest.mark.parametrize("symmetric", [True, False])
def test_more_elements_than_32_bits_count(offline: Callable[..., Any], symmetric: bool) -> None:
    """The last programs of 4.9 billion elements write where they should."""
    m, traces, index, noisy = 64, 1_200_000, torch.tensor([9]), STEPS["all"]
    made = [torch.full((1, 1, m, m), torch.nan) for _ in range(4)]
    xt, net, before = (random(1, 1, m, m) - k for k in range(3))
    tensors = [last_of(tensor, traces) for tensor in (xt, net, before)]
    noise_out, x_next, x0, plain = (last_of(tensor, traces) for tensor in made)
    numbers = last_of(index, traces)
    used = offline(last=3 if symmetric else 4)  # the programs of one trace
    noise.normal(SEED, numbers, STEP, symmetric, noise_out)
    denoise.denoise_step(noisy, *tensors, SEED, numbers, STEP, symmetric, x_next, x0)
    used.last = 4
    denoise.denoise_step(STEPS["ddim"], *tensors, SEED, None, STEP, symmetric, plain, x0)
    z = white(index, (1, m, m), symmetric)
    clean = net.double().clamp(-1, 1)
    assert_near(made[0], z, 1e-6)
    assert_near(made[1], noisy[2] * xt + noisy[3] * clean + noisy[4] * before + noisy[5] * z, 1e-6)
    a, b, c, d, *_ = STEPS["ddim"]
    assert_near(made[3], c * xt + d * (a * xt + b * net).double().clamp(-1, 1), 1e-6)


def test_caches_of_more_numbers_than_32_bits_count(offline: Callable[..., Any]) -> None:
    """The last of 70,000 traces, each with 131,072 numbers in the caches."""
    heads, length, width, place = 2, 2048, 32, 40
    qkv, out = random(1, 3 * heads * width), torch.full((1, heads * width), torch.nan)
    keys, values = (random(1, heads, length, width) - k for k in range(2))
    expected = cached_attention_reference(qkv, keys.clone(), values.clone(), place).double()
    offline(last=heads)
    held = [last_of(v) for v in (qkv, keys, values)]
    cached_attention.cached_attention(*held, place, last_of(out))
    assert_near(out, expected, 1e-6)


def test_logits_of_more_numbers_than_32_bits_count(offline: Callable[..., Any]) -> None:
    """The last of 2,200,000 rows of 2,048 logits."""
    logits, uniforms = torch.zeros(1, 2**11), torch.tensor([0.75], dtype=torch.float64)
    logits[:, : 2**10] = -torch.inf
    tokens = torch.tensor([-7])
    offline(last=1)
    draw_tokens.draw_tokens(*(last_of(one, 2_200_000) for one in (logits, uniforms, tokens)))
    assert tokens.tolist() == [2**10 + 3 * 2**8]


def test_rows_without_a_token_give_minus_one(offline: Callable[..., Any]) -> None:
    offline()
    logits, tokens = torch.zeros(9, 40), torch.full((9,), 7)
    logits[1, 33], logits[2, 5], logits[3] = torch.nan, torch.inf, -torch.inf
    uniforms = torch.full((9,), 0.5, dtype=torch.float64)
    uniforms[4:8] = torch.tensor([-0.1, 1.0, torch.nan, torch.inf])
    draw_tokens.draw_tokens(logits, uniforms, tokens)
    assert tokens.tolist() == [20, *[-1] * 7, 20]


ELEMENTWISE: dict[Check, list[tuple[Any, ...]]] = {
    check_gasf: [(2, 64, dtype) for dtype in (single, half)],
    check_normal: [((2, 1, 64, 64), symmetric, single) for symmetric in (True, False)],
    check_q_sample: [((2, 1, 64, 64), symmetric, "v", single) for symmetric in (True, False)],
    check_denoise_step: [
        ((2, 1, 64, 64), True, "all", False, single),
        ((2, 1, 64, 64), True, "all", False, half),
        ((2, 1, 64, 64), False, "all", False, single),
        ((2, 1, 64, 64), False, "dpm++", True, brain),
    ],
}


@pytest.mark.parametrize(("check", "arguments"), cases(ELEMENTWISE))
def test_memory_traffic(
    offline: Callable[..., Any], check: Check, arguments: tuple[Any, ...]
) -> None:
    """No sector is moved that is not asked for, and no bank is waited for."""
    used = offline()
    check(*arguments)
    assert any(kind == "st" for _, kind, _ in used.traffic)
    for (line, kind, width), (requests, units, asked) in used.traffic.items():
        if kind in ("ld", "st"):
            assert 32 * units <= asked, f"PTX line {line}: {units} sectors for {asked} bytes"
        else:
            passes = max(1, width // 4) * requests
            assert units <= passes, f"PTX line {line}: {units} passes, {passes} needed"


def test_shared_memory_is_seen(offline: Callable[..., Any]) -> None:
    """The check of the banks has something to check: transposes go through shared memory."""
    used = offline()
    check_normal((1, 64, 64), True, single)
    assert any(kind == "sts" and units for (_, kind, _), (_, units, _) in used.traffic.items())
