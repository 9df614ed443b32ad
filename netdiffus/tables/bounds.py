"""How much memory a table may ask for before it is read."""

from __future__ import annotations

from netdiffus.errors import InputError

MAX_BYTES = 4 << 30  # of padded values, or of the numbers of a file
# A file of a few bytes can say that it holds billions of equal numbers. Real traces are never
# compressed that well: more than this many bytes from one, beyond a size that does no harm, is
# taken for damage or malice.
MAX_RATIO = 250
HARMLESS = 256 << 20
# Traces are padded to the longest. Few long ones among many short ones would take all memory for
# zeros, so of values that are almost all padding less is allowed.
MAX_PADDING = 512 << 20
MOSTLY = 16  # times as many padded as real values


def check_expansion(needed: int, stored: int, what: str) -> None:
    """Refuses what needs far more memory than its file has bytes.

    Raises:
        InputError: It does; `what` says what the memory is for.
    """
    if needed > MAX_BYTES or (needed > HARMLESS and needed > MAX_RATIO * stored):
        raise InputError(
            f"{what} would take {needed / 2**30:.1f} GiB, from {stored} bytes of file; "
            "read fewer channels (--channels), or split the file if it is meant to be so"
        )


def check_padding(traces: int, channels: int, longest: int, points: int, where: int) -> None:
    """Refuses traces that padded to the longest take too much memory.

    Args:
        traces: Number of traces.
        channels: Number of channels.
        longest: Points of the longest trace.
        points: Points of all traces.
        where: Row of the longest trace.

    Raises:
        InputError: They do.
    """
    needed = 8 * channels * traces * longest
    mostly_padding = traces * longest > MOSTLY * points
    if needed > (MAX_PADDING if mostly_padding else MAX_BYTES):
        raise InputError(
            f"trace {where} has {longest} points: {traces} traces padded to that length would "
            f"take {needed / 2**30:.1f} GiB; keep fewer points with length=… (--length), or "
            "remove that trace"
        )
