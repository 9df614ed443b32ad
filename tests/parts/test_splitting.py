"""The rows of a data set that are held out: memory for each trace, whatever the classes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from netdiffus.parts.splitting import holdout_mask
from netdiffus.traces.traces import Traces

TRACES, BATCH = 40_000, 1_000


def peak(classes: int) -> float:
    """Bytes for each trace."""
    names = [f"c{k}" for k in range(classes)]

    def batches() -> Iterator[Traces]:
        for first in range(0, TRACES, BATCH):
            rows = np.arange(first, first + BATCH)
            yield Traces.from_lists(
                {"x": [[row] for row in rows.tolist()]}, [names[row % classes] for row in rows]
            )

    some = list(batches())
    tracemalloc.start()
    held, labels = holdout_mask(iter(some), some[0].classes, 0.2, None, None, 0)
    found = tracemalloc.get_traced_memory()[1] / TRACES
    tracemalloc.stop()
    assert held.sum() == pytest.approx(0.2 * TRACES, rel=0.01)
    assert len(labels) == TRACES
    return found


def test_memory_does_not_grow_with_the_classes() -> None:
    """Arrays of 8 bytes a trace, ten at a time at most; a table of classes would take 4,000."""
    few, many = peak(5), peak(500)
    assert many < 1.1 * few
    assert many < 110
