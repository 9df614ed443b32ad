"""The networks that learn to take noise off GASF images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.errors import InputError

PRESETS = ("default", "paper")


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the network's shape.

    Attributes:
        preset: `default` or `paper`.
        channels: Channels of the images.
        size: Height and width of the images.
        classes: Number of classes.
        width: Features at the finest level; each downsampling doubles them.
        patch: `default` only: the stem folds patch x patch pixels into one position.
        blocks: `default` only: residual blocks per level on the way down.
    """

    preset: str = "default"
    channels: int = 1
    size: int = 64
    classes: int = 1
    width: int = 48
    patch: int = 4
    blocks: int = 2

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        for name in ("channels", "size", "classes", "width", "patch", "blocks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")

    def build(self) -> nn.Module:
        """The network: `net(xt, t, label, length) -> out`, out shaped as xt (B, C, m, m)."""
        return PaperUNet(self) if self.preset == "paper" else DefaultUNet(self)


class Condition(nn.Module):
    """Step, class and length as one vector of features."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, width)
        self.number = nn.Linear(64, width)
        self.out = nn.Linear(width, width)

    def forward(self, t: Tensor, label: Tensor, length: Tensor) -> Tensor:
        """(B,) int64 t in 0..999 or so, (B,) class, (B,) length in [0, 1] -> (B, width)."""
        waves = torch.cat([_waves(t.float()), _waves(1000 * length)], 1)
        return self.out(F.silu(self.number(waves) + self.label(label)))  # type: ignore[no-any-return]


def _waves(value: Tensor) -> Tensor:
    """(B,) to (B, 32) sines and cosines of periods from 6 to 10,000 (Vaswani et al., 2017)."""
    rate = torch.exp(torch.arange(16, device=value.device) * (-math.log(10_000.0) / 16))
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

    def forward(self, xt: Tensor, t: Tensor, label: Tensor, length: Tensor) -> Tensor:
        """See `UNetConfig.build`."""
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
    """A small U-Net made for GASF images.

    What a row of a GASF says about its point, all its pixels say together; so beside the
    convolutions each level has a `SeriesMixer`, which averages over rows and columns into a
    series, lets its points attend to each other, and hands the result back to rows and columns.
    The stem folds patches, which a rank-2 image allows; the output is symmetric.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        w, p, n = config.width, config.patch, config.blocks
        self.patch = p
        self.condition = Condition(config.classes, 4 * w)
        self.stem = nn.Conv2d(config.channels, w, p, stride=p)
        self.down = nn.ModuleList(ResBlock(w, w, 4 * w) for _ in range(n))
        self.mix_down = SeriesMixer(w, 4 * w)
        self.shrink = nn.Conv2d(w, 2 * w, 3, stride=2, padding=1)
        self.bottom = nn.ModuleList(ResBlock(2 * w, 2 * w, 4 * w) for _ in range(n))
        self.mix_bottom = SeriesMixer(2 * w, 4 * w)
        self.grow = nn.Conv2d(2 * w, w, 1)
        self.up = nn.ModuleList(ResBlock(2 * w if i == 0 else w, w, 4 * w) for i in range(n))
        self.mix_up = SeriesMixer(w, 4 * w)
        self.norm = nn.GroupNorm(8, w)
        self.out = nn.Conv2d(w, config.channels * p * p, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, xt: Tensor, t: Tensor, label: Tensor, length: Tensor) -> Tensor:
        """See `UNetConfig.build`."""
        c = self.condition(t, label, length)
        x, m = _pad_to(xt, 2 * self.patch)
        x = _apply(self.down, self.stem(x), c)
        skip = self.mix_down(x, c)
        x = self.mix_bottom(_apply(self.bottom, self.shrink(skip), c), c)
        x = torch.cat([_double(self.grow(x)), skip], 1)
        x = self.mix_up(_apply(self.up, x, c), c)
        x = F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.patch)[..., :m, :m]
        return 0.5 * (x + x.mT)


class ResBlock(nn.Module):
    """Two normalised convolutions with a skip; the condition scales and shifts in between."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm_first = nn.GroupNorm(8, inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm_second = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(condition, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.modulate(F.silu(c))[..., None, None].chunk(2, 1)
        h = self.first(F.silu(self.norm_first(x)))
        h = self.norm_second(h) * (1 + scale) + shift
        return self.skip(x) + self.second(F.silu(h))  # type: ignore[no-any-return]


class SeriesMixer(nn.Module):
    """Row and column means as a series; its points attend to each other; added back."""

    def __init__(self, width: int, condition: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Linear(32, width)
        self.norm = nn.LayerNorm(width)
        self.modulate = nn.Linear(condition, 2 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.out = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        s = (0.5 * (x.mean(2) + x.mean(3))).mT  # (B, k, width)
        s = s + self.place(_waves(torch.arange(s.shape[1], device=s.device).float()))
        scale, shift = self.modulate(F.silu(c)).unsqueeze(1).chunk(2, 2)
        s = s + self.join(self._attend(self.norm(s) * (1 + scale) + shift))
        s = s + self.mlp(self.norm_mlp(s))
        add, gate = _across(self.out(s).mT).chunk(2, 1)  # each (B, width, k, k)
        return x * (1 + gate) + add

    def _attend(self, s: Tensor) -> Tensor:
        b, k, width = s.shape
        q, key, v = self.qkv(s).view(b, k, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, key, v).transpose(1, 2).reshape(b, k, width)


def _across(s: Tensor) -> Tensor:
    """(B, C, k) to (B, C, k, k): s_i + s_j."""
    return s.unsqueeze(2) + s.unsqueeze(3)


def _apply(blocks: nn.ModuleList, x: Tensor, c: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, c)
    return x


def _pad_to(x: Tensor, multiple: int) -> tuple[Tensor, int]:
    """Padded to a multiple on the right and below, and the size it had."""
    m = x.shape[-1]
    more = -m % multiple
    return (F.pad(x, (0, more, 0, more)), m) if more else (x, m)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
