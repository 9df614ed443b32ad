"""The C library's allocator: memory that a step frees is reused by the next one.

Each step of a training allocates the same tensors. glibc gives freed memory back to the system, so
the next step asks for it again, and the system fills each page with zeros: up to 13 % of a step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Names and numbers of malloc.h. Below MAPPED bytes a block lies on the heap; TRIMMED bytes at the
# heap's end are given back at once.
TRIMMED, MAPPED = -1, -3
MOST, LESS = (1 << 30, 1 << 25), (1 << 25,)  # glibc before 2.35 refuses more than 32 MiB
USUAL = 1 << 26  # glibc raises TRIMMED to this when it frees a block of 32 MiB


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keeps freed memory until the block ends; without glibc nothing changes."""
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    _set(libc, MOST, (1 << 31) - 1)
    try:
        yield
    finally:
        _set(libc, LESS, USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, mapped: tuple[int, ...], trimmed: int) -> None:
    """Sets both limits; of `mapped`, the first value that is accepted."""
    libc.mallopt(TRIMMED, trimmed)
    any(libc.mallopt(MAPPED, size) for size in mapped)
