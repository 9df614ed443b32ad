"""The networks that learn to take noise off GASF images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.errors import InputError
from netdiffus.ops.linear import linear
from netdiffus.ops.modulate import TAPS, modulate

PRESETS = ("default", "paper")
CONDITION = 192  # features of step, class and length together
WAVES = 32
HEADS = 4
RANK = 16  # products u_i v_j per channel; a GASF has 2, the mean of many has more


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the network's shape.

    Attributes:
        preset: `default` or `paper`.
        channels: Channels of the images.
        size: Height and width of the images.
        classes: Number of classes.
        width: Features at the finest level, a multiple of 8 for `default`.
        blocks: `default` only: blocks per level.
    """

    preset: str = "default"
    channels: int = 1
    size: int = 64
    classes: int = 1
    width: int = 128
    blocks: int = 2

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        for name in ("channels", "size", "classes", "width", "blocks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.preset == "default" and self.width % (2 * HEADS):
            raise InputError(f"width must be a multiple of {2 * HEADS}, got {self.width}")

    def build(self) -> nn.Module:
        """The network: `net(xt, t, label, length, backend="auto") -> out`, both (B, C, m, m).

        `backend="torch"` is the plain form of the same maths; `default` has faster ones.
        """
        return PaperUNet(self) if self.preset == "paper" else DefaultUNet(self)


class Condition(nn.Module):
    """Step, class and length as one vector of features, ready for linear maps."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, width)
        self.number = nn.Linear(2 * WAVES, width)
        self.out = nn.Linear(width, width)

    def forward(self, t: Tensor, label: Tensor, length: Tensor) -> Tensor:
        """(B,) int64 t in 0..999 or so, (B,) class, (B,) length in [0, 1] -> (B, width)."""
        waves = torch.cat([_waves(t), _waves(1000 * length)], 1)
        c = self.out(F.silu(self.number(waves) + self.label(label)))
        return F.silu(c)


def _waves(value: Tensor) -> Tensor:
    """(B,) to (B, WAVES) sines and cosines of periods 6 to 60,000 (Vaswani et al., 2017)."""
    k = WAVES // 2
    rate = torch.exp(torch.arange(k, device=value.device) * (-math.log(10_000.0) / k))
    angle = value.unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


class PaperUNet(nn.Module):
    """Five levels: two down, two up, skip connections between matching levels.

    Each level is conv2d + ReLU twice; max-pooling halves, nearest-neighbour upsampling doubles.
    The condition is added after the first convolution of each level.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        w = config.width
        self.condition = Condition(config.classes, 4 * w)
        inputs = (config.channels, w, 2 * w, 4 * w + 2 * w, 2 * w + w)
        outputs = (w, 2 * w, 4 * w, 2 * w, w)
        self.levels = nn.ModuleList(
            PlainLevel(i, o, 4 * w) for i, o in zip(inputs, outputs, strict=True)
        )
        self.out = nn.Conv2d(w, config.channels, 1)

    def forward(
        self, xt: Tensor, t: Tensor, label: Tensor, length: Tensor, backend: str = "auto"
    ) -> Tensor:
        """See `UNetConfig.build`; its layers are torch's own on every backend."""
        c = self.condition(t, label, length)
        first, second, bottom, third, fourth = self.levels
        x, m = _pad_to(xt, 4)
        one = first(x, c)
        two = second(F.max_pool2d(one, 2), c)
        x = bottom(F.max_pool2d(two, 2), c)
        x = third(torch.cat([_double(x), two], 1), c)
        x = fourth(torch.cat([_double(x), one], 1), c)
        return self.out(x)[..., :m, :m]  # type: ignore[no-any-return]


class PlainLevel(nn.Module):
    """conv2d + ReLU, condition, conv2d + ReLU."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shift = nn.Linear(condition, outputs)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = F.relu(self.first(x) + self.shift(c)[..., None, None])
        return F.relu(self.second(x))


class DefaultUNet(nn.Module):
    """A U-Net over the rows of GASF images.

    Row i of a GASF, in all channels, is about point i of the series, and every row sees it at
    another angle. So rows are the tokens: two levels of blocks along the series, a level of half
    as many tokens between them, a skip connection across. What comes out is drawn again as an
    image: sums of products u_i v_j, as a GASF is one, and a free row, made symmetric.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        w, c, m = config.width, config.channels, config.size
        self.condition = Condition(config.classes, CONDITION)
        self.rows = nn.Linear(c * m, w)
        self.place = nn.Linear(WAVES, w)
        self.down = nn.ModuleList(Block(w) for _ in range(config.blocks))
        self.shrink = nn.Linear(2 * w, w + w // 2)
        self.bottom = nn.ModuleList(Block(w + w // 2) for _ in range(config.blocks))
        self.grow = nn.Linear(w + w // 2, 2 * w)
        self.join = nn.Linear(2 * w, w)
        self.up = nn.ModuleList(Block(w) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(w)
        self.free = nn.Linear(w, c * m)
        self.factors = nn.Linear(w, 2 * c * RANK)
        self.gates = nn.Linear(CONDITION, 2 * c)
        nn.init.zeros_(self.free.weight)
        nn.init.zeros_(self.free.bias)

    def forward(
        self, xt: Tensor, t: Tensor, label: Tensor, length: Tensor, backend: str = "auto"
    ) -> Tensor:
        """See `UNetConfig.build`."""
        c = self.condition(t, label, length)
        b, channels, m, _ = xt.shape
        s = _map(self.rows, xt.transpose(1, 2).reshape(b, m, -1), backend)
        s = s + self.place(_waves(torch.arange(m, device=s.device)))
        s = _apply(self.down, s, c, backend)
        s = _map(self.join, torch.cat([s, self._below(s, c, backend)], 2), backend)
        s = self.norm(_apply(self.up, s, c, backend))
        u, v = _map(self.factors, s, backend).view(b, m, 2, channels, RANK).permute(2, 0, 3, 1, 4)
        free = _map(self.free, s, backend).view(b, m, channels, m).transpose(1, 2)
        drawn, kept = self.gates(c).view(b, 2 * channels, 1, 1).chunk(2, 1)
        out: Tensor = free + drawn * (u @ v.mT) / math.sqrt(RANK) + kept * xt
        return 0.5 * (out + out.mT)

    def _below(self, s: Tensor, c: Tensor, backend: str) -> Tensor:
        """Pairs of tokens as one, (B, m, w) -> (B, m, w)."""
        b, m, w = s.shape
        pairs = F.pad(s, (0, 0, 0, m % 2)).reshape(b, -1, 2 * w)
        half = _apply(self.bottom, _map(self.shrink, pairs, backend), c, backend)
        return _map(self.grow, half, backend).reshape(b, -1, w)[:, :m]


class Block(nn.Module):
    """Attention along the series, then a two-layer network, each scaled by the condition.

    As in DiT (Peebles and Xie, 2023), with a convolution for what neighbours share. Starts as the
    identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulate = nn.Linear(CONDITION, 6 * width)
        self.near = nn.Conv1d(width, width, TAPS, padding=TAPS // 2, groups=width)
        self.qkv = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, s: Tensor, c: Tensor, backend: str) -> Tensor:
        a, b, gate, a2, b2, gate2 = self.modulate(c).chunk(6, 1)
        taps = self.near.weight.squeeze(1).T
        h = modulate(s, a, b, taps, self.near.bias, backend=backend)
        h = _map(self.join, self._attend(h, backend), backend)
        s = torch.addcmul(s, gate.unsqueeze(1), h)
        h = modulate(s, a2, b2, backend=backend)
        h = _map(self.narrow, F.gelu(_map(self.wide, h, backend)), backend)
        return torch.addcmul(s, gate2.unsqueeze(1), h)

    def _attend(self, s: Tensor, backend: str) -> Tensor:
        b, k, width = s.shape
        q, key, v = _map(self.qkv, s, backend).view(b, k, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, key, v).transpose(1, 2).reshape(b, k, width)


def _map(layer: nn.Linear, x: Tensor, backend: str) -> Tensor:
    return linear(x, layer.weight, layer.bias, backend=backend)


def _apply(blocks: nn.ModuleList, s: Tensor, c: Tensor, backend: str) -> Tensor:
    for block in blocks:
        s = block(s, c, backend)
    return s


def _pad_to(x: Tensor, multiple: int) -> tuple[Tensor, int]:
    """Padded to a multiple on the right and below, and the size it had."""
    m = x.shape[-1]
    more = -m % multiple
    return (F.pad(x, (0, more, 0, more)), m) if more else (x, m)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
