"""A transformer with full attention and adaptive layer norm: the body of two networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class DenoiserConfig:
    """Everything that fixes the shape of `series` and `masked`.

    Attributes:
        points: Points T of a trace at most.
        sizes: Tokens of each feature of a point; the last of the first feature is the end.
        classes: Number of classes.
        columns: Number of values of each column; the last one is the length.
        width: Features w of a point inside the network, a multiple of `heads`.
        layers: Blocks.
        heads: Attention heads.
        expansion: Hidden features of a block's two-layer network, as a multiple of w.
        dropout: Share of features that training sets to 0.
    """

    points: int
    sizes: tuple[int, ...]
    classes: int
    columns: tuple[int, ...]
    width: int = 128
    layers: int = 3
    heads: int = 4
    expansion: int = 2
    dropout: float = 0.2


class Denoiser(nn.Module):
    """Transformer blocks; a condition scales, shifts and gates each part (adaptive layer norm)."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SteeredBlock(config) for _ in range(config.layers))
        self.steer = nn.Linear(config.width, 2 * config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, condition: Tensor, inside: Tensor) -> Tensor:
        """Features (B, T, w) of points, from features and a condition.

        Args:
            x: (B, T, w).
            condition: (B, w).
            inside: bool (B, T), which positions are points of the trace; others are not attended
                to.
        """
        condition = F.silu(condition)
        mask = None if bool(inside.all()) else inside[:, None, None, :]
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, condition, mask)
        return _steered(x, *self.steer(condition).chunk(2, 1))


class SteeredBlock(nn.Module):
    """Self-attention and a two-layer network, each scaled, shifted and gated (Peebles and Xie)."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        w = config.width
        self.heads = config.heads
        self.steer = nn.Linear(w, 6 * w)
        self.qkv, self.join = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.expand = nn.Linear(w, config.expansion * w)
        self.contract = nn.Linear(config.expansion * w, w)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(self, x: Tensor, condition: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, w), (B, w) and a mask (B, 1, 1, T) of the points -> (B, T, w)."""
        a, b, gate, c, d, last_gate = self.steer(condition).chunk(6, 1)
        h = self._attend(_steered(x, a, b), mask)
        x = x + self.dropout((1 + gate.unsqueeze(1)) * h)
        h = self.contract(F.gelu(self.expand(_steered(x, c, d))))
        x = x + self.dropout((1 + last_gate.unsqueeze(1)) * h)
        return x

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        b, t, w = x.shape
        qkv = self.qkv(x).view(b, t, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        joined: Tensor = self.join(found.transpose(1, 2).reshape(b, t, w))
        return joined


def _steered(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normed = F.layer_norm(x, x.shape[-1:])
    return normed * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def first_points(points: Tensor, most: int) -> Tensor:
    """Bool (B, T): which of T = `most` places are points of traces of these lengths (B,)."""
    return torch.arange(most, device=points.device) < points.unsqueeze(1)
