"""Data sets that are audited: as traces in memory, or random ones of a set that does not fit."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from netdiffus.attacks.sides import keys
from netdiffus.errors import Note
from netdiffus.parts import Dataset
from netdiffus.parts.sketch import lowest
from netdiffus.traces.traces import Traces, concat
from netdiffus.training.encoded import fits, sample_size


class Audited(NamedTuple):
    """The sets of an audit in memory, and what was left out."""

    train: Traces
    holdout: Traces
    synthetic: Traces | None
    notes: tuple[str, ...]


def in_memory(
    train: Traces | Dataset,
    holdout: Traces | Dataset,
    synthetic: Traces | Dataset | None,
    length: int | None,
    seed: int,
) -> Audited:
    """The sets as they are, or a sketch of each that does not fit, see `netdiffus.parts.sketch`.

    Each trace of the holdout is looked for among all training traces: one that was learned from
    must not be taken for another. Training traces of a class that the sketch lacks are all kept.

    Args:
        train: Training traces.
        holdout: Others.
        synthetic: Made ones; None is none.
        length: Points that the model learned from; None is all.
        seed: Of the sketches.

    Warns:
        Note: Of each set that does not fit.
    """
    notes: list[str] = []
    given = {"train": train, "holdout": holdout, "synthetic": synthetic}
    found = {
        name: _sampled(one, name, length, seed, notes) if isinstance(one, Dataset) else one
        for name, one in given.items()
    }
    sampled, held, made = found.values()
    assert sampled is not None
    assert held is not None
    if isinstance(train, Dataset) and not fits(train):
        sampled = _completed(sampled, train, held)
    for note in notes:
        warnings.warn(Note(note), stacklevel=3)
    return Audited(sampled, held, made, tuple(notes))


def _sampled(
    dataset: Dataset, name: str, length: int | None, seed: int, notes: list[str]
) -> Traces:
    if fits(dataset):
        return dataset.load()
    most, points = sample_size(dataset, length or dataset.longest)
    cut = f", of at most {points:,} points each" if points < (length or dataset.longest) else ""
    notes.append(
        f"{name}: {len(dataset):,} traces do not fit into memory at once. {most:,} random ones "
        f"stand for them (seed {seed}){cut}. Copies and rare values are counted among these alone."
    )
    return dataset.take(lowest(dataset.batches(), most, seed), length=points)


def _completed(sample: Traces, dataset: Dataset, holdout: Traces) -> Traces:
    """The sample; a twin of each trace of the holdout that has one; and all of missing classes."""
    length = min(sample.values.shape[2], holdout.values.shape[2])
    wanted = set(keys(holdout.truncate(length))) - set(keys(sample.truncate(length)))
    missing = [name for name, n in sample.counts().items() if not n]
    found = []
    for traces in dataset.batches(length=sample.values.shape[2]):
        of = keys(traces.truncate(length))
        is_twin = np.array([key in wanted for key in of])
        wanted -= {of[i] for i in np.flatnonzero(is_twin)}
        rows = is_twin | np.isin(traces.label_names, missing)
        if rows.any():
            found.append(traces[rows])
    return concat([sample, *found]) if found else sample
