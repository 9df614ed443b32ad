"""The transformer block that token networks are built of."""

from __future__ import annotations

from typing import Any

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
    """

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand = nn.Linear(width, expansion * width)
        self.contract = nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Whole traces at once, (B, T, w): a point attends to itself and those before it."""
        b, t, w = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(b, t, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.join(found.transpose(1, 2).reshape(b, t, w)))
        x = x + self.dropout(self._network(x))
        return x

    def step(self, x: Tensor, cache: Cache, place: int, backend: str) -> Tensor:
        """The same for one more point (B, w), whose keys and values go into the cache."""

        def mapped(layer: nn.Linear, x: Tensor, **more: Any) -> Tensor:
            return linear(x, layer.weight, layer.bias, backend=backend, **more)

        qkv = mapped(self.qkv, x, norm=self.attention_norm)
        found = cached_attention(qkv, *cache, place, backend=backend)
        x = mapped(self.join, found, added=x)
        hidden = mapped(self.expand, x, norm=self.network_norm, gelu=True)
        return mapped(self.contract, hidden, added=x)

    def empty_cache(self, batch: int, points: int) -> Cache:
        """Room for the keys and values of so many traces and points."""
        w = self.join.in_features
        shape = batch, self.heads, points, w // self.heads
        like = self.join.weight
        return like.new_empty(shape), like.new_empty(shape)

    def _network(self, x: Tensor) -> Tensor:
        found: Tensor = self.contract(F.gelu(self.expand(self.network_norm(x))))
        return found
