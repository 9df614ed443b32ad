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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from netdiffus.batches import Batches, Loss, taught
from netdiffus.codec import GasfCodec, default_size
from netdiffus.device import usable
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.files import alone_in, refuse_existing, whole_file, write_text
from netdiffus.model import CARD, CONFIG, Model
from netdiffus.muon import Muon
from netdiffus.traces import Traces
from netdiffus.unet import Block
from netdiffus.variants import variants_of

STATE, LOG = "training_state.safetensors", "log.jsonl"
LOG_EVERY = 20  # steps
ROWS = 2048  # of images in a step: enough for matrix products to reach their speed
MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # what AdamW or Muon keeps per parameter
COUNTED = (
    "step",
    "seconds",
    "losses",
    "held_distance",
    "least_distance",
)  # in a checkpoint
WARM_UP = 50  # steps
WEIGHT_DECAY = 0.2  # of Muon: 2,400 traces were learnt by heart sooner without
BORDER = 1  # constant points on the images of the default preset
CHECK_EVERY = 40  # steps
# Times the least distance from held traces. Of 100 classes of 8 traces (alexa_voice), where it is
# reached after five minutes, exact copies then rise from 8 % to 14 % in another fifteen (of real
# traces 4.5 % are), while a forest trained on what is made names as many rightly.
TOLERATED = 1.4


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Total optimiser steps, counted over resumed runs; None has no such end.
        minutes: Total minutes of training, likewise.
        batch_size: Traces per step, over all processes; None takes as many as have 2048 image rows
            together, so that a step costs about the same at every image size.
        learning_rate: Of Muon for the matrices inside the blocks, of AdamW for the rest; after a
            linear warm-up of 50 steps.
        ema_width: The averaged weights look back over about this share of the training so far
            (Karras et al., 2024, power-function averaging), so one value serves every budget.
        held: Share of each class that is kept from the network, 64 traces at most. They tell
            whether what it learns holds for traces that it has not seen: training ends before the
            budget once the averaged weights are 1.4 times as far from them as they were at best, as
            from there on it learns by heart. 0 uses all traces and never does.
        checkpoint_seconds: Time between checkpoints.
        seed: Of weights, order, times and noise.

    Raises:
        InputError: No end at all, or a value out of range.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    ema_width: float = 0.1
    held: float = 0.1
    checkpoint_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise InputError("training needs an end: give steps or minutes")
        if not 0 <= self.held <= 0.5:
            raise InputError(f"held must lie in 0..0.5, got {self.held}")
        for name, value in asdict(self).items():
            if name not in ("seed", "held") and value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be a number above 0, got {value}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must lie in 0..2**63 - 1, got {self.seed}")

    def batch_of(self, size: int) -> int:
        """Traces per step for images of this height and width."""
        return self.batch_size or max(1, ROWS // size)

    def share_done(self, step: int, seconds: float) -> float:
        """0 at the start, 1 or more at the end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(by_steps, by_time)


@dataclass
class State:
    """All that changes while training."""

    net: nn.Module
    optimizers: list[torch.optim.Optimizer]
    ema: list[Tensor]
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    held_distance: float = math.inf
    least_distance: float = math.inf

    @property
    def is_late(self) -> bool:
        """Whether held traces say that what was learned last is of the training traces alone."""
        return self.held_distance > TOLERATED * self.least_distance


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
    On a GPU the loss and its gradient are CUDA graphs.

    Args:
        traces: What to learn from; at least two of each class.
        path: Folder for the model, its checkpoints and its log; None keeps all in memory.
        recipe: Budget and settings; None trains for two minutes.
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
    recipe = recipe or Recipe(minutes=2)
    _check_traces(traces)
    folder = None if path is None else Path(path)
    if folder is not None and not resume:
        refuse_existing(folder / CONFIG, force)
    codec = codec or GasfCodec(default_size(traces), border=border_of(preset))
    model = Model.new(traces, codec, diffusion, preset=preset, width=width, seed=recipe.seed)
    if resume:
        _check_same(Model.load(_must(folder)), model)
    return _run(model, traces, recipe, folder, resume, device, progress)


def border_of(preset: str) -> int:
    """The border that suits a preset: `default` reads the series there, `paper` knows of none."""
    return BORDER if preset == "default" else 0


def _run(
    model: Model,
    traces: Traces,
    recipe: Recipe,
    folder: Path | None,
    resume: bool,
    device: str | None,
    progress: Callable[[float, str], None] | None,
) -> Model:
    accelerator = Accelerator(device_placement=False)
    if accelerator.num_processes > 1:
        atexit.register(_leave_group)
    target = _target(accelerator, device)
    recipe = replace(recipe, batch_size=recipe.batch_of(model.unet_config.size))
    run = _fingerprint(traces, recipe)
    model.about |= {"traces": len(traces), **run}
    model.unet.to(target)
    state = _new_state(model, recipe)
    if resume:
        _load_state(state, _must(folder) / STATE, run)
    plain = state.net
    state.net, *state.optimizers = accelerator.prepare(state.net, *state.optimizers)
    writes = folder if accelerator.is_main_process else None

    def save() -> None:
        if writes is not None:
            _checkpoint(model, state, plain, writes, run)

    world = accelerator.process_index, accelerator.num_processes, target
    batch_size = recipe.batch_of(model.unet_config.size)
    data = Batches(model, traces, batch_size, recipe.held, recipe.seed, *world)
    loss: Callable[..., Tensor] = Loss(state.net, model.diffusion)
    if target.type == "cuda" and accelerator.num_processes == 1:
        loss = _graphed(loss, taught(data.batch(0)))
    with alone_in(writes), _interruptible() as interrupted:
        if writes is not None:
            _start_folder(writes, state)
        _loop(accelerator, state, loss, data, model, recipe, writes, interrupted, save, progress)
        model.about["ended"] = _why(state, interrupted.is_set())
        _tell(model, state)
        save()
    _finish(model, plain, state)
    if writes is not None:
        write_text(writes / CARD, model.card())
    return model


def _graphed(loss: Callable[..., Tensor], given: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    """The same, it and its gradient a CUDA graph each: kernels take longer to start than to run."""
    return cast(Callable[..., Tensor], torch.cuda.make_graphed_callables(loss, given))


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


def _loop(
    accelerator: Accelerator,
    state: State,
    loss: Callable[..., Tensor],
    data: Batches,
    model: Model,
    recipe: Recipe,
    folder: Path | None,
    interrupted: threading.Event,
    save: Callable[[], None],
    progress: Callable[[float, str], None] | None,
) -> None:
    began = time.monotonic() - state.seconds
    saved = time.monotonic()
    while not _agreed(accelerator, interrupted.is_set() or _is_over(state, recipe)):
        lost = _step(accelerator, state, loss, data, recipe)
        if not math.isfinite(lost):
            raise InputError(
                f"the loss is {lost} at step {state.step}; the last checkpoint is kept: try a "
                "lower learning_rate"
            )
        state.step += 1
        state.seconds = time.monotonic() - began
        state.losses.append(lost)
        if state.step % CHECK_EVERY == 0:
            _check(state, data, model)
        if state.step % LOG_EVERY == 0:
            _log(state, folder)
        if time.monotonic() - saved > recipe.checkpoint_seconds:
            save()
            saved = time.monotonic()
        if progress:
            note = f"step {state.step} loss {lost:.4f}"
            progress(recipe.share_done(state.step, state.seconds), note)


def _is_over(state: State, recipe: Recipe) -> bool:
    return recipe.share_done(state.step, state.seconds) >= 1 or state.is_late


def _why(state: State, interrupted: bool) -> str:
    if interrupted:
        return "interrupted"
    return "learning by heart" if state.is_late else "budget used"


def _check(state: State, data: Batches, model: Model) -> None:
    """Notes how far the averaged weights are from held traces."""
    state.held_distance = data.held_distance(model.unet, state.ema)
    state.least_distance = min(state.least_distance, state.held_distance)


def _agreed(accelerator: Accelerator, stop: bool) -> bool:
    """Whether any process wants to stop; all must stop at the same step."""
    if accelerator.num_processes == 1:
        return stop
    wish = torch.tensor(float(stop), device=accelerator.device)
    return float(accelerator.reduce(wish)) > 0


def _step(
    accelerator: Accelerator,
    state: State,
    loss: Callable[..., Tensor],
    data: Batches,
    recipe: Recipe,
) -> float:
    lost = loss(*taught(data.batch(state.step)))
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (state.step + 1) / WARM_UP)
        optimizer.zero_grad()
    accelerator.backward(lost)
    accelerator.clip_grad_norm_(state.net.parameters(), 1.0)
    for optimizer in state.optimizers:
        optimizer.step()
    _average(state, recipe.ema_width)
    return float(lost.detach())


def _average(state: State, width: float) -> None:
    """Weight of the newest: 1 - (1 - 1/k)**p at step k; p gives a spread of `width` of k."""
    power = 1 / width
    newest = 1 - (1 - 1 / (state.step + 1)) ** power
    with torch.no_grad():
        torch._foreach_lerp_(state.ema, list(state.net.parameters()), newest)


def _new_state(model: Model, recipe: Recipe) -> State:
    net, rate = model.unet.train(), recipe.learning_rate
    inner = [p for block in net.modules() if isinstance(block, Block) for p in block.matrices()]
    others = set(net.parameters()) - set(inner)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [p for p in net.parameters() if p in others], lr=rate, weight_decay=1e-2, fused=True
        )
    ]
    if inner:
        optimizers.append(Muon(inner, lr=rate, weight_decay=WEIGHT_DECAY))
    return State(net, optimizers, [p.detach().clone() for p in net.parameters()])


def _finish(model: Model, net: nn.Module, state: State) -> None:
    """Leaves the averaged weights in the model."""
    with torch.no_grad():
        for parameter, average in zip(net.parameters(), state.ema, strict=True):
            parameter.copy_(average)
    model.unet = net.cpu().eval()


def _tell(model: Model, state: State) -> None:
    model.about |= {"steps": state.step, "seconds": round(state.seconds, 1)}
    if math.isfinite(state.least_distance):
        model.about |= {
            "held_distance": round(state.held_distance, 5),
            "least_held_distance": round(state.least_distance, 5),
        }


def _start_folder(folder: Path, state: State) -> None:
    """Drops log lines that the run now goes over again; an old run's state that it replaces."""
    kept = [one for one in read_log(folder) if one["step"] <= state.step]
    write_text(folder / LOG, "".join(json.dumps(one) + "\n" for one in kept))
    if state.step == 0:
        (folder / STATE).unlink(missing_ok=True)


def _log(state: State, folder: Path | None) -> None:
    line = {
        "step": state.step,
        "seconds": round(state.seconds, 2),
        "loss": sum(state.losses) / len(state.losses),
    }
    if math.isfinite(state.held_distance):
        line["held_distance"] = state.held_distance
    state.losses.clear()
    if folder is not None:
        with (folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """The training log of a model folder: one dict with step, seconds and loss per line."""
    path = Path(folder) / LOG
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _checkpoint(
    model: Model, state: State, net: nn.Module, folder: Path, run: dict[str, Any]
) -> None:
    """Writes the model with averaged weights, and all that a resumed run needs."""
    _tell(model, state)
    names = [name for name, _ in net.named_parameters()]
    model.save_weights(folder, net.state_dict() | dict(zip(names, state.ema, strict=True)))
    write_text(folder / CONFIG, json.dumps(model.config(), indent=2) + "\n")
    tensors = {}
    for name, parameter, ema in zip(names, net.parameters(), state.ema, strict=True):
        tensors[f"net.{name}"], tensors[f"ema.{name}"] = parameter.detach(), ema
        for key, moment in _optimizer(state, parameter).state[parameter].items():
            tensors[f"{key}.{name}"] = moment
    about = {**run, **{key: getattr(state, key) for key in COUNTED}}
    with whole_file(folder / STATE) as part:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            part,
            metadata={key: json.dumps(value) for key, value in about.items()},
        )


def _load_state(state: State, path: Path, run: dict[str, Any]) -> None:
    """Fills a new state from a checkpoint of the same run."""
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, so there is nothing to resume; train without resume"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = {key: json.loads(text) for key, text in file.metadata().items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or not a safetensors file: {error}") from error
    for key, value in run.items():
        if about.get(key) != value:
            raise InputError(
                f"resume: {key} was {about.get(key)!r} and is now {value!r}; a resumed run goes on "
                "with the traces and settings it began with"
            )
    for key in COUNTED:
        setattr(state, key, about[key])
    with torch.no_grad():
        for (name, parameter), ema in zip(state.net.named_parameters(), state.ema, strict=True):
            parameter.copy_(tensors[f"net.{name}"])
            ema.copy_(tensors[f"ema.{name}"])
            _optimizer(state, parameter).state[parameter] = {
                key: tensors[f"{key}.{name}"].to(parameter.device)
                for key in MOMENTS
                if f"{key}.{name}" in tensors
            }


def _optimizer(state: State, parameter: Tensor) -> torch.optim.Optimizer:
    """The one that moves a parameter."""
    return next(
        optimizer
        for optimizer in state.optimizers
        if any(parameter is p for group in optimizer.param_groups for p in group["params"])
    )


def _fingerprint(traces: Traces, recipe: Recipe) -> dict[str, Any]:
    """What must not change between the parts of one run, for a resume to be checked against."""
    digest = hashlib.sha256(traces.values.tobytes())
    variant, table = variants_of(traces)
    for part in (traces.lengths, traces.labels, variant):
        digest.update(part.tobytes())
    digest.update(json.dumps(table).encode())
    kept = ("batch_size", "learning_rate", "ema_width", "held", "seed")
    return {"fingerprint": digest.hexdigest()[:16], **{key: getattr(recipe, key) for key in kept}}


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
