"""What was read of captures, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from netdiffus._capture import Reader

DUPLICATES = "the same as another less than 10 ms before (--dedup leaves them out)"
BEYOND = "a fraction of a second that is a second or more"
LARGE = "IP packets of more than 1500 bytes"


@dataclass
class CaptureReport:
    """Counts over all captures of an import.

    Attributes:
        rules: What a trace is: `Rules.about`.
        captures: Captures read.
        packets: Packets in them.
        traces: Traces made.
        classes: Traces of each class.
        dropped: Packets that are in no trace, by reason.
        notes: Packets and flows that deserve a word, in traces or not, by what they are.
        problems: Captures that are damaged, with the byte where it was met, and files that should
            be captures or may hide some, and cannot be read.
        skipped: Files in the folders and archives that are no captures.
        without_traces: Captures of which no trace came.
        without_folder: Captures that were named themselves, so that no folder gives their class.
        hints: What to look at before these traces are used.
        largest: Bytes of the largest IP packet.
    """

    rules: dict[str, Any]
    captures: int = 0
    packets: int = 0
    traces: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    without_traces: list[str] = field(default_factory=list)
    without_folder: int = 0
    hints: list[str] = field(default_factory=list)
    largest: int = 0

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
            BEYOND: reader.beyond,
            "cut within the TCP header, so that ends of connections are not seen": (
                reader.without_flags
            ),
            "in tunnels, counted by the outer header (--tunnels opens those that are known)": (
                reader.in_tunnels
            ),
            "bare IP packets, though the capture calls them Ethernet": reader.bare,
            DUPLICATES: 0 if self.rules["dedup"] else reader.duplicates,
            LARGE: reader.large,
            "flows begun by a SYN with another sequence number on the ports of the one before": (
                reader.reused
            ),
            "flows turned round: their SYN or ports show that the server sent first": reader.turned,
            "flows whose server seems to have sent first (--direction port turns them round)": (
                reader.to_turn
            ),
            "captures written one behind the other in a file": (
                reader.files if reader.files > 1 else 0
            ),
        }
        self.largest = max(self.largest, reader.largest)
        self.notes.update({what: packets for what, packets in notes.items() if packets})

    def merge(self, other: CaptureReport) -> None:
        """Adds what a report of other captures counts."""
        for one in fields(self):
            mine, more = getattr(self, one.name), getattr(other, one.name)
            if isinstance(mine, Counter):
                mine.update(more)
            elif isinstance(mine, list):
                mine += more
            elif one.name == "largest":
                self.largest = max(mine, more)
            elif one.name != "rules":
                setattr(self, one.name, mine + more)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {k: dict(v) if isinstance(v, Counter) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> CaptureReport:
        """The report as `to_json` gave it."""
        report = cls(**found)
        for one in fields(report):
            if isinstance(getattr(report, one.name), Mapping) and one.name != "rules":
                setattr(report, one.name, Counter(getattr(report, one.name)))
        return report

    def summary(self) -> dict[str, Any]:
        """Everything but the rules, for printing; what is empty is left out."""
        counts: dict[str, Any] = {
            "captures": self.captures,
            "packets": self.packets,
            "traces": self.traces,
            "classes": dict(sorted(self.classes.items())),
        }
        lists = {"left out": dict(self.dropped.most_common()), "notes": dict(self.notes)}
        files = {
            "damaged or not read": self.problems,
            "captures without a trace": self.without_traces,
            "no captures": self.skipped,
        }
        return counts | {name: found for name, found in (lists | files).items() if found}

    def why_empty(self) -> str:
        """An error message for an import without a single trace."""
        reasons = [f"{packets} {reason}" for reason, packets in self.dropped.most_common()]
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        problems = "".join(f"; {problem}" for problem in self.problems)
        empty = "; they hold no packets: was the filter of the capture too narrow?"
        return (
            f"no traces; captures: {self.captures}, packets: {self.packets}{left_out}{problems}"
            f"{'' if self.packets or problems else empty}"
        )


def hints(label_from: str | Path | None, report: CaptureReport) -> list[str]:
    """What to look at before the traces of this report are used."""
    found = []
    ways = "--label-from file, a list of labels, or =NAME for one class of all"
    if report.without_folder:
        found.append(
            f"captures: {report.without_folder} were named themselves, so that no folder gives "
            f"their class: their traces are 'unlabelled'. Give the folder of the class folders, or "
            f"{ways}"
        )
    asked = label_from in (None, "none") or str(label_from).startswith("=")
    if len(report.classes) == 1 and not asked and not report.without_folder:
        name = next(iter(report.classes))
        by_dir = (
            "; a class is the folder just below the one that is given, so give the one that holds "
            f"all classes, or {ways}"
        )
        found.append(
            f"all traces are of one class, {name!r}{by_dir if label_from == 'dir' else ''}"
        )
    if report.notes[LARGE]:
        found.append(
            f"{report.notes[LARGE]} IP packets have more than 1500 bytes, the largest "
            f"{report.largest}: jumbo frames, or packets that the computer which captured had not "
            "yet cut up, or had put together (TSO, GRO). The latter are not those on the wire: "
            f"switch both off before capturing. To export such traces give --mtu {report.largest}"
        )
    if report.notes[BEYOND]:
        found.append(
            f"{report.notes[BEYOND]} packets have a second or more as the fraction of their time: "
            "their capture says that it counts µs, but seems to count ns, so that times within "
            "seconds are a thousand times too long; write it anew with the program that made it"
        )
    if report.notes[DUPLICATES] * 20 > report.packets:
        found.append(
            f"{report.notes[DUPLICATES]} of {report.packets} packets came twice, as from a mirror "
            "(SPAN) port or from interface any; --dedup leaves out the second"
        )
    return found
