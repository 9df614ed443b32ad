"""An autoregressive transformer over the points of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.networks.batch import Batch
from netdiffus.networks.conditions import Conditions, draw_columns
from netdiffus.networks.transformer import Block, Cache, rank_waves
from netdiffus.ops.draw_tokens import draw_tokens
from netdiffus.ops.linear import linear
from netdiffus.ops.noise import uniform

WAVES = 16  # of the rank of a token
FEATURE_SCALE = 0.02  # standard deviation of embeddings at the start
# Standard deviation, in bins, by which training moves values: of points before, and of the point
# that is learned. A value of an amount is then learned with its neighbours, as few traces have it.
GIVEN_JITTER, WANTED_JITTER = 2.0, 1.5


@dataclass(frozen=True)
class CausalConfig:
    """Everything that fixes the shape of the network.

    Attributes:
        points: Points T of a trace at most.
        sizes: Tokens of each feature of a point; the last of the first feature is the end.
        classes: Number of classes.
        columns: Number of values of each column.
        width: Features w of a point inside the network, a multiple of `heads`.
        layers: Blocks.
        heads: Attention heads.
        expansion: Hidden features of a block's two-layer network, as a multiple of w.
        dropout: Share of features that training sets to 0.
        hidden: Share of the points before that training hides, at most; each trace has a share of
            its own, drawn evenly from 0 to this.
        jittered: Of each feature, whether training moves values to bins near by: those of amounts.
    """

    points: int
    sizes: tuple[int, ...]
    classes: int
    columns: tuple[int, ...] = ()
    width: int = 128
    layers: int = 3
    heads: int = 4
    expansion: int = 2
    dropout: float = 0.2
    hidden: float = 1.0
    jittered: tuple[bool, ...] = ()


class CausalNetwork(nn.Module):
    """p(trace | class, columns) as a product over points and features.

    p(trace) = prod over t, f of p(token (t, f) | class, columns, points before t, features before
    f of point t). A point is embedded as the sum of its tokens' embeddings, of waves of their
    ranks, and of what the values so far come to (`RunningTotals`). The sum of the point before, the
    place and the conditions goes through blocks of causal attention. The first feature's logits are
    linear in the result; those of later features pass one hidden layer that is also given the
    features before.

    Args:
        config: The shape.
        vocabularies: Of each feature.
    """

    def __init__(self, config: CausalConfig, vocabularies: Sequence[Vocabulary]) -> None:
        super().__init__()
        w, self.config = config.width, config
        self.conditions = Conditions(config.classes, config.columns, w)
        self.tokens = nn.ModuleList(TokenEmbedding(size, w) for size in config.sizes)
        self.start = nn.Parameter(torch.zeros(w))
        self.place = nn.Embedding(config.points, w)
        nn.init.normal_(self.place.weight, std=FEATURE_SCALE)
        self.totals = RunningTotals([torch.from_numpy(v.middles) for v in vocabularies], w)
        self.jitter = nn.ModuleDict(
            {str(f): Jitter(v) for f, v in enumerate(vocabularies) if config.jittered[f]}
        )
        self.dropout = nn.Dropout(config.dropout)
        shape = w, config.heads, config.expansion, config.dropout
        self.blocks = nn.ModuleList(Block(*shape) for _ in range(config.layers))
        self.norm = nn.LayerNorm(w)
        self.before = nn.ModuleList(TokenEmbedding(size, w) for size in config.sizes[:-1])
        self.mix = nn.ModuleList(nn.Linear(w, w) for _ in config.sizes[1:])
        self.logits = nn.ModuleList(TokenLogits(w, size) for size in config.sizes)

    @property
    def end(self) -> int:
        """The token of the first feature that stands behind the last point."""
        return self.config.sizes[0] - 1

    def loss(self, batch: Batch) -> Tensor:
        """Mean of -log p of points and columns of a batch of tokens, in nats a point."""
        tokens = batch.data
        given = self._jittered(tokens, GIVEN_JITTER) if self.training else None
        wanted = self._jittered(tokens, WANTED_JITTER) if self.training else tokens
        points, inside = self.log_loss(wanted, batch.label, batch.columns, given)
        total = points.sum() + self.conditions.loss(batch.label, batch.columns).sum()
        return total / inside.sum()

    def log_loss(
        self, tokens: Tensor, label: Tensor, columns: Tensor, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """-log p of each point and end, (B, T), 0 behind the end; and which those are.

        Args:
            tokens: int64 (B, T, F), `end` behind the last point.
            label: int64 (B,).
            columns: int64 (B, J).
            given: What the network is given of the points before, if not these tokens.
        """
        given = tokens if given is None else given
        is_point = tokens[:, :, 0] != self.end
        inside = F.pad(is_point[:, :-1], (1, 0), value=True)  # points and the end behind them
        x = self._attend(given, self.conditions(label, columns))
        lost = tokens.new_zeros(tokens.shape[:2], dtype=x.dtype)
        for f, logits in enumerate(self._all_logits(x, given)):
            one = F.cross_entropy(logits.flatten(0, 1), tokens[:, :, f].flatten(), reduction="none")
            counted = inside if f == 0 else is_point
            lost = lost + one.view_as(lost) * counted
        return lost, inside

    def _attend(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """(B, T, w): what is known of each point by the points before it."""
        before = self._embed(tokens[:, :-1]) + self.totals(tokens[:, :-1])
        before = self._hide(before)
        start = self.start.expand(len(tokens), 1, -1)
        x = torch.cat([start, before], 1) + self.place.weight + condition.unsqueeze(1)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x)
        return normed

    def _embed(self, tokens: Tensor) -> Tensor:
        found: Tensor = sum(embed(tokens[..., f]) for f, embed in enumerate(self.tokens))
        return found

    def _jittered(self, tokens: Tensor, deviation: float) -> Tensor:
        """The tokens, those of amounts moved to bins near by."""
        found = tokens.clone()
        for f, jitter in self.jitter.items():
            found[..., int(f)] = jitter(tokens[..., int(f)], deviation)
        return found

    def _hide(self, before: Tensor) -> Tensor:
        """Sets the features of some points to 0 in training, so that none is relied on alone."""
        if not self.training or not self.config.hidden:
            return before
        b, t, _ = before.shape
        share = self.config.hidden * torch.rand(b, 1, 1, device=before.device)
        kept = torch.rand(b, t, 1, device=before.device) >= share
        return before * kept

    def _all_logits(self, x: Tensor, tokens: Tensor) -> list[Tensor]:
        found = [self.logits[0](x)]
        for f in range(1, len(self.config.sizes)):
            x = x + self.before[f - 1](tokens[..., f - 1])
            found.append(self.logits[f](F.gelu(self.mix[f - 1](x))))
        return found

    @torch.inference_mode()
    def generate(
        self, label: Tensor, seed: int, index: Tensor, backend: str = "auto"
    ) -> tuple[Tensor, Tensor]:
        """Draws columns and traces of classes.

        Args:
            label: int64 (B,).
            seed: Of all draws.
            index: int64 (B,), number of each trace; its draws depend on seed and number alone.
            backend: Of the native ops.

        Returns:
            Tokens (B, T, F), `end` behind the last point, and columns (B, J).
        """
        columns = draw_columns(self.conditions, label, seed, index, backend)
        run = _Run(self, self.conditions(label, columns), backend)
        shape = len(label), self.config.points, len(self.config.sizes)
        tokens = label.new_zeros(shape)
        tokens[:, :, 0] = self.end
        for t in range(self.config.points):
            tokens[:, t] = run.point(t, seed, index)
            if bool(run.ended.all()):
                break
        return tokens, columns


class _Run:
    """A batch of traces under way, point after point, with a key-value cache."""

    def __init__(self, net: CausalNetwork, condition: Tensor, backend: str) -> None:
        self.net, self.condition, self.backend = net, condition, backend
        b, config = len(condition), net.config
        self.caches: list[Cache] = [
            block.empty_cache(b, config.points)  # type: ignore[operator]
            for block in net.blocks
        ]
        self.weights = [logits.weight_and_bias() for logits in net.logits]  # type: ignore[operator]
        self.tables = [embed.table() for embed in net.tokens]  # type: ignore[operator]
        self.before = net.start.expand(b, -1)
        self.sums = condition.new_zeros(b, len(net.totals.channels), dtype=torch.float64)
        self.ended = torch.zeros(b, dtype=torch.bool, device=condition.device)

    def point(self, t: int, seed: int, index: Tensor) -> Tensor:
        """The tokens (B, F) of point t."""
        net = self.net
        x = self.before + net.place.weight[t] + self.condition
        for block, cache in zip(net.blocks, self.caches, strict=True):
            x = block.step(x, cache, t, self.backend)  # type: ignore[operator]
        tokens = self._draw(net.norm(x), t, seed, index)
        self.ended = self.ended | (tokens[:, 0] == net.end)
        tokens[self.ended, 0] = net.end
        self._remember(tokens, t)
        return tokens

    def _draw(self, x: Tensor, t: int, seed: int, index: Tensor) -> Tensor:
        net = self.net
        drawn: list[Tensor] = []
        for f, (weight, bias) in enumerate(self.weights):
            h = x
            if f > 0:
                x = x + net.before[f - 1](drawn[-1])
                h = F.gelu(net.mix[f - 1](x))
            logits = linear(h, weight, bias, backend=self.backend)
            if f == 0 and t == 0:
                logits[:, net.end] = -torch.inf  # a trace has a point
            u = uniform(seed, index, t * len(self.weights) + f)
            drawn.append(draw_tokens(logits, u, backend=self.backend))
        return torch.stack(drawn, 1)

    def _remember(self, tokens: Tensor, t: int) -> None:
        net = self.net
        amounts = net.totals.amounts_of(tokens)
        self.sums = self.sums + amounts
        self.before = net.totals.features(self.sums, amounts, t + 1)
        for f, table in enumerate(self.tables):
            self.before = self.before + table[tokens[:, f]]


class Jitter(nn.Module):
    """Moves tokens of bins to bins near by; those of atoms stay.

    Args:
        vocabulary: Its bins, in the order of their values.
    """

    bins: Tensor
    place: Tensor

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        is_bin = torch.from_numpy(~vocabulary.is_atom)
        self.register_buffer("bins", is_bin.nonzero()[:, 0], persistent=False)
        place = torch.where(is_bin, is_bin.cumsum(0) - 1, -1)
        self.register_buffer("place", F.pad(place, (0, 1), value=-1), persistent=False)

    def forward(self, tokens: Tensor, deviation: float) -> Tensor:
        """Tokens (B, T), moved by rounded normal numbers of this deviation."""
        if not len(self.bins):
            return tokens
        moved = (torch.randn(tokens.shape, device=tokens.device) * deviation).round().long()
        place = self.place[tokens]
        near = self.bins[(place + moved).clamp(0, len(self.bins) - 1)]
        return torch.where(place < 0, tokens, near)


class TokenEmbedding(nn.Module):
    """E[s] + W waves(rank of s): a free part for each token, and one smooth in its value."""

    waves: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.free = nn.Embedding(size, width)
        self.smooth = nn.Linear(WAVES, width, bias=False)
        nn.init.normal_(self.free.weight, std=FEATURE_SCALE)
        self.register_buffer("waves", rank_waves(size, WAVES), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Features (..., w) of tokens."""
        return F.embedding(tokens, self.table())

    def table(self) -> Tensor:
        """Features (S, w) of all tokens."""
        found: Tensor = self.free.weight + self.smooth(self.waves)
        return found


class TokenLogits(nn.Module):
    """Logits of tokens: a free part for each token, and one smooth in its value."""

    waves: Tensor

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.free, self.smooth = nn.Linear(width, size), nn.Linear(width, WAVES, bias=False)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("waves", rank_waves(size, WAVES), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., w) -> (..., S)."""
        return F.linear(x, *self.weight_and_bias())

    def weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """Both parts as one linear map: (S, w) and (S,)."""
        return self.free.weight + self.waves @ self.smooth.weight, self.free.bias


class RunningTotals(nn.Module):
    """What the values of a trace come to so far, as features of its last point.

    For each feature: log(1 + a), log(1 + sum of a so far) and log(1 + mean of a so far), where a is
    the absolute value of a token over the mean of those of all tokens.

    Args:
        amounts: For each feature the value of each token, (S,).
        width: Features w.
    """

    def __init__(self, amounts: Sequence[Tensor], width: int) -> None:
        super().__init__()
        self.channels = range(len(amounts))
        for f, amount in enumerate(amounts):
            scaled = amount.abs() / amount.abs().mean().clamp(min=1e-300)
            scaled = torch.cat([scaled, scaled.new_zeros(1)])  # the end counts nothing
            self.register_buffer(f"amount{f}", scaled.double(), persistent=False)
        self.project = nn.Linear(3 * len(amounts), width, bias=False)

    def amounts_of(self, tokens: Tensor) -> Tensor:
        """(..., F) float64 of tokens (..., F)."""
        found = [self.get_buffer(f"amount{f}")[tokens[..., f]] for f in self.channels]
        return torch.stack(found, -1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, w) of whole traces."""
        amounts = self.amounts_of(tokens)
        count = torch.arange(1, tokens.shape[1] + 1, device=tokens.device).view(1, -1, 1)
        return self.features(amounts.cumsum(1), amounts, count)

    def features(self, sums: Tensor, amounts: Tensor, count: Tensor | int) -> Tensor:
        """(..., w) of sums and last amounts (..., F) after so many points."""
        found = torch.cat([amounts, sums, sums / count], -1).log1p().float()
        projected: Tensor = self.project(found)
        return projected
