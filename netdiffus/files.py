"""Files appear under their final name whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netdiffus.errors import InputError


def refuse_existing(path: Path, force: bool) -> None:
    """Refuses what cannot or may not be replaced.

    Raises:
        FileExistsError: `path` is there and `force` is false.
        InputError: It is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; choose another name, or take it away")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; choose another name, or pass force=True (--force)")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path in the same folder, moved to `path` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
