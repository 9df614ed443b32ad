"""What a trace is asked to be: its class, and columns that are drawn for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.networks.draws import Draws
from netdiffus.ops.draw_tokens import draw_tokens

COLUMN_DRAW = 2**30  # Philox step of the first column; later ones follow
LENGTH_DRAW = 2**31  # of the place of a length inside its bin
LABEL_SCALE = 0.5  # standard deviation of a class's first features: classes differ from the start


class Conditions(nn.Module):
    """Features of class and columns, and the distribution of the columns of a class.

    p(columns | class) is the product over columns j of p(column j | class, columns before j). Each
    factor is softmax(W_j gelu(V s) + b_j), where s is the sum of the embeddings of the class and of
    the columns before j. The sum over all columns is what the rest of a network is given.

    Args:
        classes: Number of classes.
        columns: Number of values of each column.
        width: Features w.
    """

    def __init__(self, classes: int, columns: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, width)
        self.columns = nn.ModuleList(nn.Embedding(size, width) for size in columns)
        # Without columns nothing would use its weights: they would get no gradient and no moments.
        self.hidden = nn.Linear(width, width) if columns else nn.Identity()
        self.logits = nn.ModuleList(nn.Linear(width, size) for size in columns)
        nn.init.normal_(self.label.weight, std=LABEL_SCALE)
        for column in self.columns:
            nn.init.normal_(column.weight, std=LABEL_SCALE)  # type: ignore[arg-type]

    def forward(self, label: Tensor, columns: Tensor) -> Tensor:
        """Features (B, w) of classes (B,) and column values (B, J), int64."""
        s: Tensor = self.label(label)
        for j, embed in enumerate(self.columns):
            s = s + embed(columns[:, j])
        return s

    def loss(self, label: Tensor, columns: Tensor) -> Tensor:
        """-log p(columns | class) of each trace, (B,), in nats."""
        s: Tensor = self.label(label)
        lost = s.new_zeros(len(s))
        for j, embed in enumerate(self.columns):
            lost = lost + F.cross_entropy(self._logits(j, s), columns[:, j], reduction="none")
            s = s + embed(columns[:, j])
        return lost

    def draw(self, label: Tensor, uniforms: Tensor, backend: str = "auto") -> Tensor:
        """Column values (B, J) of classes (B,), from uniform numbers (B, J) in [0, 1)."""
        s, drawn = self.label(label), []
        for j, embed in enumerate(self.columns):
            logits = self._logits(j, s)
            drawn.append(draw_tokens(logits, uniforms[:, j].contiguous(), backend=backend))
            s = s + embed(drawn[-1])
        return torch.stack(drawn, 1) if drawn else label.new_zeros(len(label), 0)

    def _logits(self, j: int, s: Tensor) -> Tensor:
        logits: Tensor = self.logits[j](F.gelu(self.hidden(s)))
        return logits


def draw_columns(conditions: Conditions, draws: Draws, backend: str) -> Tensor:
    """Column values (B, J) of traces."""
    drawn = draws.uniforms(COLUMN_DRAW, len(conditions.columns))
    return conditions.draw(draws.label, drawn, backend)


def draw_points(lengths: Vocabulary, columns: Tensor, draws: Draws, most: int) -> Tensor:
    """int64 (B,) from 1 to `most`: the number that the last column stands for, of each trace."""
    place = draws.uniforms(LENGTH_DRAW, 1)[:, 0].cpu().numpy()
    drawn = lengths.decode(columns[:, -1].cpu().numpy(), place)
    return torch.from_numpy(drawn).round().long().clamp(1, most).to(columns.device)
