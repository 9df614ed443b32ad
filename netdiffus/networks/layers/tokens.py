"""Tokens of a point as features, and features as the distribution of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netdiffus.ops.draw_tokens import draw_tokens
from netdiffus.ops.linear import linear

WAVES = 16  # cosines that a number in [0, 1] is seen as, such as the rank of a token
FEATURE_SCALE = 0.02  # standard deviation of embeddings at the start


class TokenEmbedding(nn.Module):
    """E[s] + W waves(rank of s): a free part for each token, and one smooth in its value."""

    waves: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.free = nn.Embedding(size, width)
        self.smooth = nn.Linear(WAVES, width, bias=False)
        nn.init.normal_(self.free.weight, std=FEATURE_SCALE)
        self.register_buffer("waves", rank_waves(size), persistent=False)

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
        self.register_buffer("waves", rank_waves(size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., w) -> (..., S)."""
        return F.linear(x, *self.weight_and_bias())

    def weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """Both parts as one linear map: (S, w) and (S,)."""
        return self.free.weight + self.waves @ self.smooth.weight, self.free.bias


class PointLogits(nn.Module):
    """The distribution of the tokens of a point, given its features: one token after another.

    The logits of the first token are linear in the features of the point. Those of a later token
    are linear in one hidden layer, whose input is the sum of the features of the point and of the
    embeddings of the tokens before.

    The logits of features that are no amounts are divided by a temperature, which is 1 while
    training.

    Args:
        sizes: Tokens of each feature.
        width: Features w of a point.
        amounts: For each feature, whether its tokens are amounts; none are if it is empty.
    """

    temperature: Tensor

    def __init__(self, sizes: Sequence[int], width: int, amounts: Sequence[bool] = ()) -> None:
        super().__init__()
        self.amounts = tuple(amounts) or (False,) * len(sizes)
        self.register_buffer("temperature", torch.ones(()))
        self.before = nn.ModuleList(TokenEmbedding(size, width) for size in sizes[:-1])
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in sizes[1:])
        self.last = nn.ModuleList(TokenLogits(width, size) for size in sizes)

    def losses(self, x: Tensor, tokens: Tensor, given: Tensor | None = None) -> list[Tensor]:
        """-log p of each token, one (...) for each feature.

        Args:
            x: (..., w) features of points.
            tokens: int64 (..., F).
            given: The previous tokens as input, if they differ from these.
        """
        given = tokens if given is None else given
        found = [self._loss(0, x, tokens)]
        for f in range(1, len(self.last)):
            x = x + self.before[f - 1](given[..., f - 1])
            found.append(self._loss(f, F.gelu(self.mix[f - 1](x)), tokens))
        return found

    def _loss(self, f: int, x: Tensor, tokens: Tensor) -> Tensor:
        logits: Tensor = self.last[f](x) / self._temperature(f)
        wanted = tokens[..., f]
        lost = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
        return lost.view_as(wanted)

    def _temperature(self, f: int) -> Tensor | float:
        return 1.0 if self.amounts[f] else self.temperature

    def draws(self, backend: str) -> Callable[[Tensor, Sequence[Tensor], int | None], Tensor]:
        """A function that draws tokens (n, F) of points (n, w) by uniform numbers, (n,) for each f.

        Its last argument is a token of the first feature that is not drawn.
        """
        weights = [
            tuple(part / self._temperature(f) for part in logits.weight_and_bias())  # type: ignore[operator]
            for f, logits in enumerate(self.last)
        ]
        tables = [embed.table() for embed in self.before]  # type: ignore[operator]

        def draw(x: Tensor, uniforms: Sequence[Tensor], but: int | None = None) -> Tensor:
            drawn: list[Tensor] = []
            for f, (weight, bias) in enumerate(weights):
                h = x
                if f > 0:
                    x = x + tables[f - 1][drawn[-1]]
                    h = F.gelu(self.mix[f - 1](x))
                logits = linear(h, weight, bias, backend=backend)
                if f == 0 and but is not None:
                    logits[:, but] = -torch.inf
                drawn.append(draw_tokens(logits, uniforms[f], backend=backend))
            return torch.stack(drawn, 1)

        return draw


def rank_waves(tokens: int) -> Tensor:
    """(S, WAVES): cosines of the rank r = (s + 1/2) / S of each token.

    Tokens are in the order of their values, so that features or logits made of these waves are
    smooth in the value.
    """
    return cosines((torch.arange(tokens, dtype=torch.float64) + 0.5) / max(tokens, 1)).float()


def cosines(value: Tensor) -> Tensor:
    """(..., WAVES): cos(pi k v) of values (...), k from 1."""
    k = torch.arange(1, WAVES + 1, device=value.device)
    return torch.cos(torch.pi * value.unsqueeze(-1) * k)
