"""Capture files on disk: which there are, and their bytes, decompressed."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError

PIECE = 1 << 20
CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
CODECS |= {bytes([i, 0x2A, 0x4D, 0x18]): "zstd" for i in range(0x50, 0x60)}  # frames to skip
MAGICS = {
    bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a")
}


@dataclass(frozen=True)
class Capture:
    """A file, and its name below the folder that all captures share."""

    path: Path
    name: str


def find_captures(paths: Sequence[str | Path]) -> tuple[list[Capture], list[str]]:
    """The captures in files and folders, which are searched to their depth.

    Returns:
        (captures in order of their names within each path, other files in the folders).

    Raises:
        InputError: A path does not exist, or no capture was found.
    """
    found: list[Path] = []
    others: list[str] = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if not path.is_dir():
            found.append(path)
        for one in sorted(path.rglob("*")):
            if one.is_file() and is_capture(one):
                found.append(one)
            elif one.is_file():
                others.append(str(one))
    if not found:
        raise InputError(
            f"no captures in {', '.join(map(str, paths))}: none of the {len(others)} files "
            "begins as a pcap or pcapng, plain, .gz or .zst"
        )
    unique = [Path(path) for path in dict.fromkeys(map(os.path.abspath, found))]
    top = os.path.commonpath([path.parent for path in unique])
    return [Capture(path, path.relative_to(top).as_posix()) for path in unique], others


def is_capture(path: Path) -> bool:
    """Whether the first bytes, decompressed, are those of a capture."""
    try:
        with _open(path, _codec(path)) as stream:
            return stream.read(4) in MAGICS
    except OSError:
        return False


def pieces(path: Path, advance: Callable[[int], None]) -> Iterator[pa.Buffer]:
    """The file's bytes, decompressed, piece by piece.

    Args:
        path: The file: plain, gzip or zstd, known by its first bytes.
        advance: Called with the bytes of the file that each piece took.

    Raises:
        OSError: After the last piece that could be read.
    """
    codec, done, at = _codec(path), 0, 0
    with pa.OSFile(str(path), "rb") as raw:
        stream = pa.CompressedInputStream(raw, codec) if codec else raw
        try:
            while (piece := stream.read_buffer(PIECE)).size:
                yield piece
                done += piece.size
                at, before = raw.tell(), at
                advance(at - before)
        except OSError:
            if codec:
                last = _last_bytes(path, codec, done)
                done += last.size
                yield last
            if codec != "gzip" or not _is_padded(path, done):
                raise
            advance(path.stat().st_size - at)


def _last_bytes(path: Path, codec: str, start: int) -> pa.Buffer:
    """What can be decompressed from `start` up to the damage, which a whole piece did not reach."""
    last = bytearray()
    with _open(path, codec) as stream:
        while start and (piece := stream.read(min(start, PIECE))):
            start -= len(piece)
        try:
            while byte := stream.read(1):
                last += byte
        except OSError:
            return pa.py_buffer(bytes(last))
    return pa.py_buffer(bytes(last))


def _is_padded(path: Path, size: int) -> bool:
    """Whether gzip finds just as many bytes: it accepts zeros behind what it compressed."""
    try:
        with gzip.open(path) as file:
            while piece := file.read(PIECE):
                size -= len(piece)
    except (OSError, EOFError, zlib.error):
        return False
    return size == 0


def _codec(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(4)
    return next((codec for magic, codec in CODECS.items() if start.startswith(magic)), None)


def _open(path: Path, codec: str | None) -> Any:
    raw = pa.OSFile(str(path), "rb")
    return pa.CompressedInputStream(raw, codec) if codec else raw
