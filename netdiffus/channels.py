"""What the numbers of a trace are: kind, unit, element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# Columns known by name; any other list column is a plain number.
KINDS = {
    "packet_length": ("size", "B"),
    "direction": ("direction", "±1"),
    "timestamp": ("time", "s"),
    "iat": ("gap", "s"),
    "gap": ("gap", "s"),
    "value": ("volume", "per bin"),
    "value_up": ("volume", "per bin"),
}


@dataclass(frozen=True)
class Channel:
    """One column of numbers per trace.

    Attributes:
        name: Column name on disk.
        kind: `size`, `direction` (+1 from the client, -1 to it), `time` (since the first packet),
            `gap` (since the previous packet), `volume` (per bin) or `number`.
        unit: Unit of the numbers, for people.
        dtype: Element type on disk, as Arrow names it.
        bin_width: Seconds per bin of a `volume`, where known.
    """

    name: str
    kind: str = "number"
    unit: str = ""
    dtype: str = "double"
    bin_width: float | None = None

    @classmethod
    def named(cls, name: str, dtype: str) -> Channel:
        """The channel that a column of this name and element type holds."""
        kind, unit = KINDS.get(name, ("number", ""))
        return cls(name, kind, unit, dtype)

    @property
    def is_integer(self) -> bool:
        """Whether its values are whole numbers."""
        return "int" in self.dtype

    @property
    def title(self) -> str:
        """Name and unit, for axes and tables."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


def same_but_type(some: Sequence[Channel], others: Sequence[Channel]) -> bool:
    """Whether both have the same channels in the same order; element types may differ."""
    return [replace(c, dtype="") for c in some] == [replace(c, dtype="") for c in others]
