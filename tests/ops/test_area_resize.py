from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netdiffus.ops import area_matrix

SIZES = [*range(1, 72), 125, 127, 128, 250, 448, 500, 640]
length = st.integers(1, 300)


@pytest.mark.parametrize("n", SIZES)
def test_vectors_equal_opencv(n: int) -> None:
    v = np.random.default_rng(n).random((1, n), dtype=np.float32)
    for m in SIZES:
        expected = cv2.resize(v, (m, 1), interpolation=cv2.INTER_AREA)[0]
        np.testing.assert_allclose(area_matrix(n, m).numpy() @ v[0], expected, atol=1e-5)


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
    assert area_matrix(6, 4, dtype=torch.float32).dtype is torch.float32


def test_bad_matrix_size() -> None:
    with pytest.raises(ValueError, match="n=0, m=3"):
        area_matrix(0, 3)
