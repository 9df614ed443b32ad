"""GASF fields and images, beside what people use today and beside memory."""

from __future__ import annotations

import warnings

import cv2
import pytest
import torch
from conftest import Ratio
from torch import Tensor

from netdiffus.ops import area_matrix, gasf, gasf_image


@pytest.fixture
def x() -> Tensor:
    return torch.rand(256, 500)


@pytest.fixture
def images() -> Tensor:
    return torch.empty(256, 128, 128)


def eager_image(x: Tensor, resize: Tensor) -> Tensor:
    """The fused form, as one would write it in torch."""
    row, s = x @ resize, torch.sqrt(1 - x * x) @ resize
    return 0.5 * (row.unsqueeze(-1) * row.unsqueeze(-2) - s.unsqueeze(-1) * s.unsqueeze(-2) + 1)


def test_gasf_image_beside_fill(ratio: Ratio, x: Tensor, images: Tensor) -> None:
    ratio(lambda: gasf_image(x, 128, out=images), lambda: images.fill_(1), bar=0.7, guard=0.2)


def test_gasf_images_larger_than_cache_beside_fill(ratio: Ratio) -> None:
    x, out = torch.rand(2048, 500), torch.empty(2048, 128, 128)
    ratio(lambda: gasf_image(x, 128, out=out), lambda: out.fill_(1), bar=0.7, guard=0.4)


def test_gasf_image_beside_torch(ratio: Ratio, x: Tensor, images: Tensor) -> None:
    resize = area_matrix(500, 128, dtype=torch.float32).T.contiguous()
    ours = lambda: gasf_image(x, 128, out=images)  # noqa: E731
    ratio(ours, lambda: eager_image(x, resize), bar=10, guard=7)


@pytest.mark.parametrize("gamma", [0.25, 0.3])
def test_gasf_image_with_gamma_beside_torch(
    ratio: Ratio, x: Tensor, images: Tensor, gamma: float
) -> None:
    resize = area_matrix(500, 128, dtype=torch.float32).T.contiguous()
    ours = lambda: gasf_image(x, 128, gamma=gamma, out=images)  # noqa: E731
    ratio(ours, lambda: eager_image(x, resize) ** gamma, bar=10, guard=2)


def test_gasf_image_beside_pyts_and_opencv(ratio: Ratio, x: Tensor, images: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyts.image import GramianAngularField

    field = GramianAngularField(method="summation", sample_range=None)

    def others() -> None:
        for trace in x[:2].numpy():
            cv2.resize(field.transform(trace[None])[0], (128, 128), interpolation=cv2.INTER_AREA)

    ours = lambda: gasf_image(x, 128, out=images)  # noqa: E731
    ratio(ours, others, work=len(x) / 2, bar=1000, guard=500)


def test_gasf_image_of_one_small_trace(ratio: Ratio) -> None:
    x, resize = torch.rand(1, 8), area_matrix(8, 8, dtype=torch.float32)
    ratio(lambda: gasf_image(x, 8), lambda: eager_image(x, resize), bar=1, guard=1)


def eager_field(x: Tensor) -> Tensor:
    s = torch.sqrt(1 - x * x)
    return x.unsqueeze(-1) * x.unsqueeze(-2) - s.unsqueeze(-1) * s.unsqueeze(-2)


def test_gasf_beside_fill(ratio: Ratio) -> None:
    x, out = torch.rand(64, 512), torch.empty(64, 512, 512)
    ratio(lambda: gasf(x, out=out), lambda: out.fill_(1), bar=0.7, guard=0.5)


def test_gasf_beside_torch(ratio: Ratio) -> None:
    x, out = torch.rand(64, 512), torch.empty(64, 512, 512)
    ratio(lambda: gasf(x, out=out), lambda: eager_field(x), bar=5, guard=4)


def test_gasf_of_one_small_trace(ratio: Ratio) -> None:
    x = torch.rand(1, 8)
    ratio(lambda: gasf(x), lambda: eager_field(x), bar=1, guard=1)
