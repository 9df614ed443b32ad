"""What was read from a table, and what was mended or left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netdiffus.channels import Channel

SHOWN = 12  # classes or columns that one line names


@dataclass
class Findings:
    """What the steps of one reading note down, in their order.

    Attributes:
        form: Kind of the file: format, separator, encoding.
        encoding: Of a file of text.
        by: The column of the traces, where one row is one packet and it was not asked for.
        label: The column of the classes.
        origins: The column that each channel was read from.
        left_out: Columns that were not read, and why.
        mended: What was changed, one sentence each.
    """

    form: str = "table"
    encoding: str = "UTF-8"
    by: str | None = None
    label: str = "label"
    origins: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReadReport:
    """What was read as what.

    Attributes:
        source: The file, or what else was read.
        form: Kind of the file: format, separator, encoding.
        classes: Number of traces of each class.
        points: Number of points of all traces.
        channels: The channels.
        origins: The column that each channel was read from.
        label: The column of the classes.
        meta: The columns of meta-data.
        left_out: Columns that were not read, and why.
        mended: What was changed, one sentence each.
    """

    source: str
    form: str
    classes: dict[str, int]
    points: int
    channels: tuple[Channel, ...]
    origins: dict[str, str]
    label: str
    meta: tuple[str, ...]
    left_out: dict[str, str]
    mended: tuple[str, ...]

    @classmethod
    def of(cls, findings: Findings, source: str, **parts: Any) -> ReadReport:
        """The report of a finished reading."""
        return cls(
            source=source,
            form=findings.form,
            origins=dict(findings.origins),
            label=findings.label,
            left_out=dict(findings.left_out),
            mended=tuple(findings.mended),
            **parts,
        )

    def summary(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "source": self.source,
            "format": self.form,
            "traces": sum(self.classes.values()),
            "points": self.points,
            "classes": self.classes,
            "label": self.label,
            "channels": {channel.name: self._describe(channel) for channel in self.channels},
            "meta": list(self.meta),
            "left_out": self.left_out,
            "mended": list(self.mended),
        }

    def notes(self) -> list[str]:
        """One sentence for each thing that was changed or left out."""
        left = (f"column {name!r} was left out: {why}" for name, why in self.left_out.items())
        return [*self.mended, *_shortened(left, "more columns were left out")]

    def __str__(self) -> str:
        classes = (f"{name} {n}" for name, n in self.classes.items())
        channels = (f"{c.name} ({self._describe(c)})" for c in self.channels)
        meta = ", ".join(_shortened(self.meta, "more")) or "none"
        return (
            f"{self.source}: {self.form}, {sum(self.classes.values())} traces, "
            f"{self.points} points; classes of {self.label!r}: "
            f"{', '.join(_shortened(classes, 'more'))}; "
            f"channels: {', '.join(channels)}; meta-data: {meta}"
        )

    def _describe(self, channel: Channel) -> str:
        origin = self.origins.get(channel.name, channel.name)
        text = f"{channel.kind}, {channel.unit}" if channel.unit else channel.kind
        return text if origin == channel.name else f"{text}, from {origin!r}"


def _shortened(texts: Iterable[str], rest: str) -> list[str]:
    texts = list(texts)
    if len(texts) <= SHOWN:
        return texts
    return [*texts[:SHOWN], f"{len(texts) - SHOWN} {rest}"]
