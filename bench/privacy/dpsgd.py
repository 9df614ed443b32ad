"""DP-SGD of the default network beside `privatise`, at equal epsilon, judged by forests.

python -m bench.privacy dpsgd --epsilons 4 --steps 500 --batch 1024

DP-SGD (Abadi et al., 2016): each step draws every trace with probability B / N, clips the gradient
of each trace to norm 1, and adds normal noise to their sum. The vocabulary is that of the data, and
settings are compared by held-out traces. Neither is counted in epsilon, which favours DP-SGD.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product

import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import trange

from bench.fidelity.forests import Protocol
from bench.fidelity.kept import ending_well
from bench.privacy.curve import SETS, Judged, figures
from bench.tables import markdown
from netdiffus import Model, TokenCodec, sample
from netdiffus.networks.causal import CausalNetwork
from netdiffus.traces.traces import Traces

DELTA = 1e-5
MOST_GRADIENT = 1.0  # norm that the gradient of each trace is clipped to
AT_ONCE = 128  # traces whose gradients are in memory at the same time
HEADS = (
    "epsilon | steps | traces a step | rate | noise | balanced accuracy | two-sample AUC | "
    "equal traces in one fold"
)
AVERAGED = 0.95  # share of the average of the weights that one step keeps
Gradients = dict[str, Tensor]


@ending_well
def main(words: Sequence[str] | None = None) -> int:
    """Prints the table, row by row."""
    reader = argparse.ArgumentParser(prog="bench.privacy dpsgd", description=__doc__)
    reader.add_argument("--set", choices=list(SETS), default="mirage_appx")
    reader.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 4.0, 8.0])
    reader.add_argument("--steps", nargs="+", type=int, default=[500])
    reader.add_argument("--batch", nargs="+", type=int, default=[1024])
    reader.add_argument("--rate", nargs="+", type=float, default=[2e-3])
    reader.add_argument("--width", type=int, default=64)
    reader.add_argument("--trees", type=int, default=Protocol().trees)
    reader.add_argument("--seed", type=int, default=0)
    asked = reader.parse_args(words)
    judged, protocol = SETS[asked.set](), Protocol(asked.trees, repeats=1, resamples=2)
    print(markdown(HEADS, []), end="", flush=True)
    for settings in product(asked.epsilons, asked.steps, asked.batch, asked.rate):
        made, noise = _made(judged, *settings, asked.width, asked.seed)
        found = figures(judged, made, protocol)
        cells = [f"{one:g}" for one in settings] + [f"{noise:.2f}"]
        cells += [f"{one:.3f}" for one in found.values()]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


def _made(
    judged: Judged, epsilon: float, steps: int, batch: int, rate: float, width: int, seed: int
) -> tuple[Traces, float]:
    """Synthetic traces, about as many as real ones, equally many of each class; and the noise."""
    noise = noise_for(epsilon, DELTA, batch / len(judged.train), steps)
    model = trained(judged, noise, steps, batch, rate, width, seed)
    each = -(-len(judged.train) // len(model.classes))
    labels = list(model.classes) * each
    return sample(model, len(labels), label=labels, seed=seed), noise


def noise_for(epsilon: float, delta: float, share: float, steps: int) -> float:
    """Deviation of the noise over the clipping norm, by privacy loss distributions."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    def excess(noise: float) -> float:
        one = pld.from_gaussian_mechanism(
            noise, sampling_prob=share, value_discretization_interval=1e-3
        )
        return float(one.self_compose(steps).get_epsilon_for_delta(delta)) - epsilon

    return float(brentq(excess, 0.3, 100.0, xtol=1e-3)) + 1e-3


def trained(
    judged: Judged, noise: float, steps: int, batch: int, rate: float, width: int, seed: int
) -> Model:
    """A model of the default network, with averaged weights."""
    traces = judged.train
    model = Model.new(traces, TokenCodec(length=judged.length), width=width, columns=(), seed=seed)
    net = model.network.eval()  # without dropout, jitter and hidden points: noise is enough
    assert isinstance(net, CausalNetwork)
    tokens, labels = model.codec.encode(traces).long(), torch.from_numpy(traces.labels)
    of_each = gradient_of_each(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 20)
    averages = [one.detach().clone() for one in net.parameters()]
    torch.manual_seed(seed)
    for _ in trange(steps, desc=f"noise {noise:.2f}", mininterval=10):
        rows = (torch.rand(len(labels)) < batch / len(labels)).nonzero()[:, 0]
        found = clipped_sum(of_each, dict(net.named_parameters()), tokens[rows], labels[rows])
        for name, parameter in net.named_parameters():
            random = torch.randn_like(parameter) * noise * MOST_GRADIENT
            parameter.grad = (found[name] + random) / batch
        optimizer.step()
        schedule.step()
        torch._foreach_lerp_(averages, [one.detach() for one in net.parameters()], 1 - AVERAGED)
    with torch.no_grad():
        for parameter, average in zip(net.parameters(), averages, strict=True):
            parameter.copy_(average)
    return model


def gradient_of_each(net: CausalNetwork) -> Callable[[Gradients, Tensor, Tensor], Gradients]:
    """The gradients of traces, each alone: weights, tokens (B, T, F), classes (B,) -> (B, …)."""
    module = _LossOfTrace(net)

    def loss(weights: Gradients, tokens: Tensor, label: Tensor) -> Tensor:
        named = {f"net.{name}": one for name, one in weights.items()}
        value: Tensor = functional_call(module, named, (tokens, label))
        return value

    return vmap(grad(loss), in_dims=(None, 0, 0))


class _LossOfTrace(nn.Module):
    """-log p of one trace, without steps that depend on its length."""

    def __init__(self, net: CausalNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor, label: Tensor) -> Tensor:
        """Of tokens (T, F) and a class."""
        net, tokens = self.net, tokens.unsqueeze(0)
        condition = net.conditions(label.unsqueeze(0), label.new_zeros(1, 0))
        with sdpa_kernel(SDPBackend.MATH):
            x = net._attend(tokens, condition)
        is_point = (tokens[:, :, 0] != net.end).float()
        inside = nn.functional.pad(is_point[:, :-1], (1, 0), value=1.0)
        first, *others = net.logits.losses(x, tokens)
        points = first * inside
        for other in others:
            points = points + other * is_point
        return points.sum() / tokens.shape[1]


def clipped_sum(
    of_each: Callable[[Gradients, Tensor, Tensor], Gradients],
    weights: Gradients,
    tokens: Tensor,
    labels: Tensor,
) -> Gradients:
    """Sum of the gradients of traces, each clipped to norm `MOST_GRADIENT`."""
    weights = {name: one.detach() for name, one in weights.items()}
    total = {name: torch.zeros_like(one) for name, one in weights.items()}
    for part in torch.split(torch.arange(len(labels)), AT_ONCE):
        found = of_each(weights, tokens[part], labels[part])
        norms = torch.stack([one.flatten(1).norm(dim=1) for one in found.values()]).norm(dim=0)
        scale = (MOST_GRADIENT / norms.clamp(min=1e-12)).clamp(max=1.0)
        for name, one in found.items():
            total[name] += torch.tensordot(scale, one, 1)
    return total
