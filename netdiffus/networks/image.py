"""Diffusion on GASF images: loss and sampling around a U-Net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netdiffus.diffusion import Diffusion
from netdiffus.networks.batch import Batch
from netdiffus.networks.draws import Draws
from netdiffus.networks.layers.conditions import Conditions
from netdiffus.networks.layers.image_unet import ImageUNet
from netdiffus.networks.layers.paper_unet import PaperUNet
from netdiffus.ops.denoise import Step, denoise_step
from netdiffus.ops.noise import normal, uniform

TIME_DRAW, NOISE_DRAW = 1, 0  # Philox steps of training


@dataclass(frozen=True)
class ImageConfig:
    """Everything that fixes the shape of the network.

    Attributes:
        channels: Channels C of the images.
        size: Height and width m of the images.
        classes: Number of classes.
        columns: Number of values of each column; the last one is the length.
        width: Features at the finest level of the U-Net.
        plain: Whether the U-Net is the paper's, not the stronger one.
    """

    channels: int
    size: int
    classes: int
    columns: tuple[int, ...]
    width: int = 64
    plain: bool = False


class ImageNetwork(nn.Module):
    """p(images | class, columns) by diffusion, and p(columns | class).

    The U-Net is given the noisy image xt, the time t, and the features of class and columns. One of
    the columns is the length, which an image does not always show.

    Args:
        config: The shape.
        diffusion: The noise process.
        draw: Images (B, C, m, m) in [0, 1] of series (B, C, k) in [0, 1].
    """

    def __init__(
        self, config: ImageConfig, diffusion: Diffusion, draw: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.config, self.diffusion, self.draw = config, diffusion, draw
        self.unet: PaperUNet | ImageUNet
        if config.plain:
            self.unet = PaperUNet(config.channels, config.width)
        else:
            self.unet = ImageUNet(config.channels, config.size, config.width)
        self.conditions = Conditions(config.classes, config.columns, self.unet.condition_width)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch of series: of the U-Net on noisy images, and of the columns.

        The columns count as one point of m. Otherwise their gradient would dominate that of the
        U-Net, because both are clipped together.

        Times and noise depend on `batch.draws` alone.
        """
        times = uniform(0, batch.draws, TIME_DRAW) * self.diffusion.num_timesteps
        t = times.long()
        x0 = 2 * self.draw(batch.data) - 1
        xt, target = self.diffusion.q_sample(x0, t, 0, batch.draws, NOISE_DRAW)
        out = self.unet(xt, t, self.conditions(batch.label, batch.columns))
        columns = self.conditions.loss(batch) / self.config.size
        return (self.diffusion.training_loss(out, target) + columns).mean()

    @torch.inference_mode()
    def generate(
        self, draws: Draws, columns: Tensor, steps: list[Step], backend: str = "auto"
    ) -> Tensor:
        """Images (B, C, m, m) in [0, 1]; `steps` are those of `Diffusion.steps`, noisiest first.

        The other arguments are those of `CausalNetwork.generate`.
        """
        condition = self.conditions(draws.label, columns)
        shape = self.config.channels, self.config.size, self.config.size
        how: dict[str, Any] = {"symmetric": self.diffusion.symmetric, "backend": backend}
        xt = normal(draws.seed, draws.index, 0, shape, **how)
        how |= {"seed": draws.seed, "index": draws.index}
        x0 = torch.empty_like(xt)  # the first step reads none
        for k, step in enumerate(steps, start=1):
            t = torch.full_like(draws.index, step.t)
            out = self.diffusion.activate(self.unet(xt, t, condition))
            denoise_step(step, xt, out, x0, draw=k, out=(xt, x0), **how)
        return (0.5 * (xt + 1)).clamp(0, 1)
