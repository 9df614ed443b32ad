"""What every way of running the CUDA kernels is given, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from stand_in import DTYPES
from torch import Tensor

from netdiffus.ops import denoise_step, gasf, gasf_decode, gasf_image, normal, q_sample
from netdiffus.ops.cached_attention import cached_attention
from netdiffus.ops.denoise import Step
from netdiffus.ops.draw_tokens import draw_tokens

Run = Callable[[str, torch.dtype], Tensor | tuple[Tensor, ...]]
INDEX = torch.tensor([3, 2**40, -1])
# One unit in the last place of the largest value, where noise is in it 1e-6 as the ops say.
ROUNDING = {torch.float32: 1e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}


@dataclass
class Case:
    name: str
    run: Run  # (backend, dtype) to the op's outputs
    atol: float = 0  # beyond rounding, of outputs of more than one axis


def _uniform(*shape: int, low: float = 0) -> Tensor:
    return low + (1 - low) * torch.rand(shape, generator=torch.Generator().manual_seed(1))


def _gasf(n: int) -> Run:
    return lambda backend, dtype: gasf(_uniform(3, n).to(dtype), backend=backend)


def _image(n: int, m: int, gamma: float) -> Run:
    return lambda backend, dtype: gasf_image(
        _uniform(3, n).to(dtype), m, gamma=gamma, backend=backend
    )


def _normal(shape: Sequence[int], symmetric: bool) -> Run:
    return lambda backend, dtype: normal(
        2**40 + 7, INDEX, 2, shape, symmetric=symmetric, dtype=dtype, backend=backend
    )


def _q_sample(shape: Sequence[int], prediction: str, symmetric: bool) -> Run:
    def run(backend: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        signal, sigma = torch.tensor([0.6, 0.8, 0.0]), torch.tensor([0.8, 0.6, 1.0])
        levels = (signal.to(dtype), sigma.to(dtype))
        x0 = _uniform(3, *shape, low=-1).to(dtype)
        drawn = {"prediction": prediction, "symmetric": symmetric}
        return q_sample(x0, *levels, 5, INDEX, 1, backend=backend, **drawn)

    return run


def _denoise(shape: Sequence[int], e: float, sigma: float, symmetric: bool, inplace: bool) -> Run:
    def run(backend: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        xt, net, before = (
            (scale * _uniform(3, *shape, low=-1).roll(k).to(dtype)).contiguous()
            for k, scale in enumerate((1, 2, 0.5))
        )
        step = Step(3, 1.2, -0.4, 0.3, 0.6, e, sigma)
        return denoise_step(
            step,
            xt,
            net,
            before,
            seed=2,
            index=INDEX,
            draw=4,
            symmetric=symmetric,
            out=(xt, before) if inplace else None,
            backend=backend,
        )

    return run


def _decode(m: int, gamma: float, noise: float, bad: bool = False) -> Run:
    def run(backend: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        image = gasf_image(_uniform(3, m), m, gamma=gamma)
        generator = torch.Generator().manual_seed(2)
        image = (image + noise * torch.randn(image.shape, generator=generator)).clamp(0, 1)
        if bad:
            image[1, 0, m - 1] = torch.nan
        return gasf_decode(image.to(dtype), gamma=gamma, backend=backend)

    return run


def _cached_attention(length: int, width: int, place: int, bad: bool = False) -> Run:
    """The output, and the caches with the new point."""

    def run(backend: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        qkv, cache = _uniform(3, 9 * width, low=-1), _uniform(3, 3, length, width, low=-1)
        if bad:
            qkv[1, 0] = torch.nan
        keys, values = (v.to(dtype).contiguous() for v in (cache, cache.flip(2)))
        out = cached_attention(qkv.to(dtype), keys, values, place, backend=backend)
        return out, keys, values

    return run


def _draw_tokens(size: int, batch: int) -> Run:
    def run(backend: str, dtype: torch.dtype) -> Tensor:
        logits = 6 * _uniform(batch, size, low=-1)
        logits[::2, 1 : size - 1 : 3] = -torch.inf
        uniforms = _uniform(batch).double()
        return draw_tokens(logits.to(dtype), uniforms, backend=backend)

    return run


# Sizes: 64 fills tiles and vectors, 48 vectors and sectors, 72 vectors alone; 33, 37 and 70 leave
# parts of all over; 1 and 5 are less than one vector.
CASES = [
    Case("gasf-1", _gasf(1)),
    Case("gasf-37", _gasf(37)),
    Case("gasf-72", _gasf(72)),
    Case("gasf-48", _gasf(48)),
    Case("gasf_image-70-33", _image(70, 33, 0.25)),
    Case("gasf_image-70-125", _image(70, 125, 1.0)),  # OpenCV's rounding picks neighbours here
    Case("gasf_image-96-48", _image(96, 48, 1.0)),
    Case("gasf_image-96-72", _image(96, 72, 0.3)),
    # The least squares are flat about their minimum: float32 finds it to 1e-4, as tests/ops says.
    Case("decode-5", _decode(5, 1.0, 0.05), 1e-4),
    Case("decode-37", _decode(37, 0.25, 0.02), 1e-4),
    Case("decode-37-nan", _decode(37, 1.0, 0.05, bad=True), 1e-4),
    Case("decode-64-exact", _decode(64, 1.0, 0.0)),
    Case("normal-white-1030", _normal((1030,), False)),
    Case("normal-white-37", _normal((37,), False)),
    Case("normal-symmetric-2x33", _normal((2, 33, 33), True)),
    Case("normal-symmetric-2x72", _normal((2, 72, 72), True)),
    Case("q_sample-v-48", _q_sample((1, 48, 48), "v", True)),
    Case("q_sample-eps-37", _q_sample((2, 37, 37), "eps", True)),
    Case("q_sample-x0-white", _q_sample((2, 8, 8), "x0", False)),
    Case("denoise-ddim-white", _denoise((5, 7), 0, 0, False, True)),
    Case("denoise-dpm-64", _denoise((1, 16, 64), 0.3, 0, False, False)),
    Case("denoise-ddpm-40", _denoise((1, 40, 40), 0.2, 0.5, True, True)),
    Case("denoise-ddpm-48", _denoise((1, 48, 48), 0.2, 0.5, True, True)),
    Case("denoise-ddpm-37", _denoise((2, 37, 37), 0, 0.5, True, False)),
    Case("denoise-ddpm-white", _denoise((1, 9, 24), 0.2, 0.5, False, False)),
    Case("cached_attention-1x1", _cached_attention(1, 1, 0)),
    Case("cached_attention-40x37-nan", _cached_attention(40, 37, 36, bad=True)),
    Case("cached_attention-32x64", _cached_attention(32, 64, 31)),
    Case("draw_tokens-1", _draw_tokens(1, 3)),
    Case("draw_tokens-70", _draw_tokens(70, 33)),
    Case("draw_tokens-256", _draw_tokens(256, 20)),
]


def outputs(case: Case, backend: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    found = case.run(backend, dtype)
    return found if isinstance(found, tuple) else (found,)


def check(case: Case, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Holds the CUDA kernel's result against the torch reference, and returns it."""
    found, expected = outputs(case, "cuda", dtype), outputs(case, "torch", dtype)
    for one, other in zip(found, expected, strict=True):
        largest = max(1.0, float(other.double().nan_to_num().abs().max()))
        # Outputs in float64 come from float32 arithmetic whatever the storage.
        rounding = ROUNDING[one.dtype] * largest if one.dtype in DTYPES else ROUNDING[DTYPES[0]]
        allowed = rounding + (case.atol if one.ndim > 1 else 0)
        torch.testing.assert_close(one, other, rtol=0, atol=allowed, equal_nan=True)
    return found
