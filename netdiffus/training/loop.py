"""The training loop."""

from __future__ import annotations

import math
import threading
import time

import torch

from netdiffus.errors import InputError
from netdiffus.training.checkpoint import log
from netdiffus.training.processes import summed
from netdiffus.training.run import Run
from netdiffus.training.saving import save
from netdiffus.training.validation import calibrate, set_temperature, validate

LOG_EVERY = 20  # steps
# Steps between validations: one step for this many traces.
OFTEN, SELDOM = 10, 40
TRACES_A_STEP = 16
# With smaller batches than this there are more steps between validations, which would otherwise
# take most of the time.
USUAL_BATCH = 64


def learn(run: Run, interrupted: threading.Event) -> None:
    """Trains the network until its training ends or is interrupted."""
    state = run.state
    began, cpu_began = time.monotonic() - state.seconds, time.process_time() - state.cpu_seconds
    saved = time.monotonic()
    if state.schedule.decay_step is not None:
        run.data.take_all()
    alone = run.accelerator.num_processes == 1
    _, over, decay = _shared(run, 0.0, interrupted)
    while not over and not (alone and interrupted.is_set()):  # several agree after one more step
        if decay:
            _begin_decay(run)
        own = _step(run)
        state.seconds = time.monotonic() - began
        state.cpu_seconds = time.process_time() - cpu_began
        if _is_validation_due(run):
            validate(run)
        loss, over, decay = _shared(run, own, interrupted)
        _note(run, loss)
        if time.monotonic() - saved > run.recipe.checkpoint_seconds:
            save(run)
            saved = time.monotonic()
    set_temperature(run)
    end = "overfitting" if state.schedule.is_early else "budget used"
    run.ended = "interrupted" if interrupted.is_set() else end


def _shared(run: Run, own: float, interrupted: threading.Event) -> tuple[float, bool, bool]:
    """The mean loss, whether training is over, and whether the learning rate begins to fall.

    All processes must do the same at the same step, so each follows the request of any other. One
    message per step has all three values, because each message waits for the slowest process.
    """
    schedule, share = run.state.schedule, run.share
    is_over = interrupted.is_set() or schedule.is_over(run.state.step, share)
    falls = schedule.decay_step is None and schedule.wants_decay(share)
    loss, *found = summed(run.accelerator, own, is_over, falls)
    over, decay = (wish > 0 for wish in found)
    return loss / run.accelerator.num_processes, over, decay


def _begin_decay(run: Run) -> None:
    """Lets the learning rate fall; from now on training also uses the validation traces."""
    run.state.schedule.begin_decay(run.state.step, run.share)
    calibrate(run)
    run.data.take_all()


def _step(run: Run) -> float:
    """One step; its dropout and other random numbers depend only on seed, step and process."""
    state, recipe = run.state, run.recipe
    state.set_rate(recipe.learning_rate * state.schedule.rate(state.step, run.share))
    batch = run.data.batch(state.step)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash((recipe.seed, state.step, run.accelerator.process_index)))
        own = float(run.step(*batch))
    state.average(recipe.ema_width)
    state.step += 1  # all that a step changes is done, should another process be lost
    return own


def _is_validation_due(run: Run) -> bool:
    every = validation_steps(len(run.data.labels), run.recipe.batch_size)
    return run.state.step % every == 0 and run.state.schedule.decay_step is None


def _note(run: Run, loss: float) -> None:
    """Logs a step and reports its progress.

    Raises:
        InputError: The loss is not finite.
    """
    state = run.state
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is no longer finite at step {state.step - 1}; try a lower learning_rate (a "
            "checkpoint that was written before is kept)"
        )
    state.losses.append(loss)
    if state.step % LOG_EVERY == 0:
        log(state, run.log)
    run.progress(run.share, f"step {state.step} loss {loss:.4f}")


def validation_steps(traces: int, batch_size: int) -> int:
    """Steps between validations, 10 to 40: on a small set, overfitting begins after few steps."""
    steps = min(SELDOM, max(OFTEN, traces // TRACES_A_STEP))
    return round(steps * max(1.0, USUAL_BATCH / batch_size))
