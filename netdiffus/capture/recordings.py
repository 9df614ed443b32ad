"""Captures that are one recording, as a capture program that begins new files leaves them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from netdiffus.capture.files import kinds
from netdiffus.capture.files.finding import START, Capture, Found
from netdiffus.capture.files.streams import PIECE, Stream, decompressed
from netdiffus.capture.label_lists import SUFFIXES, read_label_list
from netdiffus.capture.rules import Rules
from netdiffus.errors import InputError


def recordings(found: Found, label_from: str | Path | None) -> Found:
    """The captures of each folder as one, in order of the times of their first packets.

    Flows go on from a file to the next. The recording has the name of its first file.

    Args:
        found: Captures.
        label_from: Where labels come from: not from the single files.

    Raises:
        InputError: Labels differ from file to file, or a capture is an archive or a pipe.
    """
    _refuse_labels_of_files(label_from)
    folders: dict[str, list[Capture]] = {}
    for one in found.captures:
        if one.holder is not None:
            raise InputError(f"{one.shown}: a pipe cannot be part of a recording (together)")
        folders.setdefault(os.path.dirname(one.path), []).append(one)
    return replace(found, captures=[_joined(captures) for captures in folders.values()])


def _joined(captures: Sequence[Capture]) -> Capture:
    if len(captures) == 1:
        return captures[0]
    first, *others = sorted(captures, key=lambda one: (_first_time(one), one.name))
    return replace(first, then=tuple(others))


def _first_time(capture: Capture) -> float:
    """The time of the first packet, ns since 1970; of a capture without any, beyond all others."""
    reader = Rules(packets=1).reader()
    with capture.path.open("rb") as file:
        stream = decompressed(Stream.of(file))
        try:
            if not kinds.is_capture(stream.peek(START)):
                raise InputError(
                    f"{capture.shown}: an archive cannot be part of a recording (together); "
                    "unpack it, or put it into a separate folder"
                )
            while reader.packets == sum(reader.dropped.values()):
                if not (piece := stream.read(PIECE)):
                    break
                reader.feed(piece)
        except OSError:
            pass  # the import itself reads the file again, and names the error
    reader.finish(1 << 40)
    starts = reader.take(1 << 40)["start"]
    return float(starts.min()) if len(starts) else float("inf")


def _refuse_labels_of_files(label_from: str | Path | None) -> None:
    path = Path(label_from or "")
    is_list = path.suffix.lower() in SUFFIXES or path.is_file()
    if label_from == "file" or (is_list and "file" in read_label_list(path).columns):
        raise InputError(
            "together: the captures of a folder are one recording, so their labels cannot come "
            f"from the single files (label_from {str(label_from)!r})"
        )
