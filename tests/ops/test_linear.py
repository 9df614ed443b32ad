from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.ops.linear import linear

# Of the largest value. A sum of 200 float32 products rounds by up to 200 / 2 ulp of 1.2e-7 in the
# worst case, by some sqrt(200) in the usual one; a norm and a GELU add a few (measured: 6e-7).
TOLERANCE = 3e-6


def given(
    rows: int, inputs: int, outputs: int, parts: str
) -> tuple[list[Tensor], dict[str, object]]:
    """The arguments, and those that are options: b(ias), n(orm), g(elu), a(dded)."""
    generator = torch.Generator().manual_seed(1)
    x, weight, bias, added = (
        torch.randn(size, generator=generator)
        for size in ((rows, inputs), (outputs, inputs), (outputs,), (rows, outputs))
    )
    norm = nn.LayerNorm(inputs)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(inputs, generator=generator))
    options: dict[str, object] = {"gelu": "g" in parts}
    options |= {"norm": norm} if "n" in parts else {}
    options |= {"added": added} if "a" in parts else {}
    return [x, weight, bias if "b" in parts else None], options  # type: ignore[list-item]


def exact(x: Tensor, weight: Tensor, bias: Tensor | None, **options: object) -> np.ndarray:
    """The same by NumPy and SciPy in float64."""
    rows = x.double().numpy()
    if norm := options.get("norm"):
        scale, shift = (p.detach().double().numpy() for p in norm.parameters())  # type: ignore[attr-defined]
        deviation = np.sqrt(rows.var(1, keepdims=True) + norm.eps)  # type: ignore[attr-defined]
        rows = (rows - rows.mean(1, keepdims=True)) / deviation * scale + shift
    found = rows @ weight.double().numpy().T + (0 if bias is None else bias.double().numpy())
    if options["gelu"]:
        found = found * ndtr(found)
    added = options.get("added")
    return found if added is None else found + added.double().numpy()  # type: ignore[attr-defined]


# Rows and outputs about the tiles of six and the panels of sixteen, inputs about lines of eight.
SIZES = [(1, 1, 1), (5, 7, 15), (6, 8, 16), (7, 9, 17), (49, 96, 40), (300, 200, 33)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parts", ["", "b", "ng", "bnga"])
@pytest.mark.parametrize("backend", ["cpp", "torch"])
@torch.no_grad()
def test_it_is_what_numpy_makes(size: tuple[int, int, int], parts: str, backend: str) -> None:
    arguments, options = given(*size, parts)
    found = linear(*arguments, **options, backend=backend)  # type: ignore[arg-type]
    wanted = exact(*arguments, **options)  # type: ignore[arg-type]
    assert np.abs(found.numpy() - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@torch.no_grad()
def test_every_instruction_set_agrees(instruction_set: str) -> None:
    arguments, options = given(49, 96, 40, "bnga")
    found = linear(*arguments, **options, backend="cpp")  # type: ignore[arg-type]
    wanted = exact(*arguments, **options)  # type: ignore[arg-type]
    assert np.abs(found.numpy() - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@torch.no_grad()
def test_a_row_depends_on_no_other_row() -> None:
    (x, weight, bias), options = given(700, 96, 288, "bng")
    whole = linear(x, weight, bias, **options, backend="cpp")  # type: ignore[arg-type]
    for rows in (slice(0, 1), slice(3, 50), slice(640, 700)):
        part = linear(x[rows], weight, bias, **options, backend="cpp")  # type: ignore[arg-type]
        assert torch.equal(part, whole[rows])


@torch.no_grad()
def test_threads_change_no_bit() -> None:
    arguments, options = given(700, 96, 288, "bng")
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(linear(*arguments, **options, backend="cpp"))  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, found[0]) for one in found)


@torch.no_grad()
def test_the_gelu_of_large_numbers_and_of_none() -> None:
    x = torch.tensor([[-1e30], [-60.0], [-0.0], [60.0], [1e30], [torch.nan]])
    found = linear(x, torch.ones(1, 1), None, gelu=True, backend="cpp")[:, 0]
    assert found[:5].tolist() == [0.0, 0.0, 0.0, 60.0, float(np.float32(1e30))]
    assert found[5].isnan()


@torch.inference_mode()
def test_weights_of_a_module_take_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are parameters, which are tensors of another type."""
    layer, x = nn.Linear(7, 5), torch.randn(3, 7)
    expected = layer(x)
    monkeypatch.setattr("netdiffus.ops.linear.linear_reference", None)  # cannot be called
    found = linear(x, layer.weight, layer.bias, backend="cpp")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [(0, 7), (4, 0, 7), (2, 3, 7)])
@torch.no_grad()
def test_rows_of_any_number_of_axes(shape: tuple[int, ...]) -> None:
    x, weight = torch.randn(shape), torch.randn(5, 7)
    torch.testing.assert_close(linear(x, weight, None, backend="cpp"), F.linear(x, weight))


def test_with_a_gradient_it_is_torchs() -> None:
    arguments, options = given(12, 6, 4, "bnga")
    arguments[1].requires_grad_()
    linear(*arguments, **options).square().sum().backward()  # type: ignore[arg-type]
    assert arguments[1].grad is not None
    with pytest.raises(ValueError, match="has no gradient"):
        linear(*arguments, **options, backend="cpp")  # type: ignore[arg-type]


def test_a_norm_alone_may_want_the_gradient() -> None:
    norm = nn.LayerNorm(6)
    linear(torch.rand(9, 6), torch.rand(4, 6), None, norm=norm).sum().backward()
    assert norm.weight.grad is not None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": torch.rand(9, 5)}),
        ("bias", {"bias": torch.rand(3)}),
        ("norm", {"norm": nn.LayerNorm(5)}),
        ("added", {"added": torch.rand(8, 4)}),
        ("weight", {"weight": torch.rand(4, 6).double()}),
    ],
)
@torch.no_grad()
def test_what_does_not_fit_is_refused(name: str, change: dict[str, object]) -> None:
    fitting = {"x": torch.rand(9, 6), "weight": torch.rand(4, 6), "bias": torch.rand(4)}
    with pytest.raises(ValueError, match=f"^{name}: expected "):
        linear(**{**fitting, **change}, backend="cpp")  # type: ignore[arg-type]


@torch.no_grad()
def test_other_dtypes_and_backends_take_the_plain_product() -> None:
    x, weight = torch.rand(9, 6).double(), torch.rand(4, 6).double()
    for backend in ("auto", "triton"):
        assert torch.equal(linear(x, weight, None, backend=backend), F.linear(x, weight))


@torch.no_grad()
def test_strided_rows_and_weights() -> None:
    x, weight = torch.rand(12, 200).T, torch.rand(24, 4).T
    for part, other in ((x[:, :6], torch.rand(4, 6)), (x[:, ::2], weight[:, ::4])):
        found = linear(part, other, None, backend="cpp")
        torch.testing.assert_close(found, F.linear(part, other))
