"""The transformer block that token networks are built of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.ops.cached_attention import cached_attention
from netdiffus.ops.linear import linear

Cache = tuple[Tensor, Tensor]  # keys and values of the points so far, (B, heads, T, w / heads) each


class Block(nn.Module):
    """Self-attention, then a two-layer network, each on normalised features and added to them.

    Args:
        width: Features w of a point, a multiple of `heads`.
        heads: Attention heads.
        expansion: Hidden features of the two-layer network, as a multiple of w.
        dropout: Share of what is added to the features that training sets to 0.
        window: Points that a point attends to at most: itself and those just before it.
    """

    def __init__(self, width: int, heads: int, expansion: int, dropout: float, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand = nn.Linear(width, expansion * width)
        self.contract = nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Whole traces at once, (B, T, w): a point attends to itself and those just before it."""
        b, t, w = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(b, t, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        found = windowed_attention(q, k, v, self.window)
        x = x + self.dropout(self.join(found.transpose(1, 2).reshape(b, t, w)))
        hidden = F.gelu(self.expand(self.network_norm(x)))
        return x + self.dropout(self.contract(hidden))  # type: ignore[no-any-return]

    def step(self, x: Tensor, cache: Cache, place: int, backend: str) -> Tensor:
        """The same for one more point (B, w), whose keys and values go into the cache.

        The cache has room for one window. When it is full, the previous point replaces the oldest
        one, as the order in the cache does not matter, and the new point takes the last place.
        """
        last = self.window - 1
        if place > last:
            for part in cache:
                if last:
                    part[:, :, (place - 1) % last] = part[:, :, last]
            place = last

        def mapped(layer: nn.Linear, x: Tensor, **more: Any) -> Tensor:
            return linear(x, layer.weight, layer.bias, backend=backend, **more)

        qkv = mapped(self.qkv, x, norm=self.attention_norm)
        found = cached_attention(qkv, *cache, place, backend=backend)
        x = mapped(self.join, found, added=x)
        hidden = mapped(self.expand, x, norm=self.network_norm, gelu=True)
        return mapped(self.contract, hidden, added=x)

    def empty_cache(self, batch: int, points: int) -> Cache:
        """Room for the keys and values of so many traces, and of a window of so many points."""
        w = self.join.in_features
        shape = batch, self.heads, min(points, self.window), w // self.heads
        like = self.join.weight
        return like.new_empty(shape), like.new_empty(shape)


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Each point attends to itself and to the `window` - 1 points before it.

    The sequence is cut into blocks of `window` points, which attend to their own block and the one
    before, so that time and memory are linear in T.

    Args:
        q: Queries (B, heads, T, d).
        k: Keys, of the same shape.
        v: Values, of the same shape.
        window: At least 1.

    Returns:
        (B, heads, T, d).
    """
    b, t = len(q), q.shape[2]
    if t <= window:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    blocks = -(-t // window)
    q, k, v = (F.pad(one, (0, 0, 0, blocks * window - t)) for one in (q, k, v))
    k, v = (F.pad(one, (0, 0, window, 0)) for one in (k, v))  # before the first block
    asked = q.view(b, -1, blocks, window, q.shape[3])
    pairs = [one.unfold(2, 2 * window, window).mT for one in (k, v)]  # (B, heads, blocks, 2 W, d)
    place = torch.arange(window, device=q.device)
    behind = place.unsqueeze(1) + window - torch.arange(2 * window, device=q.device)
    mask = ((behind >= 0) & (behind < window)).expand(blocks, window, 2 * window).clone()
    mask[0, :, :window] = False  # there is nothing before the first
    asked, keys, values = (one.transpose(1, 2).flatten(0, 1) for one in (asked, *pairs))
    found = F.scaled_dot_product_attention(
        asked, keys, values, attn_mask=mask.repeat(b, 1, 1).unsqueeze(1)
    )
    joined: Tensor = found.view(b, blocks, *found.shape[1:]).transpose(1, 2).flatten(2, 3)
    return joined[:, :, :t]
