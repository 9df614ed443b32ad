"""What an autoregressive transformer does beside its products when it samples, beside torch."""

from __future__ import annotations

import pytest
import torch
from conftest import Ratio

from netdiffus.ops.cached_attention import cached_attention
from netdiffus.ops.draw_tokens import draw_tokens
from netdiffus.ops.noise import uniforms
from netdiffus.ops.strata import spread_uniforms

BATCH, HEADS, POINTS, WIDTH, TOKENS = 512, 4, 32, 32, 256


def test_cached_attention_beside_torch(ratio: Ratio) -> None:
    """All points of a batch of sequences."""
    qkv = torch.randn(POINTS, BATCH, 3 * HEADS * WIDTH)
    keys, values = torch.zeros(2, BATCH, HEADS, POINTS, WIDTH)

    def run(backend: str) -> None:
        for place in range(POINTS):
            cached_attention(qkv[place], keys, values, place, backend=backend)

    ratio(lambda: run("auto"), lambda: run("torch"), bar=1.5, guard=1.2)


def test_draw_tokens_beside_torch(ratio: Ratio) -> None:
    logits, uniforms = 3 * torch.randn(BATCH, TOKENS), torch.rand(BATCH).double()
    run = lambda backend: draw_tokens(logits, uniforms, backend=backend)  # noqa: E731
    ratio(lambda: run("auto"), lambda: run("torch"), bar=1.5, guard=2)


def test_draw_tokens_beside_float32(ratio: Ratio) -> None:
    """As one would write it in torch, which may draw a token of probability 0."""
    logits, uniforms = 3 * torch.randn(BATCH, TOKENS), torch.rand(BATCH).double()

    def plain() -> None:
        sums = logits.softmax(1).cumsum(1)
        torch.searchsorted(sums, uniforms.float().unsqueeze(1), right=True)

    ratio(lambda: draw_tokens(logits, uniforms), plain, bar=1, guard=0.6)


def test_uniforms_beside_torch(ratio: Ratio) -> None:
    """Those of the masks of a batch."""
    run = lambda backend: uniforms(0, torch.arange(64), 0, 64, backend=backend)  # noqa: E731
    ratio(lambda: run("auto"), lambda: run("torch"), bar=10, guard=8)


@pytest.mark.parametrize("count", [1, POINTS])
def test_spread_uniforms_beside_torch(ratio: Ratio, count: int) -> None:
    """Those of a column, and of all points of a batch."""
    traces = torch.arange(BATCH), torch.arange(BATCH) % 9, torch.arange(BATCH) // 9
    run = lambda backend: spread_uniforms(0, *traces, 0, count, backend=backend)  # noqa: E731
    ratio(lambda: run("auto"), lambda: run("torch"), bar=20, guard=12)
