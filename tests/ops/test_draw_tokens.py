from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from everywhere import DTYPES
from scipy.special import softmax
from scipy.stats import chisquare
from torch import Tensor

from netdiffus.ops.draw_tokens import draw_tokens

# A limit between two tokens is a sum of parts, each off by the rounding of its exponential, 1e-7
# (1 + |logit - largest|). Measured: 3e-7. In float64 it is the grain, V 2^-54 a token: 1e-13.
LIMIT, LIMIT_OF_DOUBLES = 1e-6, 1e-12
SIZES = [1, 2, 5, 31, 32, 33, 256, 1000]


def made(batch: int, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Logits, some of them -inf, none of these in the first rows."""
    generator = torch.Generator().manual_seed(size)
    logits = 3 * torch.randn(batch, size, generator=generator, dtype=torch.float64)
    never = torch.rand(batch, size, generator=generator) < 0.3
    never[: batch // 2] = False
    never[:, size // 2] = False
    return logits.masked_fill(never, -torch.inf).to(dtype)


def uniform(batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, generator=generator, dtype=torch.float64)


def by_hand(logits: Tensor, uniforms: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """With NumPy and SciPy: the tokens, and how far each number is from the next limit."""
    p = softmax(logits.double().cpu().numpy(), axis=1)
    sums, u = p.cumsum(1), uniforms.cpu().numpy()[:, None]
    sums[:, -1] = 1
    inner = np.where(p[:, 1:] > 0, sums[:, :-1], np.inf)
    apart = np.abs(np.concatenate([inner, np.full_like(u, np.inf)], 1) - u).min(1)
    return (sums > u).argmax(1), apart


@pytest.mark.parametrize("size", SIZES)
def test_tokens_are_those_of_the_softmax(backend: str, device: str, size: int) -> None:
    """Exactly, but where rounding decides."""
    for dtype in DTYPES[backend]:
        logits, uniforms = made(400, size, dtype), uniform(400)
        found = draw_tokens(logits.to(device), uniforms.to(device), backend=backend).cpu()
        expected, apart = by_hand(logits, uniforms)
        clear = apart > (LIMIT_OF_DOUBLES if dtype is torch.float64 else LIMIT)
        assert found.dtype is torch.int64
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(found[clear], expected[clear])


def test_frequencies_are_the_softmax(backend: str, device: str) -> None:
    """On a grid each token comes as often as it should, to one; at random, to chance."""
    count, logits = 20_000, made(2, 20)[:1]
    p = softmax(logits.double().numpy()[0])
    rows = logits.expand(count, -1).to(device)
    grid = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    counted = [
        np.bincount(draw_tokens(rows, u.to(device), backend=backend).cpu(), minlength=20)
        for u in (grid, uniform(count))
    ]
    assert np.abs(counted[0] - count * p).max() <= 1 + count * LIMIT
    assert chisquare(counted[1], count * p).pvalue > 1e-3


def test_tokens_without_chance_are_never_drawn(backend: str, device: str) -> None:
    """Neither at the ends of the numbers, nor beside the limits."""
    below_one = 1 - 2**-53
    for size in (3, 40, 700):
        logits = torch.full((6, size), -torch.inf)
        for row, tokens in enumerate(([0], [size - 1], [1], [0, size - 1], [0, 1], [1, size - 1])):
            logits[row, tokens] = torch.arange(len(tokens)).float()
        drawn = {}
        for u in (0.0, 2.0**-60, 0.2689, 0.2690, 0.5, below_one):
            uniforms = torch.full((6,), u, dtype=torch.float64)
            drawn[u] = draw_tokens(logits.to(device), uniforms.to(device), backend=backend).cpu()
            assert logits.gather(1, drawn[u][:, None]).isfinite().all()
        assert drawn[0.0].tolist() == [0, size - 1, 1, 0, 0, 1]
        assert drawn[below_one].tolist() == [0, size - 1, 1, size - 1, 1, size - 1]


def test_equal_chances_are_exact(backend: str, device: str) -> None:
    """Powers of 2 have no rounding: a number at a limit belongs to the token behind it."""
    size = 64
    logits = torch.full((size, size), 1000.0, device=device)
    edges = torch.arange(size, dtype=torch.float64, device=device) / size
    expected = torch.arange(size, device=device)
    assert torch.equal(draw_tokens(logits, edges, backend=backend), expected)
    above = draw_tokens(logits, edges + 2**-30, backend=backend)
    assert torch.equal(above, expected)
    below = draw_tokens(logits[1:], edges[1:] - 2**-30, backend=backend)
    assert torch.equal(below, expected[:-1])


def test_logits_of_any_size(backend: str, device: str) -> None:
    logits = torch.tensor([[3e38, 3e38, -3e38], [-3e38, -3e38, -3e38], [-1e5, 0, 1e5]])
    uniforms = torch.tensor([0.75, 0.75, 0.0], dtype=torch.float64)
    found = draw_tokens(logits.to(device), uniforms.to(device), backend=backend)
    assert found.tolist() == [1, 2, 2]


def test_strides_and_nothing(backend: str, device: str) -> None:
    logits, uniforms = made(30, 33).to(device), uniform(60).to(device)[::2]
    expected = draw_tokens(logits, uniforms.clone(), backend=backend)
    turned = logits.mT.contiguous().mT
    assert torch.equal(draw_tokens(turned, uniforms, backend=backend), expected)
    none = draw_tokens(logits[:0], uniforms[:0], backend=backend)
    assert none.shape == (0,)
    assert none.dtype is torch.int64


BAD = {
    "nan": (torch.nan, r"logits: row 2 has no softmax: its largest logit is nan"),
    "inf": (torch.inf, r"logits: row 2 has no softmax: its largest logit is inf"),
    "none": (-torch.inf, r"logits: row 2 has no softmax: its largest logit is -inf"),
}


@pytest.mark.parametrize("size", [1, 33, 300])
@pytest.mark.parametrize("name", BAD)
def test_rows_without_a_softmax(backend: str, device: str, name: str, size: int) -> None:
    logits, uniforms = made(5, size), uniform(5)
    value, message = BAD[name]
    logits[2] = value if name == "none" else logits[2]
    logits[2, size - 1] = value
    if device == "cpu":
        with pytest.raises(ValueError, match=message):
            draw_tokens(logits, uniforms, backend=backend)
        return
    bad = draw_tokens(logits.to(device), uniforms.to(device), backend=backend) < 0
    assert bad.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("number", [-1e-9, 1.0, torch.nan])
def test_numbers_that_are_not_uniform(backend: str, device: str, number: float) -> None:
    logits, uniforms = made(5, 33), uniform(5)
    uniforms[3] = number
    if device == "cpu":
        with pytest.raises(ValueError, match=r"uniforms: row 3: expected a number in \[0, 1\)"):
            draw_tokens(logits, uniforms, backend=backend)
        return
    bad = draw_tokens(logits.to(device), uniforms.to(device), backend=backend) < 0
    assert bad.tolist() == [False, False, False, True, False]


def test_gradients_stop() -> None:
    logits = made(5, 33).requires_grad_()
    assert not draw_tokens(logits, uniform(5)).requires_grad


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("logits", torch.rand(5), r"logits: expected floats \(B, V\), .* found \(5,\)"),
        ("logits", torch.rand(5, 0), r"logits: .* V above 0, found \(5, 0\)"),
        ("logits", torch.zeros(5, 3).long(), "logits: expected floats .* torch.int64"),
        ("uniforms", torch.rand(5), r"uniforms: expected \(5,\) torch.float64 .* torch.float32"),
        ("uniforms", torch.rand(4).double(), r"uniforms: expected \(5,\) .* found \(4,\)"),
        ("backend", "nothing", "backend: expected one of auto"),
    ],
)
def test_bad_input(name: str, value: Any, message: str) -> None:
    given = {"logits": made(5, 33), "uniforms": uniform(5)}
    with pytest.raises(ValueError, match=message):
        draw_tokens(**{**given, name: value})
