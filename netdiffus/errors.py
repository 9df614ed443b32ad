"""The exception for unusable input, and the warning that states what was changed."""

from __future__ import annotations

import operator


class InputError(ValueError):
    """Unusable input: the message names the argument or file, what was found, and the next step."""


class Note(UserWarning):
    """States what was cut, corrected or left out, or what to expect; the command line prints it."""


def visible(text: str) -> str:
    """Untrusted text in one line: escapes, line breaks and marks of direction are shown as codes.

    A terminal would execute them. Characters that cannot be encoded (bytes of a file name) are
    shown in the same way.
    """
    return "".join(one if one == " " or one.isprintable() else _code(one) for one in text)


def shortened(text: str, most: int = 18) -> str:
    """Untrusted text in one line, cut to this many characters with an ellipsis."""
    shown = visible(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _code(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def whole(name: str, value: object, at_least: int | None = None) -> int:
    """An argument as a plain whole number, NumPy's included.

    Raises:
        InputError: It is not a whole number, or is less than `at_least`.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{name} must be a whole number, got {value!r}") from None
    if at_least is not None and number < at_least:
        raise InputError(f"{name} must be at least {at_least}, got {number}")
    return number


def checked_seed(seed: object) -> int:
    """A seed as a plain number that Philox and NumPy take.

    Raises:
        InputError: It is not one.
    """
    number = whole("seed", seed)
    if not 0 <= number < 2**63:
        raise InputError(f"seed must lie in 0..2**63 - 1, got {number}")
    return number
