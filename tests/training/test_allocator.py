"""Freed memory is kept for the next step, and given back when the training ends."""

from __future__ import annotations

import ctypes
import platform
import resource
from multiprocessing import get_context

import pytest
import torch

from netdiffus.training.allocator import kept_memory

MB = 1 << 20


def faults() -> int:
    """Of a loop that allocates the same 64 MiB ten times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(64 * MB // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def anonymous() -> int:
    """Bytes of the process's own memory."""
    with open("/proc/self/status") as status:
        found = next(line for line in status if line.startswith("RssAnon"))
    return int(found.split()[1]) * 1024


def measured() -> dict[str, int]:
    """Page faults without and with kept memory, and memory before, within and after."""
    found = {"begun": anonymous(), "usual": faults()}
    with kept_memory():
        faults()
        found |= {"kept": faults(), "inside": anonymous()}
    return found | {"after": anonymous()}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc: nothing is changed")
def test_freed_memory_is_kept_and_given_back() -> None:
    """In a new process: after a failed allocation glibc serves a thread from other heaps.

    Those are of 64 MiB at most, and hold no such tensor.
    """
    with get_context("spawn").Pool(1) as pool:
        found = pool.apply(measured)
    pages = 64 * MB // resource.getpagesize()
    assert found["kept"] < pages / 10  # the ten allocations take pages that are there
    assert found["usual"] > found["kept"]
    assert found["inside"] > found["begun"] + 48 * MB
    assert found["after"] < found["begun"] + 16 * MB


def test_another_c_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with kept_memory():
        assert torch.ones(3).sum() == 3
