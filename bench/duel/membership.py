"""Whether the loss of a network tells which traces it has learned from."""

from __future__ import annotations

from netdiffus import Model
from netdiffus.attacks.loss_attacks import losses
from netdiffus.attacks.rates import FALSE_ALARMS, rates, told_apart
from netdiffus.traces.traces import Traces


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
    ours, theirs = (-losses(model, traces).mean(axis=1) for traces in (members, others))
    _, tpr = rates(ours, theirs, int(FALSE_ALARMS[0] * len(theirs)))
    return {"auc": told_apart(ours, theirs)["auc"]["mean"], "tpr": tpr, "others": len(others)}
