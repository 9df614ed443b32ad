"""The kernels on a GPU: the share of its copy bandwidth that they reach, and beside eager torch.

A ratio to copying counts the bytes an op must move, each once: 1 is as fast as the device copies
them. Outputs are larger than its cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Ratio
from test_denoise import NOISY, PLAIN, SECOND_ORDER, eager
from test_gasf import eager_image
from test_networks import Training, new_model
from torch import Tensor

import netdiffus
from netdiffus.ops import (
    Step,
    area_matrix,
    denoise_step,
    gasf,
    gasf_decode,
    gasf_image,
    normal,
    q_sample,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
GPU, BATCH, SIZE = "cuda", 16384, 64
WORK = {"float32": torch.float32, "bfloat16": torch.bfloat16}
each_kernel = pytest.mark.parametrize("backend", ["cuda", "triton"])
each_dtype = pytest.mark.parametrize("dtype", WORK.values(), ids=list(WORK))


def rand(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, device=GPU).to(dtype)


@pytest.fixture
def beside_copy(ratio: Ratio) -> Callable[..., float]:
    """Like `ratio`, beside copying as many bytes as these tensors have."""

    def measure(ours: Callable[[], object], *moved: Tensor, **bars: float) -> float:
        source = torch.rand(sum(v.nbytes for v in moved) // 8, device=GPU)
        target = torch.empty_like(source)
        guard = 0.34 if moved[0].dtype is torch.float32 else 0.18
        found = ratio(ours, lambda: target.copy_(source), **({"bar": 0.7, "guard": guard} | bars))
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(10):
            target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        speed = 10 * 2 * source.nbytes / (1e6 * begin.elapsed_time(end))
        print(f"  {found * speed:.0f} of {speed:.0f} GB/s")
        return found

    return measure


@each_dtype
@each_kernel
def test_gasf_beside_copy(beside_copy: Ratio, backend: str, dtype: torch.dtype) -> None:
    x = rand(1024, 512, dtype=dtype)
    out = x.new_empty(1024, 512, 512)
    beside_copy(lambda: gasf(x, out=out, backend=backend), x, out)


@each_dtype
@each_kernel
def test_gasf_image_beside_copy(beside_copy: Ratio, backend: str, dtype: torch.dtype) -> None:
    x = rand(BATCH, 500, dtype=dtype)
    out = x.new_empty(BATCH, 128, 128)
    beside_copy(lambda: gasf_image(x, 128, out=out, backend=backend), x, out)


@each_kernel
def test_gasf_image_beside_torch(ratio: Ratio, backend: str) -> None:
    x, resize = rand(BATCH, 500), area_matrix(500, 128, dtype=torch.float32).T.contiguous().to(GPU)
    out = x.new_empty(BATCH, 128, 128)
    ours = lambda: gasf_image(x, 128, gamma=0.25, out=out, backend=backend)  # noqa: E731
    ratio(ours, lambda: eager_image(x, resize) ** 0.25, bar=3, guard=4)


@pytest.mark.parametrize("symmetric", [True, False])
@each_kernel
def test_normal_beside_torch(ratio: Ratio, backend: str, symmetric: bool) -> None:
    out, index = rand(BATCH, SIZE, SIZE), torch.arange(BATCH, device=GPU)

    def ours() -> None:
        normal(0, index, 0, (SIZE, SIZE), symmetric=symmetric, out=out, backend=backend)

    ratio(ours, out.normal_, bar=1, guard=0.3)


def mixing(dtype: torch.dtype) -> tuple[Tensor, ...]:
    signal = rand(BATCH, dtype=dtype)
    return rand(BATCH, 1, SIZE, SIZE, dtype=dtype), signal, (1 - signal.square()).sqrt()


@each_dtype
@each_kernel
def test_q_sample_beside_copy(beside_copy: Ratio, backend: str, dtype: torch.dtype) -> None:
    given, index = mixing(dtype), torch.arange(BATCH, device=GPU)
    out = [torch.empty_like(given[0]) for _ in range(2)]
    run = lambda: q_sample(*given, 0, index, out=out, backend=backend)  # noqa: E731
    beside_copy(run, given[0], *out)


@each_kernel
def test_q_sample_beside_torch(ratio: Ratio, backend: str) -> None:
    (x0, signal, sigma), index = mixing(torch.float32), torch.arange(BATCH, device=GPU)
    out = [torch.empty_like(x0) for _ in range(2)]
    a, b = signal.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)

    def plain() -> tuple[Tensor, Tensor]:
        eps = torch.randn_like(x0)
        return a * x0 + b * eps, a * eps - b * x0

    ratio(
        lambda: q_sample(x0, signal, sigma, 0, index, out=out, backend=backend),
        plain,
        bar=1.5,
        guard=2.5,
    )


@pytest.fixture
def denoise() -> Callable[..., Callable[[], object]]:
    images, index = [rand(BATCH, 1, SIZE, SIZE) for _ in range(5)], torch.arange(BATCH, device=GPU)

    def made(step: Step, backend: str) -> Callable[[], object]:
        if backend == "torch":
            return lambda: eager(step, *images[:3])
        given = {"index": index, "out": images[3:], "backend": backend}
        return lambda: denoise_step(step, *images[:3], **given)

    return made


each_step = pytest.mark.parametrize(
    ("step", "moved"), [(PLAIN, 4), (SECOND_ORDER, 5), (NOISY, 4)], ids=["first", "second", "noisy"]
)


@each_step
@each_kernel
def test_denoise_step_beside_copy(
    beside_copy: Ratio, denoise: Callable[..., Any], backend: str, step: Step, moved: int
) -> None:
    beside_copy(denoise(step, backend), *[rand(BATCH, SIZE, SIZE)] * moved, bar=0.8)


@each_step
@each_kernel
def test_denoise_step_beside_torch(
    ratio: Ratio, denoise: Callable[..., Any], backend: str, step: Step, moved: int
) -> None:
    ratio(denoise(step, backend), denoise(step, "torch"), bar=3, guard=2)


@each_kernel
def test_decode_beside_torch(ratio: Ratio, backend: str) -> None:
    image = gasf_image(rand(1024, 64), 64)
    image = (image + 0.05 * torch.randn_like(image)).clamp(0, 1)
    run = lambda name: gasf_decode(image, backend=name)  # noqa: E731
    ratio(lambda: run(backend), lambda: run("torch"), bar=10, guard=27, pairs=5)


@pytest.mark.parametrize(("batch", "guard"), [(64, 1.3), (2048, 1.1)])
def test_training_step_beside_plain(ratio: Ratio, batch: int, guard: float) -> None:
    """A step as one CUDA graph, beside the same as it is."""
    ours, plain = (Training(fast, GPU, batch) for fast in (True, False))
    ratio(ours.step, plain.step, bar=1.3, guard=guard)


@pytest.mark.parametrize("batch", [64, 2048])
def test_sampling_beside_reference(ratio: Ratio, batch: int) -> None:
    model = new_model()

    def run(fast: bool) -> None:
        netdiffus.sample(model, batch, fast=fast, seed=0, batch_size=batch)

    ratio(lambda: run(True), lambda: run(False), bar=1.5, guard=1, pairs=3)
