from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netdiffus.ops import area_matrix, area_resize

SIZES = [*range(1, 72), 125, 127, 128, 250, 448, 500, 640]
length = st.integers(1, 300)


@pytest.mark.parametrize("n", SIZES)
def test_vectors_equal_opencv(n: int) -> None:
    v = np.random.default_rng(n).random((1, n), dtype=np.float32)
    for m in SIZES:
        expected = cv2.resize(v, (m, 1), interpolation=cv2.INTER_AREA)[0]
        np.testing.assert_allclose(area_matrix(n, m).numpy() @ v[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((7, 7), (5, 5)),
        ((64, 64), (128, 128)),
        ((70, 70), (125, 125)),
        ((448, 448), (128, 128)),
        ((500, 500), (128, 128)),
        ((500, 37), (128, 5)),
        ((3, 50), (8, 51)),
        ((1, 1), (6, 6)),
    ],
)
def test_images_equal_opencv(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    expected = [cv2.resize(v, size[::-1], interpolation=cv2.INTER_AREA) for v in image]
    found = area_resize(torch.from_numpy(image), size)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@given(length, length)
def test_rows_are_means(n: int, m: int) -> None:
    weights = area_matrix(n, m)
    assert weights.shape == (m, n)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(m, dtype=torch.float64))


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


def test_dtype_and_leading_dimensions() -> None:
    image = torch.rand(2, 3, 6, 8)
    found = area_resize(image, 4)
    assert found.shape == (2, 3, 4, 4)
    assert found.dtype is torch.float32
    assert area_matrix(6, 4, dtype=torch.float32).dtype is torch.float32


def test_gradient() -> None:
    image = torch.rand(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: area_resize(v, (3, 6)), image)


@pytest.mark.parametrize(
    ("image", "size", "message"),
    [
        (torch.rand(3), 2, r"image: expected \(\.\.\., h, w\)"),
        (torch.rand(0, 3), 2, "not empty"),
        (torch.ones(3, 3, dtype=torch.int32), 2, "found torch.int32"),
        (torch.rand(3, 3), 0, "size: expected at least 1"),
        (torch.rand(3, 3), (2, -1), "size: expected at least 1"),
    ],
)
def test_bad_input(image: torch.Tensor, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        area_resize(image, size)


def test_bad_matrix_size() -> None:
    with pytest.raises(ValueError, match="n=0, m=3"):
        area_matrix(0, 3)
