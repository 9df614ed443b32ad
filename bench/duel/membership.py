"""Whether the loss of a network tells which traces it has learned from."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from netdiffus import Model
from netdiffus.networks.batch import Batch
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.image import TIME_DRAW
from netdiffus.ops.noise import uniform
from netdiffus.traces.traces import Floats, Traces
from netdiffus.training.batches import Batches

FALSE_ALARMS = 0.01  # share of the traces not learned from
TIMES = 16  # of the noise process, at which a loss is measured
FIRST_DRAW = 2**61  # above the numbers of all draws that training takes
AT_ONCE = 64


def membership(model: Model, members: Traces, others: Traces) -> dict[str, float]:
    """How well a threshold on the loss tells training traces from held-out ones.

    Args:
        model: A trained model.
        members: What it was trained on.
        others: Held-out traces.

    Returns:
        `auc`; `tpr`, the share of members that are found with at most 1 % false alarms; and
        `others`, the number of held-out traces, without which neither can be read.
    """
    return told_apart(losses(model, members), losses(model, others))


def told_apart(members: Floats, others: Floats) -> dict[str, float]:
    """See `membership`; a low loss says that a trace is a member.

    Args:
        members: (N,) losses.
        others: (M,) losses.
    """
    is_member = np.repeat([True, False], [len(members), len(others)])
    auc = roc_auc_score(is_member, -np.concatenate([members, others]))
    allowed = int(FALSE_ALARMS * len(others))
    threshold = np.sort(others)[allowed]  # below it lie as many others as are allowed, or fewer
    tpr = float((members < threshold).mean())
    return {"auc": float(auc), "tpr": tpr, "others": len(others)}


def losses(model: Model, traces: Traces) -> Floats:
    """(N,): the network's own loss of each trace, without dropout.

    Of an autoregressive network -log p of the whole trace. Of others the mean loss over fixed
    draws of time and noise, the same for every trace.
    """
    coded = Batches(model, traces, AT_ONCE, 0.0, 0)
    data = coded.data.long() if coded.data.dtype == torch.int16 else coded.data
    batch = Batch(data, coded.labels, coded.columns, torch.arange(len(data)))
    network = model.network.eval()
    with torch.no_grad():
        if isinstance(network, CausalNetwork):
            parts = torch.arange(len(data)).split(AT_ONCE)
            found = torch.cat([_negative_log(network, _rows(batch, part)) for part in parts])
            return found.double().numpy()
        draws = fixed_draws()
        each = (_rows(batch, torch.full((len(draws),), i)) for i in range(len(data)))
        return np.array([_mean_loss(network, one._replace(draws=draws)) for one in each])


def fixed_draws() -> torch.Tensor:
    """Numbers of draws whose times are one in each of `TIMES` equal parts of the process."""
    draws = FIRST_DRAW + torch.arange(100 * TIMES)
    part = (uniform(0, draws, TIME_DRAW) * TIMES).long().numpy()
    return draws[np.unique(part, return_index=True)[1]]


def _negative_log(network: CausalNetwork, batch: Batch) -> torch.Tensor:
    points, _ = network.log_loss(batch.data, batch.label, batch.columns)
    return points.sum(1) + network.conditions.loss(batch.label, batch.columns)


def _mean_loss(network: torch.nn.Module, batch: Batch) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for chance that a network takes from elsewhere than its draws
        return float(network.loss(batch))


def _rows(batch: Batch, rows: torch.Tensor) -> Batch:
    return Batch(*(part[rows] for part in batch))
