from __future__ import annotations

import os

import pytest
import torch
from everywhere import DTYPES, assert_same_everywhere
from torch import Tensor

from netdiffus.ops.modulate import TAPS, modulate, modulate_reference

# Of the largest; measured 5.2e-7 and 6.2e-16. Halves are rounded once, by half a step; Triton's
# interpreter cuts bfloat16 off instead.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TOLERANCE = {
    torch.float32: 1e-6,
    torch.float64: 3e-15,
    torch.float16: 2**-11 + 1e-6,
    torch.bfloat16: 2 ** (-7 if INTERPRETED else -8) + 1e-6,
}
SHAPES = [(1, 1, 8), (2, 2, 1), (3, 7, 24), (2, 64, 37), (4, 33, 128)]
doubles = pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)
with_taps = pytest.mark.parametrize("taps", [False, True])


def arguments(
    batch: int,
    n: int,
    width: int,
    taps: bool,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(batch + n + width)
    shapes = [(batch, n, width), (batch, width), (batch, width), (TAPS, width), (width,)]
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [v.to(dtype).to(device) if taps or k < 3 else None for k, v in enumerate(made)]


ATOL = {"torch": 1e-5}  # whose sums may be split otherwise


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


@with_taps
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(
    backend: str, device: str, shape: tuple[int, int, int], taps: bool
) -> None:
    for dtype in DTYPES[backend]:
        held = arguments(*shape, taps, dtype, device)
        g = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        g = g.to(dtype).to(device)
        exact = run([None if v is None else v.double() for v in held], g.double(), "torch")
        for found, expected in zip(run(held, g, backend), exact, strict=True):
            assert found.dtype is dtype
            difference = (found.double() - expected).abs().max()
            assert difference <= TOLERANCE[dtype] * max(1, expected.abs().max())


@doubles
def test_gradcheck(backend: str) -> None:
    held = [v.requires_grad_() for v in arguments(2, 4, 6, taps=True) if v is not None]
    assert torch.autograd.gradcheck(lambda *v: modulate(*v, backend=backend), held)


def test_any_strides_and_nothing(backend: str, device: str) -> None:
    s, scale, shift, taps, bias = arguments(3, 6, 8, True, torch.float32, device)
    turned = s.mT.contiguous().mT
    pair = torch.stack([scale, shift], 2)
    strided = (turned, pair[..., 0], pair[..., 1], taps.T.contiguous().T, bias)
    found = run([*strided], turned, backend)
    expected = run([s, scale, shift, taps, bias], s, backend)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    none = [s[:0], scale[:0], shift[:0], taps, bias]
    made, *gradients = run([*none], s[:0], backend)
    assert made.shape == (0, 6, 8)
    assert all(map(torch.equal, gradients, map(torch.zeros_like, none)))


def test_nan_stays_with_its_neighbours(backend: str, device: str) -> None:
    held = arguments(3, 6, 8, True, torch.float32, device)
    held[0][1, 5, 3] = torch.nan
    bad = modulate(*held, backend=backend).isnan()
    assert bad[1, 3:].all()
    assert not bad[[0, 2]].any()
    assert not bad[1, :3].any()


def test_batches_change_nothing(backend: str, device: str) -> None:
    s, scale, shift, *rest = arguments(7, 35, 24, True, torch.float32, device)
    whole = run([s, scale, shift, *rest], s, backend)
    for part in (slice(0, 3), slice(3, 7)):
        found = run([s[part], scale[part], shift[part], *rest], s[part], backend)
        for one, all_of_them in zip(found[:4], whole[:4], strict=True):
            torch.testing.assert_close(one, all_of_them[part], rtol=0, atol=ATOL.get(backend, 0))


def test_the_same_bits_everywhere(backend: str, device: str) -> None:
    shape = (16, 64, 128) if backend == "cpp" else (2, 35, 24)  # several threads' work
    for dtype in DTYPES[backend]:
        held = arguments(*shape, True, dtype, device)
        assert_same_everywhere(lambda held=held: run(held, held[0], backend))


def test_compiles_into_one_graph() -> None:
    held = arguments(2, 5, 8, taps=True)
    compiled = torch.compile(modulate, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*held), modulate(*held))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.rand(3, 4)}, r"s: expected \(B, n, w\), found \(3, 4\)"),
        ({0: torch.rand(1, 1, 1).expand(1, 2**16, 2**16)}, "s: .* more than 2"),
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
