"""A U-Net on whole GASF images, for budgets of minutes on a CPU and up."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.networks.layers.paper_unet import WAVES, waves

MOST_PATCHES = 8  # along a side; with 16 a CPU takes a third of the training steps in equal time
HEADS = 4
GROUPS = 8


class ImageUNet(nn.Module):
    """Two levels of residual blocks over patches of the image, attention at the coarse one.

    Patches of p x p pixels, p = ceil(m / 8), become w features each. Blocks at that level, at half
    of it (2 w features, with attention), and at that level again with a skip connection; then each
    patch's features give its pixels. Time, class and columns scale and shift the features of each
    block. The answer is made symmetric, as the images are.

    Args:
        channels: Channels C of the images.
        size: Height and width m of the images.
        width: Features w, a multiple of 8.
    """

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.condition_width = c = 4 * width
        self.patch = p = -(-size // MOST_PATCHES)
        self.time, self.condition = nn.Linear(WAVES, c), nn.Linear(c, c)
        self.read = nn.Conv2d(channels, width, p, stride=p)
        patches = -(-size // p)
        self.place = nn.Parameter(torch.zeros(1, width, patches, patches))
        nn.init.normal_(self.place, std=0.02)
        self.down = nn.ModuleList(Residual(width, width, c) for _ in range(2))
        self.shrink = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.bottom = nn.ModuleList(Residual(2 * width, 2 * width, c) for _ in range(2))
        self.attention = Attention(2 * width)
        self.grow = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.up = nn.ModuleList(Residual(k * width, width, c) for k in (2, 1))
        self.norm = nn.GroupNorm(GROUPS, width)
        self.write = nn.ConvTranspose2d(width, channels, p, stride=p)
        nn.init.zeros_(self.write.weight)

    def forward(self, xt: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The answer (B, C, m, m) to noisy images at times t (B,), given features (B, 4 w)."""
        m = xt.shape[-1]
        c = F.silu(self.condition(F.silu(self.time(waves(t)) + condition)))
        x = self.read(F.pad(xt, (0, -m % self.patch, 0, -m % self.patch))) + self.place
        for block in self.down:
            x = block(x, c)
        x = torch.cat([x, self._coarse(x, c)], 1)
        for block in self.up:
            x = block(x, c)
        out: Tensor = self.write(F.silu(self.norm(x)))[..., :m, :m]
        return 0.5 * (out + out.mT)

    def _coarse(self, x: Tensor, c: Tensor) -> Tensor:
        n = x.shape[-1]
        x = self.shrink(F.pad(x, (0, n % 2, 0, n % 2)))
        x = self.attention(self.bottom[0](x, c))
        grown: Tensor = self.grow(self.bottom[1](x, c))
        return grown[..., :n, :n]


class Residual(nn.Module):
    """Two 3 x 3 convolutions on normalised features, added to the input; starts as a plain map."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, k) for k in (inputs, outputs))
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(condition, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """(B, inputs, n, n) and features (B, condition) -> (B, outputs, n, n)."""
        scale, shift = self.modulate(c)[..., None, None].chunk(2, 1)
        h = self.first(F.silu(self.norms[0](x)))
        h = self.second(F.silu(self.norms[1](h) * (1 + scale) + shift))
        added: Tensor = self.skip(x) + h
        return added


class Attention(nn.Module):
    """Self-attention of all patches to all patches, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv, self.join = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, w, n, n) -> (B, w, n, n)."""
        b, w, n, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(b, 3, HEADS, w // HEADS, n * n).mT
        q, k, v = qkv.unbind(1)
        found = F.scaled_dot_product_attention(q, k, v).mT.reshape(b, w, n, n)
        added: Tensor = x + self.join(found)
        return added
