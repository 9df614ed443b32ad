"""Atomic writing of files; a folder or a file name has one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from netdiffus.errors import InputError

LONGEST_NAME = 255  # bytes, of all common file systems
# Suffix of files that are being written. They are locked as long as their writer runs.
PART = "netdiffus-part"
IS_PART = re.compile(rf"\..*\.[0-9a-f]{{16}}\.{PART}")
DAY = 86_400.0  # seconds after which a part is an orphan where there are no locks
TRIES = 100
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}([^/].*)")  # a Path keeps one slash of two
# Errors of a full disk, a quota, a limit or a broken disk, often without the name of the file.
OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def refuse_existing(path: Path, force: bool) -> None:
    """Refuses a path that cannot be written to, or may not be replaced.

    Raises:
        FileExistsError: `path` is there and `force` is false.
        InputError: It is no file, its name is too long, or its folder is none or takes no files; or
            it is a URL.
    """
    if url_of(path) is not None:
        raise InputError(f"{path}: object stores are only read; write to a folder, and copy it")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise InputError(f"{path}: the name is longer than {LONGEST_NAME} bytes; choose another")
    _refuse_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; choose another name, or take it away")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a device or a pipe, not a file; choose another name")
    if os.path.lexists(path) and not force:
        raise FileExistsError(f"{path} exists; choose another name, or pass force=True (--force)")


def without_number(name: str) -> str:
    """A name without a number at its end: `web-12` is `web`."""
    return re.sub(r"[-_ #.]*\d+$", "", name) or name


def url_of(path: str | Path) -> str | None:
    """The path if it is a URL, such as `s3://bucket/made`; None if it is a file or a folder."""
    found = URL.fullmatch(str(path))
    if found is None or Path(f"{found[1]}:").exists():
        return None
    return f"{found[1]}://{found[2].rstrip('/')}"


def _refuse_folder(path: Path) -> None:
    """Refuses an unusable folder of `path`, or the folder in which that one would be made."""
    folder = next(one for one in path.absolute().parents if os.path.lexists(one))
    if not folder.is_dir():
        raise InputError(f"{path}: {folder} is a file, not a folder; choose another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: {folder} takes no files (no permission, or a read-only file system); choose "
            "another folder"
        )


@contextmanager
def alone_in(folder: Path | None) -> Iterator[None]:
    """Locks a folder for one process at a time, and makes it if necessary; None locks nothing.

    Without locks in the file system (some network file systems), no other process is excluded.

    Raises:
        InputError: Another process has the lock.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _is_locked(handle):
            raise InputError(
                f"{folder}: another training writes here; let it end, or choose another folder"
            )
        yield
    finally:
        os.close(handle)  # which gives the lock back, as does the end of a process


@contextmanager
def claim(*paths: Path, force: bool) -> Iterator[None]:
    """Locks file names for one run, from before its work until the files are written.

    Without locks in the file system, no other run is excluded.

    Raises:
        FileExistsError: A file is there and `force` is false.
        InputError: It cannot be written to, or another run that writes it is under way.
    """
    for path in paths:
        refuse_existing(path, force)
    made = [one for path in paths for one in path.parents if not one.exists()]
    held: list[tuple[Path, int]] = []
    try:
        for path in paths:
            held.append(_claimed(path))
        yield
    finally:
        for part, handle in held:
            part.unlink(missing_ok=True)
            os.close(handle)
        for one in made:  # those that stayed empty, as the run failed
            with suppress(OSError):
                one.rmdir()


def _claimed(path: Path) -> tuple[Path, int]:
    """A locked file that reserves the name of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _hidden(path, hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16])
    for _ in range(TRIES):
        handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        if _is_locked(handle):
            os.close(handle)
            raise InputError(f"{path}: another run writes it; let it end, or choose another name")
        if os.fstat(handle).st_nlink:
            return part, handle
        os.close(handle)  # its last holder took it away meanwhile
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path in the same folder, moved to `path` only if the block succeeds.

    A file that is replaced leaves its permissions to the new one. Temporary files of runs that were
    killed are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_orphans(path.parent)
    with _part_of(path) as (part, _):
        yield part
        with part.open("rb") as written:
            if path.is_file():
                os.fchmod(written.fileno(), path.stat().st_mode & 0o777)
            os.fsync(written.fileno())
        part.replace(path)
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_new(path: Path, text: str) -> bool:
    """Writes `text` to a new file, whole or not at all; the first of several writers wins.

    If the file system has no hard links, and several write at the same moment, the last one wins.

    Returns:
        Whether this call wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part_of(path) as (part, handle):
        part.write_text(text, encoding="utf-8")
        os.fsync(handle)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:
            if path.exists():
                return False
            part.replace(path)
        _sync(path.parent)
        return True


def write_together(texts: Mapping[Path, str]) -> None:
    """Writes several texts together: a crash never leaves an old file beside a new one.

    All new files are on disk before the first is renamed. All old files but the last are removed
    just before. So a crash during the renaming leaves one file too few, but no false pair.
    """
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(whole_file(path)).write_text(text, encoding="utf-8")
        for path in list(texts)[:-1]:
            path.unlink(missing_ok=True)


@contextmanager
def _part_of(path: Path) -> Iterator[tuple[Path, int]]:
    """A new file and its handle; it is gone afterwards, unless it was moved. Errors name `path`."""
    part, handle = _new_part(path)
    try:
        yield part, handle
    except OSError as error:
        if error.errno in OF_DISKS or error.filename == str(part):
            raise _named(error, path) from error
        raise
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _new_part(path: Path) -> tuple[Path, int]:
    """A new file with a unique name, locked as long as its handle is open."""
    for _ in range(TRIES):
        part = _hidden(path, secrets.token_hex(8))
        try:
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise _named(error, path) from error
        if not _is_locked(handle) and os.fstat(handle).st_nlink:
            return part, handle
        os.close(handle)  # taken for an orphan before it was locked
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _named(error: OSError, path: Path) -> OSError:
    """The same error, with the name of the final file."""
    number = error.errno or errno.EIO
    return OSError(number, os.strerror(number), str(path))


def _hidden(path: Path, token: str) -> Path:
    """The name of a temporary file: it contains the name, or the beginning of a long name."""
    ending = f".{token}.{PART}"
    room = LONGEST_NAME - len(ending) - 1
    begin = os.fsencode(path.name)[:room].decode(errors="ignore")
    return path.with_name(f".{begin}{ending}")


def _drop_orphans(folder: Path) -> None:
    """Removes temporary files of runs that have ended."""
    with os.scandir(folder) as found:
        parts = [
            one.path
            for one in found
            if IS_PART.fullmatch(one.name) and one.is_file(follow_symlinks=False)
        ]
    for part in parts:
        with suppress(OSError):  # of somebody else, or removed by now
            _drop_orphan(part)


def _drop_orphan(part: str) -> None:
    handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(part)
    except BlockingIOError:
        return  # its writer lives
    except OSError:  # there are no locks
        if time.time() - os.fstat(handle).st_mtime > DAY:
            os.unlink(part)
    finally:
        os.close(handle)


def _is_locked(handle: int) -> bool:
    """Whether another process has the lock; takes it if not. False without locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _sync(folder: Path) -> None:
    """Syncs the names in a folder to disk, if the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
