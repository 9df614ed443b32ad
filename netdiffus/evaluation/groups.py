"""Which traces are not independent of each other, as those of one capture, host or session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Ints, Traces

UNIT = "netdiffus_unit"  # the meta column of numbers


def ungrouped(traces: Traces) -> Traces:
    """The traces, each a unit of its own."""
    others = [name for name in traces.meta.column_names if name != UNIT]
    return replace(traces, meta=traces.meta.select(others))


def grouped(
    train: Traces, holdout: Traces, by: str, sep: str | None, notes: list[str]
) -> tuple[Traces, Traces]:
    """The traces with the number of their group as their unit, one numbering for both sets.

    Traces of a class that lies in one group, which tells nothing of other groups, count as
    independent; this, and groups on both sides, is put down in `notes`.

    Args:
        train: Real traces.
        holdout: Real traces.
        by: Meta column of both that names the group.
        sep: The group is only the part of that column's text before `sep`.
        notes: What the reader must know.

    Raises:
        InputError: A set lacks the column, or a group has no name.
    """
    names = [_names(t, by, sep, name) for t, name in ((train, "real"), (holdout, "holdout"))]
    number = np.unique(np.concatenate(names), return_inverse=True)[1]
    ours, theirs = np.split(number, [len(train)])
    if shared := len(np.intersect1d(ours, theirs)):
        notes.append(
            f"Groups ({by}) with traces in training and in the holdout: {shared}. What is alike "
            "within a group then looks as if it had been learned."
        )
    first = len(number)  # above all numbers of groups
    ours = _apart_where_alone(train, ours, first, f"training traces ({by})", notes)
    theirs = _apart_where_alone(holdout, theirs, 2 * first, f"holdout traces ({by})", notes)
    return _with_units(train, ours), _with_units(holdout, theirs)


def units(traces: Traces) -> Ints:
    """(N,): traces of one number depend on each other."""
    if UNIT not in traces.meta.column_names:
        return np.arange(len(traces))
    numbers: Ints = traces.meta[UNIT].to_numpy()
    return numbers


def units_of_both(made: Traces, real: Traces) -> tuple[Ints, Ints]:
    """The same of two sets; a number stands for one group in both, but for made traces."""
    ours, theirs = units(made), units(real)
    if UNIT not in made.meta.column_names:
        ours = ours + theirs.max(initial=-1) + 1
    return ours, theirs


def in_two(unit: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Places 0..n-1 as two random halves, the first larger by one if n is odd.

    Places of one unit stay together, where there are several units; the halves are then as equal
    as that allows.
    """
    order = rng.permutation(len(unit))
    _, first, group = np.unique(unit[order], return_index=True, return_inverse=True)
    order = order[np.argsort(first[group], kind="stable")]
    ends = np.flatnonzero(np.diff(unit[order])) + 1
    middle = (len(unit) + 1) // 2
    if len(ends):
        middle = int(ends[np.argmin(np.abs(ends - middle))])
    return order[:middle], order[middle:]


def _apart_where_alone(traces: Traces, unit: Ints, first: int, name: str, notes: list[str]) -> Ints:
    """Numbers of their own, from `first` on, for traces of classes that lie in one group."""
    alone = [k for k in np.unique(traces.labels) if len(set(unit[traces.labels == k])) == 1]
    if alone:
        notes.append(
            f"One group to a class is all there is in the {name} of "
            f"{', '.join(traces.classes[k] for k in alone)}: they count as independent, so that "
            "errors are larger there than stated."
        )
    own = np.isin(traces.labels, alone)
    return np.where(own, first + np.arange(len(unit)), unit)


def _with_units(traces: Traces, unit: Ints) -> Traces:
    return replace(traces, meta=ungrouped(traces).meta.append_column(UNIT, pa.array(unit)))


def _names(traces: Traces, by: str, sep: str | None, name: str) -> npt.NDArray[np.str_]:
    try:
        return group_names(traces.meta, by, sep)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
