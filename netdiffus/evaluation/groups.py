"""Groups of dependent traces, such as traces of one capture, host or session."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netdiffus.errors import InputError
from netdiffus.traces.splitting import group_names
from netdiffus.traces.traces import Ints, Traces


def group_numbers(
    train: Traces, holdout: Traces, by: str, sep: str | None, notes: list[str]
) -> tuple[Ints, Ints]:
    """The number of each trace's group, (n,) and (m,): one numbering for both sets.

    If all traces of a class are in one group, the variation between groups is unknown, and its
    traces count as independent. This, and groups that are on both sides, is added to `notes`.

    Raises:
        InputError: A set lacks the column `by`, or a group has no name.
    """
    names = [_names(t, by, sep, name) for t, name in ((train, "real"), (holdout, "holdout"))]
    number = np.unique(np.concatenate(names), return_inverse=True)[1]
    of_train, of_holdout = np.split(number, [len(train)])
    if shared := len(np.intersect1d(of_train, of_holdout)):
        notes.append(
            f"Groups ({by}) with traces in training and in the holdout: {shared}. What is alike "
            "within a group then looks as if it had been learned."
        )
    free = len(number)  # above all numbers of groups
    return (
        _split_lone_groups(train, of_train, free, f"training traces ({by})", notes),
        _split_lone_groups(holdout, of_holdout, 2 * free, f"holdout traces ({by})", notes),
    )


def _split_lone_groups(
    traces: Traces, group: Ints, first: int, name: str, notes: list[str]
) -> Ints:
    """Separate numbers, from `first` on, for traces of classes that are in a single group."""
    lone = [k for k in np.unique(traces.labels) if len(set(group[traces.labels == k])) == 1]
    if lone:
        notes.append(
            f"All {name} of {', '.join(traces.classes[k] for k in lone)} are of one group per "
            "class. They count as independent, so the real errors are larger than stated."
        )
    return np.where(np.isin(traces.labels, lone), first + np.arange(len(group)), group)


def _names(traces: Traces, by: str, sep: str | None, name: str) -> npt.NDArray[np.str_]:
    try:
        return group_names(traces.meta, by, sep)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
