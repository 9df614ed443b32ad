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
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.func import functional_call

from netdiffus.codec import default_size
from netdiffus.codec.vocabulary import K
from netdiffus.device import usable
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError, Note
from netdiffus.files import alone_in
from netdiffus.model.files import LOG, STATE, refuse_model, save_together
from netdiffus.model.model import Model
from netdiffus.networks.batch import Batch
from netdiffus.networks.build import (
    DISTILLED,
    IMAGES,
    Codec,
    build,
    check_preset,
    default_codec,
    student_of,
)
from netdiffus.networks.causal import CausalConfig, CausalNetwork
from netdiffus.networks.image import ImageNetwork
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Ints, Traces
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import State, Teacher, has_teacher, log, start_folder
from netdiffus.training.cuda_graph import Graphed
from netdiffus.training.distill import Taught
from netdiffus.training.recipe import Recipe

LOG_EVERY, VALIDATE_EVERY = 20, 40  # steps
WEIGHT_DECAY, IMAGE_DECAY = 0.2, 0.01  # of networks of tokens and of images
STUDENT_DECAY = 0.01  # of a student, which has as many traces to learn from as it takes
MOST_GRADIENT = 1.0  # norm that gradients are clipped to
KEPT = (
    "batch_size",
    "learning_rate",
    "weight_decay",
    "ema_width",
    "validation_fraction",
    "teacher_share",
    "seed",
)
FEW = 10  # traces of a class below which a note says what to expect


@dataclass
class Run:
    """A training under way.

    Attributes:
        accelerator: Knows the processes.
        recipe: Budget and settings.
        model: What is trained; gets the averaged weights at the end.
        state: All that changes.
        data: Gives the batches: of the traces, or to a student of what its teacher makes.
        train_step: Gradient and optimiser on one batch; returns the loss.
        target: The device.
        folder: Where this process writes, if it does.
        log: Its log there.
        fingerprint: What must not change between the parts of one run.
        progress: Called after each step.
    """

    accelerator: Accelerator
    recipe: Recipe
    model: Model
    state: State
    data: Batches | Taught
    train_step: Callable[..., Tensor]
    target: torch.device
    folder: Path | None
    log: Path | None
    fingerprint: dict[str, Any]
    progress: Callable[[float, str], None] | None

    @property
    def has_student(self) -> bool:
        """Whether a student takes the network's place."""
        return self.model.preset in DISTILLED and self.recipe.teacher_share < 1


def train(
    traces: Traces,
    path: str | Path | None = None,
    *,
    recipe: Recipe | None = None,
    codec: Codec | None = None,
    diffusion: Diffusion | None = None,
    preset: str = "default",
    width: int | None = None,
    by: str | None = None,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Model:
    """Trains a model on labelled traces.

    Runs in one process, or in several under `accelerate launch` or torchrun. Ctrl-C ends it after
    the step under way; the model is saved and usable, and `resume` goes on from it. On one GPU a
    step is a CUDA graph, but of `series` and `masked`.

    Args:
        traces: What to learn from, at least 5.
        path: Folder for the model, its checkpoints and its log; None keeps all in memory.
        recipe: Budget and settings; None trains for two minutes, or is that of the resumed run.
        codec: Not yet fitted; None is `TokenCodec()`, or for `paper` `GasfCodec(default_size(…))`.
        diffusion: None takes the preset's own; only for `series`, `image` and `paper`.
        preset: `default`, `causal`, `series`, `masked`, `image` or `paper`.
        width: Features inside the network, None for the preset's own.
        by: Column of the meta-data that names a group, such as a user or a host. Every value that
            the model keeps is then shared by 5 groups, not by 5 traces.
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
    check_preset(preset)
    folder = None if path is None else Path(path)
    before = Model.load(_require_path(folder)) if resume else None
    recipe = recipe or (_recipe_of(before) if before else Recipe(minutes=2))
    recipe = _with_decay(recipe, preset)
    traces = traces.without_empty_classes()
    if folder is not None:
        refuse_model(folder, force or resume)
    codec = codec or default_codec(preset, default_size(traces))
    owners = _owners(traces, by)
    model = Model.new(
        traces, codec, diffusion, preset=preset, width=width, owners=owners, seed=recipe.seed
    )
    _warn(traces, model.codec.length or 0)
    if before:
        _check_same(before, model)
    return _train(model, traces, recipe, folder, resume, device, progress)


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
    _check_batch(recipe, accelerator.num_processes)
    kept = {key: getattr(recipe, key) for key in KEPT}
    fingerprint = {"traces": _hash(traces), **kept}
    model.about |= {"traces": len(traces), **_kept(model, traces)}
    model.about |= {"budget": recipe.budget(), **kept}
    state = State.new(model.network.to(target), recipe)
    writes = folder if accelerator.is_main_process else None
    with alone_in(writes), _interruptible() as interrupted:
        place = accelerator.process_index, accelerator.num_processes, target
        shares = recipe.batch_size, recipe.validation_fraction, recipe.seed
        data = Batches(model, traces, *shares, *place)
        step = _train_step(accelerator, state, recipe, target)
        parts = data, step, target, writes, None, fingerprint, progress
        run = Run(accelerator, recipe, model, state, *parts)
        if resume:
            _go_on(run, _require_path(folder))
        if writes is not None:
            run.log = start_folder(writes, run.state)
        _learn(run, interrupted)
        _save(run)
        _finish(run)
    if accelerator.num_processes > 1:
        atexit.register(_leave_group)  # not after an error: the others would wait for this one
    return model


def _go_on(run: Run, folder: Path) -> None:
    """Takes over the checkpoint of a run."""
    if has_teacher(folder):
        _begin_student(run)  # with any weights: those of the checkpoint follow
    run.state.load(folder, run.fingerprint)


def _learn(run: Run, interrupted: threading.Event) -> None:
    """Trains the network, and then a student of it."""
    _loop(run, interrupted)
    if run.has_student and run.state.teacher is None and not interrupted.is_set():
        _begin_student(run)
        _loop(run, interrupted)
    run.model.about["ended"] = _stop_reason(run.state, interrupted.is_set())


def _begin_student(run: Run) -> None:
    """Puts a student of the network in its place, in the model and in the run."""
    model, before, recipe = run.model, run.state, run.recipe
    teacher = model.network
    assert isinstance(teacher, CausalNetwork)
    teacher.load_state_dict(before.averaged())
    config = student_of(teacher.config)
    lengths = model.columns.lengths
    model.network = build(config, model.codec, None, lengths, recipe.seed + 1).to(run.target)
    state = State.new(model.network, replace(recipe, weight_decay=STUDENT_DECAY))
    spent = before.step, before.seconds, before.cpu_seconds
    state.step, state.seconds, state.cpu_seconds = spent
    state.teacher = Teacher(dict(teacher.state_dict()), *spent, before.schedule)
    state.losses = before.losses
    shares = torch.from_numpy(model.shares)
    accelerator = run.accelerator
    place = accelerator.process_index, accelerator.num_processes
    run.data = Taught(teacher, shares, recipe.batch_size, recipe.seed, *place)
    run.state, run.train_step = state, _train_step(accelerator, state, recipe, run.target)


def _train_step(
    accelerator: Accelerator, state: State, recipe: Recipe, target: torch.device
) -> Callable[..., Tensor]:
    """The function that takes a batch, lowers the loss on it, and returns the loss."""
    loss, state.optimizer = accelerator.prepare(_Loss(state.net), state.optimizer)

    def train_step(*batch: Tensor) -> Tensor:
        lost = loss(*batch)
        state.optimizer.zero_grad()
        accelerator.backward(lost)
        accelerator.clip_grad_norm_(state.net.parameters(), MOST_GRADIENT)
        state.optimizer.step()
        detached: Tensor = lost.detach()
        return detached

    # A graph replays the same work; what `series` and `masked` do depends on what they are given.
    is_fixed = isinstance(state.net, CausalNetwork | ImageNetwork)
    if is_fixed and target.type == "cuda" and accelerator.num_processes == 1:
        state.hold_rates(target)
        return Graphed(train_step)
    return train_step


class _Loss(torch.nn.Module):
    """The loss of a network as a module's forward, which is what several processes share."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *batch: Tensor) -> Tensor:
        lost: Tensor = self.net.loss(Batch(*batch))  # type: ignore[operator]
        return lost


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
    cpu_began = time.process_time() - state.cpu_seconds
    saved = time.monotonic()
    if state.schedule.decay_step is not None and isinstance(run.data, Batches):
        run.data.take_all()
    while not _agreed(run, interrupted.is_set() or _is_over(run)):
        if state.schedule.decay_step is None and _agreed(run, _wants_decay(run)):
            state.schedule.begin_decay(state.own_step, _share(run))
            if isinstance(run.data, Batches):
                run.data.take_all()
        lost = _step(run)
        if _agreed(run, not math.isfinite(lost)):
            raise InputError(
                f"the loss is no longer finite at step {state.step}; try a lower learning_rate (a "
                "checkpoint that was written before is kept)"
            )
        state.step += 1
        state.seconds = time.monotonic() - began
        state.cpu_seconds = time.process_time() - cpu_began
        state.losses.append(lost)
        if state.step % VALIDATE_EVERY == 0 and state.schedule.decay_step is None:
            _validate(run, run.data)
        if state.step % LOG_EVERY == 0:
            log(state, run.log)
        if time.monotonic() - saved > recipe.checkpoint_seconds:
            _save(run)
            saved = time.monotonic()
        if run.progress:
            run.progress(_done(run), f"step {state.step} loss {lost:.4f}")


def _share(run: Run) -> float:
    """The share of the training of this network that is done: of a teacher, of a student.

    A student takes the rest of the budget. Where its teacher was overfitting, and ended before its
    share of the budget, the student takes no more than half as many steps.
    """
    state, recipe = run.state, run.recipe
    used = recipe.share_done(state.step, state.seconds, state.cpu_seconds)
    if (teacher := state.teacher) is None:
        return used / recipe.teacher_share if run.has_student else used
    before = recipe.share_done(teacher.step, teacher.seconds, teacher.cpu_seconds)
    by_budget = (used - before) / max(1 - before, 1e-9)
    by_steps = 2 * state.own_step / max(teacher.step, 1)
    return max(by_budget, by_steps if teacher.schedule.is_overfitting else 0.0)


def _done(run: Run) -> float:
    """The share of all training that is done, for whoever waits for it."""
    teacher = run.recipe.teacher_share if run.has_student else 1.0
    if run.state.teacher is None:
        return teacher * _share(run)
    return teacher + (1 - teacher) * _share(run)


def _is_over(run: Run) -> bool:
    return run.state.schedule.is_over(run.state.own_step, _share(run))


def _wants_decay(run: Run) -> bool:
    return run.state.schedule.wants_decay(_share(run))


def _stop_reason(state: State, interrupted: bool) -> str:
    if interrupted:
        return "interrupted"
    schedule = state.teacher.schedule if state.teacher else state.schedule
    return "overfitting" if schedule.is_overfitting else "budget used"


def _step(run: Run) -> float:
    """One step; dropout and all other chance in it depend on seed, step and process alone."""
    state, recipe = run.state, run.recipe
    state.set_rate(recipe.learning_rate * state.schedule.rate(state.own_step, _share(run)))
    batch = run.data.batch(state.step)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash((recipe.seed, state.step, run.accelerator.process_index)))
        lost = run.train_step(*batch)
    state.average(recipe.ema_width)
    return float(lost)


def _validate(run: Run, data: Batches | Taught) -> None:
    """Measures the loss of the averaged weights on validation traces and on learned ones.

    A student has none: it sees new traces all the time.
    """
    if not isinstance(data, Batches) or not (validation := data.validation()):
        return
    schedule = run.state.schedule
    schedule.losses.append(_mean_loss(run.state, validation))
    schedule.learned_loss = _mean_loss(run.state, data.reference())


def _mean_loss(state: State, batches: list[Batch]) -> float:
    """Of the averaged weights, without dropout or any other chance of training."""
    names = (f"net.{name}" for name, _ in state.net.named_parameters())
    weights = dict(zip(names, state.ema, strict=True))
    loss = _Loss(state.net.eval())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        losses = [float(functional_call(loss, weights, tuple(batch))) for batch in batches]
    state.net.train()
    return float(np.average(losses, weights=[len(b.label) for b in batches]))


def _agreed(run: Run, stop: bool) -> bool:
    """Whether any process wants to stop; all must stop at the same step."""
    accelerator = run.accelerator
    if accelerator.num_processes == 1:
        return stop
    wish = torch.tensor(float(stop), device=accelerator.device)
    return float(accelerator.reduce(wish)) > 0


def _save(run: Run) -> None:
    """Writes the model with averaged weights, and all that a resumed run needs."""
    model, state, folder = run.model, run.state, run.folder
    _record(model, state)
    if folder is None or run.log is None:
        return
    one, config, parts = model.parts(state.averaged())
    parts[STATE] = state.content(run.fingerprint, one)
    if run.log != folder / LOG:
        parts[LOG] = run.log.read_bytes()
    save_together(folder, one, config, parts)
    if run.log != folder / LOG:
        run.log.unlink()
        run.log = folder / LOG


def _finish(run: Run) -> None:
    """Leaves the averaged weights in the model."""
    run.model.network.load_state_dict(run.state.averaged())
    run.model.network.cpu().eval()


def _record(model: Model, state: State) -> None:
    """Notes in the model how far training has come."""
    schedule = state.teacher.schedule if state.teacher else state.schedule
    model.about |= {"steps": state.step, "seconds": round(state.seconds, 1)}
    model.about |= {"cpu_seconds": round(state.cpu_seconds, 1)}
    if state.teacher:
        model.about["teacher_steps"] = state.teacher.step
    if schedule.losses:
        model.about |= {
            "rate_fell_at_step": schedule.decay_step,
            "validation_loss": round(schedule.losses[-1], 5),
            "learned_loss": round(schedule.learned_loss, 5),
            "least_validation_loss": round(schedule.least_loss, 5),
        }


def _kept(model: Model, traces: Traces) -> dict[str, int]:
    """How much of the traces is learned from."""
    length = model.codec.length or 0
    cut = int((traces.lengths > length).sum())
    found = {"length": length, "points": model.codec.points}
    return found | ({"longer_traces": cut} if cut else {})


def _hash(traces: Traces) -> str:
    """Of all that is learned from; a resumed run is checked against it."""
    digest = hashlib.sha256(traces.values.tobytes())
    for part in (traces.lengths, traces.labels):
        digest.update(part.tobytes())
    digest.update(json.dumps(traces.classes).encode())
    return digest.hexdigest()


def _owners(traces: Traces, by: str | None) -> Ints | None:
    """(N,): the number of each trace's group, or None where each trace is its own."""
    if by is None:
        return None
    return np.unique(group_names(traces.meta, by, None), return_inverse=True)[1].astype(np.int64)


def _with_decay(recipe: Recipe, preset: str) -> Recipe:
    usual = IMAGE_DECAY if preset in IMAGES else WEIGHT_DECAY
    return recipe if recipe.weight_decay is not None else replace(recipe, weight_decay=usual)


def _check_batch(recipe: Recipe, processes: int) -> None:
    if recipe.batch_size < processes:
        raise InputError(
            f"batch_size {recipe.batch_size} is less than the {processes} processes: each needs a "
            "trace"
        )


def _warn(traces: Traces, kept: int) -> None:
    """Says which traces are cut, and which classes are small."""
    if cut := int((traces.lengths > kept).sum()):
        warnings.warn(
            f"{cut} of {len(traces)} traces are longer than {kept} points; only their first {kept} "
            "are learned. length (--length) keeps another number, up to the length that 5 traces "
            f"reach; evaluate with length={kept} compares no more",
            Note,
            stacklevel=3,
        )
    few = sorted((n, name) for name, n in traces.counts().items() if n < FEW)
    if few:
        more = f", and {len(few) - 1} more classes have fewer than {FEW}" if len(few) > 1 else ""
        warnings.warn(
            f"class {few[0][1]!r} has {few[0][0]} traces{more}: what is made of so few is more "
            f"like all traces than like their class; values that fewer than {K} traces share are "
            "never made exactly",
            Note,
            stacklevel=3,
        )


def _check_same(before: Model, now: Model) -> None:
    """Refuses to go on with a model of other classes or settings."""
    old, new = _settings(before), _settings(now)
    for key, value in new.items():
        if old.get(key) != value:
            raise InputError(
                f"resume: {key} was {old.get(key)!r} and is now {value!r}; a resumed run goes on "
                "with the traces and settings it began with"
            )


def _settings(model: Model) -> dict[str, Any]:
    config = json.loads(json.dumps(model.config()))
    shape = model.network.config
    if isinstance(shape, CausalConfig):  # a student is compared with its teacher
        config["network"] = json.loads(json.dumps(asdict(student_of(shape))))
    parts: dict[str, Any] = {**config["codec"], **config["network"], **(config["diffusion"] or {})}
    channels = [channel.name for channel in model.codec.channels]
    return {"preset": model.preset, "classes": config["classes"], **parts, "channels": channels}


def _recipe_of(model: Model) -> Recipe:
    """That a model was trained by."""
    about = model.about
    kept = {name: about[name] for name in KEPT if name in about}
    try:
        return Recipe(**about.get("budget", {"minutes": 2.0}), **kept)
    except (InputError, TypeError) as error:
        raise InputError(f"resume: the settings of the model cannot be used: {error}") from None


def _require_path(folder: Path | None) -> Path:
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
