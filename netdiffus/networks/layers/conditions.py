"""Class and columns of a trace, each given or drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.codec.column import UNKNOWN
from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.networks.batch import Batch
from netdiffus.networks.draws import Draws
from netdiffus.networks.layers.tokens import TokenEmbedding, TokenLogits
from netdiffus.ops.draw_tokens import draw_tokens
from netdiffus.ops.noise import uniforms

COLUMN_DRAW = 2**30  # Philox step of the class, if it is drawn, and of the columns behind it
TRY_DRAW = 2**30 + 2**28  # of the first try, where several columns have ranges
ORDER_DRAW = 2**30  # of training: which cells are given
LENGTH_DRAW = 2**31  # of the place of a length inside its bin
LABEL_SCALE = 0.5  # standard deviation of a class's first features: classes differ from the start
BLOCKS = 2
ORDERS = 8  # random ones of a trace's cells in one step of training, besides their own order
TRIES = 64  # of which one is taken, where several columns have ranges


class Conditions(nn.Module):
    """Features of class and columns, and their distribution given any of them.

    The cells of a trace are its class and its columns. An unknown cell has a token of its own. The
    sum s of the embeddings of all cells is the condition of the rest of the network. The
    distribution of a cell, given the known ones, is softmax(W_j norm(x) + b_j), where x is s after
    residual blocks, x + W gelu(V norm(x)). Half of the training loss gives a random number of
    random cells, and learns the others (Uria et al., 2014); so any cells can be given. The other
    half learns each cell from those before it, as cells are drawn where none of them is given.

    Args:
        classes: Number of classes.
        columns: Number of tokens of each column.
        width: Features w.
    """

    def __init__(self, classes: int, columns: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, width)
        nn.init.normal_(self.label.weight, std=LABEL_SCALE)
        self.columns = nn.ModuleList(TokenEmbedding(size, width) for size in columns)
        for column in self.columns:
            nn.init.normal_(column.free.weight, std=LABEL_SCALE)  # type: ignore[union-attr, arg-type]
        if not columns:  # nothing would use the rest
            return
        self.unknown = nn.Parameter(torch.empty(1 + len(columns), width))
        nn.init.normal_(self.unknown, std=LABEL_SCALE)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Linear(width, width),
            )
            for _ in range(BLOCKS)
        )
        self.norm = nn.LayerNorm(width)
        self.logits = nn.ModuleList(TokenLogits(width, size) for size in (classes, *columns))

    def forward(self, label: Tensor, columns: Tensor) -> Tensor:
        """Features (B, w) of classes (B,) and column tokens (B, J), int64; -1 is not known."""
        return self._sum(torch.cat([label.unsqueeze(1), columns], 1))

    def loss(self, batch: Batch) -> Tensor:
        """What training lowers, (B,): -log p(class, columns), half of it over random orders.

        The other half is in the order of the columns. Cells that are not known are left out. Which
        are given depends on `batch.draws` alone.
        """
        if not self.columns:
            return self.label.weight.new_zeros(len(batch.label))
        cells = torch.cat([batch.label.unsqueeze(1), batch.columns], 1)
        return (self._loss_in_order(cells) + self._loss_of_orders(cells, batch.draws)) / 2

    def _loss_in_order(self, cells: Tensor, first: int = 0) -> Tensor:
        """-log p (B,) of cells (B, n) from the `first` on, each given those before it."""
        n = cells.shape[1]
        before = torch.ones(n, n, dtype=torch.bool, device=cells.device).tril(-1)[first:]
        prefixes = torch.where(before.unsqueeze(1), cells, UNKNOWN)
        x = self._features(prefixes.flatten(0, 1)).view(n - first, len(cells), -1)
        lost = [self._losses(j, x[j - first], cells[:, j]) for j in range(first, n)]
        return torch.stack(lost).sum(0)

    def _loss_of_orders(self, cells: Tensor, draws: Tensor) -> Tensor:
        """An estimate of -log p (B,) of cells (B, n), from `ORDERS` random orders."""
        b, n = cells.shape
        cells = cells.repeat_interleave(ORDERS, 0)
        drawn = uniforms(0, draws, ORDER_DRAW, ORDERS * (n + 1)).view(-1, n + 1)
        place = drawn[:, :n].argsort(1).argsort(1)
        given = (drawn[:, n:] * n).long()
        x = self._features(torch.where(place < given, cells, UNKNOWN))
        lost = torch.stack([self._losses(j, x, cells[:, j]) for j in range(n)], 1)
        lost = (lost * (place >= given)).sum(1) * (n / (n - given[:, 0]))
        return lost.view(b, ORDERS).mean(1)

    def log_loss(self, label: Tensor, columns: Tensor) -> Tensor:
        """-log p(columns | class) of each trace, (B,), in nats, one column after another.

        Cells that are not known are left out.
        """
        if not self.columns:
            return self.label.weight.new_zeros(len(label))
        return self._loss_in_order(torch.cat([label.unsqueeze(1), columns], 1), first=1)

    def draw(
        self,
        label: Tensor,
        draws: Draws,
        weights: Sequence[Tensor | None] | None = None,
        backend: str = "auto",
        columns: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draws what is not given.

        Args:
            label: int64 (B,), -1 for a class that is drawn; the same for all.
            draws: Of which traces, and their random numbers.
            weights: Of the class and of each column, how much of each token is asked for, (S,) from
                0 to 1; None asks for nothing. Tokens then have the probability
                p(all cells) prod_j weights_j, over its sum. If more than one cell has several
                tokens that are asked for, one of 64 draws of these is taken by its importance.
            backend: Of the native ops.
            columns: int64 (B, J), -1 for what is drawn; None draws all.

        Returns:
            Classes (B,) and columns (B, J).
        """
        if not self.columns:
            return label, label.new_zeros(len(label), 0)
        weights = weights or [None] * (1 + len(self.columns))
        if columns is None:
            columns = label.new_full((len(label), len(self.columns)), UNKNOWN)
        cells = torch.cat([label.unsqueeze(1), columns], 1)
        ranged = []
        for j, weight in enumerate(weights):
            if weight is not None and int((weight > 0).sum()) == 1:
                cells[:, j] = int(weight.argmax())
            elif weight is not None and bool((cells[:, j] == UNKNOWN).all()):
                ranged.append(j)
        if len(ranged) > 1:
            cells = self._tried(cells, ranged, weights, draws, backend)
        tables = self._tables()
        s = self._sum(cells, tables)
        for j in [*ranged, *range(len(weights))]:
            is_open = cells[:, j] == UNKNOWN
            if bool(is_open.any()):
                u = draws.uniforms(COLUMN_DRAW + j, 1)[:, 0]
                drawn, _ = self._draw(j, s, weights[j], u, backend)
                cells[:, j] = torch.where(is_open, drawn, cells[:, j])
                s = s + is_open.unsqueeze(1) * (F.embedding(drawn, tables[j]) - self.unknown[j])
        return cells[:, 0], cells[:, 1:]

    def _tried(
        self,
        cells: Tensor,
        ranged: Sequence[int],
        weights: Sequence[Tensor | None],
        draws: Draws,
        backend: str,
    ) -> Tensor:
        """Cells (B, J + 1) with those of `ranged` drawn: one of several tries, by importance."""
        b, n = cells.shape
        tries = cells.repeat_interleave(TRIES, 0)
        uniforms = draws.uniforms(TRY_DRAW, len(ranged) * TRIES + 1)
        importance = torch.zeros(b, TRIES, dtype=torch.float64, device=cells.device)
        for k, j in enumerate(ranged):
            u = uniforms[:, k * TRIES : (k + 1) * TRIES].reshape(-1)
            s = self._sum(tries, self._tables())
            tries[:, j], share = self._draw(j, s, weights[j], u, backend)
            if k:  # the share of the first is the same in all tries
                importance += share.view(b, TRIES)
        chosen = draw_tokens(importance, uniforms[:, -1].contiguous(), backend=backend)
        return tries.view(b, TRIES, n)[torch.arange(b, device=cells.device), chosen]

    def _draw(
        self, j: int, s: Tensor, weight: Tensor | None, uniforms: Tensor, backend: str
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B,) of cell j, and the log of the probability of what is asked for.

        s: (B, w), the sum of the embeddings of all cells.
        """
        logits = self.logits[j](self._mixed(s))
        share = logits.new_zeros(len(s), dtype=torch.float64)
        if weight is not None:
            asked = logits + weight.to(logits).log()
            share = asked.double().logsumexp(1) - logits.double().logsumexp(1)
            logits = asked
        return draw_tokens(logits, uniforms.contiguous(), backend=backend), share

    def _losses(self, j: int, x: Tensor, tokens: Tensor) -> Tensor:
        """-log p of tokens (B,) of cell j; 0 where there is none."""
        return F.cross_entropy(self.logits[j](x), tokens, ignore_index=UNKNOWN, reduction="none")

    def _tables(self) -> list[Tensor]:
        """The embeddings of the tokens of each cell."""
        return [self.label.weight, *(one.table() for one in self.columns)]  # type: ignore[operator]

    def _sum(self, cells: Tensor, tables: list[Tensor] | None = None) -> Tensor:
        """Sum (B, w) of the embeddings of cells (B, J + 1)."""
        if not self.columns:
            s: Tensor = self.label(cells[:, 0])
            return s
        parts = [
            torch.where(
                (cells[:, j] == UNKNOWN).unsqueeze(1),
                self.unknown[j],
                F.embedding(cells[:, j].clamp(min=0), table),
            )
            for j, table in enumerate(tables or self._tables())
        ]
        return torch.stack(parts).sum(0)

    def _features(self, cells: Tensor) -> Tensor:
        return self._mixed(self._sum(cells))

    def _mixed(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        normed: Tensor = self.norm(x)
        return normed


def draw_points(lengths: Vocabulary, columns: Tensor, draws: Draws, most: int) -> Tensor:
    """int64 (B,) from 1 to `most`: the number that the last column stands for, of each trace."""
    place = draws.uniforms(LENGTH_DRAW, 1)[:, 0].cpu().numpy()
    drawn = lengths.decode(columns[:, -1].cpu().numpy(), place)
    return torch.from_numpy(drawn).round().long().clamp(1, most).to(columns.device)
