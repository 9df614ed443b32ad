"""Checks before any training that traces can be split, scored and generated."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from netdiffus.augmentation.joining import check_unmarked
from netdiffus.augmentation.scoring import CLASSIFIERS
from netdiffus.channels import Channel, same_but_type
from netdiffus.errors import InputError, Note, whole
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces

BOTH = "both"
LONGER = 0.02  # share of real traces that no made one can be as long as, which is said
NAMED = 5  # classes in an error


def multiples(times: Sequence[int]) -> list[int]:
    """Sorted multiples without duplicates."""
    found = sorted({whole("times", k, 1) for k in times})
    if not found:
        raise InputError("times is empty; give at least one multiple, such as times=(1, 2, 5)")
    return found


def judges_of(classifier: str) -> list[str]:
    """Names of the classifiers that are scored."""
    if classifier != BOTH and classifier not in CLASSIFIERS:
        known = ", ".join([*CLASSIFIERS, BOTH])
        raise InputError(f"classifier must be one of {known}, got {classifier!r}")
    return list(CLASSIFIERS) if classifier == BOTH else [classifier]


def check(real: Traces, model: Model | None, validation: Traces | None) -> None:
    """Refuses traces that do not fit each other or the model.

    Raises:
        InputError: Says which class or channel, and what to do.

    Warns:
        Note: Real traces are longer than what the model makes.
    """
    check_unmarked(real)
    if len(real.classes) < 2:
        raise InputError(
            f"real: all traces are of one class, {real.classes[0]!r}; a classifier needs two at "
            "least, so nothing can be chosen: sample(model, n) makes traces of one class"
        )
    if validation is None:
        _check_not_single(real)
    else:
        known = validation.without_empty_classes()
        _check_same(real, "validation", known.channels, known.classes)
    if model is not None:
        _check_same(real, "model", model.codec.channels, model.classes)
        _note_length(real, model.codec.length or 0)


def _check_not_single(real: Traces) -> None:
    few = [name for name, n in real.counts().items() if n < 2]
    if few:
        more = f", as have {len(few) - 1} more classes" if few[1:] else ""
        raise InputError(
            f"real: class {few[0]!r} has one trace{more}; two are needed, one to learn from and "
            "one to validate by: add traces, leave the class out, or give validation traces that "
            "the model has not learned from"
        )


def _check_same(
    real: Traces, name: str, channels: Sequence[Channel], classes: Sequence[str]
) -> None:
    """Refuses validation traces, or a model, of other channels or classes."""
    if not same_but_type(real.channels, channels):
        ours, theirs = (", ".join(c.title for c in some) for some in (real.channels, channels))
        raise InputError(
            f"{name}: the channels are {theirs}, those of the real traces {ours}; use the same: "
            "Traces.select (--channels) takes some of them"
        )
    next_step = (
        "give the traces that it learned from, or train one on these"
        if name == "model"
        else "give validation traces of the same classes"
    )
    if missing := [k for k in real.classes if k not in classes]:
        raise InputError(f"{name}: lacks {_some(missing)} of the real traces; {next_step}")
    if more := [k for k in classes if k not in real.classes]:
        raise InputError(f"{name}: has {_some(more)}, too, of no real trace; {next_step}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        ("class " if len(names) == 1 else "classes ") + ", ".join(map(repr, names[:NAMED])) + more
    )


def _note_length(real: Traces, longest: int) -> None:
    longer = float(np.mean(real.lengths > longest))
    if longer > LONGER:
        warnings.warn(
            Note(
                f"augment: {longer:.0%} of the real traces are longer than the {longest} points of "
                "a made one, which a classifier may go by: truncate the real traces to as many "
                f"points (--length {longest})"
            ),
            stacklevel=4,
        )
