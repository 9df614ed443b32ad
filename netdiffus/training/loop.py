"""The training loop."""

from __future__ import annotations

import math
import threading
import time

import torch

from netdiffus.errors import InputError
from netdiffus.training.checkpoint import log
from netdiffus.training.processes import agreed, mean
from netdiffus.training.run import Run
from netdiffus.training.saving import save
from netdiffus.training.validation import calibrate, set_temperature, validate

LOG_EVERY = 20  # steps
# Steps between validations: one for so many traces.
OFTEN, SELDOM = 10, 40
TRACES_A_STEP = 16


def learn(run: Run, interrupted: threading.Event) -> None:
    """Trains the network until its training ends or is interrupted."""
    _loop(run, interrupted)
    end = "overfitting" if run.state.schedule.is_early else "budget used"
    set_temperature(run)
    run.ended = "interrupted" if interrupted.is_set() else end


def _loop(run: Run, interrupted: threading.Event) -> None:
    state = run.state
    began, cpu_began = time.monotonic() - state.seconds, time.process_time() - state.cpu_seconds
    saved = time.monotonic()
    if state.schedule.decay_step is not None:
        run.data.take_all()
    while not _is_over(run, interrupted):
        loss = _step(run)
        state.seconds = time.monotonic() - began
        state.cpu_seconds = time.process_time() - cpu_began
        _note(run, loss)
        if time.monotonic() - saved > run.recipe.checkpoint_seconds:
            save(run)
            saved = time.monotonic()


def _is_over(run: Run, interrupted: threading.Event) -> bool:
    """Whether it ends before this step; if not, the learning rate falls where it is time."""
    schedule = run.state.schedule
    wish = schedule.decay_step is None and run.wants_decay
    over, decay = agreed(run.accelerator, interrupted.is_set() or run.is_over, wish)
    if decay and not over:
        schedule.begin_decay(run.state.step, run.share)
        calibrate(run)
        run.data.take_all()
    return over


def _step(run: Run) -> float:
    """One step; dropout and all other chance in it depend on seed, step and process alone."""
    state, recipe = run.state, run.recipe
    state.set_rate(recipe.learning_rate * state.schedule.rate(state.step, run.share))
    batch = run.data.batch(state.step)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash((recipe.seed, state.step, run.accelerator.process_index)))
        own = float(run.step(*batch))
    state.average(recipe.ema_width)
    state.step += 1  # all that a step changes is done, should another process be lost
    loss = mean(run.accelerator, own)
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is no longer finite at step {state.step - 1}; try a lower learning_rate (a "
            "checkpoint that was written before is kept)"
        )
    return loss


def _note(run: Run, loss: float) -> None:
    """What is measured and told after a step."""
    state = run.state
    state.losses.append(loss)
    every = validation_steps(len(run.data.labels))
    if state.step % every == 0 and state.schedule.decay_step is None:
        validate(run)
    if state.step % LOG_EVERY == 0:
        log(state, run.log)
    run.progress(run.share, f"step {state.step} loss {loss:.4f}")


def validation_steps(traces: int) -> int:
    """Steps between validations, 10 to 40: a small set is overfitted in few steps."""
    return min(SELDOM, max(OFTEN, traces // TRACES_A_STEP))
