from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from netdiffus.ops import area_matrix, area_resize
from netdiffus.ops.area_resize import _KERNELS, area_resize_reference

SIZES = [*range(1, 72), 125, 127, 128, 250, 448, 500, 640]
SHAPES = [
    ((7, 7), (5, 5)),
    ((9, 33), (9, 33)),
    ((64, 64), (128, 128)),
    ((70, 70), (125, 125)),
    ((448, 448), (128, 128)),
    ((500, 500), (128, 128)),
    ((500, 37), (128, 5)),
    ((3, 50), (8, 51)),
    ((640, 31), (1, 1)),
    ((1, 1), (6, 6)),
]
MIXED = [((50, 6), (3, 17)), ((6, 50), (17, 3)), ((1, 300), (4, 1))]
# Rounding once to the dtype, and for float32 sums of up to 640 rows (measured: 3.6e-7, over sizes
# from 1 to 977 both ways).
TOLERANCE = {
    torch.float32: 8e-7,
    torch.float64: 2e-15,
    torch.float16: 2.5e-4,
    torch.bfloat16: 2e-3,
}
length = st.integers(1, 300)


def images(*shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return values.to(dtype).to(device)


@pytest.mark.parametrize("n", SIZES)
def test_vectors_equal_opencv(n: int) -> None:
    v = np.random.default_rng(n).random((1, n), dtype=np.float32)
    for m in SIZES:
        expected = cv2.resize(v, (m, 1), interpolation=cv2.INTER_AREA)[0]
        np.testing.assert_allclose(area_matrix(n, m).numpy() @ v[0], expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_images_equal_opencv(
    backend: str, device: str, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    expected = [cv2.resize(v, size[::-1], interpolation=cv2.INTER_AREA) for v in image]
    found = area_resize(torch.from_numpy(image).to(device), size, backend=backend)
    np.testing.assert_allclose(found.cpu().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "size"), SHAPES + MIXED)
def test_every_shape(
    backend: str,
    device: str,
    dtype: torch.dtype,
    shape: tuple[int, int],
    size: tuple[int, int],
) -> None:
    image = images(3, *shape, dtype=dtype, device=device)
    if backend != "torch" and dtype not in _KERNELS[backend]:
        with pytest.raises(ValueError, match=f"found {dtype}"):
            area_resize(image, size, backend=backend)
        return
    found = area_resize(image, size, backend=backend)
    expected = _expected(image, size)
    assert found.dtype is dtype
    assert found.shape == (3, *size)
    assert (found.cpu().double() - expected).abs().max() <= TOLERANCE[dtype]


def _expected(image: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = (area_matrix(n, m) for n, m in zip(image.shape[-2:], size, strict=True))
    return rows @ image.cpu().double() @ columns.T


@given(length, length)
def test_rows_are_means(n: int, m: int) -> None:
    weights = area_matrix(n, m)
    assert weights.shape == (m, n)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(m, dtype=torch.float64))


@given(length, length, length, length)
def test_any_size_has_the_matrices_weights(h: int, w: int, h2: int, w2: int) -> None:
    image = images(h, w)
    found = area_resize(image, (h2, w2))
    torch.testing.assert_close(found, _expected(image, (h2, w2)), rtol=0, atol=2e-15)


@given(length)
def test_same_size_is_identity(n: int) -> None:
    assert torch.equal(area_matrix(n, n), torch.eye(n, dtype=torch.float64))


@given(length, st.integers(1, 12))
def test_dividing_size_is_block_mean(m: int, factor: int) -> None:
    v = torch.rand(m * factor, dtype=torch.float64)
    torch.testing.assert_close(area_matrix(m * factor, m) @ v, v.reshape(m, factor).mean(1))


def test_matrix_is_the_callers_own() -> None:
    area_matrix(5, 3).zero_()
    assert area_matrix(5, 3).sum() == pytest.approx(3)
    assert area_matrix(6, 4, dtype=torch.float32).dtype is torch.float32


@pytest.mark.parametrize("shape", [(0, 6, 8), (1, 6, 8), (6, 8), (2, 3, 6, 8), (2, 0, 6, 8)])
def test_leading_dimensions(backend: str, device: str, shape: tuple[int, ...]) -> None:
    image = images(*shape, dtype=torch.float32, device=device)
    found = area_resize(image, 4, backend=backend)
    assert found.shape == (*shape[:-2], 4, 4)
    torch.testing.assert_close(found, area_resize_reference(image, 4, 4))


LAYOUTS = {
    "transposed": lambda v: v.mT,
    "every other": lambda v: v[::2, :, ::3],
    "repeated": lambda v: v[:1].expand(4, 12, 9),
    "reversed": lambda v: v.flip(-1)[..., 1:],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_layouts(backend: str, device: str, layout: Callable[[Tensor], Tensor]) -> None:
    image = layout(images(4, 12, 9, dtype=torch.float32, device=device))
    expected = area_resize(image.contiguous(), (5, 4), backend=backend)
    assert torch.equal(area_resize(image, (5, 4), backend=backend), expected)


def test_fills_and_returns_out(backend: str, device: str) -> None:
    image = images(2, 7, 9, dtype=torch.float32, device=device)
    out = torch.full((2, 5, 4), torch.nan, device=device)
    assert area_resize(image, (5, 4), out=out, backend=backend) is out
    assert torch.equal(out, area_resize(image, (5, 4), backend=backend))


def test_nan_shows_where_it_is(backend: str, device: str) -> None:
    image = images(2, 8, 12, dtype=torch.float32, device=device)
    image[1, 3, 5] = torch.nan
    found = area_resize(image, 4, backend=backend).isnan()  # windows of 2 x 3
    assert found[1, 1, 1]
    if backend != "torch":  # a matrix product spreads it over the row and the column
        assert found.sum() == 1


def test_thread_count_changes_nothing(backend: str, device: str) -> None:
    image = images(5, 300, 301, device=device, dtype=torch.float32)
    threads, found = torch.get_num_threads(), []
    for count in (1, 3):
        torch.set_num_threads(count)
        found.append(area_resize(image, 77, backend=backend))
    torch.set_num_threads(threads)
    torch.testing.assert_close(*found, rtol=0, atol=0 if backend != "torch" else 1e-6)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_gradient(backend: str) -> None:
    image = images(2, 5, 4).requires_grad_()
    for size in ((3, 6), (5, 2), (7, 4)):
        inputs = lambda v, size=size: area_resize(v, size, backend=backend)  # noqa: E731
        assert torch.autograd.gradcheck(inputs, image)
        assert torch.autograd.gradgradcheck(inputs, image)


def test_gradient_of_half_is_half() -> None:
    image = images(5, 4, dtype=torch.bfloat16).requires_grad_()
    area_resize(image, 2).sum().backward()
    assert image.grad is not None
    assert image.grad.dtype is torch.bfloat16


def test_registered() -> None:
    image = images(2, 5, 4).requires_grad_()
    torch.library.opcheck(torch.ops.netdiffus.area_resize.default, (image, 3, 6, "auto"))
    torch.library.opcheck(torch.ops.netdiffus.area_spread.default, (image, 3, 6))


@pytest.mark.parametrize(
    ("image", "size", "message"),
    [
        (torch.rand(3), 2, r"image: expected \(\.\.\., h, w\)"),
        (torch.rand(0, 3), 2, "not empty"),
        (torch.ones(3, 3, dtype=torch.int32), 2, "found torch.int32"),
        (torch.rand(3, 3), 0, "size: expected at least 1"),
        (torch.rand(3, 3), (2, -1), "size: expected at least 1"),
        (torch.rand(3, 3), (2**16, 2**15), r"size: .* more than 2\*\*31 - 1"),
    ],
)
def test_bad_input(image: Tensor, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        area_resize(image, size)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(2, 5, 4), r"out: expected \(2, 5, 5\)"),
        (torch.empty(2, 5, 5, dtype=torch.float64), "found .* torch.float64"),
        (torch.empty(5, 5, 2).permute(2, 0, 1), "contiguous"),
        (torch.empty(2, 5, 5, requires_grad=True), "without gradient"),
        (torch.empty(2, 5, 5, device="meta"), "on meta"),
    ],
)
def test_bad_out(backend: str, device: str, out: Tensor, message: str) -> None:
    if out.device.type == "cpu":
        out = out.detach().to(device).requires_grad_(out.requires_grad)
    with pytest.raises(ValueError, match=message):
        area_resize(torch.rand(2, 7, 7, device=device), 5, out=out, backend=backend)


def test_overlapping_out(backend: str, device: str) -> None:
    image = torch.rand(2, 7, 7, device=device)
    with pytest.raises(ValueError, match="out: shares memory with image"):
        area_resize(image, 7, out=image, backend=backend)


def test_bad_matrix_size() -> None:
    with pytest.raises(ValueError, match="n=0, m=3"):
        area_matrix(0, 3)
