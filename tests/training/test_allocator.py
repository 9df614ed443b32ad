"""Freed memory is kept for the next step, and given back when the training ends."""

from __future__ import annotations

import ctypes
import platform
import resource

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc: nothing is changed")
def test_freed_memory_is_kept_and_given_back() -> None:
    pages, begun = 64 * MB // resource.getpagesize(), anonymous()
    usual = faults()
    with kept_memory():
        faults()
        kept, inside = faults(), anonymous()
    assert kept < pages / 10  # the ten allocations take pages that are there
    assert usual > kept
    assert inside > begun + 48 * MB
    assert anonymous() < begun + 16 * MB


def test_another_c_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with kept_memory():
        assert torch.ones(3).sum() == 3
