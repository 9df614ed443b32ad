"""A file that adds up all releases of one data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from math import sqrt
from pathlib import Path
from typing import Any

from netdiffus.errors import InputError
from netdiffus.files import claim, write_text
from netdiffus.privacy.accounting import epsilon_of

FORM = "netdiffus privacy ledger 1"


@dataclass
class Spending:
    """One release of a data set, the last of `entries`, and those before it.

    `unit` is what is protected: a trace, or a group. No ledger file (`path`) is written if it is
    None.
    """

    path: Path | None
    unit: str
    entries: list[dict[str, Any]]

    def settle(self, mu: float, note: str) -> None:
        """Writes down that this release spent less than was planned."""
        self.entries[-1] |= {"mu": mu, "note": note}
        self._write()

    def total(self, delta: float) -> dict[str, Any] | None:
        """Mu and epsilon of all releases together, at delta."""
        if self.path is None:
            return None
        mu = sqrt(sum(entry["mu"] ** 2 for entry in self.entries))
        epsilon = epsilon_of(mu, delta)
        return {"releases": len(self.entries), "mu": mu, "epsilon": epsilon, "delta": delta}

    def _write(self) -> None:
        if self.path is not None:
            text = {"form": FORM, "unit": self.unit, "releases": self.entries}
            write_text(self.path, json.dumps(text, indent=1) + "\n")


@contextmanager
def spend(
    path: Path | None, unit: str, mu: float, epsilon: float, delta: float
) -> Iterator[Spending]:
    """Writes a release into a ledger file before any data are used.

    So after a crash the file says more than was spent, never less.

    Raises:
        InputError: The file is none of a ledger, or counts for another unit.
    """
    if path is None:
        yield Spending(None, unit, [{}])
        return
    with claim(path, force=True):
        entries = _read(path, unit)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        entry = {"time": now, "epsilon": epsilon, "delta": delta, "mu": mu, "note": ""}
        spending = Spending(path, unit, [*entries, entry])
        spending._write()
        yield spending


def _read(path: Path, unit: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries = found["releases"]
        fits = found["form"] == FORM and isinstance(found["unit"], str)
        fits = fits and all(_is_release(one) for one in entries)
    except (ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise InputError(
            f"{path}: not a privacy ledger, or a damaged one; name the one of this data set, or a "
            "new file"
        )
    if found["unit"] != unit:
        raise InputError(
            f"{path}: counts for {found['unit']}, this release is for {unit}; they cannot be added "
            "up: use one ledger file for each unit"
        )
    return list(entries)


def _is_release(entry: dict[str, Any]) -> bool:
    return isinstance(entry["mu"], float | int) and 0 < entry["mu"] < 1e6
