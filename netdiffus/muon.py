"""The optimiser of the inner matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from netdiffus.ops.linear import multiplies_halves

MOMENTUM = 0.95
TURNS = 5
# Of a s + b s**3 + c s**5, which five times over brings singular values from 0.001 on near 1.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal (Jordan et al., 2024).

    Every singular value of an update is brought near 1 by five Newton-Schulz steps, so that a
    matrix learns in all its directions at once. Updates have the size of AdamW's at the same rate:
    0.2 sqrt(longest side) times the orthogonal matrix (Liu et al., 2025).

    Args:
        params: Matrices.
        lr: Learning rate; in a group it may become a tensor.
        weight_decay: Share of the weights taken off at every step, times `lr`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; `closure` is not called."""
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if not weights:
                continue
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            updates = self._momentum(weights)
            for shape, rows in _of_one_shape(weights).items():
                found = _orthogonal(torch.stack([updates[k] for k in rows]))
                found *= -0.2 * max(shape) ** 0.5 * group["lr"]
                torch._foreach_add_([weights[k] for k in rows], found.unbind())

    def _momentum(self, weights: list[Tensor]) -> list[Tensor]:
        """Nesterov's: gradients on top of the means that they have just entered."""
        gradients: Any = [w.grad for w in weights]
        for w in weights:
            if "momentum" not in self.state[w]:
                self.state[w]["momentum"] = torch.zeros_like(w)
        means = [self.state[w]["momentum"] for w in weights]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        return list(torch._foreach_lerp(gradients, means, MOMENTUM))


def _of_one_shape(weights: list[Tensor]) -> dict[torch.Size, list[int]]:
    """Which matrices to put together, so that one product serves many."""
    by_shape: dict[torch.Size, list[int]] = {}
    for k, weight in enumerate(weights):
        by_shape.setdefault(weight.shape, []).append(k)
    return by_shape


def _orthogonal(matrices: Tensor) -> Tensor:
    """(G, a, b): U V' of each U S V', nearly."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    if x.device.type == "cpu" and multiplies_halves():  # near 1 is near enough, as rounding leaves
        x = x.bfloat16()
    for _ in range(TURNS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    orthogonal: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return orthogonal
