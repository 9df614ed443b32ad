"""An autoregressive transformer over the points of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.codec.column import UNKNOWN
from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.networks.batch import Batch, Given
from netdiffus.networks.draws import Draws
from netdiffus.networks.layers.conditions import Conditions
from netdiffus.networks.layers.tokens import FEATURE_SCALE, PointLogits, TokenEmbedding
from netdiffus.networks.layers.transformer import Block, Cache

# Training moves amounts to nearby bins, by these standard deviations in bins: in the input, and in
# the target. Few traces share an exact amount, so it is learned together with its neighbours.
GIVEN_JITTER, WANTED_JITTER = 2.0, 1.5
HIDDEN_COLUMNS = 0.6  # largest share of a trace's columns that training does not show
FEW_LEFT = 0.5  # share of the traces that have not ended, below which only these go on


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
        hidden: Largest share of the previous points that training hides; the share of each trace is
            drawn uniformly from 0 to this.
        window: Points that a point attends to: itself and those just before it. Earlier points
            reach it through the other blocks, and through the running totals.
        jittered: For each feature, whether training moves its values to nearby bins: if they are
            amounts.
    """

    points: int
    sizes: tuple[int, ...]
    classes: int
    columns: tuple[int, ...] = ()
    width: int = 64
    layers: int = 3
    heads: int = 4
    expansion: int = 2
    dropout: float = 0.2
    hidden: float = 0.25
    jittered: tuple[bool, ...] = ()
    window: int = 128


class CausalNetwork(nn.Module):
    """p(trace | class, columns) as a product over points and features.

    p(trace) = prod over t, f of p(token (t, f) | class, columns, points before t, features before
    f of point t). A point is embedded as the sum of embeddings of its tokens, of waves of their
    ranks, and of running totals of the values so far (`RunningTotals`). The sum of the previous
    point, the position and the conditions goes through blocks of causal attention. The first
    feature's logits are linear in the result; those of later features have one hidden layer, whose
    input includes the previous features.

    Args:
        config: The shape.
        vocabularies: Of each feature.
    """

    def __init__(self, config: CausalConfig, vocabularies: Sequence[Vocabulary]) -> None:
        super().__init__()
        w, self.config = config.width, config
        self.end = config.sizes[0] - 1  # token of the first feature, behind the last point
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
        shape = w, config.heads, config.expansion, config.dropout, config.window
        self.blocks = nn.ModuleList(Block(*shape) for _ in range(config.layers))
        self.norm = nn.LayerNorm(w)
        self.logits = PointLogits(config.sizes, w, config.jittered)
        self.hidden_columns = HIDDEN_COLUMNS

    def loss(self, batch: Batch) -> Tensor:
        """Mean of -log p of points and columns of a batch of tokens, in nats a point."""
        tokens = batch.data
        given = self._jittered(tokens, GIVEN_JITTER) if self.training else None
        wanted = self._jittered(tokens, WANTED_JITTER) if self.training else tokens
        columns = batch.columns
        if self.training:
            columns = _some_unknown(columns, self.hidden_columns)
        points, inside = self.log_loss(wanted, batch.label, columns, given)
        total = points.sum() + self.conditions.loss(batch).sum()
        return total / inside.sum()

    def log_loss(
        self,
        tokens: Tensor,
        label: Tensor,
        columns: Tensor,
        given: Tensor | None = None,
        *,
        fixed: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """-log p of each point and end, (B, T), 0 behind the end; and which those are.

        Args:
            tokens: int64 (B, T, F), `end` behind the last point.
            label: int64 (B,).
            columns: int64 (B, J).
            given: The network's input, if it differs from these tokens.
            fixed: Whether all tokens take the same operations, as a GPU needs.
        """
        given = tokens if given is None else given
        is_point = tokens[:, :, 0] != self.end
        inside = F.pad(is_point[:, :-1], (1, 0), value=True)  # points and the end behind them
        # A GPU replays steps of one shape, and must not be waited for; a CPU leaves out what counts
        # nothing: places that no trace reaches, and the logits behind the end of each trace.
        on_cpu = tokens.device.type == "cpu" and not fixed
        longest = int(inside.sum(1).max()) if on_cpu else tokens.shape[1]
        here = inside[:, :longest]
        rows = here.flatten().nonzero()[:, 0] if on_cpu and not here.all() else slice(None)
        x = self._attend(given[:, :longest], self.conditions(label, columns))

        def taken(one: Tensor) -> Tensor:
            return one[:, :longest].flatten(0, 1)[rows]

        first, *others = self.logits.losses(taken(x), taken(tokens), taken(given))
        found = first * taken(inside)
        for one in others:
            found = found + one * taken(is_point)
        lost = found.new_zeros(here.numel())
        lost[rows] = found
        return F.pad(lost.view_as(here), (0, tokens.shape[1] - longest)), inside

    def _attend(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """(B, T, w): features of each point, from the points before it and the condition."""
        tokens = tokens[:, :-1]
        embedded: Tensor = sum(embed(tokens[..., f]) for f, embed in enumerate(self.tokens))
        before = self._hide(embedded + self.totals(tokens))
        start = self.start.expand(len(tokens), 1, -1)
        places = self.place.weight[: tokens.shape[1] + 1]
        x = torch.cat([start, before], 1) + places + condition.unsqueeze(1)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x)
        return normed

    def _jittered(self, tokens: Tensor, deviation: float) -> Tensor:
        """The tokens, those of amounts moved to nearby bins."""
        found = tokens.clone()
        for f, jitter in self.jitter.items():
            found[..., int(f)] = jitter(tokens[..., int(f)], deviation)
        return found

    def _hide(self, before: Tensor) -> Tensor:
        """Sets features of some points to 0 in training, so that no single point is relied on."""
        if not self.training or not self.config.hidden:
            return before
        b, t, _ = before.shape
        share = self.config.hidden * torch.rand(b, 1, 1, device=before.device)
        kept = torch.rand(b, t, 1, device=before.device) >= share
        return before * kept

    @torch.inference_mode()
    def generate(
        self, draws: Draws, columns: Tensor, backend: str = "auto", given: Given | None = None
    ) -> Tensor:
        """Draws traces of classes and columns.

        Args:
            draws: Which traces, and their random numbers.
            columns: int64 (B, J).
            backend: Of the native ops.
            given: The first points of each trace, if they are known; the rest is drawn given them.

        Returns:
            Tokens (B, T, F), `end` behind the last point.
        """
        features = len(self.config.sizes)
        drawn = draws.uniforms(0, self.config.points * features)
        label = draws.label
        run = _Run(self, self.conditions(label, columns), backend)
        shape = len(label), self.config.points, len(self.config.sizes)
        tokens = label.new_zeros(shape)
        tokens[:, :, 0] = self.end
        rows = torch.arange(len(label), device=label.device)
        for t in range(self.config.points):
            uniforms = drawn[rows, t * features : (t + 1) * features]
            tokens[rows, t] = run.point(t, uniforms, given)
            left = (~run.ended).nonzero()[:, 0]
            if not len(left):
                break
            if len(left) <= FEW_LEFT * len(rows):
                rows = rows[left]
                run.keep(left)
                given = given and Given(given.tokens[left], given.known[left])
        return tokens


class _Run:
    """A batch of traces during sampling, point by point, with a key-value cache."""

    def __init__(self, net: CausalNetwork, condition: Tensor, backend: str) -> None:
        self.net, self.condition, self.backend = net, condition, backend
        b, config = len(condition), net.config
        self.caches: list[Cache] = [
            block.empty_cache(b, config.points)  # type: ignore[operator]
            for block in net.blocks
        ]
        self.draws = net.logits.draws(backend)
        self.tables = [embed.table() for embed in net.tokens]  # type: ignore[operator]
        self.before = net.start.expand(b, -1)
        self.sums = condition.new_zeros(b, len(net.totals.channels), dtype=torch.float64)
        self.ended = torch.zeros(b, dtype=torch.bool, device=condition.device)

    def point(self, t: int, drawn: Tensor, given: Given | None = None) -> Tensor:
        """The tokens (B, F) of point t: known ones, or drawn by uniform numbers (B, F)."""
        net = self.net
        x = self.before + net.place.weight[t] + self.condition
        for block, cache in zip(net.blocks, self.caches, strict=True):
            x = block.step(x, cache, t, self.backend)  # type: ignore[operator]
        but = net.end if t == 0 else None  # a trace has at least one point
        tokens = self.draws(net.norm(x), drawn.unbind(1), but)
        if given is not None:
            tokens = torch.where(given.known[:, t, None], given.tokens[:, t], tokens)
        self.ended = self.ended | (tokens[:, 0] == net.end)
        tokens[self.ended, 0] = net.end
        self._remember(tokens, t)
        return tokens

    def keep(self, rows: Tensor) -> None:
        """Continues with only some of the traces."""
        self.condition, self.before = self.condition[rows], self.before[rows]
        self.sums, self.ended = self.sums[rows], self.ended[rows]
        self.caches = [(keys[rows], values[rows]) for keys, values in self.caches]

    def _remember(self, tokens: Tensor, t: int) -> None:
        net = self.net
        amounts = net.totals.amounts_of(tokens)
        self.sums = self.sums + amounts
        self.before = net.totals.features(self.sums, amounts, t + 1)
        for f, table in enumerate(self.tables):
            self.before = self.before + table[tokens[:, f]]


class Jitter(nn.Module):
    """Moves tokens of bins to nearby bins; those of atoms stay.

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


class RunningTotals(nn.Module):
    """Running sums and means of the values of a trace, as features of its latest point.

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
            scaled = torch.cat([scaled, scaled.new_zeros(1)])  # the end adds nothing
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


def _some_unknown(columns: Tensor, most: float) -> Tensor:
    """Columns (B, J) of which a share is unknown, uniform on [0, most] for each trace."""
    if not columns.shape[1] or not most:
        return columns
    share = most * torch.rand(len(columns), 1, device=columns.device)
    hidden = torch.rand(columns.shape, device=columns.device) < share
    return torch.where(hidden, UNKNOWN, columns)
