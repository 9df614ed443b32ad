from __future__ import annotations

import pytest
import torch
from torch import Tensor

from netdiffus.ops.modulate import TAPS, modulate, modulate_reference

TOLERANCE = {torch.float32: 1e-6, torch.float64: 3e-15}  # of the largest; measured 5.2e-7, 6.2e-16
SHAPES = [(1, 1, 8), (2, 2, 1), (3, 7, 24), (2, 64, 37), (16, 64, 128)]
each_backend = pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)
with_taps = pytest.mark.parametrize("taps", [False, True])


def arguments(
    batch: int, n: int, width: int, taps: bool, dtype: torch.dtype = torch.float64
) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(batch + n + width)
    shapes = [(batch, n, width), (batch, width), (batch, width), (TAPS, width), (width,)]
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [v.to(dtype) if taps or k < 3 else None for k, v in enumerate(made)]


def run(held: list[Tensor | None], g: Tensor, backend: str) -> list[Tensor]:
    """What comes out, and the gradient of each argument."""
    leaves = [None if v is None else v.clone().requires_grad_() for v in held]
    out = modulate(*leaves, backend=backend)
    out.backward(g)
    return [out.detach(), *(v.grad for v in leaves if v is not None)]


def by_hand(s: Tensor, scale: Tensor, shift: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    spread = s.var(-1, correction=0, keepdim=True)
    h = (s - s.mean(-1, keepdim=True)) / (spread + 1e-5).sqrt()
    h = h * (1 + scale[:, None]) + shift[:, None]
    out = h + bias
    for i in range(s.shape[1]):
        for k in range(TAPS):
            if 0 <= i + k - 2 < s.shape[1]:
                out[:, i] += taps[k] * h[:, i + k - 2]
    return out


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_reference_is_the_formula(shape: tuple[int, int, int]) -> None:
    held = arguments(*shape, taps=True)
    torch.testing.assert_close(modulate_reference(*held), by_hand(*held), rtol=0, atol=1e-12)


@each_backend
@with_taps
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(
    backend: str, shape: tuple[int, int, int], taps: bool, dtype: torch.dtype
) -> None:
    held = arguments(*shape, taps, dtype)
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = run([None if v is None else v.double() for v in held], g, "torch")
    for found, expected in zip(run(held, g.to(dtype), backend), exact, strict=True):
        difference = (found.double() - expected).abs().max()
        assert difference <= TOLERANCE[dtype] * max(1, expected.abs().max())


@each_backend
def test_gradcheck(backend: str) -> None:
    held = [v.requires_grad_() for v in arguments(2, 4, 6, taps=True) if v is not None]
    assert torch.autograd.gradcheck(lambda *v: modulate(*v, backend=backend), held)


@each_backend
def test_strides_empty_and_nan(backend: str) -> None:
    s, scale, shift, taps, bias = arguments(3, 6, 8, taps=True)
    turned = s.mT.contiguous().mT
    wide = torch.stack([scale, shift], 2)
    found = modulate(turned, wide[..., 0], wide[..., 1], taps.T.contiguous().T, bias)
    torch.testing.assert_close(found, modulate(s, scale, shift, taps, bias, backend=backend))
    assert modulate(s[:0], scale[:0], shift[:0], taps, bias, backend=backend).shape == (0, 6, 8)
    s[1, 5, 3] = torch.nan
    bad = modulate(s, scale, shift, taps, bias, backend=backend).isnan()
    assert bad[1, 3:].all()
    assert not bad[[0, 2]].any()
    assert not bad[1, :3].any()


@pytest.mark.parametrize("backend", ["cpp"], indirect=True)
def test_threads_change_nothing(backend: str) -> None:
    held, threads = arguments(16, 64, 128, True, torch.float32), torch.get_num_threads()
    made = []
    for count in (1, 3):
        torch.set_num_threads(count)
        made.append(run(held, held[0], backend))
    torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(*made, strict=True))


def test_compiles_into_one_graph() -> None:
    held = arguments(2, 5, 8, taps=True)
    compiled = torch.compile(modulate, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*held), modulate(*held))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.rand(3, 4)}, r"s: expected \(B, n, w\), found \(3, 4\)"),
        ({1: torch.rand(3, 4)}, r"scale: expected \(2, 6\) torch.float64"),
        ({2: torch.rand(2, 6)}, "shift: .* found .* torch.float32"),
        ({3: torch.rand(3, 6, dtype=torch.float64)}, r"taps: expected \(5, 6\)"),
        ({4: None}, "taps and bias: expected both or neither"),
    ],
)
def test_bad_input(change: dict[int, Tensor | None], message: str) -> None:
    held = arguments(2, 4, 6, taps=True)
    for k, value in change.items():
        held[k] = value
    with pytest.raises(ValueError, match=message):
        modulate(*held)
