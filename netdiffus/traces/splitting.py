"""A stratified holdout in which no group, and no duplicate, stands on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.arrays import Bools, Floats, Ints
from netdiffus.errors import InputError, checked_seed


def holdout_rows(
    labels: Ints, classes: Sequence[str], groups: Sequence[Ints], fraction: float, seed: int
) -> Bools:
    """(N,), true for the traces held out. See `Traces.split`.

    Args:
        labels: (N,), index into `classes`.
        classes: Names, for errors.
        groups: Each (N,): rows that share a number must stay on one side.
        fraction: Share of each class to hold out.
        seed: Same seed, same rows.
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie between 0 and 1, got {fraction}")
    seed = checked_seed(seed)
    units = np.arange(len(labels))
    for ids in groups:
        units = _merge(units, ids)
    table = _class_table(units, labels, len(classes))
    total = table.sum(axis=0)
    target = np.clip(fraction * total, 1, np.maximum(total - 1, 1))
    held = _mended(table, _choose(table, target, seed))
    _check_sides(table, held, classes)
    return held[units]


def group_names(meta: pa.Table, by: str, sep: str | None) -> npt.NDArray[np.str_]:
    """(N,): the text (before `sep`) of the column `by`."""
    if by not in meta.column_names:
        names = ", ".join(meta.column_names) or "none"
        raise InputError(f"no column {by!r} to group by; columns beside the channels: {names}")
    texts = meta[by].cast(pa.string()).to_pylist()
    if sep == "":
        raise InputError("sep is empty; name the text that ends the group's name, or leave it out")
    for row, text in enumerate(texts):
        if not text:
            raise InputError(f"column {by!r} is empty in row {row}; name its group")
    return np.array([text if sep is None else text.split(sep)[0] for text in texts], dtype=np.str_)


def _merge(units: Ints, groups: Ints) -> Ints:
    """Numbers 0..K-1 for the connected components of `same unit or same group`."""
    merged = units
    while True:
        lowest = merged
        for ids in (groups, units):
            least = np.full(ids.max() + 1, len(ids))
            np.minimum.at(least, ids, lowest)
            lowest = least[ids]
        if np.array_equal(lowest, merged):
            return np.unique(merged, return_inverse=True)[1].astype(np.int64)
        merged = lowest


def _class_table(units: Ints, labels: Ints, classes: int) -> Ints:
    """(K, classes): how many traces of each class each unit holds."""
    table = np.zeros((int(units.max()) + 1, classes), dtype=np.int64)
    np.add.at(table, (units, labels), 1)
    return table


def _choose(table: Ints, target: Floats, seed: int) -> Bools:
    """Takes units in random order, each only if it brings every class's count nearer to target."""
    held = np.zeros(len(table), dtype=bool)
    missing = target.copy()
    for unit in np.random.default_rng(seed).permutation(len(table)):
        counts = table[unit]
        gain = np.sum(counts * (2 * missing - counts) / target)  # drop of sum(missing²/target)
        if gain > 0:
            held[unit] = True
            missing -= counts
    return held


def _mended(table: Ints, held: Bools) -> Bools:
    """Gives each class that has several units, all on one side, its smallest one on the other."""
    for label in range(table.shape[1]):
        mine = np.flatnonzero(table[:, label])
        if len(mine) > 1 and len(set(held[mine].tolist())) == 1:
            smallest = mine[np.argmin(table[mine].sum(axis=1))]
            held[smallest] = not held[smallest]
    return held


def _check_sides(table: Ints, held: Bools, classes: Sequence[str]) -> None:
    for label in np.flatnonzero(table.sum(axis=0)).tolist():
        if table[held, label].sum() == 0 or table[~held, label].sum() == 0:
            units = np.count_nonzero(table[:, label])
            raise InputError(
                f"class {classes[label]!r} has {table[:, label].sum()} trace(s) in {units} "
                "independent group(s), too few to stand on both sides of a split; "
                "add traces, drop the class, or split by a finer column"
            )
