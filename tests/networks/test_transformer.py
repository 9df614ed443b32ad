from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from netdiffus.networks.layers.transformer import Block, windowed_attention


@pytest.mark.parametrize(("points", "window"), [(5, 8), (8, 8), (9, 8), (40, 8), (43, 8), (7, 1)])
def test_windowed_attention_is_that_with_a_mask_of_all_points(points: int, window: int) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, points, 4, dtype=torch.float64).unbind(0)
    behind = torch.arange(points).unsqueeze(1) - torch.arange(points)
    mask = (behind >= 0) & (behind < window)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(windowed_attention(q, k, v, window), expected)


@pytest.mark.parametrize("window", [1, 2, 5, 30])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_points_one_after_another_are_those_of_whole_traces(window: int, backend: str) -> None:
    torch.manual_seed(0)
    block = Block(16, 2, 2, 0.0, window).eval()
    x = torch.randn(3, 23, 16)
    cache = block.empty_cache(3, 23)
    assert cache[0].shape[2] == min(window, 23)
    with torch.no_grad():
        whole = block(x)
        steps = [block.step(x[:, t].contiguous(), cache, t, backend) for t in range(23)]
    torch.testing.assert_close(torch.stack(steps, 1), whole, atol=1e-5, rtol=1e-5)  # of float32


def test_a_point_does_not_depend_on_those_before_its_window() -> None:
    torch.manual_seed(0)
    block, x = Block(16, 2, 2, 0.0, 4).eval(), torch.randn(1, 12, 16)
    other = x.clone()
    other[:, 3] += 1
    with torch.no_grad():
        changed = (block(x) - block(other)).abs().amax((0, 2)) > 0
    assert changed.tolist() == [3 <= t < 7 for t in range(12)]
