"""Samples traces from a model."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from netdiffus.codec import GasfCodec, Images, TokenCodec
from netdiffus.codec.asked import Asked
from netdiffus.codec.column import UNKNOWN
from netdiffus.codec.columns import read_asked
from netdiffus.codec.token_codec import from_zero
from netdiffus.device import usable
from netdiffus.errors import InputError, checked_seed, whole
from netdiffus.files import refuse_existing
from netdiffus.model.model import Model
from netdiffus.networks.batch import Given
from netdiffus.networks.draws import (
    CELL_DRAW,
    LABEL_DRAW,
    VALUE_DRAW,
    Draws,
    overflow_refused,
)
from netdiffus.networks.layers.conditions import draw_points
from netdiffus.networks.masked import STEPS
from netdiffus.ops.denoise import Step
from netdiffus.ops.noise import uniform, uniforms
from netdiffus.progress import Progress, given_or_bar
from netdiffus.tables.writing import check_is_parquet, write_parts
from netdiffus.traces.traces import Floats, Ints, Traces

DEFAULT_STEPS = {"dpm++": 16, "ddim": 50}  # ddpm takes all T
Plan = list[Step] | int | None
Label = str | Sequence[str] | Mapping[str, int] | None


def sample(
    model: Model,
    n: int | None = None,
    *,
    label: Label = None,
    where: Mapping[str, Any] | None = None,
    mix: str | None = None,
    fast: bool = True,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
    start: int = 0,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Samples n synthetic traces.

    You can fix the class and any columns. The other columns are drawn given these, and then the
    points given all columns, without rejection sampling.

    Draws are stratified: the traces of a class are spread more evenly than independent draws (see
    `netdiffus.ops.strata`), while each single trace has the distribution of the model.

    Trace i depends only on the model, the settings, `seed` and i. But for rounding it does not
    depend on n, the batch size, the number of threads, `fast` or the device. So work can be split:
    1000 traces are 600 traces and, with `start=600`, another 400. Rounding changes a token about
    once in 100,000 tokens, because a uniform number chooses it among cumulated probabilities. The
    rest of that trace then differs; all other traces are equal. With a network of images, rounding
    changes a value by less than 1e-4 of its range on average.

    Args:
        model: A trained model.
        n: Number of traces, at least 1; may be left out if `label` has the numbers.
        label: One class, several classes, or None for all; or the number of traces of each class,
            as in `{"voip": 10, "web": 5}`, which are made in this order.
        where: Conditions on columns, by name: a value; a list of allowed values; a tuple (least,
            greatest) of numbers or times, either of which may be None; None for an empty cell. If
            more than one column has a range or a list, one of 64 draws is chosen by importance
            weight, which is exact in the limit of many draws. `label` may be a key, too.
        mix: Class frequencies. `balanced` takes the classes in turn, `real` draws them with their
            training frequencies, given `where`. None is `balanced`, or `real` if there is `where`
            but no class is given.
        fast: True runs the native kernels, False the plain torch reference: the same traces but
            for float rounding.
        sampler: `dpm++`, `ddim` or `ddpm`, for `series`, `image` and `paper`; None is dpm++.
        steps: Network runs per trace, for all presets but `causal`; None is 16 for dpm++, 50 for
            ddim, T for ddpm (or fewer, where T is small), and 32 for `masked`.
        seed: None draws one; it stands in the traces' meta.
        start: Index of the first trace.
        batch_size: Traces worked on at a time; None takes as many as have 32,768 points on the CPU
            (128 to 1,024) and 1,024 on a GPU, or of images as many as have 2**22 or 2**26 pixels.
        device: Where the network runs; None takes CUDA if there is one.
        progress: Called with (traces done, a note). None shows a bar, as `train` does.

    Returns:
        Traces in the units of the training traces, with meta `trace_id`, `seed`, and the columns
        that the model learned. A model of images adds `residual` (see `GasfCodec.decode`). They
        have the model's privacy ledger.

    Raises:
        InputError: n, label, where, mix, sampler, steps, seed, batch_size or device cannot be used.
    """
    n = number_of(n, label)
    parts = batches(
        model,
        n,
        label=label,
        where=where,
        mix=mix,
        fast=fast,
        sampler=sampler,
        steps=steps,
        seed=seed,
        start=start,
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    return _gathered(parts, n, model)


def sample_rows(
    model: Model,
    labels: Ints,
    cells: Ints,
    *,
    seed: int,
    numbers: Ints | None = None,
    first: Traces | None = None,
    fast: bool = True,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Makes one trace for each row of classes and tokens of columns.

    Args:
        model: A model of tokens of points, of preset `default` or `causal`.
        labels: (N,), index into the model's classes.
        cells: (N, J), tokens of the model's columns; -1 for those that are drawn.
        seed: Of the draws.
        numbers: (N,), distinct numbers of the traces, which determine their draws. None are 0 to N
            - 1; the traces of a class are then spread evenly.
        first: The first points of each trace, if they are known; the rest is drawn given them.
        fast: As for `sample`.
        device: As for `sample`.
        progress: As for `sample`.
    """
    _check_weights(model)
    target, backend, parts = usable(device), "auto" if fast else "torch", []
    if numbers is None:
        index = torch.arange(len(labels))
        rows = (index, *_in_turn(labels)(index))
    else:
        index = torch.from_numpy(numbers)
        rows = (index, torch.from_numpy(labels), index)
    size = _usual_batch(model, target)
    known = None if first is None else given_first(model, first)
    model.network.to(target).eval()
    try:
        with given_or_bar(progress, "sample", float(len(labels))) as shown:
            for begin in range(0, len(labels), size):
                some = slice(begin, begin + size)
                draws = Draws(seed, *(part[some] for part in rows)).to(target)
                given = torch.from_numpy(cells[some]).to(target)
                before = None if known is None else Given(*(one[some].to(target) for one in known))
                parts.append(_made(model, draws, None, backend, cells=given, given=before))
                shown(float(min(begin + size, len(labels))), f"{len(labels)} traces")
    finally:
        model.network.to("cpu")
    return _gathered(iter(parts), len(labels), model)


def given_first(model: Model, first: Traces) -> Given:
    """The first points of traces, as input of the network."""
    assert isinstance(model.codec, TokenCodec)
    tokens = model.codec.encode(first).long()
    return Given(tokens, torch.arange(tokens.shape[1]) < torch.from_numpy(first.lengths)[:, None])


def sample_to_parquet(
    model: Model, n: int | None, path: str | Path, *, force: bool = False, **options: Any
) -> dict[str, Any]:
    """Samples n traces and writes them at once, so that memory does not grow with n.

    The file holds what `sample` with the same arguments would return. It is written completely or
    not at all.

    Args:
        model: A trained model.
        n: How many, at least 1; None where `label` has the numbers.
        path: A .parquet file.
        force: Replace a file that is there.
        **options: All others of `sample`: `label`, `where`, `mix`, `fast`, `sampler`, `steps`,
            `seed`, `start`, `batch_size`, `device` and `progress`.

    Returns:
        `classes`: how many traces of each class; of a model of images the mean `residual`, too.

    Raises:
        InputError: An argument that cannot be used, see `sample`.
        FileExistsError: The file is there and `force` is false.
    """
    path = Path(path)
    check_is_parquet(path)
    refuse_existing(path, force)
    n = number_of(n, options.get("label"))
    parts, found = batches(model, n, **options), Counts(model.classes)
    write_parts((found.counted(part).to_arrow() for part in parts), path)
    return found.said()


class Counts:
    """Summary of traces that are written and not kept in memory."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = dict.fromkeys(classes, 0)
        self.residuals: list[float] = []

    def counted(self, part: Traces) -> Traces:
        """Counts traces and returns them."""
        for name, count in part.counts().items():
            self.classes[name] += count
        if "residual" in part.meta.column_names:
            self.residuals += part.meta["residual"].to_pylist()
        return part

    def said(self) -> dict[str, Any]:
        """Traces per class; for a model of images also the mean `residual`."""
        mean = {"residual": sum(self.residuals) / len(self.residuals)} if self.residuals else {}
        return {"classes": self.classes, **mean}


def _gathered(parts: Iterator[Traces], n: int, model: Model) -> Traces:
    """All parts as one. Each part is copied to its final place, so values are in memory once."""
    values = np.zeros((len(model.codec.channels), n, model.codec.length or 0))
    lengths, labels, metas, end, channels = [], [], [], 0, model.codec.channels
    for part in parts:
        start, end = end, end + len(part)
        values[:, start:end, : part.values.shape[2]] = part.values.transpose(1, 0, 2)
        lengths.append(part.lengths)
        labels.append(part.labels)
        metas.append(part.meta)
        channels = part.channels
    points = np.concatenate(lengths)
    return Traces(
        values=values.transpose(1, 0, 2)[:, :, : int(points.max())],
        lengths=points,
        channels=channels,
        labels=np.concatenate(labels),
        classes=model.classes,
        meta=pa.concat_tables(metas),
        ledger=model.ledger,
    )


def batches(
    model: Model,
    n: int,
    *,
    label: Label = None,
    where: Mapping[str, Any] | None = None,
    mix: str | None = None,
    fast: bool = True,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
    start: int = 0,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    within: tuple[int, int] | None = None,
) -> Iterator[Traces]:
    """The traces of `sample`, batch by batch; unusable arguments are refused at once.

    Args are those of `sample`, and `within` (begin, end): only traces begin to end - 1 of the n are
    made.
    """
    target = usable(device)
    n, start = whole("n", n, 1), whole("start", start, 0)
    begin, end = within or (0, n)
    if start + n > 2**63 - 1:
        raise InputError(f"start and n must add up to at most 2**63 - 1, got {start} and {n}")
    batch_size = _usual_batch(model, target) if batch_size is None else batch_size
    batch_size = whole("batch_size", batch_size, 1)
    if mix not in (None, "balanced", "real"):
        raise InputError(f"mix must be 'balanced' or 'real', got {mix!r}")
    label, where = _without_label(label, where or {})
    mix = mix or ("real" if where and label is None else "balanced")
    classes = _wanted(model, label)
    asked = read_asked(model.columns, where)
    drawn = classes if where and mix == "real" else None
    plan = _plan(model, sampler, steps)
    seed = secrets.randbits(48) if seed is None else checked_seed(seed)
    _check_weights(model)
    if isinstance(label, Mapping):
        turns = _in_blocks(classes, label, mix, start)
    else:
        turns = _in_turn(classes) if mix == "balanced" else _by_share(classes, model.shares, seed)
    backend = "auto" if fast else "torch"

    def made() -> Iterator[Traces]:
        model.network.to(target).eval()
        try:
            with given_or_bar(progress, "sample", float(n)) as shown:
                for first in range(start + begin, start + end, batch_size):
                    index = torch.arange(first, min(first + batch_size, start + end))
                    draws = Draws(seed, index, *turns(index)).to(target)
                    made = _made(model, draws, plan, backend, asked, drawn)
                    yield replace(made, ledger=model.ledger)
                    shown(float(index[-1] + 1 - start), f"{n} traces")
        finally:
            model.network.to("cpu")

    return made()


def _made(
    model: Model,
    draws: Draws,
    plan: Plan,
    backend: str,
    asked: Mapping[str, Asked] | None = None,
    drawn: Ints | None = None,
    cells: Tensor | None = None,
    given: Given | None = None,
) -> Traces:
    """One batch of traces.

    Args:
        model: Makes them.
        draws: Which.
        plan: Of the network.
        backend: Of the native ops.
        asked: By column what is asked for.
        drawn: Classes of which one is drawn with the columns; None takes those of `draws`.
        cells: Tokens of columns that are given, -1 for others; None draws all.
        given: Points that are known, of a network that goes on from them.
    """
    asked = asked or {}
    weights = _weights(model, asked, drawn)
    label = draws.label if drawn is None else torch.full_like(draws.label, UNKNOWN)
    how: tuple[Any, ...] = (backend,) if plan is None else (plan, backend)
    how = how if given is None else (*how, given)
    with torch.inference_mode(), overflow_refused():
        label, columns = model.network.conditions.draw(label, draws, weights, backend, cells)
        draws = replace(draws, label=label)
        data = model.network.generate(draws, columns, *how).cpu()
    draws, columns = draws.to("cpu"), columns.cpu()
    labels = draws.label.numpy()
    meta = _meta(model, draws, columns.numpy(), asked)
    if isinstance(model.codec, TokenCodec):
        places = uniforms(draws.seed, draws.index, VALUE_DRAW, data[0].numel()).view(data.shape)
        made = model.codec.decode(data, places, labels, model.classes, meta)
    else:
        made = _from_images(model, model.codec, data, columns, draws, meta)
    return model.columns.with_totals(made)


def _weights(
    model: Model, asked: Mapping[str, Asked], drawn: Ints | None
) -> list[Tensor | None] | None:
    """Weights of the tokens of the class and of each column, from the conditions."""
    if not asked:
        return None
    of_class = None
    if drawn is not None and len(set(drawn)) < len(model.classes):
        of_class = torch.zeros(len(model.classes), dtype=torch.float64)
        of_class[torch.from_numpy(drawn)] = 1.0
    device = next(model.network.parameters()).device
    columns = [
        torch.from_numpy(asked[name].weights) if name in asked else None
        for name in model.columns.names
    ]
    lengths = [None] * (len(model.columns.sizes) - len(columns))
    return [None if one is None else one.to(device) for one in (of_class, *columns, *lengths)]


def _from_images(
    model: Model,
    codec: GasfCodec,
    pixels: Tensor,
    columns: Tensor,
    draws: Draws,
    meta: pa.Table,
) -> Traces:
    """Traces decoded from images; the last column is the length."""
    if not torch.isfinite(pixels).all():
        raise InputError("the model makes images that are not numbers; train it again")
    assert model.columns.lengths is not None
    lengths = draw_points(model.columns.lengths, columns, draws, codec.length or 1).numpy()
    labels = draws.label.numpy()
    return from_zero(codec.decode(Images(pixels, lengths, labels, model.classes, meta)))


def _meta(model: Model, draws: Draws, columns: Ints, asked: Mapping[str, Asked]) -> pa.Table:
    pairs = zip(draws.label, draws.index, strict=True)
    names = [f"synthetic-{model.classes[int(k)]}-{int(i)}" for k, i in pairs]
    meta: dict[str, Any] = {"trace_id": names, "seed": [draws.seed] * len(names)}
    inside = uniforms(draws.seed, draws.index, CELL_DRAW, max(1, columns.shape[1])).numpy()
    return pa.table(meta | model.columns.decode(columns, inside, asked))


def _check_weights(model: Model) -> None:
    """Refuses weights that allow no draw; a GPU would not report this."""
    if not all(bool(torch.isfinite(p).all()) for p in model.network.parameters()):
        raise InputError("the model has weights that are not numbers; train it again")


def _usual_batch(model: Model, device: torch.device) -> int:
    on_cpu = device.type == "cpu"
    if isinstance(model.codec, TokenCodec):
        return max(128, min(1024, 2**15 // model.codec.points)) if on_cpu else 1024
    most, pixels = (64, 2**22) if on_cpu else (1024, 2**26)
    return min(most, max(1, pixels // (len(model.codec.channels) * model.codec.image_size**2)))


def _plan(model: Model, sampler: str | None, steps: int | None) -> Plan:
    """The reverse steps of a diffusion model; for `masked` their number; for `causal` None."""
    if model.diffusion is not None:
        sampler = sampler or "dpm++"
        steps = default_steps(model, sampler) if steps is None else whole("steps", steps)
        return model.diffusion.steps(sampler, steps)
    is_masked = model.preset == "masked"
    for name, value in (("sampler", sampler), ("steps", None if is_masked else steps)):
        if value is not None:
            raise InputError(
                f"{name}={value!r}: a model of preset {model.preset!r} has no {name}; leave it out"
            )
    if not is_masked:
        return None
    return default_steps(model, "") if steps is None else whole("steps", steps, 1)


def default_steps(model: Model, sampler: str) -> int:
    """The default number of steps, at most those of the process; 0 for `causal`."""
    if model.diffusion is None:
        return min(STEPS, model.codec.points) if model.preset == "masked" else 0
    most = model.diffusion.num_timesteps
    return min(DEFAULT_STEPS.get(sampler, most), max(1, most - 1) if sampler == "dpm++" else most)


def number_of(n: int | None, label: Label) -> int:
    """The total number of traces to make."""
    if not isinstance(label, Mapping):
        if n is None:
            raise InputError("n is missing: say how many traces to make")
        return n
    total = sum(whole(f"label[{name!r}]", count) for name, count in label.items())
    if n not in (None, total):
        raise InputError(f"n is {n}, but the numbers of label add up to {total}; leave n out")
    return total


def _without_label(label: Label, where: Mapping[str, Any]) -> tuple[Label, dict[str, Any]]:
    """The requested classes, which may be in `where`, and the conditions on columns."""
    others = {name: value for name, value in where.items() if name != "label"}
    if "label" not in where:
        return label, others
    if label is not None:
        raise InputError("where: a label stands in where and in label; give it once")
    if not isinstance(where["label"], (str, list)):
        raise InputError("where: label is a class or a list of classes; label= takes numbers, too")
    return where["label"], others


def _wanted(model: Model, label: Label) -> Ints:
    wanted = [label] if isinstance(label, str) else list(model.classes if label is None else label)
    for name in wanted:
        if name not in model.classes:
            raise InputError(
                f"label {name!r} is not a class of the model; classes: {', '.join(model.classes)}"
            )
    if not wanted:
        raise InputError("label: an empty list; name at least one class, or pass None for all")
    return np.array([model.classes.index(name) for name in wanted], dtype=np.int64)


def _in_turn(classes: Ints) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function of trace numbers: the class of each, and how many of its class come before.

    Trace i is of class `classes[i % len(classes)]`.
    """
    order = np.argsort(classes, kind="stable")
    found, first, counts = np.unique(classes[order], return_index=True, return_counts=True)
    kind = np.searchsorted(found, classes)
    before = np.empty_like(classes)
    before[order] = np.arange(len(classes)) - first[kind[order]]

    def of(index: Tensor) -> tuple[Tensor, Tensor]:
        turn, place = np.divmod(index.numpy(), len(classes))
        rank = turn * counts[kind[place]] + before[place]
        return torch.from_numpy(classes[place]), torch.from_numpy(rank)

    return of


def _in_blocks(
    classes: Ints, counts: Mapping[str, int], mix: str, start: int
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """As `_in_turn`, but all traces of the first class come first, then all of the second, ..."""
    if mix != "balanced" or start:
        raise InputError("label has numbers of traces: leave out mix and start")
    ends = np.cumsum(list(counts.values()))
    begins = np.concatenate([[0], ends])

    def of(index: Tensor) -> tuple[Tensor, Tensor]:
        block = np.searchsorted(ends, index.numpy(), side="right")
        return torch.from_numpy(classes[block]), index - torch.from_numpy(begins[block])

    return of


def _by_share(
    classes: Ints, shares: Floats, seed: int
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """As `_in_turn`, but classes are drawn by their shares.

    The number of earlier traces of a class is then unknown, so the number of the trace is used
    instead.
    """
    asked = np.unique(classes)
    ends = torch.from_numpy(shares[asked]).cumsum(0)

    def of(index: Tensor) -> tuple[Tensor, Tensor]:
        drawn = uniform(seed, index, LABEL_DRAW) * ends[-1]
        place = torch.searchsorted(ends, drawn, right=True).clamp(max=len(ends) - 1)
        return torch.from_numpy(asked)[place], index

    return of
