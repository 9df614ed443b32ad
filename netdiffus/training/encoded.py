"""Encoded training traces: in memory, or in a file if they are too many."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from netdiffus.arrays import temporary_array
from netdiffus.codec import TokenCodec
from netdiffus.codec.columns import Choice, counts_rows
from netdiffus.codec.series import parts_of
from netdiffus.errors import Note
from netdiffus.model.model import Model
from netdiffus.networks.build import Codec
from netdiffus.parts import Dataset
from netdiffus.parts.sketch import hashes, lowest
from netdiffus.parts.splitting import point_hashes
from netdiffus.traces.traces import Traces, concat

FITS = 1 << 30  # bytes of padded numbers, up to which a data set is read into memory
FEWEST = 10_000  # traces of a sample; where they are too long to fit they are cut
Ints = npt.NDArray[np.int64]


class Encoded(NamedTuple):
    """Encoded training traces.

    Attributes:
        data: (N, …), tokens int16, or series from which images are drawn.
        labels: (N,), classes.
        columns: (N, J), tokens of the meta-data.
        same: (N,), traces with the same number are equal.
        longer: How many traces are longer than the codec keeps.
    """

    data: Tensor
    labels: Tensor
    columns: Tensor
    same: Ints
    longer: int


def fits(dataset: Dataset) -> bool:
    """Whether all traces of a data set are read into memory."""
    return len(dataset) * dataset.longest <= _points(dataset)


def sample_of(dataset: Dataset, seed: int, length: int | None, columns: Choice = None) -> Traces:
    """A random sample that fits into memory, see `netdiffus.parts.sketch`.

    The traces and their order do not depend on how the traces are distributed over the parts.

    Args:
        dataset: A data set that is larger than memory.
        seed: Same seed, same traces.
        length: Points of a trace that are learned from, if that is known.
        columns: Columns of the meta-data to learn. For `all`, columns that count the rows are left
            out here, because in the sample they no longer count.

    Warns:
        Note: The sample has not all traces; or a column counts the rows.
    """
    most, length = sample_size(dataset, length or dataset.longest)
    cut = f", of at most {length:,} points each" if length < dataset.longest else ""
    warnings.warn(
        Note(
            f"{dataset.folder}: {len(dataset):,} traces do not fit into memory at once. "
            f"Vocabularies and columns are fitted on {most:,} random ones (seed {seed}){cut}. "
            "Training uses all of them, by a temporary file (see TMPDIR)"
        ),
        stacklevel=4,
    )
    rows = lowest(dataset.batches(), most, seed)
    order = np.argsort(rows)
    found = dataset.take(rows[order], length=length)
    if columns == "all":
        found = _without_counters(found)
    return found[np.argsort(order)]


def _without_counters(traces: Traces) -> Traces:
    """Without columns that count the rows; a note names them."""
    names = [name for name in traces.meta.column_names if counts_rows(traces.meta[name])]
    if names:
        text = f"columns that are not learned: {', '.join(names)} (they count the rows)"
        warnings.warn(Note(text), stacklevel=5)
    return replace(traces, meta=traces.meta.drop_columns(names))


def sample_size(dataset: Dataset, length: int) -> tuple[int, int]:
    """Number and maximal length of traces; one long trace must not make the sample small."""
    n, points = len(dataset), _points(dataset)
    length = min(length, dataset.longest, max(1, points // min(n, FEWEST)))
    return min(n, points // length), length


def _points(dataset: Dataset) -> int:
    return FITS // (8 * len(dataset.channels))


def with_exceptions(sample: Traces, model: Model, dataset: Dataset) -> Traces | None:
    """The sample, plus traces that break a rule which holds in the whole sample.

    Rules are: a column is a total of its trace, or two columns are always in order. For each rule,
    the trace with the lowest hash among those that break it is added. None if there is no such
    trace: all rules then hold in the whole data set.
    """
    if not (model.columns.totals or model.columns.orders):
        return None
    found: dict[int, tuple[int, Traces]] = {}
    for traces in dataset.batches(length=model.codec.length):
        for rule, broken in enumerate(model.columns.exceptions(traces)):
            if broken.any():
                odd = traces[broken]
                of = hashes(odd)
                least = int(np.argmin(of))
                one = int(of[least]), odd[[least]]
                found[rule] = min(found.get(rule, one), one, key=lambda pair: pair[0])
    # The columns of these traces are checked again, with all others.
    added = dict(sorted(found.values(), key=lambda pair: pair[0]))
    return concat([sample, *added.values()]) if added else None


def encoded(model: Model, traces: Traces | Dataset) -> Encoded:
    """All traces as input of the model's network; those of a data set are in a file."""
    if isinstance(traces, Dataset):
        return _in_file(model, traces)
    return _encoded(model, traces, Traces.duplicates)


def _in_file(model: Model, dataset: Dataset) -> Encoded:
    """As `encoded`, batch by batch, in a file that the operating system caches in free memory."""
    n, found = len(dataset), (_encoded(model, one, point_hashes) for one in dataset.batches())
    first = next(found)
    rows = [one.numpy() for one in first[:3]]
    arrays = [temporary_array((n, *one.shape[1:]), one.dtype) for one in rows]
    same, longer, begin = np.empty(n, dtype=np.int64), 0, 0
    for one in chain([first], found):
        end = begin + len(one.labels)
        for array, part in zip(arrays, one[:3], strict=True):
            array[begin:end] = part.numpy()
        same[begin:end] = one.same
        longer, begin = longer + one.longer, end
    data, labels, columns = (torch.from_numpy(array) for array in arrays)
    return Encoded(data, labels, columns, same, longer)


def _encoded(model: Model, traces: Traces, numbers: Callable[[Traces], Ints]) -> Encoded:
    """Encoded traces; traces with the same of the `numbers` are equal."""
    length = model.codec.length
    kept = traces.truncate(length) if length else traces
    return Encoded(
        _inputs(model.codec, traces),
        torch.from_numpy(traces.labels),
        torch.from_numpy(model.columns.encode(kept)),
        numbers(kept),
        int((traces.lengths > (length or 0)).sum()),
    )


def _inputs(codec: Codec, traces: Traces) -> Tensor:
    """Tokens of all traces, or the series from which images are drawn."""
    if isinstance(codec, TokenCodec):
        return codec.encode(traces)
    parts = parts_of(len(traces))
    found = torch.empty(len(traces), *codec.series(traces[parts[0]]).shape[1:])
    for rows in parts:
        found[rows] = codec.series(traces[rows]).float()
    return found
