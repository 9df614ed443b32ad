"""The optimiser of the inner matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

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
        lr: Learning rate.
        weight_decay: Share of the weights taken off at every step, times `lr`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; `closure` is not called."""
        for group in self.param_groups:
            for matrices in _of_one_shape(group["params"]):
                updates = _orthogonal(torch.stack([self._momentum(w) for w in matrices]))
                rate = group["lr"] * 0.2 * max(matrices[0].shape) ** 0.5
                for weight, update in zip(matrices, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-rate)

    def _momentum(self, weight: Tensor) -> Tensor:
        """Nesterov's: the gradient on top of the mean that it has just entered."""
        assert weight.grad is not None
        state: dict[str, Any] = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        update: Tensor = weight.grad.lerp(mean, MOMENTUM)
        return update


def _of_one_shape(params: Iterable[Tensor]) -> list[list[Tensor]]:
    """Matrices with a gradient, put together so that one product serves many."""
    by_shape: dict[torch.Size, list[Tensor]] = {}
    for weight in params:
        if weight.grad is not None:
            by_shape.setdefault(weight.shape, []).append(weight)
    return list(by_shape.values())


def _orthogonal(matrices: Tensor) -> Tensor:
    """(G, a, b): U V' of each U S V', nearly."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(TURNS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = x.mT if tall else x
    return orthogonal
