"""The U-Net as the paper describes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WAVES = 32


class PaperUNet(nn.Module):
    """Five levels: two down, two up, skip connections between matching levels.

    Each level is conv2d + ReLU twice; max-pooling halves, nearest-neighbour upsampling doubles.
    Time, class and columns are added after the first convolution of each level.

    Args:
        channels: Channels C of the images.
        width: Features w at the finest level.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        w = width
        self.condition_width = 4 * w
        self.time = nn.Linear(WAVES, 4 * w)
        self.condition = nn.Linear(4 * w, 4 * w)
        inputs = (channels, w, 2 * w, 4 * w + 2 * w, 2 * w + w)
        outputs = (w, 2 * w, 4 * w, 2 * w, w)
        self.levels = nn.ModuleList(
            Level(i, o, 4 * w) for i, o in zip(inputs, outputs, strict=True)
        )
        self.out = nn.Conv2d(w, channels, 1)

    def forward(self, xt: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The answer (B, C, m, m) to noisy images at times t (B,), given features (B, 4 w)."""
        c = F.silu(self.condition(F.silu(self.time(waves(t)) + condition)))
        first, second, bottom, third, fourth = self.levels
        m = xt.shape[-1]
        one = first(F.pad(xt, (0, -m % 4, 0, -m % 4)), c)
        two = second(F.max_pool2d(one, 2), c)
        x = bottom(F.max_pool2d(two, 2), c)
        x = third(torch.cat([_double(x), two], 1), c)
        x = fourth(torch.cat([_double(x), one], 1), c)
        return self.out(x)[..., :m, :m]  # type: ignore[no-any-return]


class Level(nn.Module):
    """conv2d + ReLU, condition, conv2d + ReLU."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shift = nn.Linear(condition, outputs)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """(B, inputs, m, m) and features (B, condition) -> (B, outputs, m, m)."""
        x = F.relu(self.first(x) + self.shift(c)[..., None, None])
        return F.relu(self.second(x))


def waves(value: Tensor) -> Tensor:
    """(B,) to (B, WAVES) sines and cosines of periods 6 to 60,000 (Vaswani et al., 2017)."""
    k = WAVES // 2
    rate = torch.exp(torch.arange(k, device=value.device) * (-math.log(10_000.0) / k))
    angle = value.unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
