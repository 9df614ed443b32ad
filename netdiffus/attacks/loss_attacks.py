"""White-box attacks: a member has a lower loss than a non-member.

Three scores: the loss itself; the loss minus that of models that did not learn from the trace
(Watson et al., 2022); the likelihood ratio of the loss under models that did and models that did
not (LiRA: Carlini et al., 2022). The loss of a network that learns from
noisy traces is measured at several amounts of noise, with the same noise for every trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.networks.build import Network
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.image import TIME_DRAW
from netdiffus.ops.noise import uniform
from netdiffus.traces.traces import Bools, Floats, Ints, Traces
from netdiffus.training.batches import Batches

TIMES = 16  # of the noise process at which a loss is measured
LEVELS = 4  # of noise; each has 4 of these times
FIRST_DRAW = 2**61  # above the numbers of all draws that training takes
AT_ONCE = 64


def losses(model: Model, traces: Traces, progress: Callable[[float], None] | None = None) -> Floats:
    """(N, levels): the network's own loss of each trace, without dropout.

    An autoregressive network has one level: -log p in nats a point. Others have one level for each
    quarter of the noise process: the mean loss at fixed times, with the same noise for every trace.
    `progress` is called with the share that is done.
    """
    coded = Batches(model, traces, AT_ONCE, 0.0, 0)
    data = coded.data.long() if coded.data.dtype == torch.int16 else coded.data
    batch = Batch(data, coded.labels, coded.columns, torch.arange(len(data)))
    network = model.network.eval()
    rows = torch.arange(len(data))
    found = []
    with torch.no_grad():
        for part in torch.split(rows, 1 if has_noise(model) else AT_ONCE):
            found.append(_measured(network, _rows(batch, part)))
            if progress:
                progress((int(part[-1]) + 1) / len(data))
    return np.concatenate(found)


def has_noise(model: Model) -> bool:
    """Whether the network learns from noisy, or partly hidden, traces."""
    return not isinstance(model.network, CausalNetwork)


def level_names(model: Model) -> list[str]:
    """What the levels of `losses` are called."""
    if not has_noise(model):
        return ["loss"]
    middles = (np.arange(LEVELS) + 0.5) / LEVELS
    if model.diffusion is None:
        return [f"loss, {part:.0%} of the points hidden" for part in middles]
    kept = model.diffusion.alphas_cumprod[(middles * model.diffusion.num_timesteps).astype(int)]
    return [f"loss at noise {x:.2g}" for x in np.sqrt((1 - kept.numpy()) / kept.numpy())]


def fixed_draws() -> Tensor:
    """Numbers of draws whose times are one in each of `TIMES` equal parts of the process."""
    draws = FIRST_DRAW + torch.arange(100 * TIMES)
    part = (uniform(0, draws, TIME_DRAW) * TIMES).long().numpy()
    return draws[np.unique(part, return_index=True)[1]]


def calibrated(target: Floats, refits: Floats, inside: Bools) -> Floats:
    """(N,): how far the loss is below that of models that did not learn from the trace.

    The mean over the levels of noise. Losses (N, levels) are those of the model that is attacked,
    `refits` (R, N, levels) those of others, trained alike; `inside` (R, N) says which of these
    learned from a trace. At least one did not, for each trace.
    """
    gap: Floats = (_mean_of(refits, ~inside) - target).mean(axis=1)
    return gap


def lira(target: Floats, refits: Floats, inside: Bools) -> Floats:
    """(N,): log-likelihood ratio of the loss, under models that learned from the trace or did not.

    Both are normal distributions over the levels: the means are those of the trace, the covariance
    is one for all traces. Arguments as for `calibrated`; for each trace at least one model learned
    from it and one did not.
    """
    of_in, of_out = _mean_of(refits, inside), _mean_of(refits, ~inside)
    residual = refits - np.where(inside[..., None], of_in, of_out)
    free = max(residual.shape[0] * residual.shape[1] - 2 * residual.shape[1], 1)
    covariance = np.einsum("rni,rnj->ij", residual, residual) / free
    inverse = np.linalg.pinv(covariance)
    near, far = (target - mean for mean in (of_in, of_out))
    ratio: Floats = 0.5 * (
        np.einsum("ni,ij,nj->n", far, inverse, far) - np.einsum("ni,ij,nj->n", near, inverse, near)
    )
    return ratio


def halves(labels: Ints, refits: int, seed: int) -> Bools:
    """(R, N): which traces each refit learns from: half of each class, the next refit the rest."""
    rng, found = np.random.default_rng(seed), np.zeros((refits, len(labels)), dtype=bool)
    for one in range(0, refits, 2):
        for label in np.unique(labels):
            mine = rng.permutation(np.flatnonzero(labels == label))
            found[one, mine[: (len(mine) + rng.integers(2)) // 2]] = True
        found[one + 1 : one + 2] = ~found[one]
    return found


def _mean_of(refits: Floats, which: Bools) -> Floats:
    """(N, levels): the mean loss of each trace over the refits that `which` marks for it."""
    weight = which[..., None].astype(np.float64)
    mean: Floats = (refits * weight).sum(axis=0) / weight.sum(axis=0)
    return mean


def _measured(network: Network, batch: Batch) -> Floats:
    return _exact(network, batch) if isinstance(network, CausalNetwork) else _levels(network, batch)


def _exact(network: CausalNetwork, batch: Batch) -> Floats:
    points, inside = network.log_loss(batch.data, batch.label, batch.columns)
    total = points.sum(1) + network.conditions.log_loss(batch.label, batch.columns)
    each: Floats = (total / inside.sum(1)).double().numpy()[:, None]
    return each


def _levels(network: Network, batch: Batch) -> Floats:
    """(1, levels) of a batch of one trace."""
    parts: Sequence[Tensor] = fixed_draws().chunk(LEVELS)
    found = []
    for draws in parts:
        repeated = _rows(batch, torch.zeros(len(draws), dtype=torch.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # for chance that a network takes from elsewhere than its draws
            found.append(float(network.loss(repeated._replace(draws=draws))))
    return np.array([found])


def _rows(batch: Batch, rows: Tensor) -> Batch:
    return Batch(*(part[rows] for part in batch))
