"""The ledger of a private table: the guarantee and its releases. It is stored with the traces.

A ledger is a plain mapping, as in JSON: `epsilon`, `delta`, `mu`, `unit`, `public` (the
public inputs), `releases` (what was counted, with which noise), `few` (classes with fewer traces
than the rule of thumb asks for) and `total` (of all releases in a ledger file, or null).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from netdiffus.errors import InputError

Ledger = dict[str, Any]
SETTINGS = (
    "epsilon",
    "delta",
    "mu",
    "unit",
    "neighbours",
    "public",
    "releases",
    "accounting",
    "rule",
    "few",
    "kept",
    "total",
    "not_covered",
    "software",
)
NUMBERS = ("epsilon", "delta", "mu")
TEXTS = ("unit", "neighbours")
MAPPINGS = ("public", "accounting", "rule", "few", "kept", "software")
LISTS = ("releases", "not_covered")
MOST_BYTES = 1 << 22  # of one; 65,536 names of classes
NOT_COVERED = (
    "evaluation: a report that compares with real traces tells about them beyond this guarantee",
    "choosing: settings or models chosen by looking at real traces, or at several private tables",
    "other releases of the same data: each adds to what is spent; --ledger FILE adds them up",
    "what is public: classes, length, ranges and how many traces a group may have",
)


def checked(ledger: Any) -> Ledger | None:
    """A ledger that comes from a file, or None.

    Raises:
        InputError: It is not a ledger: a setting is unknown, missing or of another type.
    """
    if ledger is None:
        return None
    if not isinstance(ledger, Mapping) or set(ledger) != set(SETTINGS):
        raise InputError(f"ledger must have the settings {', '.join(SETTINGS)}")
    wrong = [name for name in NUMBERS if not _is_number(ledger[name])]
    for kind, names in ((str, TEXTS), (Mapping, MAPPINGS), (list, LISTS)):
        wrong += [name for name in names if not isinstance(ledger[name], kind)]
    if ledger["total"] is not None and not _is_total(ledger["total"]):
        wrong.append("total")
    if wrong:
        raise InputError(f"ledger.{wrong[0]} is damaged")
    try:
        size = len(json.dumps(ledger, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"ledger is damaged: {error}") from None
    if size > MOST_BYTES:
        raise InputError(f"ledger: longer than {MOST_BYTES:,} bytes")
    return dict(ledger)


def statement(ledger: Mapping[str, Any] | None) -> str:
    """The guarantee in one line; 'none' without a ledger."""
    if ledger is None:
        return "none"
    text = (
        f"epsilon {ledger['epsilon']:.4g}, delta {ledger['delta']:.3g} for {ledger['neighbours']}"
    )
    total = ledger["total"]
    if total is not None:
        text += (
            f"; with all {total['releases']} releases of its ledger file epsilon "
            f"{total['epsilon']:.4g}, delta {total['delta']:.3g}"
        )
    if ledger["few"]:
        text += f"; {few(ledger)}"
    return text


def few(ledger: Mapping[str, Any]) -> str:
    """Which classes have too few traces for the rule of thumb, in words."""
    names = list(ledger["few"])
    shown = ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if names[5:] else "")
    return (
        f"too few traces to be of use in {len(names)} class(es), made anyway: {shown} "
        f"(about {ledger['rule'].get('needed', 0):,.0f} are needed of each)"
    )


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and isfinite(value) and value > 0


def _is_total(total: Any) -> bool:
    names = ("releases", *NUMBERS)
    return isinstance(total, Mapping) and all(_is_number(total.get(name)) for name in names)
