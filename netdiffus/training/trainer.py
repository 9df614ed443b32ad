"""Traces in, a trained model out: interruptible, and resumable to the same bits.

The path of a training: `Model.new` fits the codec and builds the network; `Batches` gives the
traces of each step; `step.train_step` lowers their loss; `loop.learn` repeats it until the budget
is used or the network is overfitting; `saving.save` writes the folder.
"""

from __future__ import annotations

import atexit
import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from accelerate import Accelerator

from netdiffus.codec import default_size
from netdiffus.codec.columns import Choice
from netdiffus.codec.vocabulary import K, needed, owners_needed
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError, Note
from netdiffus.files import alone_in
from netdiffus.model.files import refuse_model
from netdiffus.model.model import Model, shares_of
from netdiffus.networks.build import IMAGES, Codec, check_preset, default_codec
from netdiffus.networks.causal import CausalNetwork
from netdiffus.parts import Dataset
from netdiffus.progress import given_or_bar
from netdiffus.traces.splitting import owners_of
from netdiffus.traces.traces import Traces
from netdiffus.training.allocator import kept_memory
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import State, start_folder
from netdiffus.training.encoded import fits, sample_of, with_exceptions
from netdiffus.training.loop import learn
from netdiffus.training.processes import (
    check_batch,
    check_deterministic,
    interruptible,
    is_loss_of_a_process,
    joined,
    leave_group,
    one_thread,
    refuse_others,
    target_device,
)
from netdiffus.training.recipe import Recipe
from netdiffus.training.resume import check_same, hash_of, recipe_of, settings_of
from netdiffus.training.run import Run
from netdiffus.training.saving import finish, save
from netdiffus.training.step import prepared_step

WEIGHT_DECAY, IMAGE_DECAY = 0.2, 0.01  # of networks of tokens and of images
FEW = 10  # traces of a class below which a note says what to expect


def train(
    traces: Traces | Dataset,
    path: str | Path | None = None,
    *,
    recipe: Recipe | None = None,
    codec: Codec | None = None,
    diffusion: Diffusion | None = None,
    preset: str = "default",
    width: int | None = None,
    by: str | None = None,
    columns: Choice = None,
    rare: Literal["drop", "keep"] | None = None,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Model:
    """Trains a model on labelled traces.

    Runs in one process, or in several under `accelerate launch` or torchrun. Ctrl-C ends it after
    the current step; the model is saved and usable, and `resume` goes on from it. On one GPU each
    step runs as a CUDA graph, except for `series` and `masked`.

    Args:
        traces: Training traces, at least 5. For a data set that does not fit into memory,
            vocabularies and columns are fitted on a random sample, and its tokens are in a
            temporary file.
        path: Folder for the model, its checkpoints and its log; None keeps all in memory.
        recipe: Budget and settings; None trains for two minutes, or is that of the resumed run.
        codec: Not yet fitted; None is `TokenCodec()`, or for `paper` `GasfCodec(default_size(…))`.
        diffusion: None takes the preset's own; only for `series`, `image` and `paper`.
        preset: `default`, `causal`, `series`, `masked`, `image` or `paper`.
        width: Features inside the network, None for the preset's own.
        by: Column of the meta-data that names a group, such as a user or a host. Every value that
            the model keeps is then shared by 5 groups, not by 5 traces.
        columns: Columns of the meta-data to learn with class and points; sampling can fix their
            values. None takes `protocol` and `server_port` if present, or those of the resumed run;
            `all` takes all columns but identifiers (see `Columns.fit`).
        rare: `drop` stores no value that fewer than 5 traces (or groups) share. `keep` also stores
            values of single traces; then do not share the model or its synthetic traces. None is
            `drop`, or that of the resumed run.
        resume: Continue from the folder's last checkpoint. On the CPU, with the same recipe and
            traces, the weights equal those of an uninterrupted run, bit for bit.
        force: Replace a model that is there.
        device: `cpu` or `cuda`; None takes CUDA if there is one.
        progress: Called after each step with (share done, a note with the loss). None shows a bar
            on a terminal and in a notebook, and logs a line every minute elsewhere.

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
    recipe = recipe or (recipe_of(before) if before else Recipe(minutes=2))
    recipe = _with_decay(recipe, preset)
    data = traces
    columns = before.columns.chosen if before and columns is None else columns
    traces = _to_fit_on(data, recipe.seed, codec.length if codec else None, columns)
    if isinstance(data, Traces) or fits(data):
        data = traces = traces.without_empty_classes()
    if folder is not None:
        refuse_model(folder, force or resume)
    fresh = codec or default_codec(preset, default_size(traces))
    rare = rare or (before.about.get("rare", "drop") if before else "drop")

    def new_model(traces: Traces) -> Model:
        return Model.new(
            traces,
            copy.deepcopy(fresh),
            diffusion,
            preset=preset,
            width=width,
            owners=owners_of(traces.meta, by),
            columns=columns,
            seed=recipe.seed,
        )

    with owners_needed(_owners_needed(rare)), one_thread(recipe.deterministic):
        model = new_model(traces)
        if isinstance(data, Dataset):
            while (more := with_exceptions(traces, model, data)) is not None:
                model = new_model(traces := more)
            model.shares = shares_of(np.array(list(data.counts().values())))
        _warn(traces, model.codec.length or 0, data.counts())
    model.about = {"rare": rare} if rare == "keep" else {}
    if before:
        check_same(before, model)
    with given_or_bar(progress, "train", 1.0) as shown:
        return _train(model, data, recipe, folder, resume, device, shown)


def _train(
    model: Model,
    traces: Traces | Dataset,
    recipe: Recipe,
    folder: Path | None,
    resume: bool,
    device: str | None,
    progress: Callable[[float, str], None],
) -> Model:
    accelerator = joined()
    check_batch(recipe.batch_size, accelerator.num_processes)
    alone = alone_in(folder if accelerator.is_main_process else None)
    with alone, one_thread(recipe.deterministic), interruptible() as interrupted:
        run = _new_run(model, traces, recipe, accelerator, folder, device, progress)
        refuse_others(accelerator, run.fingerprint)
        if resume:
            run.state.load(_require_path(folder), run.fingerprint)
        if run.folder is not None:
            run.log = start_folder(run.folder, run.state)
        try:
            with kept_memory():
                learn(run, interrupted)
        except RuntimeError as error:
            if not is_loss_of_a_process(error):
                raise
            raise _saved_alone(run) from error
        finish(run)
    if accelerator.num_processes > 1:
        atexit.register(leave_group)  # not after an error: the others would wait for this one
    return model


def _saved_alone(run: Run) -> InputError:
    """The error if another process was lost; saves the model as it was before."""
    run.ended = "interrupted"
    save(run)
    is_first = run.accelerator.is_main_process
    kept = "the model is saved" if is_first else "process 0 saves the model, unless it is gone"
    return InputError(
        f"another process of the training is gone at step {run.state.step}; {kept}, so start all "
        "again with resume (--resume)"
    )


def _new_run(
    model: Model,
    traces: Traces | Dataset,
    recipe: Recipe,
    accelerator: Accelerator,
    folder: Path | None,
    device: str | None,
    progress: Callable[[float, str], None],
) -> Run:
    """A run before its first step."""
    target = target_device(accelerator, device)
    check_deterministic(recipe.deterministic, target)
    settings = settings_of(recipe)
    if isinstance(model.network, CausalNetwork):
        model.network.hidden_columns = recipe.hidden_columns
    state = State.new(model.network.to(target), recipe)
    place = accelerator.process_index, accelerator.num_processes, target
    shares = recipe.batch_size, recipe.validation_fraction, recipe.seed
    data = Batches(model, traces, *shares, *place)
    return Run(
        accelerator=accelerator,
        recipe=recipe,
        model=model,
        state=state,
        data=data,
        step=prepared_step(accelerator, state, target),
        target=target,
        folder=folder if accelerator.is_main_process else None,
        log=None,
        fingerprint={"traces": hash_of(traces, model.columns.chosen), **settings},
        learned={**_learned(model, data), **model.about, "budget": recipe.budget(), **settings},
        progress=progress,
    )


def _to_fit_on(data: Traces | Dataset, seed: int, length: int | None, columns: Choice) -> Traces:
    """The traces on which vocabularies and columns are fitted: all, or a sample of a data set."""
    if isinstance(data, Traces):
        return data
    return data.load() if fits(data) else sample_of(data, seed, length, columns)


def _learned(model: Model, data: Batches) -> dict[str, int]:
    """Numbers of traces and points that training uses."""
    length, cut = model.codec.length or 0, data.longer
    counts = {"traces": len(data.labels), "length": length, "points": model.codec.points}
    return counts | ({"longer_traces": cut} if cut else {})


def _owners_needed(rare: str) -> int:
    if rare not in ("drop", "keep"):
        raise InputError(f"rare must be drop or keep, got {rare!r}")
    return 1 if rare == "keep" else needed()


def _with_decay(recipe: Recipe, preset: str) -> Recipe:
    usual = IMAGE_DECAY if preset in IMAGES else WEIGHT_DECAY
    return recipe if recipe.weight_decay is not None else replace(recipe, weight_decay=usual)


def _warn(traces: Traces, kept: int, counts: dict[str, int]) -> None:
    """Notes how many of the given traces are cut, and which classes are small."""
    if cut := int((traces.lengths > kept).sum()):
        warnings.warn(
            f"{cut} of {len(traces)} traces are longer than {kept} points; only their first {kept} "
            "are learned. length (--length) sets another number, up to the length that "
            f"{needed()} traces reach; evaluate with length={kept} compares as many",
            Note,
            stacklevel=3,
        )
    few = sorted((n, name) for name, n in counts.items() if n < FEW)
    if few:
        more = f", and {len(few) - 1} more classes have fewer than {FEW}" if len(few) > 1 else ""
        rule = f"; values that fewer than {K} traces share are never generated exactly"
        warnings.warn(
            f"class {few[0][1]!r} has {few[0][0]} traces{more}: with so few, synthetic traces "
            f"resemble all classes more than their own{rule if needed() > 1 else ''}",
            Note,
            stacklevel=3,
        )


def _require_path(folder: Path | None) -> Path:
    if folder is None:
        raise InputError("resume needs the path of the model folder to go on from")
    return folder
