from __future__ import annotations

import warnings
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from netdiffus.ops import _backend, gasf, gasf_image
from netdiffus.ops.gasf import gasf_image_reference, gasf_reference

LENGTHS = [1, 2, 3, 7, 64, 70, 125, 500]
SIZES = [1, 5, 7, 64, 125, 128]
GAMMAS = [0.25, 0.3, 0.5, 1.0, 2.2]
# Measured: 2.3e-7 and 4.5e-16; the others are rounded once from float32.
TOLERANCE = {
    torch.float32: 3e-7,
    torch.float64: 1e-15,
    torch.float16: 2.5e-4,
    torch.bfloat16: 2e-3,
}


def series(*shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return values.to(dtype).to(device)


def refused(backend: str, dtype: torch.dtype, call: Callable[[], Tensor]) -> bool:
    """Whether the backend has no kernel of that dtype, and then says so."""
    if backend == "torch" or dtype in _backend.KERNELS[backend]:
        return False
    with pytest.raises(ValueError, match=f"found {dtype}"):
        call()
    return True


def pyts_fields(x: Tensor) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside pyts
        from pyts.image import GramianAngularField

        field = GramianAngularField(method="summation", sample_range=None)
        return field.transform(x.double().numpy())


def angle_image(x: Tensor) -> Tensor:
    angle = torch.arccos(x)
    return (torch.cos(angle.unsqueeze(-1) + angle.unsqueeze(-2)) + 1) / 2


@pytest.mark.parametrize("n", LENGTHS)
def test_field_is_cosine_of_angle_sums(n: int) -> None:
    x = 2 * series(3, n) - 1
    angle = torch.arccos(x)
    expected = torch.cos(angle.unsqueeze(-1) + angle.unsqueeze(-2))
    torch.testing.assert_close(gasf_reference(x), expected, rtol=0, atol=2e-15)


@pytest.mark.parametrize("n", [2, 7, 64, 125])
def test_field_equals_pyts(backend: str, device: str, n: int) -> None:
    x = series(2, n, dtype=torch.float32)
    found = gasf(x.to(device), backend=backend).cpu().numpy()
    np.testing.assert_allclose(found, pyts_fields(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", LENGTHS)
def test_every_length(backend: str, device: str, dtype: torch.dtype, n: int) -> None:
    x = series(3, n, dtype=dtype, device=device)
    x[0], x[1, 0], x[1, -1] = 0, 0, 1
    if refused(backend, dtype, lambda: gasf(x, backend=backend)):
        return
    field = gasf(x, backend=backend)
    assert field.dtype is dtype
    assert torch.equal(field, field.mT)
    assert field.min() >= -1
    assert field.max() <= 1
    difference = (field.cpu().double() - gasf_reference(x.cpu().double())).abs().max()
    assert difference <= 2 * TOLERANCE[dtype]


@pytest.mark.parametrize("n", LENGTHS)
def test_reference_without_resize_is_cosine_of_angle_sums(n: int) -> None:
    x = series(3, n)
    torch.testing.assert_close(gasf_image_reference(x, n), angle_image(x), rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", [2, 3, 7, 64, 70, 125, 500])
@pytest.mark.parametrize("gamma", [1.0, 0.25])
def test_reference_equals_pyts_and_opencv(n: int, gamma: float) -> None:
    x = series(2, n)
    fields = pyts_fields(x)
    for size in SIZES:
        resized = [cv2.resize(g, (size, size), interpolation=cv2.INTER_AREA) for g in fields]
        expected = ((np.stack(resized) + 1) / 2).clip(0) ** gamma
        found = gasf_image_reference(x, size, gamma)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", LENGTHS)
def test_every_shape(backend: str, device: str, dtype: torch.dtype, n: int) -> None:
    x = series(3, n, dtype=dtype, device=device)
    x[0], x[1, 0], x[1, -1] = 0, 0, 1
    if refused(backend, dtype, lambda: gasf_image(x, 5, backend=backend)):
        return
    for size in SIZES:
        for gamma in GAMMAS:
            image = gasf_image(x, size, gamma=gamma, backend=backend)
            expected = gasf_image_reference(x.cpu().double(), size, gamma)
            assert image.dtype is dtype
            assert torch.equal(image, image.mT)
            assert image.min() >= 0
            assert image.max() <= 1
            difference = (image.cpu().double() - expected).abs().max()
            assert difference <= TOLERANCE[dtype], (size, gamma)


@pytest.mark.parametrize("shape", [(0, 7), (1, 7), (7,), (2, 3, 7), (2, 0, 7)])
def test_leading_dimensions(backend: str, device: str, shape: tuple[int, ...]) -> None:
    x = series(*shape, dtype=torch.float32, device=device)
    image, field = gasf_image(x, 5, backend=backend), gasf(x, backend=backend)
    assert image.shape == (*shape[:-1], 5, 5)
    assert field.shape == (*shape[:-1], 7, 7)
    torch.testing.assert_close(image, gasf_image_reference(x, 5))
    torch.testing.assert_close(field, gasf_reference(x), rtol=0, atol=3e-7)


def test_fills_and_returns_out(backend: str, device: str) -> None:
    x = series(2, 7, dtype=torch.float32, device=device)
    out = torch.full((2, 5, 5), torch.nan, device=device)
    assert gasf_image(x, 5, out=out, backend=backend) is out
    assert torch.equal(out, gasf_image(x, 5, backend=backend))
    out = torch.full((2, 7, 7), torch.nan, device=device)
    assert gasf(x, out=out, backend=backend) is out
    assert torch.equal(out, gasf(x, backend=backend))


def test_nan_and_values_outside_show_in_the_field(backend: str, device: str) -> None:
    x = series(2, 5, dtype=torch.float32, device=device)
    x[0, 1], x[1, 2] = torch.nan, 1.5
    field = gasf(x, backend=backend).isnan()
    for k, place in ((0, 1), (1, 2)):
        assert field[k, place].all()
        assert field[k, :, place].all()
        assert field[k].sum() == 9


@pytest.mark.parametrize("gamma", GAMMAS)
def test_nan_shows(backend: str, device: str, gamma: float) -> None:
    x = series(2, 8, dtype=torch.float32, device=device)
    x[1, 3] = torch.nan
    image = gasf_image(x, 4, gamma=gamma, backend=backend)
    assert not image[0].isnan().any()
    assert image[1, 1].isnan().all()  # output 1 covers inputs 2 and 3


@pytest.mark.parametrize("gamma", [0.25, 0.3, 1.0])
def test_dark_pixels_keep_relative_precision(backend: str, device: str, gamma: float) -> None:
    x = torch.logspace(-15, -1, 200, device=device).unsqueeze(1)
    expected = gasf_image_reference(x.double(), 1, gamma).float()
    found = gasf_image(x, 1, gamma=gamma, backend=backend)
    torch.testing.assert_close(found, expected, rtol=4e-6, atol=0)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize(
    "op",
    [
        gasf,
        lambda x, backend: gasf_image(x, 4, backend=backend),
        lambda x, backend: gasf_image(x, 9, gamma=0.7, backend=backend),
    ],
    ids=["field", "smaller image", "larger image"],
)
def test_gradient(op: Callable[..., Tensor], backend: str) -> None:
    x = (0.1 + 0.8 * series(2, 6)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: op(v, backend=backend), x)
    assert torch.autograd.gradgradcheck(lambda v: op(v, backend=backend), x)


def test_gradient_of_half_is_half() -> None:
    x = (0.1 + 0.8 * series(2, 6)).bfloat16().requires_grad_()
    (gasf(x).sum() + gasf_image(x, 3, gamma=0.5).sum()).backward()
    assert x.grad is not None
    assert x.grad.dtype is torch.bfloat16
    wide = x.detach().double().requires_grad_()
    (gasf(wide).sum() + gasf_image(wide, 3, gamma=0.5).sum()).backward()
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=0.02, atol=0.02)


def test_registered() -> None:
    x = (0.1 + 0.8 * series(2, 6)).requires_grad_()
    torch.library.opcheck(torch.ops.netdiffus.gasf.default, (x, "auto"))
    torch.library.opcheck(torch.ops.netdiffus.gasf_image.default, (x, 4, 0.7, "auto"))


# Below 1e-19 a float32 x squares to 0, which a small gamma would show.
plain = st.just(0.0) | st.floats(2.0**-50, 1, width=32)


@given(
    st.lists(plain, min_size=1, max_size=40),
    st.integers(1, 50),
    st.floats(0.05, 5),
)
def test_any_series_stays_in_range(values: list[float], size: int, gamma: float) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    image = gasf_image(x, size, gamma=gamma)
    assert image.min() >= 0
    assert image.max() <= 1
    assert torch.equal(image, image.mT)
    torch.testing.assert_close(image, gasf_image_reference(x.double(), size, gamma).float())


@pytest.mark.parametrize(
    ("x", "size", "gamma", "message"),
    [
        (torch.tensor(0.5), 2, 1.0, r"x: expected \(\.\.\., n\)"),
        (torch.rand(3, 0), 2, 1.0, r"at least 1, found \(3, 0\)"),
        (
            torch.ones(3, dtype=torch.int64),
            2,
            1.0,
            "x: expected a floating dtype, found torch.int64",
        ),
        (torch.rand(3), 50_000, 1.0, r"size: .* more than 2\*\*31 - 1"),
        (torch.rand(3), 0, 1.0, "size: expected at least 1, found 0"),
        (torch.rand(3), 2, 0.0, "gamma: expected a number above 0, found 0"),
        (torch.rand(3), 2, float("nan"), "gamma: .* found nan"),
        (torch.rand(3), 2, float("inf"), "gamma: .* found inf"),
    ],
)
def test_bad_input(x: Tensor, size: int, gamma: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gasf_image(x, size, gamma=gamma)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(2, 5, 4), r"out: expected \(2, 5, 5\)"),
        (torch.empty(2, 5, 5, dtype=torch.float64), "found .* torch.float64"),
        (torch.empty(5, 5, 2).mT.mT.permute(2, 0, 1), "contiguous"),
        (torch.empty(2, 5, 5, requires_grad=True), "without gradient"),
        (torch.empty(2, 5, 5, device="meta"), "on meta"),
    ],
)
def test_bad_out(backend: str, device: str, out: Tensor, message: str) -> None:
    if out.device.type == "cpu":
        out = out.detach().to(device).requires_grad_(out.requires_grad)
    with pytest.raises(ValueError, match=message):
        gasf_image(torch.rand(2, 7, device=device), 5, out=out, backend=backend)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.tensor(0.5), r"x: expected \(\.\.\., n\)"),
        (torch.rand(3, 0), r"at least 1, found \(3, 0\)"),
        (torch.ones(3, dtype=torch.int64), "x: expected a floating dtype"),
        (torch.rand(1).expand(50_000), r"x: .* more than 2\*\*31 - 1"),
        (torch.rand(1).expand(2**40, 2**20), r"x: .* more than"),
    ],
)
def test_bad_field_input(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gasf(x)


def test_overlapping_out(backend: str, device: str) -> None:
    room = torch.rand(100, device=device)
    with pytest.raises(ValueError, match="out: shares memory with x"):
        gasf_image(room[20:27], 5, out=room[:25].view(5, 5), backend=backend)
    with pytest.raises(ValueError, match="out: shares memory with x"):
        gasf(room[20:25], out=room[:25].view(5, 5), backend=backend)
