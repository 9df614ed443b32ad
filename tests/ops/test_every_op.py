"""What holds for all ops: batches, strides, threads and instruction sets change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
import torch
from everywhere import DTYPES, assert_same_everywhere
from torch import Tensor

from netdiffus.ops import (
    Step,
    denoise_step,
    gasf,
    gasf_decode,
    gasf_image,
    normal,
    q_sample,
)
from netdiffus.ops.cached_attention import cached_attention
from netdiffus.ops.draw_tokens import draw_tokens

SEED = 2**64 - 3
STEP = Step(7, a=1.7, b=-1.3, c=0.6, d=0.45, e=-0.2, sigma=0.3)
HEADS, LENGTH, PLACE = 3, 35, 33
Inputs = Sequence[Tensor]


@dataclass(frozen=True)
class Op:
    """One op, with all that a call needs.

    Attributes:
        inputs: Tensors of a batch of a size, of a dtype.
        run: The outputs, by a backend.
        many: Batch and size that are enough for several threads.
        large: Batch and size of outputs that no cache holds: the CPU's kernels write past it.
    """

    inputs: Callable[[int, int, torch.dtype], Inputs]
    run: Callable[[Inputs, str], Sequence[Tensor]]
    many: tuple[int, int]
    large: tuple[int, int] | None = None


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers."""
    generator = torch.Generator().manual_seed(len(shape))
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


def mixed(batch: int, n: int, dtype: torch.dtype) -> Inputs:
    signal = torch.linspace(0.05, 0.99, batch, dtype=torch.float64)
    levels = (v.to(dtype) for v in (signal, (1 - signal**2).sqrt()))
    return 2 * drawn(batch, 2, n, n, dtype=dtype) - 1, *levels, torch.arange(batch)


def stepped(batch: int, n: int, dtype: torch.dtype) -> Inputs:
    images = 3 * drawn(3, batch, n, n, dtype=dtype) - 1.5
    return *images, torch.arange(batch)


def imaged(v: Inputs, backend: str, gamma: float) -> Sequence[Tensor]:
    """A little smaller than the series are long."""
    return [gasf_image(*v, v[0].shape[1] - 2, gamma=gamma, backend=backend)]


def attended(v: Inputs, backend: str) -> Sequence[Tensor]:
    keys, values = (cache.clone(memory_format=torch.contiguous_format) for cache in v[1:])
    return cached_attention(v[0], keys, values, PLACE, backend=backend), keys, values


OPS = {
    "gasf": Op(
        lambda b, n, dtype: [drawn(b, n, dtype=dtype)],
        lambda v, backend: [gasf(*v, backend=backend)],
        many=(50, 99),
        large=(130, 257),  # in rows that no vector fits
    ),
    **{
        f"gasf_image, gamma {gamma}": Op(
            lambda b, n, dtype: [drawn(b, n, dtype=dtype)],
            lambda v, backend, gamma=gamma: imaged(v, backend, gamma),
            many=(50, 99),
            large=(2048, 130),
        )
        for gamma in (1.0, 0.25, 0.3)
    },
    "gasf_decode": Op(
        lambda b, n, dtype: [(drawn(b, n, n, dtype=dtype) / 5 + 0.4)],
        lambda v, backend: gasf_decode(*v, gamma=0.3, backend=backend),
        many=(60, 37),
    ),
    "normal": Op(
        lambda b, n, dtype: [torch.arange(b)],
        lambda v, backend: [normal(SEED, *v, 0, (61, 61), backend=backend)],
        many=(33, 0),
        large=(3000, 0),
    ),
    "normal, symmetric": Op(
        lambda b, n, dtype: [torch.arange(b)],
        lambda v, backend: [normal(SEED, *v, 0, (2, 61, 61), symmetric=True, backend=backend)],
        many=(33, 0),
        large=(1500, 0),
    ),
    "q_sample": Op(
        mixed,
        lambda v, backend: q_sample(*v[:3], SEED, v[3], backend=backend),
        many=(40, 45),
        large=(450, 64),
    ),
    "denoise_step": Op(
        stepped,
        lambda v, backend: denoise_step(STEP, *v[:3], seed=SEED, index=v[3], backend=backend),
        many=(40, 45),
    ),
    "denoise_step, white": Op(
        stepped,
        lambda v, backend: denoise_step(
            STEP, *v[:3], seed=SEED, index=v[3], symmetric=False, backend=backend
        ),
        many=(40, 45),
    ),
    "cached_attention": Op(
        lambda b, n, dtype: [
            drawn(b, 3 * HEADS * n, dtype=dtype),
            *drawn(2, b, HEADS, LENGTH, n, dtype=dtype),
        ],
        attended,
        many=(90, 37),
    ),
    "draw_tokens": Op(
        lambda b, n, dtype: [6 * drawn(b, n, dtype=dtype), drawn(b, dtype=torch.float64)],
        lambda v, backend: [draw_tokens(*v, backend=backend)],
        many=(300, 259),
    ),
}  # fmt: skip
each_op = pytest.mark.parametrize("op", OPS.values(), ids=list(OPS))
native = pytest.mark.parametrize("backend", ["cpp", "cuda", "triton"], indirect=True)
on_cpu = pytest.mark.parametrize("backend", ["cpp"], indirect=True)


def made(op: Op, device: str, batch: int = 9, n: int = 12) -> Inputs:
    return [v.to(device) for v in op.inputs(batch, n, torch.float32)]


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@each_op
@native
def test_batches_change_nothing(backend: str, device: str, op: Op) -> None:
    inputs = made(op, device)
    whole = op.run(inputs, backend)
    for part in (slice(0, 1), slice(1, 4), slice(4, 9)):
        assert_same(op.run([v[part] for v in inputs], backend), [v[part] for v in whole])


@each_op
def test_strides_change_nothing(backend: str, device: str, op: Op) -> None:
    """Transposed in memory, and every other one; caches alone must be dense."""
    inputs = made(op, device, 3)
    dense = [v[::2].contiguous() for v in inputs]
    turned = [v.mT.contiguous().mT[::2] if v.ndim > 1 else v[::2] for v in inputs]
    for one, other in zip(op.run(turned, backend), op.run(dense, backend), strict=True):
        # torch rounds products and powers otherwise where memory lies otherwise.
        atol = 1e-6 if backend == "torch" else 0
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


MARGIN = 64  # elements, so that what stands behind it is aligned as the whole is


@contextmanager
def framed() -> Iterator[list[Tensor]]:
    """Whatever is made empty within it stands between ones, which the list has."""
    margins: list[Tensor] = []

    def inside(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made_inside(*arguments: Any, **options: Any) -> Tensor:
            like = make(*arguments, **options)
            room = torch.ones(like.numel() + 2 * MARGIN, dtype=like.dtype, device=like.device)
            margins.extend((room[:MARGIN], room[-MARGIN:]))
            return room[MARGIN:-MARGIN].view(like.shape)

        return made_inside

    with (
        mock.patch.multiple(torch, empty=inside(torch.empty), empty_like=inside(torch.empty_like)),
        mock.patch.object(Tensor, "new_empty", inside(Tensor.new_empty)),
    ):
        yield margins


@each_op
@native
@pytest.mark.parametrize("n", [12, 37])
def test_nothing_is_written_beside_the_results(backend: str, device: str, op: Op, n: int) -> None:
    inputs = made(op, device, 3, n)
    with framed() as margins:
        op.run(inputs, backend)
    assert margins
    assert all((margin == 1).all() for margin in margins)


@each_op
@on_cpu
def test_the_same_bits_everywhere(backend: str, device: str, op: Op) -> None:
    for dtype in DTYPES[backend]:
        inputs = op.inputs(*op.many, dtype)
        assert_same_everywhere(lambda inputs=inputs: op.run(inputs, backend))


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.large])
@on_cpu
def test_a_batch_past_the_cache_equals_its_parts(backend: str, device: str, name: str) -> None:
    op = OPS[name]
    inputs = made(op, device, *op.large)  # type: ignore[misc]
    whole, middle = op.run(inputs, backend), len(inputs[0]) // 2
    for part in (slice(0, 3), slice(middle, middle + 3), slice(len(inputs[0]) - 3, None)):
        assert_same(op.run([v[part] for v in inputs], backend), [v[part] for v in whole])


@each_op
@native
def test_compiles_into_one_graph(backend: str, device: str, op: Op) -> None:
    torch._dynamo.reset()
    inputs = made(op, device, 2, 6)
    compiled = torch.compile(lambda *v: op.run(v, backend), fullgraph=True, backend="eager")
    for one, other in zip(compiled(*inputs), op.run(inputs, backend), strict=True):
        # Attention to a cache is left to torch while it is traced.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6, equal_nan=True)
