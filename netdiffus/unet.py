"""The networks that learn to take noise off GASF images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.covariance import Covariance
from netdiffus.errors import InputError
from netdiffus.levels import Levels, cosines, level_of
from netdiffus.ops.attention import attention
from netdiffus.ops.levels import COSINES, level_chances, level_loss, level_means
from netdiffus.ops.linear import halved, linear
from netdiffus.ops.modulate import TAPS, modulate
from netdiffus.totals import Totals

PRESETS = ("default", "paper")
CONDITION = 192  # features of step, class and length together
WAVES = 32
HEADS = 4
TOLD = (torch.asinh, torch.tanh)  # of what a trace comes to, in standard deviations: far and near


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the network's shape.

    Attributes:
        preset: `default` or `paper`.
        channels: Channels of the images.
        size: Height and width of the images, their border included.
        border: Rows and columns of them that show constant points.
        gamma: Contrast of the images.
        steps: T, the times there are.
        classes: Number of classes.
        variants: The class of each of their variants; () if each class is its only one.
        width: Features at the finest level; of `default` at all levels, a multiple of 8.
        blocks: `default` only: blocks per level, on the way down, below and up.
        levels: `default` only: how many levels a point may take, by channel.
        groups: `default` only: covariance matrices, one to a class or 1 for all.
        patch: `default` only: points to a token.
        totals: `default` only: whether the network is told what a trace comes to.
    """

    preset: str = "default"
    channels: int = 1
    size: int = 64
    border: int = 0
    gamma: float = 1.0
    steps: int = 1000
    classes: int = 1
    variants: tuple[int, ...] = ()
    width: int = 96
    blocks: int = 1
    levels: tuple[int, ...] = (1,)
    groups: int = 1
    patch: int = 1
    totals: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        for name in ("channels", "size", "classes", "width", "blocks", "groups", "patch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.preset == "default" and self.width % (2 * HEADS):
            raise InputError(f"width must be a multiple of {2 * HEADS}, got {self.width}")
        if self.preset == "default" and not 0 < self.border < self.size:
            raise InputError(
                "preset 'default' reads the series on the border of its images: give the codec "
                f"border=1 at least, and less than the size {self.size} of the images; it is "
                f"{self.border}"
            )

    @property
    def points(self) -> int:
        """Points of a trace that an image shows."""
        return self.size - self.border

    @property
    def rows(self) -> int:
        """Rows that an image is to the products of the network, about."""
        return self.size // self.patch

    def build(self) -> nn.Module:
        """The network: `net(xt, t, variant, length, backend="auto") -> out`, both (B, C, m, m).

        `backend="torch"` is the plain form of the same maths; `default` has faster ones, and reads
        the border of xt, which it also takes alone, (B, C, points, border). Given the `levels`
        (B, points, C) that the points of the traces lie in, `default` returns (B,) instead: minus
        the logarithm of the chance that it gave them, as the mean over points.
        """
        return PaperUNet(self) if self.preset == "paper" else DefaultUNet(self)


class Condition(nn.Module):
    """Step, variant of a class, length, and more, as one vector of features for linear maps."""

    def __init__(self, variants: int, width: int, more: int = 0) -> None:
        super().__init__()
        self.variant = nn.Embedding(variants, width)
        nn.init.zeros_(self.variant.weight)
        self.number = nn.Linear(2 * WAVES + more, width)
        self.out = nn.Linear(width, width)

    def forward(self, t: Tensor, variant: Tensor, length: Tensor, *more: Tensor) -> Tensor:
        """(B,) int64 t in 0..999 or so, (B,) variant, (B,) length in [0, 1] -> (B, width)."""
        numbers = torch.cat([_waves(t), _waves(1000 * length), *more], 1)
        c = self.out(F.silu(self.number(numbers) + self.variant(variant)))
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
        self.condition = Condition(len(config.variants) or config.classes, 4 * w)
        inputs = (config.channels, w, 2 * w, 4 * w + 2 * w, 2 * w + w)
        outputs = (w, 2 * w, 4 * w, 2 * w, w)
        self.levels = nn.ModuleList(
            PlainLevel(i, o, 4 * w) for i, o in zip(inputs, outputs, strict=True)
        )
        self.out = nn.Conv2d(w, config.channels, 1)

    def forward(
        self, xt: Tensor, t: Tensor, variant: Tensor, length: Tensor, backend: str = "auto"
    ) -> Tensor:
        """See `UNetConfig.build`; its layers are torch's own on every backend."""
        c = self.condition(t, variant, length)
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
    """A U-Net over the points of GASF images, which corrects what counting already tells.

    The border of an image shows the series by itself. Bayes' rule gives the chance of each level
    at each point of it: how often training traces of the class had it there (`Levels`), times how
    likely the noise is that would explain the border, times what the other points tell if they
    vary together as normal variables do (`Covariance`). The network sees the border and these
    chances, one token a point (or a patch of several) at the fine level, one for two tokens below
    it, a skip connection across, and adds to the logarithm of each chance what more the points tell
    of each other. It is also told what the trace comes to by these chances (`Totals`), where points
    do not show that. So it starts as a normal copula of each class's own distributions, and has
    only the rest to learn.

    The image that it answers with is the mean over the levels, of points taken as independent
    given all that was seen: x_i x_j - s_i s_j with x and s the means of cosine and sine. Given the
    noisy border alone this is what sampling needs of the border to be exact; of the other pixels
    it is so in the end, when all points are certain, and they are not read before.
    """

    of_variant: Tensor
    spans: Tensor
    cosines: Tensor
    smooth: Tensor
    chances: Tensor
    noise: Tensor
    mean: Tensor
    variances: Tensor
    vectors: Tensor
    worth: Tensor
    usual: Tensor
    spread: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        if len(config.levels) != config.channels:
            raise InputError(
                f"levels must have a number for each of {config.channels} channels, got "
                f"{config.levels}"
            )
        self.config = config
        w, c, m, k = config.width, config.channels, config.points, sum(config.levels)
        told = len(TOLD) * c if config.totals else 0
        self.condition = Condition(len(config.variants) or config.classes, CONDITION, told)
        self.points = nn.Linear(config.patch * (k + c * (1 + COSINES)), w)
        self.place = nn.Linear(WAVES, w)
        self.down = nn.ModuleList(Block(w) for _ in range(config.blocks))
        self.shrink = nn.Linear(2 * w, w)
        self.bottom = nn.ModuleList(Block(w) for _ in range(config.blocks))
        self.grow = nn.Linear(w, 2 * w)
        self.join = nn.Linear(2 * w, w)
        self.up = nn.ModuleList(Block(w) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(w)
        self.levels = nn.Linear(w, config.patch * (k + c * COSINES))
        nn.init.zeros_(self.levels.weight)
        nn.init.zeros_(self.levels.bias)
        known = {
            "spans": torch.zeros(k, 3),
            "chances": torch.zeros(config.classes, m, k),
            "noise": torch.ones(config.steps),
            "mean": torch.zeros(config.classes, c * m),
            "variances": torch.ones(config.groups, c * m),
            "vectors": torch.eye(c * m).repeat(config.groups, 1, 1),
        }
        if config.totals:
            known |= {
                "worth": torch.zeros(config.classes, m, k),
                "usual": torch.zeros(config.classes, c),
                "spread": torch.ones(config.classes, c),
            }
        for name, tensor in known.items():
            self.register_buffer(name, tensor)
        waves = cosines(config.levels)
        channel = torch.arange(c).repeat_interleave(torch.tensor(config.levels))
        smooth = (F.one_hot(channel).unsqueeze(2) * waves.unsqueeze(1)).flatten(1)
        of_variant = torch.tensor(config.variants or range(config.classes))
        self.register_buffer("of_variant", of_variant, persistent=False)
        self.register_buffer("cosines", waves, persistent=False)
        self.register_buffer("smooth", smooth, persistent=False)

    def know(self, *counted: Levels | Covariance | Totals, alphas_cumprod: Tensor) -> None:
        """Takes over what was counted in the training traces, and the noise of each step."""
        for part in counted:
            for name, known in vars(part).items():
                if isinstance(known, Tensor):
                    self.get_buffer(name).copy_(known)
        self.noise.copy_(((1 - alphas_cumprod) / alphas_cumprod).sqrt())

    def level_of(self, series: Tensor) -> Tensor:
        """The levels, int64 (N, m, C), of the points of series (N, C, m) in [0, 1]."""
        x = contrast(series, self.config.gamma).to(self.spans.device)
        return level_of(x, self.spans, self.config.levels)

    def forward(
        self,
        xt: Tensor,
        t: Tensor,
        variant: Tensor,
        length: Tensor,
        backend: str = "auto",
        levels: Tensor | None = None,
    ) -> Tensor:
        """See `UNetConfig.build`."""
        m, label, sizes = self.config.points, self.of_variant[variant], self.config.levels
        inside = torch.arange(m, device=t.device) < (length.unsqueeze(1) * m - 1e-3).ceil()
        noise = self.noise[t].square()
        alone = xt.shape[-1] == self.config.border
        border = (xt if alone else xt[:, :, :m, m:]).mean(-1).mT
        edge = border * (1 + noise).sqrt().view(-1, 1, 1)
        variance = noise / self.config.border
        slope, curve = self._varied(edge, variance, label, inside, backend)
        seen = border, edge, variance, slope, curve
        known = self.chances[label], *seen, self.spans, self.cosines, sizes
        chances, features = level_chances(*known, backend=backend)
        c = self.condition(t, variant, length, *self._totals(features, inside, label))
        told = self._told(features, c, backend)
        if levels is not None:
            lost = level_loss(chances, told, levels, sizes, backend=backend)
            return (lost * inside.unsqueeze(2)).mean((1, 2))
        given = chances, told, edge, variance, self.spans, sizes
        means = level_means(*given, gamma=self.config.gamma, backend=backend)
        return self._image(means.mT, inside.unsqueeze(1))

    def _varied(
        self, edge: Tensor, variance: Tensor, label: Tensor, inside: Tensor, backend: str
    ) -> tuple[Tensor, Tensor]:
        """How much likelier the other points make x: exp(slope x + curve x^2), both (B, m, C)."""
        known = Covariance(self.mean, self.variances, self.vectors)
        mean, after, before = known.others(edge.mT, variance, label, inside, backend)
        usual = self.mean[label].view_as(mean)
        curve, slope = 0.5 / before - 0.5 / after, mean / after - usual / before
        return slope.mT, curve.mT

    def _totals(self, features: Tensor, inside: Tensor, label: Tensor) -> list[Tensor]:
        """What the trace comes to by the chances among the features, (B, 2 C), if that is told."""
        config = self.config
        if not config.totals:
            return []
        roots = features[..., config.channels : config.channels + sum(config.levels)]
        totals = Totals(self.worth, self.usual, self.spread)
        apart = totals.expected(roots.square().mul_(1 / 16), inside, label, config.levels)
        return [f(apart) for f in TOLD]

    def _told(self, features: Tensor, c: Tensor, backend: str) -> Tensor:
        """What the network adds to the logarithms, (B, m, S): a smooth part and a free one."""
        points, patch = features.shape[1], self.config.patch
        s = _alone(self.points, _patches(features, patch), backend)
        s = s + self.place(_waves(torch.arange(s.shape[1], device=s.device)))
        s = _apply(self.down, s, c, backend)
        s = _alone(self.join, torch.cat([s, self._below(s, c, backend)], 2), backend)
        s = self.norm(_apply(self.up, s, c, backend))
        k, layer = len(self.spans), self.levels
        weight = layer.weight.view(patch, -1, self.config.width)
        bias = layer.bias.view(patch, -1)
        by_level = (weight[:, :k] + self.smooth @ weight[:, k:]).flatten(0, 1)
        given = halved(s, backend), by_level, (bias[:, :k] + bias[:, k:] @ self.smooth.T).flatten()
        told = linear(*given, backend=backend).to(s.dtype)
        return told.reshape(len(s), -1, k)[:, :points]

    def _below(self, s: Tensor, c: Tensor, backend: str) -> Tensor:
        """Pairs of tokens as one, (B, n, w) -> (B, n, w)."""
        pairs = _alone(self.shrink, _patches(s, 2), backend)
        grown = _alone(self.grow, _apply(self.bottom, pairs, c, backend), backend)
        return grown.reshape(len(s), -1, s.shape[2])[:, : s.shape[1]]

    def _image(self, means: Tensor, inside: Tensor) -> Tensor:
        """The mean image in [-1, 1], (B, C, m + border, m + border), of means (3, B, C, m)."""
        border = self.config.border
        cosine, sine, square = (
            F.pad(torch.where(inside, mean, outside), (0, border), value=end)
            for mean, outside, end in zip(means, (0.0, 1.0, 0.0), (1.0, 0.0, 1.0), strict=True)
        )
        g = cosine.unsqueeze(-1) * cosine.unsqueeze(-2) - sine.unsqueeze(-1) * sine.unsqueeze(-2)
        g.diagonal(dim1=-2, dim2=-1).copy_(2 * square - 1)
        return contrast(g, self.config.gamma)


def _patches(s: Tensor, patch: int) -> Tensor:
    """So many tokens as one, the last filled up with zeros: (B, n, w), (B, n / patch, patch w)."""
    b, n, w = s.shape
    return F.pad(s, (0, 0, 0, -n % patch)).reshape(b, -1, patch * w) if patch > 1 else s


def contrast(g: Tensor, gamma: float) -> Tensor:
    """A GASF in [-1, 1] as the codec draws it, brought to [-1, 1] again."""
    return g if gamma == 1 else 2 * (0.5 * (g + 1)).clamp(min=0) ** gamma - 1


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
        h = halved(modulate(s, a, b, taps, self.near.bias, backend=backend), backend)
        fused = "torch" if backend == "torch" else "auto"  # no kernel of every backend
        h = attention(_map(self.qkv, h, backend), HEADS, backend=fused)
        h = _map(self.join, h, backend)
        s = torch.addcmul(s, gate.unsqueeze(1), h.to(s.dtype))
        h = halved(modulate(s, a2, b2, backend=backend), backend)
        h = _map(self.narrow, _map(self.wide, h, backend, gelu=True), backend)
        return torch.addcmul(s, gate2.unsqueeze(1), h.to(s.dtype))

    def matrices(self) -> list[Tensor]:
        """The weights that map features to features."""
        return [layer.weight for layer in (self.qkv, self.join, self.wide, self.narrow)]


def _map(layer: nn.Linear, x: Tensor, backend: str, gelu: bool = False) -> Tensor:
    return linear(x, layer.weight, layer.bias, gelu=gelu, backend=backend)


def _alone(layer: nn.Linear, x: Tensor, backend: str) -> Tensor:
    """A map whose neighbours take and give x's own dtype."""
    return _map(layer, halved(x, backend), backend).to(x.dtype)


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
