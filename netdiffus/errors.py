"""The one exception that means: the input is at fault, and the message says how to mend it."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used: the message names the thing, what was found and what to do."""
