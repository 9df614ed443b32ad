from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from everywhere import DTYPES, assert_same_everywhere
from torch import Tensor

from netdiffus.ops.precision import precision

# Of the largest value; measured 4.8e-7 and 9.1e-16. Halves are rounded once, by half a step;
# Triton's interpreter cuts bfloat16 off instead.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TOLERANCE = {
    torch.float32: 2e-6,
    torch.float64: 4e-15,
    torch.float16: 2**-11 + 2e-6,
    torch.bfloat16: 2 ** (-7 if INTERPRETED else -8) + 2e-6,
}
SIZES = [1, 5, 16, 33, 192]


def arguments(size: int, batch: int = 7, groups: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(size)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return {
        "apart": draw(batch, size),
        "noise": draw(batch).exp(),
        "group": torch.arange(batch) * 5 % groups,
        "variances": draw(groups, size).square(),
        "vectors": torch.linalg.qr(draw(groups, size, size))[0],
    }


def as_type(given: dict[str, Tensor], dtype: torch.dtype, device: str = "cpu") -> dict[str, Tensor]:
    typed = {name: v if name == "group" else v.to(dtype) for name, v in given.items()}
    return {name: v.to(device) for name, v in typed.items()}


@pytest.mark.parametrize("size", SIZES)
def test_reference_is_the_inverse(size: int) -> None:
    """By NumPy, from whole matrices."""
    given = arguments(size)
    found = precision(**given, backend="torch")
    v = {name: tensor.numpy() for name, tensor in given.items()}
    for b, g in enumerate(v["group"]):
        s = v["vectors"][g] @ np.diag(v["variances"][g]) @ v["vectors"][g].T
        k = np.linalg.inv(s + v["noise"][b] * np.eye(size))
        expected = [k @ v["apart"][b], np.diag(k), np.diag(s @ k), np.diag(s)]
        np.testing.assert_allclose(found[:, b], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_values(backend: str, device: str, size: int) -> None:
    for dtype in DTYPES[backend]:
        given = as_type(arguments(size), dtype)
        exact = precision(**as_type(given, torch.float64), backend="torch")
        found = precision(**as_type(given, dtype, device), backend=backend)
        assert found.dtype == dtype
        for one, other in zip(found.cpu().double(), exact, strict=True):
            assert (one - other).abs().max() <= TOLERANCE[dtype] * max(1, other.abs().max())


def test_long_series(backend: str, device: str) -> None:
    """On an axis each, of a variance each; CUDA's kernel takes as many points as its block can."""
    size = 1025
    vectors = torch.eye(size, device=device).flip(0)[None]
    line = torch.arange(1.0, size + 1, device=device)[None]
    group = torch.zeros(1, dtype=torch.int64, device=device)
    given = line, line[0, :1], group, line.flip(1), vectors
    if backend == "cuda":
        with pytest.raises(ValueError, match="no such kernel"):
            precision(*given, backend=backend)
        backend = "auto"
    found, k = precision(*given, backend=backend)[:, 0], 1 / (line[0] + 1)
    expected = torch.stack([line[0] * k, k, line[0] * k, line[0]])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_strides_empty_and_nan(backend: str, device: str) -> None:
    given = as_type(arguments(33), torch.float32, device)
    expected = precision(**given, backend=backend)
    turned = {name: v.mT.contiguous().mT if v.ndim > 1 else v for name, v in given.items()}
    assert torch.equal(precision(**turned, backend=backend), expected)
    none = {name: v[:0] if name in ("apart", "noise", "group") else v for name, v in given.items()}
    assert precision(**none, backend=backend).shape == (4, 0, 33)
    given["apart"][2, 5] = torch.nan
    bad = precision(**given, backend=backend).isnan()
    assert bad[0, 2].all()
    assert bad.sum() == 33


@pytest.mark.parametrize("backend", ["cpp", "cuda", "triton"], indirect=True)
def test_same_bits_everywhere(backend: str, device: str) -> None:
    """For all traces, of which threads start for so many, and for one alone."""
    given = as_type(arguments(70, batch=40), torch.float32, device)
    assert_same_everywhere(lambda: [precision(**given, backend=backend)])
    alone = {name: v[7:8] if len(v) == 40 else v for name, v in given.items()}
    found = precision(**given, backend=backend)[:, 7:8]
    assert torch.equal(found, precision(**alone, backend=backend))


def test_gradients_are_torchs() -> None:
    given = arguments(5)
    given["apart"].requires_grad_()
    assert precision(**given).requires_grad
    with pytest.raises(ValueError, match="has no gradient"):
        precision(**given, backend="cpp")


def test_compiles_into_one_graph() -> None:
    given = arguments(5)
    compiled = torch.compile(precision, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**given), precision(**given))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("apart", torch.rand(5), r"apart: expected floats \(B, D\), found \(5,\)"),
        ("noise", torch.rand(7), r"noise: expected \(7,\) torch.float64 .* torch.float32"),
        ("group", torch.zeros(7), r"group: expected \(7,\) torch.int64"),
        ("group", torch.full((7,), 3), "group: expected 0 to 2, found 3 to 3"),
        ("group", torch.full((7,), -1), "group: expected 0 to 2, found -1 to -1"),
        ("variances", torch.rand(3, 4).double(), r"variances: expected \(3, 5\)"),
        ("vectors", torch.rand(2, 5, 5).double(), r"vectors: expected \(3, 5, 5\)"),
    ],
)
def test_bad_input(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        precision(**{**arguments(5), name: value})
