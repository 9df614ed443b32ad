"""Capture files on disk: which there are, of which class by their folders, and their bytes."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from netdiffus.capture.files import kinds
from netdiffus.capture.files.streams import PIECE, Stream, decompressed, is_archive, parts
from netdiffus.errors import InputError

START = 262  # bytes that tell what a file is; of tar, it is the last five


@dataclass(frozen=True)
class Capture:
    """A file, or a file of an archive.

    Attributes:
        path: Where it is.
        name: Its name below the folder that all captures share, as text that can be written.
        shown: Its path, as text that can be written.
        folder: The folder below the one that was given, or that one if it lies in it; None if the
            file itself was given.
        part: Its name in the archive, '' if it is in none.
        is_below: Whether it lies in a folder below the one that was given.
        holder: What keeps a temporary file.
        then: The captures that go on where this one ends, see `recordings`.
    """

    path: Path
    name: str
    shown: str
    folder: str | None
    part: str = ""
    is_below: bool = False
    holder: Any = None
    then: tuple[Capture, ...] = ()

    @property
    def files(self) -> tuple[Capture, ...]:
        """This capture, and those that go on where it ends."""
        return (self, *self.then)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(one.path.stat().st_size for one in self.files)

    def in_archive(self, part: str) -> Capture:
        """The part of that name, of which the archive counts as the folder that was given."""
        part = legible(part)
        folders = part.removeprefix("./").split("/")[:-1]
        folder = self.folder if self.is_below or not folders else folders[0]
        return replace(
            self,
            name=f"{self.name}/{part}",
            shown=f"{self.shown}/{part}",
            folder=folder,
            part=part,
        )


@dataclass
class Found:
    """What was found in files and folders.

    Attributes:
        captures: Captures, and archives that may hold some.
        skipped: Other files in the folders.
        problems: What should be a capture, or may hide some, and cannot be read.
    """

    captures: list[Capture] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def legible(name: str | os.PathLike[str]) -> str:
    r"""A file's name as text that can be written: bytes that are no UTF-8 as \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def find_captures(paths: Sequence[str | Path]) -> Found:
    """The captures in files and folders, which are searched to their depth; links are followed.

    Raises:
        InputError: A path does not exist, or nothing that may be a capture was found.
    """
    found = Found()
    captures: dict[str, Capture] = {}
    for path in map(Path, paths):
        for one in _below(path, found):
            captures.setdefault(os.path.abspath(one.path), one)
    if not captures:
        raise InputError(_none(paths, found))
    folders = [os.path.dirname(full) for full, one in captures.items() if one.holder is None]
    top = os.path.commonpath(folders) if folders else ""
    for full, one in captures.items():
        name = one.name or legible(os.path.relpath(full, top))
        found.captures.append(replace(one, path=Path(full), name=name))
    return found


def _none(paths: Sequence[str | Path], found: Found) -> str:
    problems = "".join(f"; {problem}" for problem in found.problems)
    where = ", ".join(map(legible, paths))
    count = f": none of the {len(found.skipped)} other files begins as one" if found.skipped else ""
    return f"no captures in {where}{count}{problems}"


def _below(path: Path, found: Found) -> Iterator[Capture]:
    """The captures of one path in order; files have no name yet."""
    if str(path) == "-" or (path.exists() and _is_pipe(path)):
        holder = _copied(path)
        piped = Capture(Path(holder.name), "stdin", "standard input", None, holder=holder)
        yield from _given(piped, found)
    elif path.is_dir():
        for one in _Folder(path, found).files():
            folders = one.relative_to(path).parts[:-1]
            folder = folders[0] if folders else path.resolve().name
            yield Capture(one, "", legible(one), legible(folder), is_below=bool(folders))
    elif path.exists():
        yield from _given(Capture(path, "", legible(path), None), found)
    else:
        link = f", but a broken link to {legible(os.readlink(path))}" if path.is_symlink() else ""
        raise InputError(f"{legible(path)}: no such file or folder{link}")


def _given(capture: Capture, found: Found) -> Iterator[Capture]:
    readable, why, _ = _look(capture.path)
    if readable:
        yield capture
    else:
        found.problems.append(f"{capture.shown}: {why}")


class _Folder:
    """A folder and all below it. What links lead to comes last, and nothing comes twice."""

    def __init__(self, root: Path, found: Found) -> None:
        self._root, self._found = root, found
        self._seen: dict[str, Path] = {}  # by the path without links
        self._links: list[Path] = []

    def files(self) -> list[Path]:
        """The captures, in order of their names."""
        kept = list(self._walk(self._root))
        while self._links:
            link = self._links.pop(0)
            if not link.exists():
                broken = f"a broken link to {legible(os.readlink(link))}"
                self._found.problems.append(f"{legible(link)}: {broken}")
            elif self._is_new(link):
                kept += self._walk(link) if link.is_dir() else self._looked_at(link)
        return sorted(kept)

    def _walk(self, folder: Path) -> Iterator[Path]:
        self._seen[os.path.realpath(folder)] = folder
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self._found.problems.append(f"{legible(folder)}: {error.strerror}")
            return
        for entry in entries:
            if entry.is_symlink():
                self._links.append(entry)
            elif entry.is_dir():
                if self._is_new(entry):
                    yield from self._walk(entry)
            elif entry.is_file() and self._is_new(entry):
                yield from self._looked_at(entry)

    def _is_new(self, path: Path) -> bool:
        real = os.path.realpath(path)
        first = self._seen.setdefault(real, path)
        if first != path:
            self._found.skipped.append(f"{legible(path)}: the same as {legible(first)}")
        return first == path

    def _looked_at(self, path: Path) -> Iterator[Path]:
        readable, why, hides = _look(path)
        if readable:
            yield path
        elif hides or kinds.has_a_captures_name(path.name):
            self._found.problems.append(f"{legible(path)}: {why}")
        else:
            self._found.skipped.append(legible(path))


def _look(path: Path) -> tuple[bool, str, bool]:
    """Whether a file may be read, else why not, and whether it may hide captures all the same."""
    try:
        with path.open("rb") as file:
            stream = decompressed(Stream.of(file))
            start = stream.peek(START)
    except OSError as error:
        return False, error.strerror or str(error), True
    readable = kinds.is_capture(start) or is_archive(start)
    if not readable and stream.error is not None:
        return False, str(stream.error), True
    return readable, "" if readable else kinds.what_is(start), kinds.is_unread(start)


def is_capture(path: Path) -> bool:
    """Whether the first bytes, decompressed, are those of a capture."""
    try:
        with path.open("rb") as file:
            return kinds.is_capture(decompressed(Stream.of(file)).peek(4))
    except OSError:
        return False


def _is_pipe(path: Path) -> bool:
    mode = path.stat().st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _copied(path: Path) -> Any:
    """A pipe's bytes in a temporary file, as a capture may have to be read twice."""
    copy = NamedTemporaryFile(prefix="netdiffus-")  # noqa: SIM115  # the capture keeps it
    if str(path) == "-":
        if sys.stdin.isatty():
            raise InputError("-: nothing is piped in; give a file, or: tcpdump -w - | netdiffus …")
        shutil.copyfileobj(sys.stdin.buffer, copy, PIECE)
    else:
        with path.open("rb") as pipe:
            shutil.copyfileobj(pipe, copy, PIECE)
    copy.flush()
    return copy


@contextmanager
def opened(path: Path, advance: Callable[[int], None]) -> Iterator[Iterator[tuple[str, Any]]]:
    """The parts of a file, as of `streams.parts`.

    Args:
        path: The file.
        advance: Called with the bytes of the file that each piece took.
    """
    with path.open("rb") as file:
        yield parts(Stream.of(file, _counted(file, advance)), file)


def _counted(file: IO[bytes], advance: Callable[[int], None]) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        piece = file.read(count)
        if piece:
            advance(len(piece))
        return piece

    return read
