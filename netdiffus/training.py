"""Traces in, a trained model out: interruptible, and resumable to the same bits."""

from __future__ import annotations

import atexit
import gc
import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from netdiffus.batches import Batches, loss_of, taught
from netdiffus.codec import GasfCodec, default_size
from netdiffus.device import usable
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.files import alone_in, refuse_existing, write_text
from netdiffus.graphed import Graphed
from netdiffus.model import CARD, CONFIG, Model
from netdiffus.recipe import Recipe
from netdiffus.traces import Traces
from netdiffus.training_state import State, log, start_folder
from netdiffus.variants import variants_of

LOG_EVERY, CHECK_EVERY = 20, 40  # steps
WARM_UP = 50  # steps
BORDER = 1  # constant points on the images of the default preset
KEPT = ("batch_size", "learning_rate", "ema_width", "held", "seed")  # of the recipe, by resume
LAST = 1 / 6  # share of the steps that learn from held traces, too


@dataclass
class Run:
    """A training under way.

    Attributes:
        accelerator: Knows the processes.
        recipe: Budget and settings.
        model: What is trained; gets the averaged weights at the end.
        state: All that changes.
        data: Gives the batches.
        learn: A step of the optimisers on what `taught` makes of a batch; returns the loss.
        folder: Where this process writes, if it does.
        about: What must not change between the parts of one run.
        progress: Called after each step.
    """

    accelerator: Accelerator
    recipe: Recipe
    model: Model
    state: State
    data: Batches
    learn: Callable[..., Tensor]
    folder: Path | None
    about: dict[str, Any]
    progress: Callable[[float, str], None] | None


def train(
    traces: Traces,
    path: str | Path | None = None,
    *,
    recipe: Recipe | None = None,
    codec: GasfCodec | None = None,
    diffusion: Diffusion | None = None,
    preset: str = "default",
    width: int | None = None,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Model:
    """Trains a model on labelled traces.

    Runs in one process, or in several under `accelerate launch` or torchrun. Ctrl-C ends it after
    the step under way; the model is saved and usable, and `resume` goes on from it.

    Matrix products are of bfloat16 on processors that multiply it faster (AVX-512 BF16, AMX);
    weights and all else are float32. To have all of it in float32, set `NETDIFFUS_ISA=x86-64-v3`.
    On one GPU a step is a CUDA graph.

    Args:
        traces: What to learn from; at least two of each class that has any.
        path: Folder for the model, its checkpoints and its log; None keeps all in memory.
        recipe: Budget and settings; None trains for two minutes, or is that of the resumed run.
        codec: Not yet fitted; None is `GasfCodec(default_size(traces), border=1)`, with no border
            for `paper`.
        diffusion: None takes the preset's own.
        preset: `default` or `paper`.
        width: Features at the finest level of the U-Net, None for the preset's own.
        resume: Go on from the folder's last checkpoint. On the CPU, with the same recipe and
            traces, the weights are those of a run that was never interrupted, bit for bit.
        force: Replace a model that is there.
        device: `cpu` or `cuda`; None takes CUDA if there is one.
        progress: Called after each step with (share done, a note with the loss).

    Returns:
        The model, with averaged weights.

    Raises:
        InputError: Traces, settings or a device that cannot be used, or another training that
            writes into the folder.
        FileExistsError: The folder holds a model, and neither `resume` nor `force` is given.
    """
    folder = None if path is None else Path(path)
    before = Model.load(_must(folder)) if resume else None
    recipe = recipe or (_recipe_of(before) if before else Recipe(minutes=2))
    traces = traces.without_empty_classes()
    _check_traces(traces)
    if folder is not None and not resume:
        refuse_existing(folder / CONFIG, force)
    codec = codec or GasfCodec(default_size(traces), border=border_of(preset))
    model = Model.new(traces, codec, diffusion, preset=preset, width=width, seed=recipe.seed)
    if before:
        _check_same(before, model)
    return _train(model, traces, recipe, folder, resume, device, progress)


def border_of(preset: str) -> int:
    """The border that suits a preset: `default` reads the series there, `paper` knows of none."""
    return BORDER if preset == "default" else 0


def _train(
    model: Model,
    traces: Traces,
    recipe: Recipe,
    folder: Path | None,
    resume: bool,
    device: str | None,
    progress: Callable[[float, str], None] | None,
) -> Model:
    accelerator = Accelerator(device_placement=False)
    target = _target(accelerator, device)
    recipe = replace(recipe, batch_size=recipe.batch_of(model.unet_config.rows))
    _check_batch(recipe, accelerator.num_processes)
    about = _fingerprint(traces, recipe)
    seen = _seen(model.codec, traces)
    model.about |= {"traces": len(traces), **seen, "budget": recipe.budget(), **about}
    state = State.new(model.unet.to(target), recipe.learning_rate)
    writes = folder if accelerator.is_main_process else None
    with alone_in(writes), _interruptible() as interrupted:
        if resume:
            state.load(_must(folder), about)
        data, learn = _lessons(accelerator, model, traces, recipe, state, target)
        run = Run(accelerator, recipe, model, state, data, learn, writes, about, progress)
        if writes is not None:
            start_folder(writes, state)
        _loop(run, interrupted)
        model.about["ended"] = _why(state, interrupted.is_set())
        _save(run)
        _finish(run)
    if accelerator.num_processes > 1:
        atexit.register(_leave_group)  # not after an error: the others would wait for this one
    return model


def _lessons(
    accelerator: Accelerator,
    model: Model,
    traces: Traces,
    recipe: Recipe,
    state: State,
    target: torch.device,
) -> tuple[Batches, Callable[..., Tensor]]:
    """What to learn from, and how; several processes share both."""
    world = accelerator.process_index, accelerator.num_processes, target
    batch_size = recipe.batch_of(model.unet_config.rows)
    data = Batches(model, traces, batch_size, recipe.held, recipe.seed, *world)
    net, *state.optimizers = accelerator.prepare(state.net, *state.optimizers)

    def learn(*given: Tensor) -> Tensor:
        lost = loss_of(net, model.diffusion, *given)
        for optimizer in state.optimizers:
            optimizer.zero_grad()
        accelerator.backward(lost)
        accelerator.clip_grad_norm_(state.net.parameters(), 1.0)
        for optimizer in state.optimizers:
            optimizer.step()
        return lost.detach()

    if target.type == "cuda" and accelerator.num_processes == 1:
        state.hold_rates(target)
        return data, Graphed(learn)
    return data, learn


def _target(accelerator: Accelerator, device: str | None) -> torch.device:
    if device is None:
        return torch.device(accelerator.device)
    if accelerator.num_processes > 1:
        raise InputError(
            f"device {device!r}: several processes have one each by accelerate; leave it out"
        )
    return usable(device)


def _leave_group() -> None:
    """Ends the threads between processes; left running, they abort a process that is done."""
    if torch.distributed.is_initialized():
        gc.collect()  # networks wrapped for several processes hold the group
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _loop(run: Run, interrupted: threading.Event) -> None:
    state, recipe = run.state, run.recipe
    began = time.monotonic() - state.seconds
    saved = time.monotonic()
    if state.judged is not None:
        run.data.take_all()
    while not _agreed(run.accelerator, interrupted.is_set() or _is_over(state, recipe)):
        if state.judged is None and _agreed(run.accelerator, _is_judged(state, recipe)):
            state.judged = state.step
            run.data.take_all()
        lost = _step(run)
        if _agreed(run.accelerator, not math.isfinite(lost)):
            raise InputError(
                f"the loss is no longer finite at step {state.step}; try a lower learning_rate (a "
                "checkpoint that was written before is kept)"
            )
        state.step += 1
        state.seconds = time.monotonic() - began
        state.losses.append(lost)
        if state.step % CHECK_EVERY == 0 and state.judged is None:
            _check(run)
        if state.step % LOG_EVERY == 0:
            log(state, run.folder)
        if time.monotonic() - saved > recipe.checkpoint_seconds:
            _save(run)
            saved = time.monotonic()
        if run.progress:
            note = f"step {state.step} loss {lost:.4f}"
            run.progress(recipe.share_done(state.step, state.seconds), note)


def _is_over(state: State, recipe: Recipe) -> bool:
    late = state.is_late and state.judged is not None and state.step * (1 - LAST) >= state.judged
    return recipe.share_done(state.step, state.seconds) >= 1 or late


def _is_judged(state: State, recipe: Recipe) -> bool:
    """Whether held traces have told what they can: they are as good as others to learn from."""
    return recipe.share_done(state.step, state.seconds) >= 1 - LAST or state.is_late


def _why(state: State, interrupted: bool) -> str:
    if interrupted:
        return "interrupted"
    return "learning by heart" if state.is_late else "budget used"


def _check(run: Run) -> None:
    """Notes how far the averaged weights are from held traces."""
    state = run.state
    state.held_distance = run.data.held_distance(run.model.unet, state.ema)
    state.least_distance = min(state.least_distance, state.held_distance)


def _agreed(accelerator: Accelerator, stop: bool) -> bool:
    """Whether any process wants to stop; all must stop at the same step."""
    if accelerator.num_processes == 1:
        return stop
    wish = torch.tensor(float(stop), device=accelerator.device)
    return float(accelerator.reduce(wish)) > 0


def _step(run: Run) -> float:
    state = run.state
    given = taught(run.data.batch(state.step))
    state.set_rate(run.recipe.learning_rate * min(1.0, (state.step + 1) / WARM_UP))
    lost = run.learn(*given)
    state.average(run.recipe.ema_width)
    return float(lost)


def _save(run: Run) -> None:
    """Writes the model with averaged weights, and all that a resumed run needs."""
    model, state, folder = run.model, run.state, run.folder
    _tell(model, state)
    if folder is not None:
        model.save_weights(folder, state.averaged())
        write_text(folder / CONFIG, json.dumps(model.config(), indent=2) + "\n")
        state.save(folder, run.about)


def _finish(run: Run) -> None:
    """Leaves the averaged weights in the model."""
    run.model.unet.load_state_dict(run.state.averaged())
    run.model.unet.cpu().eval()
    if run.folder is not None:
        write_text(run.folder / CARD, run.model.card())


def _tell(model: Model, state: State) -> None:
    model.about |= {"steps": state.step, "seconds": round(state.seconds, 1)}
    if math.isfinite(state.least_distance):
        model.about |= {
            "held_until_step": state.judged,
            "held_distance": round(state.held_distance, 5),
            "least_held_distance": round(state.least_distance, 5),
        }


def _seen(codec: GasfCodec, traces: Traces) -> dict[str, int]:
    """How much of the traces is on their images."""
    length = codec.kept(traces)
    cut = int((traces.lengths > length).sum())
    return {"length": length, "points": codec.points, **({"longer_traces": cut} if cut else {})}


def _fingerprint(traces: Traces, recipe: Recipe) -> dict[str, Any]:
    """What must not change between the parts of one run, for a resume to be checked against."""
    digest = hashlib.sha256(traces.values.tobytes())
    variant, table = variants_of(traces)
    for part in (traces.lengths, traces.labels, variant):
        digest.update(part.tobytes())
    digest.update(json.dumps(table).encode())
    return {"fingerprint": digest.hexdigest()[:16], **{key: getattr(recipe, key) for key in KEPT}}


def _check_batch(recipe: Recipe, processes: int) -> None:
    size = recipe.batch_size or 0
    if size < processes:
        raise InputError(
            f"batch_size {size} is less than the {processes} processes: each needs a trace"
        )


def _check_traces(traces: Traces) -> None:
    for name, count in traces.counts().items():
        if count == 1:
            raise InputError(
                f"class {name!r} has one trace, which a model would only copy; add traces of it or "
                "take the class out"
            )


def _check_same(before: Model, now: Model) -> None:
    """Refuses to go on with a model of other classes or settings."""
    old, new = ({"classes": m.classes, **_settings(m)} for m in (before, now))
    for key, value in new.items():
        if old[key] != value:
            raise InputError(
                f"resume: {key} was {old[key]!r} and is now {value!r}; a resumed run goes on with "
                "the traces and settings it began with"
            )


def _settings(model: Model) -> dict[str, Any]:
    config = model.config()
    parts = {**config["codec"], **config["unet"], **config["diffusion"]}
    for name in ("levels", "groups", "variants"):
        del parts[name]  # follows from the traces, whose fingerprint is checked
    return {**parts, "channels": [channel.name for channel in model.codec.channels]}


def _recipe_of(model: Model) -> Recipe:
    """That a model was trained by."""
    about = model.about
    kept = {name: about[name] for name in KEPT if name in about}
    return Recipe(**about.get("budget", {"minutes": 2.0}), **kept)


def _must(folder: Path | None) -> Path:
    if folder is None:
        raise InputError("resume needs the path of the model folder to go on from")
    return folder


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets an event, so that a step is never cut in two; a second one ends at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(signum: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
