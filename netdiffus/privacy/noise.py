"""Counts with discrete Gaussian noise of OpenDP: the only way in which data are looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any

import numpy as np

from netdiffus.arrays import Floats, Ints
from netdiffus.errors import InputError

UNIT = 256  # counts are whole multiples of 1 / UNIT, so that noise on whole numbers is fine enough
THREADS, BLOCK = 2, 1 << 14  # OpenDP draws without Python's lock
# Bytes of addresses that must be free. A thread takes 8 MiB of stack and 64 MiB of heap, for whose
# alignment glibc takes 128 MiB for a moment; the rest is for the blocks.
ROOM = 256 << 20


@dataclass(frozen=True)
class Noisy:
    """Counts with noise, and its standard deviation."""

    counts: Floats
    sigma: float


@dataclass
class NoisyMeter:
    """Answers with noise, of `mu` together for a unit of privacy that can have `most` traces.

    `spent` has one entry for each release.
    """

    mu: float
    most: int = 1
    spent: list[dict[str, Any]] = field(default_factory=list)

    def release(self, name: str, sensitivity: float, share: float, counts: Ints) -> Noisy:
        """Counts with noise.

        Args:
            name: What is counted.
            sensitivity: Largest L2 norm of what one trace adds.
            share: Of mu².
            counts: In units of 1 / `UNIT`.
        """
        mu, sensitivity = self.mu * sqrt(share), sensitivity * self.most
        sigma = sensitivity / mu
        self.spent.append(
            {
                "release": name,
                "cells": int(counts.size),
                "sensitivity": sensitivity,
                "sigma": sigma,
                "share": share,
                "mu": mu,
            }
        )
        return Noisy(add_noise(counts, sensitivity, sigma), sigma)


def add_noise(counts: Ints, sensitivity: float, sigma: float) -> Floats:
    """Counts, in units of 1 / `UNIT`, with discrete Gaussian noise; in units of 1.

    Args:
        counts: Whole numbers of any shape.
        sensitivity: Largest L2 norm of what one unit of privacy adds to the counts, in units of 1.
        sigma: Standard deviation of the noise, in units of 1.

    Raises:
        MemoryError: Less than `ROOM` bytes are free.
    """
    _check_room()
    dp = library()
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    gaussian = dp.m.make_gaussian(*space, scale=sigma * UNIT)
    promised = gaussian.map(sensitivity * UNIT)  # rho of zero-concentrated privacy, mu² / 2
    if promised > (sensitivity / sigma) ** 2 / 2 * (1 + 1e-6):
        raise RuntimeError(f"OpenDP promises rho {promised:.6g} for {sensitivity} / {sigma}")
    flat = np.ascontiguousarray(counts, dtype=np.int64).reshape(-1)
    blocks = np.array_split(flat, max(1, ceil(len(flat) / BLOCK)))

    def noisy(block: Ints) -> Floats:
        return np.asarray(gaussian(block), dtype=np.float64)

    with ThreadPoolExecutor(THREADS) as threads:
        found = np.concatenate(list(threads.map(noisy, blocks)))
    return found.reshape(counts.shape) / UNIT


def _check_room() -> None:
    """Fails in time: without memory OpenDP ends the process, and Python's threads never start."""
    np.empty(ROOM, np.uint8)  # is not written to, so it takes no time


def library() -> Any:
    """OpenDP.

    Raises:
        InputError: It, or dp-accounting, is not installed.
        MemoryError: There is no memory to load it.
    """
    try:
        import dp_accounting  # noqa: F401
        import opendp.prelude as dp
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; run: pip install 'netdiffus[privacy]'"
        ) from None
    except Exception as error:  # OpenDP says so by a plain Exception
        if any(words in str(error) for words in ("failed to map", "annot allocate memory")):
            raise MemoryError(f"OpenDP cannot be loaded: {error}") from None
        raise
    dp.enable_features("contrib")
    return dp
