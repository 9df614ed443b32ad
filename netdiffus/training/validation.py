"""Validation traces: they detect overfitting, and calibrate the temperature of the logits."""

from __future__ import annotations

import numpy as np
import torch
from torch.func import functional_call

from netdiffus.networks.batch import Batch
from netdiffus.networks.build import logits_of
from netdiffus.training.processes import summed
from netdiffus.training.run import Run
from netdiffus.training.step import Loss

HIGHEST = 1.15  # more may lower the loss of real traces, but it makes worse traces
RAISE = 1.025  # largest factor of the temperature from one validation to the next
NAME = "net.logits.temperature"


def validate(run: Run) -> None:
    """Measures the loss of the averaged weights on validation traces and on learned ones.

    A network with a temperature is measured at its best one so far, which only rises: the
    temperature corrects overconfidence, so overconfidence alone does not end the training.
    """
    data, schedule = run.data, run.state.schedule
    if not (validation := data.validation()):
        return
    tried = {schedule.temperature}
    if _has_temperature(run):
        tried.add(min(HIGHEST, RAISE * schedule.temperature))
    least, schedule.temperature = min((_mean_loss(run, validation, t), t) for t in tried)
    schedule.losses.append(least)
    schedule.learned_loss = _mean_loss(run, data.reference(), schedule.temperature)


def calibrate(run: Run) -> None:
    """Fits the temperature of `causal` and `masked`, from 1 to 1.15, on validation traces.

    It applies to all features except amounts (see `PointLogits`). For amounts, a temperature above
    1 made totals and bursts of whole traces vary too much. In `causal`, training moves amounts to
    nearby bins (`Jitter`), which already makes their distributions wider.

    A network that is trained for many epochs is overconfident about the next token. The
    loss of validation traces is convex in 1/T; where it is least, p is calibrated (Guo et al.,
    2017). It takes about ten passes over these traces, before they are learned from.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    batches = run.data.validation()
    if not _has_temperature(run) or not batches:
        return

    def loss(inverse: float) -> float:
        return _mean_loss(run, batches, 1 / inverse)

    bounds = 1 / HIGHEST, 1.0
    least = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.005})
    run.state.schedule.temperature = 1 / float(least.x)


def set_temperature(run: Run) -> None:
    """Sets the fitted temperature in the network, which was trained at temperature 1."""
    if logits := logits_of(run.state.net):
        logits.temperature.fill_(run.state.schedule.temperature)


def _has_temperature(run: Run) -> bool:
    logits = logits_of(run.state.net)
    return logits is not None and not all(logits.amounts)


def _mean_loss(run: Run, batches: list[Batch], temperature: float) -> float:
    """Mean loss of the averaged weights, without dropout or other randomness of training.

    The processes share the batches.
    """
    state, accelerator = run.state, run.accelerator
    mine = batches[accelerator.process_index :: accelerator.num_processes]
    names = (f"net.{name}" for name, _ in state.net.named_parameters())
    tensors = dict(zip(names, state.ema, strict=True))
    if logits := logits_of(state.net):
        tensors[NAME] = torch.full_like(logits.temperature, temperature)
    loss = Loss(state.net.eval())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        losses = [float(functional_call(loss, tensors, tuple(batch))) for batch in mine]
    state.net.train()
    weights = np.array([float(len(batch.label)) for batch in mine])
    total, count = summed(accelerator, float(np.array(losses) @ weights), float(weights.sum()))
    return total / count
