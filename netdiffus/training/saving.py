"""Saving: the model with averaged weights, and a record of its training."""

from __future__ import annotations

from typing import Any

from netdiffus.model.files import LOG, STATE, save_together
from netdiffus.networks.build import logits_of
from netdiffus.training.run import Run


def save(run: Run) -> None:
    """Writes the model with averaged weights, and everything that a resumed run needs."""
    run.model.about = _about(run)
    folder, state = run.folder, run.state
    if folder is None or run.log is None:
        return
    one, config, parts = run.model.parts(state.averaged())
    parts[STATE] = state.content(run.fingerprint, one)
    if run.log != folder / LOG:
        parts[LOG] = run.log.read_bytes()
    save_together(folder, one, config, parts)
    if run.log != folder / LOG:
        run.log.unlink()
        run.log = folder / LOG


def finish(run: Run) -> None:
    """Saves, and leaves the averaged weights in the model."""
    save(run)
    run.model.network.load_state_dict(run.state.averaged())
    run.model.network.cpu().eval()


def _about(run: Run) -> dict[str, Any]:
    """The record of the training so far, for the model card."""
    state, about = run.state, dict(run.learned)
    schedule = state.schedule
    about |= {"steps": state.step, "seconds": round(state.seconds, 1)}
    about["cpu_seconds"] = round(state.cpu_seconds, 1)
    if schedule.losses:
        about |= {
            "rate_fell_at_step": schedule.decay_step,
            "validation_loss": round(schedule.losses[-1], 5),
            "learned_loss": round(schedule.learned_loss, 5),
            "least_validation_loss": round(schedule.least_loss, 5),
        }
    if logits := logits_of(state.net):
        about["temperature"] = round(float(logits.temperature), 4)
    return about | ({"ended": run.ended} if run.ended else {})
