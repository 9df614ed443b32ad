"""Small traces, and a meter whose answers do not depend on them, to compare what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from unittest import mock

import numpy as np
import numpy.typing as npt

from netdiffus.privacy import privatise as module
from netdiffus.privacy.noise import Noisy, NoisyMeter
from netdiffus.traces.traces import Traces

Ints = npt.NDArray[np.int64]
LENGTH = 4
PUBLIC = {"classes": ["a", "b"], "length": LENGTH, "ranges": {"packet_length": (0.0, 40.0)}}


@dataclass(frozen=True)
class Row:
    """One trace."""

    label: str
    sizes: tuple[int, ...]
    directions: tuple[int, ...]
    gaps: tuple[float, ...]
    protocol: int
    user: str


def traces_of(rows: list[Row]) -> Traces:
    return Traces.from_lists(
        {
            "packet_length": [row.sizes for row in rows],
            "direction": [row.directions for row in rows],
            "timestamp": [np.cumsum((0.0, *row.gaps[1:])).tolist() for row in rows],
        },
        [row.label for row in rows],
        {"protocol": [row.protocol for row in rows], "user": [row.user for row in rows]},
    )


@dataclass
class Seen:
    """What was counted in one run.

    Attributes:
        releases: In order, by name, sensitivity and share.
        counts: Of each, without noise, in units of 1 / UNIT.
        private: What came out.
    """

    releases: list[tuple[str, float, float]] = field(default_factory=list)
    counts: list[Ints] = field(default_factory=list)
    private: Traces | None = None

    def distances(self, other: Seen) -> list[float]:
        """L2 distance of each release to that of another run."""
        assert [(r, c.shape) for r, c in zip(self.releases, self.counts, strict=True)] == [
            (r, c.shape) for r, c in zip(other.releases, other.counts, strict=True)
        ]
        return [
            float(np.linalg.norm(a - b)) for a, b in zip(self.counts, other.counts, strict=True)
        ]


@contextmanager
def _same_answers(seen: Seen) -> Iterator[None]:
    """Answers by the number of the release alone, of which many stand out."""

    def release(
        meter: NoisyMeter, name: str, sensitivity: float, share: float, counts: Ints
    ) -> Noisy:
        seen.releases.append((name, sensitivity, share))
        seen.counts.append(counts.astype(np.float64))
        sigma = sensitivity / (meter.mu * sqrt(share))
        meter.spent.append({"mu": meter.mu * sqrt(share), "release": name})
        rng = np.random.default_rng(len(seen.releases))
        if name == "class sizes":
            return Noisy(np.array([30.0, 20.0]), sigma)
        answer = rng.exponential(3 * sigma, counts.shape)
        return Noisy(np.where(rng.random(counts.shape) < 0.5, answer, 0.0), sigma)

    with (
        mock.patch.object(NoisyMeter, "release", release),
        mock.patch.object(module, "calibrate", return_value=0.9),
        mock.patch.object(module, "epsilon_by_pld", return_value=4.0),
        mock.patch.object(module.secrets, "randbits", return_value=7),
    ):
        yield


def run(rows: list[Row], make: bool = False, **options: object) -> Seen:
    """Privatises traces with answers that do not depend on them; without `make` only counts."""
    seen = Seen()
    made = module.made if make else mock.Mock(return_value=[traces_of(rows)])
    with _same_answers(seen), mock.patch.object(module, "made", made):
        seen.private = module.privatise(traces_of(rows), 4, anyway=True, **(PUBLIC | options))
    return seen
