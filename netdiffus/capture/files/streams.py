"""Bytes of files as streams: decompressed, however often, and archives taken apart."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow as pa

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 1 << 18  # bytes read at a time: what a core's cache holds
CHUNK = 1 << 16  # bytes decompressed at a time: what a damage costs at most
MOST_LAYERS = 4  # of compression and archives in one another
WINDOW_LOG = 29  # of zstd: 512 MiB. A small file can ask for 2 GiB, and take them
# What a file may expand to. Captures of floods are packed best: up to 150 bytes of them in one.
MAX_RATIO = 250
HARMLESS = 256 << 20  # bytes that any file may expand to: they are read in seconds
MEMBER = 16 << 10  # bytes as which a file in an archive, or a part of a stream, counts: its time
MAX_COPY = 4 << 30  # bytes of a packed zip archive, whose list stands at its end, on disk

GZIP, XZ, BZ2, LZ4 = b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x04\x22\x4d\x18"
ZSTD = {bytes([i, 0x2A, 0x4D, 0x18]) for i in range(0x50, 0x60)} | {b"\x28\xb5\x2f\xfd"}
ZIP = {b"PK\x03\x04", b"PK\x05\x06"}
TAR = b"ustar"  # at byte 257
DAMAGES: tuple[type[Exception], ...] = (
    *(zlib.error, lzma.LZMAError, zstd.ZstdError, tarfile.TarError, zipfile.BadZipFile),
    *(EOFError, OSError, NotImplementedError, RuntimeError),  # the last two: of zipfile
)


class TooMuch(OSError):
    """A file expands to more than it may."""


class Expansion:
    """What a file has expanded to: the bytes at each depth of compression and archives.

    Args:
        stored: Bytes of the file.
    """

    def __init__(self, stored: int) -> None:
        self._stored, self._most = stored, max(HARMLESS, MAX_RATIO * stored)
        self._found: Counter[int] = Counter()

    def add(self, depth: int, count: int) -> None:
        """So many more bytes.

        Raises:
            TooMuch: They are more than the file may expand to.
        """
        self._found[depth] += count
        if self._found[depth] > self._most:
            raise TooMuch(
                f"{self._stored} bytes of file expand to more than {self._most >> 20} MiB, the "
                f"limit ({MAX_RATIO} times the file, at least {HARMLESS >> 20} MiB; each file in "
                f"an archive counts as {MEMBER >> 10} KiB or more); if you trust it, unpack it "
                "and give what was in it"
            )


class Stream:
    """Reads from a function, and can look at what comes next.

    Args:
        read: Gives some of the next bytes, at most so many; none at the end.
        expansion: What the file that it is of has expanded to.
        depth: How many times it was unpacked.
    """

    def __init__(self, read: Callable[[int], bytes], expansion: Expansion, depth: int = 0) -> None:
        self._read, self._held = read, b""
        self._expansion, self._depth = expansion, depth
        self.error: OSError | None = None  # met behind what is held

    @classmethod
    def of(cls, file: IO[bytes], read: Callable[[int], bytes] | None = None) -> Stream:
        """The bytes of a file, by `read` if given."""
        return cls(read or file.read, Expansion(os.fstat(file.fileno()).st_size))

    def inside(self, read: Callable[[int], bytes]) -> Stream:
        """What `read` unpacks from this stream, which counts."""

        def counted(count: int) -> bytes:
            piece = read(count)
            self.count(len(piece))
            return piece

        return Stream(counted, self._expansion, self._depth + 1)

    def count(self, unpacked: int) -> None:
        """So many more bytes were unpacked from it.

        Raises:
            TooMuch: They are more than the file may expand to.
        """
        self._expansion.add(self._depth + 1, unpacked)

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay; fewer at the end or before a damage."""
        try:
            while len(self._held) < count and (more := self._read(PIECE)):
                self._held += more
        except OSError as error:
            if not self._held:
                raise
            self.error = error
        return self._held[:count]

    def read(self, count: int) -> bytes:
        """Some of the next bytes, at most so many; none at the end."""
        if not self._held:
            if self.error is not None:
                raise self.error
            return self._read(count)
        taken, self._held = self._held[:count], self._held[count:]
        return taken


class _Decompressed:
    """What a stream holds compressed, in one or several parts.

    Raises:
        OSError: By `read`, after the last bytes that could be read.
    """

    def __init__(self, raw: Stream, name: str, start: Callable[[], Any]) -> None:
        self._raw, self._name, self._start = raw, name, start
        self._part, self._rest = start(), b""

    def read(self, count: int) -> bytes:
        """Some of the next bytes; none at the end."""
        while True:
            if self._part.eof and not self._next_part():
                return b""
            wants_more = not self._rest and getattr(self._part, "needs_input", True)
            at_end = wants_more and not self._fill()
            try:
                found = self._part.decompress(self._rest, min(count, CHUNK))
            except DAMAGES as error:
                raise _undecompressed(self._name, error) from None
            self._rest = getattr(self._part, "unconsumed_tail", b"")
            if found:
                return bytes(found)
            if at_end and not self._part.eof:
                raise OSError(f"the {self._name} compressed data ends early")

    def _fill(self) -> bool:
        self._rest = self._raw.read(CHUNK)
        return bool(self._rest)

    def _next_part(self) -> bool:
        """Goes on behind a part; zeros there are padding."""
        self._raw.count(MEMBER)
        rest = self._part.unused_data.lstrip(b"\0")
        while not rest and (rest := self._raw.read(CHUNK)):
            rest = rest.lstrip(b"\0")
        self._part, self._rest = self._start(), rest
        if rest:
            return True
        self._part = _End()
        return False


def _undecompressed(name: str, error: Exception) -> OSError:
    if "emory" in str(error):  # a limit of ours
        return OSError(
            f"the {name} compressed data needs more than {2**WINDOW_LOG >> 20} MiB of memory; "
            "decompress it first"
        )
    return OSError(f"the {name} compressed data is damaged: {error}")


class _End:
    eof, unused_data = True, b""


class _AsFile(io.RawIOBase):
    """A stream as a file of Python's, for Arrow."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, count: int = -1) -> bytes:
        """Some of the next bytes."""
        return self._stream.read(count)


def _lz4(stream: Stream) -> Callable[[int], bytes]:
    plain = pa.CompressedInputStream(_AsFile(stream), "lz4")

    def read(count: int) -> bytes:
        try:
            return bytes(plain.read(count))
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"the lz4 compressed data is damaged: {error}") from None

    return read


def _zstd() -> Any:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


def _decompressor(start: bytes) -> tuple[str, Callable[[], Any]] | None:
    if start.startswith(GZIP):
        return "gzip", lambda: zlib.decompressobj(31)
    if start.startswith(XZ):
        most = 2**WINDOW_LOG + 2**20  # the dictionary, and what is beside it
        return "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=most)
    if start.startswith(BZ2):
        return "bzip2", bz2.BZ2Decompressor
    return ("zstd", _zstd) if start[:4] in ZSTD else None


def decompressed(stream: Stream) -> Stream:
    """The stream without its compression, if it has any."""
    for _ in range(MOST_LAYERS):
        if stream.peek(6).startswith(LZ4):
            stream = stream.inside(_lz4(stream))
            continue
        found = _decompressor(stream.peek(6))
        if found is None:
            break
        stream = stream.inside(_Decompressed(stream, *found).read)
    return stream


def is_archive(start: bytes) -> bool:
    """Whether several files begin with these 262 bytes."""
    return start[:4] in ZIP or start[257:262] == TAR


def parts(
    stream: Stream, file: IO[bytes] | None, name: str = "", layers: int = 0
) -> Iterator[tuple[str, Stream | OSError]]:
    """What a file holds: itself, or the files of an archive, which may be archives too.

    Args:
        stream: The bytes of the file.
        file: The same, where they can be read in any order.
        name: Name below the outermost file.
        layers: Archives around this one.

    Yields:
        (name below the file, '' if it is no archive; its bytes decompressed, to be read before the
        next is asked for, or why it cannot be read).
    """
    try:
        plain = decompressed(stream)
        start = plain.peek(262)
    except OSError as error:
        yield name, error
        return
    if not is_archive(start):
        yield name, plain
    elif layers == MOST_LAYERS:
        yield name, OSError(f"an archive within {layers} others; unpack it")
    elif start[:4] in ZIP:
        yield from _of_zip(plain, file if plain is stream else None, name, layers)
    else:
        yield from _of_tar(plain, name, layers)


def _of_tar(stream: Stream, name: str, layers: int) -> Iterator[tuple[str, Stream | OSError]]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                stream.count(MEMBER)
                if member.isreg():
                    found = stream.inside(archive.extractfile(member).read)
                    yield from parts(found, None, _join(name, member.name), layers + 1)
    except TooMuch as error:
        yield name, error
    except DAMAGES as error:
        yield name, _unreadable("tar", error)


def _of_zip(
    stream: Stream, file: IO[bytes] | None, name: str, layers: int
) -> Iterator[tuple[str, Stream | OSError]]:
    with TemporaryFile() as copy:
        try:
            if file is None:  # the list of its files stands at its end
                _copy(stream, copy)
            archive = zipfile.ZipFile(file or copy)
        except TooMuch as error:
            yield name, error
            return
        except DAMAGES as error:
            yield name, _unreadable("zip", error)
            return
        for member in archive.infolist():
            if not member.is_dir():
                try:
                    stream.count(MEMBER)
                except TooMuch as error:
                    yield _join(name, member.filename), error
                    return
                yield from _zipped(stream, archive, member, _join(name, member.filename), layers)


def _copy(stream: Stream, copy: IO[bytes]) -> None:
    """Copies a zip archive, and counts the entries of its list, which `zipfile` keeps in memory."""
    while piece := stream.read(PIECE):
        stream.count(MEMBER * piece.count(b"PK\1\2"))
        if copy.write(piece) and copy.tell() > MAX_COPY:
            raise OSError(f"more than {MAX_COPY >> 30} GiB, packed once more; unpack it first")


def _zipped(
    stream: Stream, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, layers: int
) -> Iterator[tuple[str, Stream | OSError]]:
    try:
        opened = archive.open(member)
    except DAMAGES as error:
        yield name, _unreadable("zip", error)
        return

    def read(count: int) -> bytes:
        try:
            return opened.read(count)
        except DAMAGES as error:
            raise _unreadable("zip", error) from None

    with opened:
        yield from parts(stream.inside(read), None, name, layers + 1)


def _unreadable(kind: str, error: Exception) -> OSError:
    text = str(error).split(" for extraction")[0]
    hint = "; unpack it with its password" if "encrypted" in text else ""
    return OSError(f"a {kind} archive that cannot be read here: {text}{hint}")


def _join(*names: str) -> str:
    return "/".join(name for name in names if name)
