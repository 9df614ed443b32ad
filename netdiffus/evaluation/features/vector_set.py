"""Labelled traces as vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netdiffus.traces.traces import Ints

Vectors = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class VectorSet:
    """N traces as vectors (N, D), with their labels (N,).

    Traces with the same number in `group` (N,) depend on each other.
    """

    x: Vectors
    labels: Ints
    group: Ints

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Ints) -> VectorSet:
        return VectorSet(self.x[rows], self.labels[rows], self.group[rows])

    def joined(self, other: VectorSet) -> VectorSet:
        """Both sets as one."""
        return VectorSet(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.group, other.group]),
        )
