"""Gaussian diffusion of the points of a series, as normal quantiles of their tokens' ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.diffusion import Diffusion
from netdiffus.networks.batch import Batch
from netdiffus.networks.denoiser import Denoiser, DenoiserConfig, first_points
from netdiffus.networks.draws import Draws
from netdiffus.networks.layers.conditions import Conditions, draw_points
from netdiffus.networks.layers.tokens import FEATURE_SCALE, WAVES, TokenLogits, cosines
from netdiffus.ops.denoise import Step, denoise_step
from netdiffus.ops.draw_tokens import draw_tokens
from netdiffus.ops.noise import normal, uniform

TIME_DRAW, NOISE_DRAW = 1, 0  # Philox steps of training
SPREAD = 0.36  # standard deviation of the coordinates of 256 tokens
AGAIN = 0.5  # share of the batches in which the network is given its own first output
NOISE = 2**28  # Philox step of sampling, of the first noise


class SeriesNetwork(nn.Module):
    """p(trace | class, columns) by diffusion of the coordinates of its points.

    The coordinate of a token s of S is z(s) = q((s + 1/2) / S) / q(1 - 1 / (2 S)), q the quantile
    function of the normal distribution, so that noise moves a value to nearby values. The inputs of
    the network are noisy coordinates and its own previous output (self-conditioning); its outputs
    are logits of all tokens, and x0 is the mean of z under them. After the last step tokens are
    drawn from the logits.

    Args:
        config: The shape.
        diffusion: The noise process, with prediction `x0`.
        lengths: Vocabulary of the last column, the number of points.
    """

    def __init__(self, config: DenoiserConfig, diffusion: Diffusion, lengths: Vocabulary) -> None:
        super().__init__()
        w, self.config, self.diffusion, self.lengths = config.width, config, diffusion, lengths
        sizes = (config.sizes[0] - 1, *config.sizes[1:])  # without the end
        self.end = config.sizes[0] - 1  # token of the first feature, behind the last point
        self.conditions = Conditions(config.classes, config.columns, w)
        for f, size in enumerate(sizes):
            self.register_buffer(f"coordinate{f}", coordinates(size), persistent=False)
        self.read = nn.Linear(len(sizes) * (2 + WAVES), w)
        self.place = nn.Embedding(config.points, w)
        nn.init.normal_(self.place.weight, std=FEATURE_SCALE)
        self.time = nn.Linear(WAVES, w)
        self.body = Denoiser(config)
        self.logits = nn.ModuleList(TokenLogits(w, size) for size in sizes)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of -log p of tokens, given noisy coordinates, and of columns, in nats a point.

        Times and noise depend on `batch.draws` alone.
        """
        inside = batch.data[:, :, 0] != self.end
        t = (uniform(0, batch.draws, TIME_DRAW) * self.diffusion.num_timesteps).long()
        x0 = self._coordinates(batch.data, inside)
        xt, _ = self.diffusion.q_sample(x0, t, 0, batch.draws, NOISE_DRAW)
        condition = self.conditions(batch.label, batch.columns)
        last = torch.zeros_like(xt)
        if not self.training or torch.rand(()) < AGAIN:
            with torch.no_grad():
                last = self._mean(self._answer(xt, last, t, condition, inside))
        x = self._answer(xt, last, t, condition, inside)[inside]
        lost = x.new_zeros(())
        for f, logits in enumerate(self.logits):
            lost = lost + nn.functional.cross_entropy(
                logits(x), batch.data[..., f][inside], reduction="sum"
            )
        columns = self.conditions.loss(batch).sum()
        return (lost + columns) / inside.sum()

    def _coordinates(self, tokens: Tensor, inside: Tensor) -> Tensor:
        """(B, F, T, 1) in [-1, 1], 0 behind the end."""
        found = []
        for f in range(len(self.config.sizes)):
            z = self.get_buffer(f"coordinate{f}")
            found.append(z[torch.where(inside, tokens[..., f], 0)] * inside)
        return torch.stack(found, 1).unsqueeze(-1)

    def _answer(
        self, xt: Tensor, last: Tensor, t: Tensor, condition: Tensor, inside: Tensor
    ) -> Tensor:
        """Features (B, T, w) of all points."""
        alpha = self.diffusion.alphas_cumprod.to(t.device)[t].float().view(-1, 1, 1, 1)
        deviation = (alpha * SPREAD**2 + 1 - alpha).sqrt()
        points = (xt / deviation).squeeze(-1).mT  # (B, T, F)
        waves = cosines(torch.special.ndtr(points))
        seen = torch.cat([points, last.squeeze(-1).mT, waves.flatten(2)], -1)
        x = self.read(seen) + self.place.weight + condition.unsqueeze(1)
        log_snr = (alpha * SPREAD**2 / (1 - alpha)).log().view(-1, 1)
        k = torch.arange(1, WAVES + 1, device=xt.device)
        steer = condition + self.time(torch.cos(log_snr / 8 * k + torch.pi / 4))
        found: Tensor = self.body(x, steer, inside)
        return found

    def _mean(self, x: Tensor) -> Tensor:
        """(B, F, T, 1): the expected coordinates."""
        found = [
            logits(x).softmax(-1) @ self.get_buffer(f"coordinate{f}")
            for f, logits in enumerate(self.logits)
        ]
        return torch.stack(found, 1).unsqueeze(-1)

    @torch.inference_mode()
    def generate(
        self, draws: Draws, columns: Tensor, steps: list[Step], backend: str = "auto"
    ) -> Tensor:
        """Tokens (B, T, F); `steps` are those of `Diffusion.steps`, noisiest first.

        The other arguments are those of `CausalNetwork.generate`.
        """
        condition = self.conditions(draws.label, columns)
        points = draw_points(self.lengths, columns, draws, self.config.points)
        inside = first_points(points, self.config.points)
        shape = len(self.config.sizes), self.config.points, 1
        how: dict[str, Any] = {"symmetric": False, "backend": backend}
        xt = normal(draws.seed, draws.index, NOISE, shape, **how)
        how |= {"seed": draws.seed, "index": draws.index}
        x0 = torch.zeros_like(xt)
        for k, step in enumerate(steps, start=1):
            t = torch.full_like(draws.index, step.t)
            x = self._answer(xt, x0, t, condition, inside)
            if k == len(steps):
                break
            xt, x0 = denoise_step(step, xt, self._mean(x), x0, draw=NOISE + k, **how)
        return self._draw(x, inside, draws, backend)

    def _draw(self, x: Tensor, inside: Tensor, draws: Draws, backend: str) -> Tensor:
        features, t = len(self.config.sizes), self.config.points
        drawn = draws.uniforms(0, t * features).view(-1, t, features)
        tokens = draws.index.new_zeros(*inside.shape, features)
        for f, logits in enumerate(self.logits):
            u = drawn[..., f][inside]
            tokens[..., f][inside] = draw_tokens(logits(x[inside]), u, backend=backend)
        tokens[:, :, 0] = torch.where(inside, tokens[:, :, 0], self.end)
        return tokens


def coordinates(size: int) -> Tensor:
    """(S,) float32: z of each token, from -1 to 1."""
    rank = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    z = torch.special.ndtri(rank)
    return (z / z[-1].clamp(min=1e-3)).float() if size > 1 else torch.zeros(1)
