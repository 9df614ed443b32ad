"""What was read of captures, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netdiffus._capture import Reader


@dataclass
class CaptureReport:
    """Counts over all captures of an import.

    Attributes:
        rules: What a trace is: `Rules.about`.
        captures: Captures read.
        packets: Packets in them.
        traces: Traces made.
        dropped: Packets that are in no trace, by reason.
        notes: Packets that deserve a word, whether they are in traces or not, by what they are.
        problems: Captures that are damaged, with the byte where it was met.
        skipped: Files in the folders that are no captures.
    """

    rules: dict[str, Any]
    captures: int = 0
    packets: int = 0
    traces: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, reader: Reader, is_sorted: bool) -> None:
        """Counts a capture that has been read; `is_sorted`: after being sorted on disk."""
        self.captures += 1
        self.packets += reader.packets
        self.dropped.update(reader.dropped)
        notes = {
            "put in order of time": reader.reordered,
            "of captures so far out of order that they were sorted on disk": (
                reader.packets if is_sorted else 0
            ),
            "fragments": reader.fragments,
            "cut by snap length": reader.shortened,
            "without a time of their own": reader.untimed,
        }
        self.notes.update({what: packets for what, packets in notes.items() if packets})

    def summary(self) -> dict[str, Any]:
        """Everything but the rules, for printing; what is empty is left out."""
        counts = {"captures": self.captures, "packets": self.packets, "traces": self.traces}
        lists = {"left out": dict(self.dropped.most_common()), "notes": dict(self.notes)}
        files = {"damaged": self.problems, "no captures": self.skipped}
        return counts | {name: found for name, found in (lists | files).items() if found}

    def why_empty(self) -> str:
        """An error message for an import without a single trace."""
        reasons = [f"{packets} {reason}" for reason, packets in self.dropped.most_common()]
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        problems = "".join(f"; {problem}" for problem in self.problems)
        return f"no traces; captures: {self.captures}, packets: {self.packets}{left_out}{problems}"
