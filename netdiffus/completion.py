"""Completes parts of traces by a model."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from netdiffus.codec import TokenCodec
from netdiffus.codec.column import UNKNOWN
from netdiffus.codec.series import as_gaps, in_units
from netdiffus.device import usable
from netdiffus.errors import InputError, checked_seed, whole
from netdiffus.model.model import Model
from netdiffus.networks.batch import Given
from netdiffus.networks.causal import CausalNetwork
from netdiffus.networks.draws import CELL_DRAW, VALUE_DRAW, Draws, overflow_refused
from netdiffus.networks.masked import STEPS, MaskedNetwork
from netdiffus.ops.noise import uniforms
from netdiffus.progress import Progress, given_or_bar
from netdiffus.traces.traces import Bools, Ints, Traces, concat

AT_ONCE = 256  # traces


def complete(
    model: Model,
    partial: Traces,
    n: int = 1,
    *,
    known: Any = None,
    seed: int | None = None,
    fast: bool = True,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Draws the unknown points of traces whose other points are known.

    The default network continues traces: it draws from p(rest | first points, class, columns),
    including the end. A model of preset `masked` fills in any unknown points, in 32 steps or one
    per point; the length is that of `partial`. Known points are returned unchanged. Classes are
    those of `partial`. Learned columns that `partial` has are taken from it. Other columns are
    drawn given the class and these columns, but not given the known points.

    A gap between packets belongs to the later packet. So a known packet among drawn ones keeps the
    gap before it, but not its time.

    Args:
        model: Of preset `default`, `causal` or `masked`.
        partial: What is known, in the channels and classes of the model.
        n: How often each trace is completed.
        known: bool (N, L), which of the points of `partial` are known; None are all.
        seed: None draws one; it stands in the traces' meta.
        fast: True runs the native kernels, False the plain torch reference.
        device: Where the network runs; None takes CUDA if there is one.
        progress: Called with (traces done, a note). None shows a bar, as `train` does.

    Returns:
        N * n traces, with all completions of one partial trace one after another. The meta has
        `trace_id`, `seed`, `completes` (the row of `partial`), `known_points`, and the columns.

    Raises:
        InputError: A preset that cannot complete, traces that do not fit the model, or points that
            are known where the network cannot be given them.
    """
    codec = model.codec
    if not isinstance(codec, TokenCodec) or not isinstance(
        model.network, CausalNetwork | MaskedNetwork
    ):
        raise InputError(
            f"preset {model.preset!r} cannot complete traces; train with preset='default' to "
            "continue traces, or 'masked' to fill in any points"
        )
    n, mask = whole("n", n, 1), _known(partial, known)
    _check(model, codec, partial, mask)
    partial = _in_classes_of(model, partial)
    seed = secrets.randbits(48) if seed is None else checked_seed(seed)
    target, backend, done = usable(device), "auto" if fast else "torch", []
    model.network.to(target).eval()
    try:
        with given_or_bar(progress, "complete", float(len(partial) * n)) as shown:
            for first in range(0, len(partial) * n, AT_ONCE):
                index = np.arange(first, min(first + AT_ONCE, len(partial) * n))
                rows = index // n
                done.append(
                    _completed(model, codec, partial[rows], mask[rows], index, rows, seed, backend)
                )
                shown(float(index[-1] + 1), f"{len(partial) * n} traces")
    finally:
        model.network.to("cpu")
    return replace(concat(done), ledger=model.ledger)


def _completed(
    model: Model,
    codec: TokenCodec,
    partial: Traces,
    mask: Bools,
    index: Ints,
    rows: Ints,
    seed: int,
    backend: str,
) -> Traces:
    """One batch of traces, of which the numbers are `index` and the rows of `partial` `rows`."""
    device = next(model.network.parameters()).device
    tokens = codec.encode(partial).long()
    known = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    known[:, : mask.shape[1]] = torch.from_numpy(mask)
    number = torch.from_numpy(index)
    label = torch.from_numpy(partial.labels)
    draws = Draws(seed, number, label, number).to(device)
    given = Given(tokens.to(device), known.to(device))
    how: tuple[Any, ...] = (backend, given)
    if isinstance(model.network, MaskedNetwork):
        how = (min(STEPS, codec.points), *how)
    with torch.inference_mode(), overflow_refused():
        cells = _columns_of(model, partial).to(device)
        _, columns = model.network.conditions.draw(
            draws.label, draws, backend=backend, columns=cells
        )
        data = model.network.generate(draws, columns, *how).cpu()
    places = uniforms(seed, number, VALUE_DRAW, data[0].numel()).view(data.shape)
    meta = _meta(model, partial, number, rows, mask, columns.cpu(), seed)
    made = codec.decode(data, places, partial.labels, model.classes, meta)
    return model.columns.with_totals(_with_known(made, partial, mask))


def _with_known(made: Traces, partial: Traces, mask: Bools) -> Traces:
    """The synthetic traces, with the known points unchanged."""
    new, old = (as_gaps(t.values, t.lengths, t.channels) for t in (made, partial))
    length = min(new.shape[2], old.shape[2])
    kept = mask[:, None, :length]
    new[:, :, :length] = np.where(kept, old[:, :, :length], new[:, :, :length])
    return replace(made, values=in_units(new, made.lengths, made.channels))


def _columns_of(model: Model, partial: Traces) -> Tensor:
    """int64 (B, J): the tokens of the columns that are known, -1 for others."""
    columns = model.columns
    found = np.full((len(partial), len(columns.sizes)), UNKNOWN, dtype=np.int64)
    for j, one in enumerate(columns.learned):
        if one.name in partial.meta.column_names:
            found[:, j] = one.encode(partial.meta[one.name])
    if columns.lengths is not None:
        found[:, -1] = columns.lengths.encode(np.ceil(partial.lengths / columns.bins_per_point))
    return torch.from_numpy(found)


def _meta(
    model: Model,
    partial: Traces,
    number: Tensor,
    rows: Ints,
    mask: Bools,
    columns: Tensor,
    seed: int,
) -> pa.Table:
    inside = uniforms(seed, number, CELL_DRAW, max(1, columns.shape[1])).numpy()
    cells = model.columns.decode(columns.numpy(), inside, given=partial.meta)
    there = [name for name in cells if name in partial.meta.column_names]
    return pa.table(
        {
            "trace_id": [f"completed-{row}-{int(i)}" for row, i in zip(rows, number, strict=True)],
            "seed": [seed] * len(rows),
            "completes": rows,
            "known_points": mask.sum(1),
            **cells,
            **{name: partial.meta[name] for name in there},
        }
    )


def _known(partial: Traces, known: Any) -> Bools:
    """(N, L): which points are known."""
    if known is None:
        return partial.mask
    mask = np.asarray(known)
    if mask.dtype != np.bool_ or mask.shape != partial.mask.shape:
        raise InputError(
            f"known must be bool {partial.mask.shape}, as the points of partial, got {mask.dtype} "
            f"{mask.shape}"
        )
    return mask & partial.mask


def _check(model: Model, codec: TokenCodec, partial: Traces, mask: Bools) -> None:
    """Refuses points that the network cannot be given."""
    if codec.runs:
        raise InputError(
            "a point of this model is a run of packets, so single packets cannot be continued; "
            "train with runs=0 (--runs 0)"
        )
    longest = int(partial.lengths.max())
    if longest > codec.points:
        row = int(partial.lengths.argmax())
        raise InputError(
            f"partial: trace {row} has {longest} points, and the model knows {codec.points}; cut "
            f"it: partial.truncate({codec.points})"
        )
    if codec.bins_per_point > 1:
        raise InputError(
            f"a point of this model is the mean of {codec.bins_per_point} bins, which cannot be "
            "given in part; train with a length of 512 or less"
        )
    if isinstance(model.network, MaskedNetwork) and mask.sum() == partial.lengths.sum():
        raise InputError("known: all points are known; say which are, bool (N, L)")
    is_first = np.minimum.accumulate(mask, axis=1) == mask
    if isinstance(model.network, CausalNetwork) and not is_first.all():
        row = int((~is_first.all(axis=1)).argmax())
        raise InputError(
            f"known: of trace {row} other points than the first are known; the default network "
            "continues traces, preset='masked' fills in"
        )


def _in_classes_of(model: Model, partial: Traces) -> Traces:
    """The traces with their labels as numbers of the model's classes."""
    names = partial.label_names.tolist()
    for name in sorted(set(names)):
        if name not in model.classes:
            raise InputError(
                f"partial: class {name!r} is not a class of the model; classes: "
                f"{', '.join(model.classes)}"
            )
    labels = np.array([model.classes.index(name) for name in names], dtype=np.int64)
    return replace(partial, labels=labels, classes=model.classes)
