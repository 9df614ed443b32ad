"""What each launcher must give, whoever executes its kernels: one check per op."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from netdiffus.ops.cached_attention import cached_attention_reference
from netdiffus.ops.decode import gasf_decode_reference
from netdiffus.ops.draw_tokens import draw_tokens_reference
from netdiffus.ops.gasf import gasf_image_reference, gasf_reference
from netdiffus.ops.noise import normal_reference
from netdiffus.ops.triton import (
    cached_attention,
    decode,
    denoise,
    draw_tokens,
    gasf,
    noise,
)

SEED, STEP = 2**63 + 2**31 + 11, 2**32 - 3
ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}  # half a step of the storage
MARGIN = 64
KERNELS = ("cached_attention", "decode", "denoise", "draw_tokens", "gasf", "noise")


@dataclass
class Framed:
    """Outputs inside larger buffers, which show what is written beside them."""

    buffers: list[tuple[Tensor, int]] = field(default_factory=list)

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        count = math.prod(shape)
        buffer = torch.full((count + 2 * MARGIN,), torch.nan, dtype=dtype)
        self.buffers.append((buffer, count))
        return buffer[MARGIN : MARGIN + count].reshape(shape)

    def check(self) -> None:
        for buffer, count in self.buffers:
            assert buffer[:MARGIN].isnan().all(), "written before the output"
            assert buffer[MARGIN + count :].isnan().all(), "written behind the output"


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))
    return values.to(dtype)


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> float:
    """Largest difference; half precision may add its one rounding."""
    assert not found.isnan().any(), "not written, or NaN"
    difference = (found.double() - expected.double()).abs()
    excess = difference - ROUNDING.get(found.dtype, 0.0) * expected.double().abs()
    assert excess.max() <= tolerance, float(excess.max())
    return float(difference.max())


def indices(batch: int) -> Tensor:
    """Trace numbers that need both their words."""
    return torch.tensor([2**40 + 5, 0, 2**62 + 3, -1, 2**31 + 7]).repeat(batch)[:batch]


def white(index: Tensor, shape: tuple[int, ...], symmetric: bool, step: int = STEP) -> Tensor:
    """Noise of the reference; symmetric by the definition, from the upper triangle."""
    noise = normal_reference(SEED, index, step, shape).double()
    if not symmetric:
        return noise
    diagonal = torch.diag_embed(noise.diagonal(dim1=-2, dim2=-1))
    return noise.triu(1) + noise.triu(1).mT + 2**0.5 * diagonal


def check_gasf(batch: int, n: int, dtype: torch.dtype) -> float:
    frame, x = Framed(), 2 * random(batch, n, dtype=dtype) - 1
    x[:, 0], x[:, -1] = 1, -1
    found = frame.empty(batch, n, n, dtype=dtype)
    gasf.gasf(x, found)
    frame.check()
    assert torch.equal(found, found.mT)
    return assert_near(found, gasf_reference(x.double()), 2.5e-7)


def check_gasf_image(batch: int, n: int, m: int, gamma: float, dtype: torch.dtype) -> float:
    frame, x = Framed(), random(batch, n, dtype=dtype)
    x[:, 0], x[:, -1] = 0, 1
    found = frame.empty(batch, m, m, dtype=dtype)
    gasf.gasf_image(x, m, gamma, found)
    frame.check()
    assert torch.equal(found, found.mT)
    assert found.max() <= 1
    return assert_near(found, gasf_image_reference(x.double(), m, gamma), 3e-7)


def check_normal(shape: tuple[int, ...], symmetric: bool, dtype: torch.dtype) -> float:
    frame, index = Framed(), indices(shape[0])
    found = frame.empty(*shape, dtype=dtype)
    noise.normal(SEED, index, STEP, symmetric, found)
    frame.check()
    return assert_near(found, white(index, shape[1:], symmetric), 1e-6)


def check_q_sample(
    shape: tuple[int, ...], symmetric: bool, prediction: str, dtype: torch.dtype
) -> float:
    frame, index = Framed(), indices(shape[0])
    x0 = 2 * random(*shape, dtype=dtype) - 1
    if symmetric:
        x0 = x0.triu() + x0.triu(1).mT
    angle = torch.linspace(0.1, 1.4, shape[0])
    signal, sigma = angle.cos().to(dtype), angle.sin().to(dtype)
    xt = frame.empty(*shape, dtype=dtype)
    target = None if prediction == "x0" else frame.empty(*shape, dtype=dtype)
    noise.q_sample(x0, signal, sigma, SEED, index, STEP, prediction, symmetric, xt, target)
    frame.check()
    a, b = (v.double().reshape(-1, *[1] * (len(shape) - 1)) for v in (signal, sigma))
    eps, clean = white(index, shape[1:], symmetric), x0.double()
    worst = assert_near(xt, a * clean + b * eps, 1e-6)
    if target is not None:
        goal = eps if prediction == "eps" else a * eps - b * clean
        worst = max(worst, assert_near(target, goal, 1e-6))
    return worst


STEPS = {  # a, b, c, d, e, sigma
    "ddim": (1.2, -0.7, 0.3, 0.6, 0.0, 0.0),
    "dpm++": (1.2, -0.7, 0.3, 0.9, -0.3, 0.0),
    "ddpm": (1.2, -0.7, 0.3, 0.6, 0.0, 0.25),
    "all": (0.0, 1.0, 0.3, 0.9, -0.3, 0.25),
}


def check_denoise_step(
    shape: tuple[int, ...], symmetric: bool, step: str, in_place: bool, dtype: torch.dtype
) -> float:
    frame, index = Framed(), indices(shape[0])
    a, b, c, d, e, sigma = STEPS[step]
    xt, net, before = (frame.empty(*shape, dtype=dtype) for _ in range(3))
    for k, tensor in enumerate((xt, net, before)):
        tensor.copy_(2 * random(*shape, dtype=dtype).roll(k) - 1)
    x0 = (a * xt.double() + b * net.double()).clamp(-1, 1)
    expected = c * xt.double() + d * x0 + e * before.double()
    if sigma:
        expected += sigma * white(index, shape[1:], symmetric)
    x_next = xt if in_place else frame.empty(*shape, dtype=dtype)
    x0_out = before if in_place else frame.empty(*shape, dtype=dtype)
    denoise.denoise_step(
        STEPS[step], xt, net, before if e else None, SEED, index if sigma else None, STEP,
        symmetric, x_next, x0_out,
    )  # fmt: skip
    frame.check()
    return max(assert_near(x_next, expected, 1e-6), assert_near(x0_out, x0, 4e-7))


def check_gasf_decode(
    batch: int, m: int, gamma: float, spoiled: float, dtype: torch.dtype
) -> float:
    frame, generator = Framed(), torch.Generator().manual_seed(3)
    image = gasf_image_reference(random(batch, m).double(), m)
    spots = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    image = ((image + spoiled * spots).clamp(0, 1) ** gamma).to(dtype)
    x, residual = (frame.empty(*shape, dtype=torch.float64) for shape in ((batch, m), (batch,)))
    decode.gasf_decode(image, gamma, 6, 1e-6, x, residual)
    frame.check()
    wanted, distance = gasf_decode_reference(image.double(), gamma, 6, 1e-6)
    # Where the minimum is flat, x may lie elsewhere in it; the distance may not be larger.
    assert_near(x, wanted, 1e-6 if spoiled == 0 and dtype is torch.float32 else 1e-2)
    p = (0.5 * (image.double() + image.mT)) ** (1 / gamma)
    error = p - gasf_image_reference(x, m)
    assert_near(residual, error.square().mean((-1, -2)).sqrt(), 3e-7)
    return assert_near(residual, distance, 3e-7)


def check_cached_attention(
    batch: int, heads: int, length: int, width: int, place: int, dtype: torch.dtype
) -> float:
    """The output, and the caches with the new point."""
    frame, qkv = Framed(), 2 * random(batch, 3 * heads * width, dtype=dtype) - 1
    caches = [frame.empty(batch, heads, length, width, dtype=dtype) for _ in range(2)]
    for cache in caches:
        cache[:, :, :place] = 2 * random(batch, heads, place, width, dtype=dtype) - 1
    wanted = [cache.double() for cache in caches]
    found = frame.empty(batch, heads * width, dtype=dtype)
    cached_attention.cached_attention(qkv, *caches, place, found)
    frame.check()
    expected = cached_attention_reference(qkv.double(), *wanted, place)
    for cache, other in zip(caches, wanted, strict=True):
        assert torch.equal(cache.double().nan_to_num(), other.nan_to_num())
    return assert_near(found, expected, 1e-6)


def check_draw_tokens(batch: int, size: int, dtype: torch.dtype) -> float:
    """Numbers beside no limit, at one that rounding does not move, and none."""
    logits = 12 * random(batch, size, dtype=dtype) - 6
    logits[::2, 1 : size - 1 : 3] = -torch.inf
    logits[-2:] = 0
    uniforms = random(batch).double()
    uniforms[-2], uniforms[-1] = size // 2 / size, 1
    tokens = torch.full((batch + 2,), -7)
    draw_tokens.draw_tokens(logits, uniforms, tokens[1:-1])
    expected = draw_tokens_reference(logits.float(), uniforms)
    expected[-2] = size // 2
    assert tokens.tolist() == [-7, *expected.tolist(), -7]
    return 0.0


Check = Callable[..., float]


def cases(table: dict[Check, list[tuple[Any, ...]]]) -> list[Any]:
    """Rows of a table as parameters of a test, with names to tell them by."""
    return [
        pytest.param(check, row, id=f"{check.__name__[6:]}-{row}".replace("torch.", ""))
        for check, rows in table.items()
        for row in rows
    ]
