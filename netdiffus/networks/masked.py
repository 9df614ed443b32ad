"""Absorbing diffusion over the points of a trace: masked points are drawn, in any order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.networks.batch import Batch, Given
from netdiffus.networks.denoiser import Denoiser, DenoiserConfig, first_points
from netdiffus.networks.draws import Draws
from netdiffus.networks.layers.conditions import Conditions, draw_points
from netdiffus.networks.layers.tokens import (
    FEATURE_SCALE,
    WAVES,
    PointLogits,
    TokenEmbedding,
    cosines,
)
from netdiffus.ops.noise import uniform, uniforms

SHARE_DRAW, HIDE_DRAW = 1, 2  # Philox steps of training: of the share that is hidden, of points
ORDER_DRAW = 2**28  # Philox step of sampling, of the order of the first point; others follow
STEPS = 32  # of sampling, or fewer, where a trace has fewer points


class MaskedNetwork(nn.Module):
    """p(masked point | other points, length, class, columns), for each masked point independently.

    Training masks a share of the points, drawn uniformly from 0 to 1, and learns the masked ones.
    The mean over shares of their -log p, divided by the share, is an upper bound of -log p of the
    trace (Austin et al., 2021; Shi et al., 2024). Sampling begins with all points masked, and draws
    some of them in each step, in a random order for each trace.

    Args:
        config: The shape.
        lengths: Vocabulary of the last column, the number of points.
        amounts: For each feature, whether its tokens are amounts: their logits have no temperature.
    """

    def __init__(
        self, config: DenoiserConfig, lengths: Vocabulary, amounts: Sequence[bool] = ()
    ) -> None:
        super().__init__()
        w, self.config, self.lengths = config.width, config, lengths
        self.end = config.sizes[0] - 1  # token of the first feature, behind the last point
        self.conditions = Conditions(config.classes, config.columns, w)
        self.tokens = nn.ModuleList(TokenEmbedding(size, w) for size in config.sizes)
        self.hidden = nn.Parameter(torch.zeros(w))
        self.place = nn.Embedding(config.points, w)
        nn.init.normal_(self.place.weight, std=FEATURE_SCALE)
        self.share = nn.Linear(WAVES, w)
        self.body = Denoiser(config)
        self.logits = PointLogits(config.sizes, w, amounts)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of the bound of -log p of points, and of -log p of columns, in nats a point.

        Shares and masked points depend only on `batch.draws`.
        """
        inside = batch.data[:, :, 0] != self.end
        share = 0.02 + 0.98 * uniform(0, batch.draws, SHARE_DRAW).float()
        drawn = uniforms(0, batch.draws, HIDE_DRAW, batch.data.shape[1])
        hidden = (drawn < share.unsqueeze(1)) & inside
        condition = self.conditions(batch.label, batch.columns)
        x = self._answer(batch.data, hidden, inside, condition, share)
        lost: Tensor = sum(self.logits.losses(x[hidden], batch.data[hidden]), x.new_zeros(()))
        weight = (1 / share).unsqueeze(1).expand_as(hidden)[hidden]
        columns = self.conditions.loss(batch)
        return ((lost * weight).sum() + columns.sum()) / inside.sum()

    def _answer(
        self, tokens: Tensor, hidden: Tensor, inside: Tensor, condition: Tensor, share: Tensor
    ) -> Tensor:
        """Features (B, T, w) of all points, given those that are not masked."""
        seen: Tensor = sum(embed(tokens[..., f]) for f, embed in enumerate(self.tokens))
        x = torch.where(hidden.unsqueeze(-1), self.hidden, seen) + self.place.weight
        steer = condition + self.share(cosines(share))
        found: Tensor = self.body(x + condition.unsqueeze(1), steer, inside)
        return found

    @torch.inference_mode()
    def generate(
        self,
        draws: Draws,
        columns: Tensor,
        steps: int,
        backend: str = "auto",
        given: Given | None = None,
    ) -> Tensor:
        """Tokens (B, T, F), after `steps` runs of the network, at most T.

        The other arguments are those of `CausalNetwork.generate`. Any points may be given; they
        then also fix how many there are.
        """
        condition = self.conditions(draws.label, columns)
        if given is None:
            points = draw_points(self.lengths, columns, draws, self.config.points)
            inside = wanted = first_points(points, self.config.points)
        else:
            inside = given.tokens[:, :, 0] != self.end
            wanted = inside & ~given.known
        points, missing = inside.sum(1), wanted.sum(1)
        order = _ranks(draws.seed, draws.index, wanted)
        shape = self.config.points, len(self.config.sizes)
        drawn = draws.uniforms(0, shape[0] * shape[1]).view(-1, *shape)
        draw = self.logits.draws(backend)
        tokens = columns.new_zeros(len(columns), *shape) if given is None else given.tokens.clone()
        for step in range(steps):
            done = (missing * step).div(steps, rounding_mode="floor").unsqueeze(1)
            then = (missing * (step + 1)).div(steps, rounding_mode="floor").unsqueeze(1)
            hidden = wanted & (order >= done)
            now = hidden & (order < then)
            share = hidden.sum(1) / points
            x = self._answer(tokens, hidden, inside, condition, share)
            tokens[now] = draw(x[now], list(drawn[now].unbind(1)), self.end)
        tokens[:, :, 0] = torch.where(inside, tokens[:, :, 0], self.end)
        return tokens


def _ranks(seed: int, index: Tensor, inside: Tensor) -> Tensor:
    """(B, T): the place of each point in the order; positions behind the end come last."""
    t = inside.shape[1]
    drawn = uniforms(seed, index, ORDER_DRAW, t)
    return torch.where(inside, drawn, 2.0).argsort(dim=1).argsort(dim=1)
