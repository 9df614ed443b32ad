from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from everywhere import assert_same_everywhere
from torch import Tensor

from netdiffus.ops.precision import precision

# Of the largest value; measured 4.8e-7 and 9.1e-16.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 4e-15}
SIZES = [1, 5, 16, 33, 192]
each_backend = pytest.mark.parametrize("backend", ["torch", "cpp"], indirect=True)


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


def as_type(given: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: v if name == "group" else v.to(dtype) for name, v in given.items()}


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


@each_backend
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("size", SIZES)
def test_values(backend: str, dtype: torch.dtype, size: int) -> None:
    exact = precision(**arguments(size), backend="torch")
    found = precision(**as_type(arguments(size), dtype), backend=backend)
    assert found.dtype == dtype
    for one, other in zip(found.double(), exact, strict=True):
        assert (one - other).abs().max() <= TOLERANCE[dtype] * max(1, other.abs().max())


@each_backend
def test_strides_empty_and_nan(backend: str) -> None:
    given = arguments(33)
    expected = precision(**given, backend=backend)
    turned = {name: v.mT.contiguous().mT if v.ndim > 1 else v for name, v in given.items()}
    assert torch.equal(precision(**turned, backend=backend), expected)
    none = {name: v[:0] if name in ("apart", "noise", "group") else v for name, v in given.items()}
    assert precision(**none, backend=backend).shape == (4, 0, 33)
    given["apart"][2, 5] = torch.nan
    bad = precision(**given, backend=backend).isnan()
    assert bad[0, 2].all()
    assert bad.sum() == 33


def test_same_bits_everywhere() -> None:
    given = as_type(arguments(70, batch=40), torch.float32)  # enough that threads start
    assert_same_everywhere(lambda: [precision(**given, backend="cpp")])


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
