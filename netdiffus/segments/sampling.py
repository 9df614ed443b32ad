"""Sampling of whole long traces."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from netdiffus.codec.column import UNKNOWN
from netdiffus.codec.series import as_gaps, in_units, mask_of
from netdiffus.codec.token_codec import from_zero
from netdiffus.errors import checked_seed
from netdiffus.model.model import Model
from netdiffus.progress import Progress, given_or_bar, silent
from netdiffus.sampling import Label, sample, sample_rows
from netdiffus.segments.cutting import MOST_SEGMENTS, OVERLAP, columns_of, sums_of
from netdiffus.segments.model import SegmentModel
from netdiffus.traces.traces import Floats, Ints, Traces

COARSE_SHARE = 0.1  # of the time of sampling, for the bar


def sample_segments(
    model: SegmentModel,
    n: int | None = None,
    *,
    label: Label = None,
    where: Mapping[str, Any] | None = None,
    mix: str | None = None,
    seed: int | None = None,
    start: int = 0,
    fast: bool = True,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Samples whole long traces: their sums first, then segment after segment.

    If a segment ends early, the next one follows at once. So a trace may have a few points fewer
    than its sums imply. O(points) time, 10 to 20 us a point on one core.

    Args:
        model: Of long traces.
        n: How many, at least 1; may be left out if `label` has the numbers.
        label: As for `sample`.
        where: Conditions on columns, as for `sample`.
        mix: As for `sample`.
        seed: None draws one; it stands in the meta.
        start: Index of the first trace. Trace i depends on the model, the seed and i alone.
        fast: True runs the native kernels, False the plain torch reference.
        device: Where the networks run; None takes CUDA if there is one.
        progress: Called with (traces done, a note) as of `sample`.

    Returns:
        Traces in real units with the meta of `sample`.

    Raises:
        InputError: What `sample` refuses.
    """
    seed = secrets.randbits(48) if seed is None else checked_seed(seed)
    how: dict[str, Any] = {"seed": seed, "fast": fast, "device": device, "progress": silent}
    coarse = sample(model.coarse, n, label=label, where=where, mix=mix, start=start, **how)
    total = float(len(coarse))
    with given_or_bar(progress, "sample", total) as shown:
        shown(COARSE_SHARE * total, "sums of segments")
        return _filled(model, coarse, start, how, shown)


def _filled(
    model: SegmentModel, coarse: Traces, start: int, how: dict[str, Any], shown: Progress
) -> Traces:
    """Traces drawn given these sums."""
    codec, most = model.segments.codec, int(coarse.lengths.max())
    gaps = np.zeros((len(coarse), len(codec.channels), most * model.points))
    lengths = np.zeros(len(coarse), dtype=np.int64)
    # The next segment compensates what a segment is above or below its sums, so totals are kept.
    wanted = np.cumsum(coarse.values, axis=2)
    got = np.zeros(wanted.shape[:2])
    for number in range(most):
        rows = np.flatnonzero(coarse.lengths > number)
        sums = wanted[rows, :, number] - got[rows]
        columns = columns_of(coarse, rows, np.full(len(rows), number), sums)
        made = sample_rows(
            model.segments,
            coarse.labels[rows],
            _cells(model.segments, columns),
            numbers=(start + rows) * (MOST_SEGMENTS + 1) + number + 1,
            first=_before(model, gaps, lengths, rows, coarse) if number else None,
            **how,
        )
        got[rows] += _append(gaps, lengths, rows, made, OVERLAP if number else 0)
        done = COARSE_SHARE + (1 - COARSE_SHARE) * (number + 1) / most
        shown(done * len(coarse), f"segment {number + 1} of {most}")
    values = in_units(gaps, lengths, codec.channels)
    return from_zero(
        Traces(
            values, lengths, codec.channels, coarse.labels, coarse.classes, coarse.meta,
            coarse.ledger,
        )
    )  # fmt: skip


def _cells(model: Model, columns: pa.Table) -> Ints:
    """(n, J), tokens of the columns of segments."""
    cells = np.full((columns.num_rows, len(model.columns.sizes)), UNKNOWN, dtype=np.int64)
    for j, one in enumerate(model.columns.learned):
        cells[:, j] = one.encode(columns[one.name])
    return cells


def _before(model: SegmentModel, gaps: Floats, lengths: Ints, rows: Ints, coarse: Traces) -> Traces:
    """The last points of these traces, the condition of the next segment."""
    channels, least = model.segments.codec.channels, np.minimum(lengths[rows], OVERLAP)
    at = (lengths[rows] - least)[:, None] + np.arange(OVERLAP)
    inside = mask_of(least, OVERLAP)
    at = np.where(inside, at, 0)
    values = np.stack([one[rows[:, None], at] for one in gaps.swapaxes(0, 1)], 1)
    for c, channel in enumerate(channels):
        if channel.kind == "time":
            values[:, c, 0] = 0.0
    values = in_units(np.where(inside[:, None], values, 0.0), least, channels)
    return Traces(values, least, channels, coarse.labels[rows], coarse.classes)


def _append(gaps: Floats, lengths: Ints, rows: Ints, made: Traces, known: int) -> Floats:
    """Appends the points of segments to their traces; returns their sums (n, C')."""
    values = as_gaps(made.values, made.lengths, made.channels)[:, :, known:]
    room = gaps.shape[2] - lengths[rows]
    new = np.clip(made.lengths - known, 0, np.minimum(room, values.shape[2]))
    inside = mask_of(new, values.shape[2])
    row, place = inside.nonzero()
    gaps[rows[row], :, lengths[rows][row] + place] = values[row, :, place]
    lengths[rows] += new
    sums: Floats = sums_of(values, inside, made.channels).sum(2)
    return sums
