"""Files appear under their final name whole, or not at all; a folder has one writer."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netdiffus.errors import InputError


def refuse_existing(path: Path, force: bool) -> None:
    """Refuses what cannot or may not be replaced.

    Raises:
        FileExistsError: `path` is there and `force` is false.
        InputError: It is a folder, or what should be its folder is a file.
    """
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise InputError(f"{path}: {parent} is a file, not a folder; choose another name")
    if path.is_dir():
        raise InputError(f"{path} is a folder; choose another name, or take it away")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; choose another name, or pass force=True (--force)")


@contextmanager
def alone_in(folder: Path | None) -> Iterator[None]:
    """Keeps a folder, made if need be, to one holder at a time; None is no folder.

    Where the file system has no locks, as some over networks, nobody is kept out.

    Raises:
        InputError: Somebody else holds it.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another training writes here; let it end, or choose another folder"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)  # which gives the lock back, as does the end of a process


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
