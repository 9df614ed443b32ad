"""Kernels under Triton's interpreter: test_triton_interpreter.py runs this in its own process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from triton_cases import (
    Check,
    cases,
    check_cached_attention,
    check_denoise_step,
    check_draw_tokens,
    check_gasf,
    check_gasf_decode,
    check_gasf_image,
    check_normal,
    check_q_sample,
    indices,
    random,
)

from netdiffus import ops

single, half, brain = torch.float32, torch.float16, torch.bfloat16

SMALL: dict[Check, list[tuple[Any, ...]]] = {
    check_gasf: [(1, 1, single), (2, 7, single), (1, 70, half), (1, 16, brain)],
    check_gasf_image: [
        (1, 1, 1, 1.0, single),
        (2, 7, 3, 0.25, single),
        (2, 5, 11, 0.5, single),
        (1, 37, 16, 0.3, half),
        (1, 130, 129, 2.2, single),
        (1, 16, 16, 1.0, brain),
    ],
    check_normal: [
        ((1, 1), False, single),
        ((3, 1030), False, single),
        ((2, 2, 16), False, half),
        ((1, 1, 1), True, single),
        ((2, 2, 5, 5), True, single),
        ((1, 36, 36), True, brain),
        ((1, 67, 67), True, single),
    ],
    check_q_sample: [
        ((2, 7), False, "eps", single),
        ((2, 2, 5, 5), True, "v", single),
        ((2, 1, 36, 36), True, "x0", half),
        ((1, 1, 33, 33), True, "eps", brain),
    ],
    check_denoise_step: [
        ((2, 7), False, "ddim", False, single),
        ((2, 700), False, "all", True, half),
        ((2, 2, 5, 5), True, "ddpm", True, single),
        ((1, 36, 36), True, "all", True, single),
        ((2, 3, 9), False, "dpm++", True, brain),
    ],
    check_gasf_decode: [
        (1, 1, 1.0, 0.0, single),
        (2, 5, 0.25, 0.1, single),
        (2, 37, 1.0, 0.02, single),
        (1, 16, 0.3, 0.0, half),
        (1, 20, 1.0, 0.5, brain),
    ],
    check_cached_attention: [
        (1, 1, 1, 1, 0, single),
        (2, 3, 40, 5, 36, single),
        (1, 2, 9, 16, 8, half),
        (1, 2, 9, 7, 3, brain),
    ],
    check_draw_tokens: [
        (3, 1, single),
        (6, 40, single),
        (5, 600, single),
        (4, 16, half),
        (4, 9, brain),
    ],
}


@pytest.mark.parametrize(("check", "arguments"), cases(SMALL))
def test_kernel(check: Check, arguments: tuple[Any, ...]) -> None:
    check(*arguments)


def hard_images(m: int) -> Tensor:
    """Images from which Gauss-Newton starts where its matrix is singular, or its slope 0."""
    generator = torch.Generator().manual_seed(7)
    of_bits = (torch.rand(6, m, m, generator=generator) < 0.4).float()
    eye = torch.eye(m).unsqueeze(0)
    noise = 0.1 * torch.randn(2, m, m, generator=generator)
    bits = (torch.rand(2, m, generator=generator) < 0.5).float()
    series_of_bits = (ops.gasf_image(bits, m, backend="torch") + noise).clamp(0, 1)
    return torch.cat([of_bits, eye, 1 - eye, 0 * eye, 1 + 0 * eye, series_of_bits])


@pytest.mark.parametrize("m", [7, 24])
def test_decoder_starts_anywhere(m: int) -> None:
    image = hard_images(m)
    x, residual = ops.gasf_decode(image, backend="triton")
    _, expected = ops.gasf_decode(image, backend="torch")
    assert x.min() >= 0
    assert x.max() <= 1
    # Measured: 1.5e-6, in images whose six steps end before the minimum; 0.2 is to get stuck.
    torch.testing.assert_close(residual, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 5, 2**40 + 7, 2**64 - 1])
def test_keys_of_every_width(seed: int) -> None:
    arguments = (seed, indices(3), 7, (9,))
    found = ops.normal(*arguments, backend="triton")
    torch.testing.assert_close(found, ops.normal(*arguments, backend="torch"), rtol=0, atol=1e-6)


OPS: dict[str, Any] = {
    "gasf": lambda x, backend: ops.gasf(x, backend=backend),
    "gasf_image": lambda x, backend: ops.gasf_image(x, 5, gamma=0.3, backend=backend),
    "gasf_decode": lambda x, backend: ops.gasf_decode(x, backend=backend)[0],
    "q_sample": lambda x, backend: ops.q_sample(
        x, x[..., 0, 0].clone(), x[..., 0, 0].clone(), 5, indices(len(x)), 2, backend=backend
    )[1],
    "denoise_step": lambda x, backend: ops.denoise_step(
        ops.Step(0, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1), x, -x, x + 1,
        seed=5, index=indices(len(x)), backend=backend,
    )[0],
}  # fmt: skip
each_op = pytest.mark.parametrize("name", OPS)


@each_op
def test_public_op_on_strided_input(name: str) -> None:
    x = random(6, 6, 3).permute(2, 1, 0)[::2]
    assert not x.is_contiguous()
    x = 0.5 * (x + x.mT)
    found, expected = OPS[name](x, "triton"), OPS[name](x, "torch")
    assert found.dtype == expected.dtype
    tolerance = 1e-4 if name == "gasf_decode" else 1e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@each_op
def test_public_op_on_nothing(name: str) -> None:
    x = random(0, 6, 6)
    assert OPS[name](x, "triton").shape == OPS[name](x, "torch").shape


@each_op
def test_nan_shows_and_stays(name: str) -> None:
    x = random(2, 6, 6)
    x = 0.5 * (x + x.mT)
    x[1, 2, 2] = torch.nan
    found, clean = OPS[name](x, "triton"), OPS[name](x[:1], "triton")
    assert found[1].isnan().any()
    assert torch.equal(found[:1], clean)
    if name == "gasf_decode":
        assert found[1].isnan().all()


@pytest.mark.parametrize("name", ["gasf", "gasf_image"])
def test_gradient_passes_through(name: str) -> None:
    gradients = []
    for backend in ("triton", "torch"):
        x = (0.1 + 0.8 * random(2, 6, 6)).requires_grad_()
        OPS[name](x, backend).square().sum().backward()
        assert x.grad is not None
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
