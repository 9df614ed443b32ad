"""What a caller may choose when a table is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netdiffus.errors import InputError, whole

FILE = "file"  # stands for a column of the names of files, where there is none


@dataclass(frozen=True)
class ReadOptions:
    """How a table is read.

    Attributes:
        length: Keep at most this many points of each trace; None keeps all.
        channels: Read only these channels, in this order. For an array they name its channels; a
            column of single numbers becomes a channel of one point. None reads all.
        label_column: The column of the classes; None looks for the usual names. `=NAME` is one
            class of all traces, `file` the name of the file without a number at its end.
        columns: Old name of a column to new name.
        by: Column that names the trace of each row, where one row is one packet; with `file` each
            file is a trace.
        encoding: Of a file of text; None finds it, or raises where it is in doubt.
    """

    length: int | None = None
    channels: Sequence[str] | None = None
    label_column: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    by: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.length is not None:
            object.__setattr__(self, "length", whole("length", self.length, at_least=1))
        if self.channels is not None:
            object.__setattr__(self, "channels", _names(self.channels))
        if self.by is not None and not isinstance(self.by, str):
            raise InputError(
                f"by must be the name of one column, got {self.by!r}; join several into one first"
            )
        if self.encoding is not None:
            _check_encoding(self.encoding)

    @property
    def one_class(self) -> str | None:
        """The class of all traces, if they have no column of classes."""
        chosen = self.label_column
        return chosen[1:] if chosen is not None and len(chosen) > 1 and chosen[0] == "=" else None


def _check_encoding(name: str) -> None:
    try:
        "".encode(name)
    except LookupError:
        raise InputError(
            f"encoding: {name!r} is not known; use one such as utf-8, cp1252, gb18030, big5, "
            "cp932 (Shift JIS), euc_kr or cp1251"
        ) from None


def _names(channels: Sequence[str]) -> tuple[str, ...]:
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    if not names or not all(names):
        raise InputError(f"channels: a name is empty in {', '.join(names)!r}; leave it out")
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise InputError(f"channels: {twice[0]!r} is named twice")
    return names
