"""Decoding of whole images, beside the torch reference."""

from __future__ import annotations

import pytest
import torch
from conftest import Ratio

from netdiffus.ops import gasf_decode, gasf_image


@pytest.mark.parametrize("gamma", [1.0, 0.25, 0.3])
def test_noisy_images_beside_torch(ratio: Ratio, gamma: float) -> None:
    image = gasf_image(torch.rand(1024, 64), 64, gamma=gamma)
    image = (image + 0.05 * torch.randn_like(image)).clamp(0, 1)
    few = image[:32]  # the reference takes seconds for all
    found = ratio(
        lambda: gasf_decode(image, gamma=gamma),
        lambda: gasf_decode(few, gamma=gamma, backend="torch"),
        bar=10 / 32,
        guard=10 / 32,
    )
    print(f"  that is {32 * found:.0f} times an image")


def test_exact_images_beside_torch(ratio: Ratio) -> None:
    image = gasf_image(torch.rand(1024, 64), 64)
    ratio(lambda: gasf_decode(image), lambda: gasf_decode(image, backend="torch"), bar=10, guard=4)


def test_one_small_image(ratio: Ratio) -> None:
    image = gasf_image(torch.rand(1, 8), 8)
    ratio(lambda: gasf_decode(image), lambda: gasf_decode(image, backend="torch"), bar=1, guard=1.8)
