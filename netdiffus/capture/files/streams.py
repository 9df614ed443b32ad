"""Bytes of files as streams: decompressed, however often, and archives taken apart."""

from __future__ import annotations

import bz2
import io
import lzma
import sys
import tarfile
import zipfile
import zlib
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

GZIP, XZ, BZ2, LZ4 = b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x04\x22\x4d\x18"
ZSTD = {bytes([i, 0x2A, 0x4D, 0x18]) for i in range(0x50, 0x60)} | {b"\x28\xb5\x2f\xfd"}
ZIP = {b"PK\x03\x04", b"PK\x05\x06"}
TAR = b"ustar"  # at byte 257
DAMAGES: tuple[type[Exception], ...] = (
    *(zlib.error, lzma.LZMAError, zstd.ZstdError, tarfile.TarError, zipfile.BadZipFile),
    *(EOFError, OSError, NotImplementedError, RuntimeError),  # the last two: of zipfile
)


class Stream:
    """Reads from a function, and can look at what comes next."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read, self._held = read, b""
        self.error: OSError | None = None  # met behind what is held

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
            stream = Stream(_lz4(stream))
            continue
        found = _decompressor(stream.peek(6))
        if found is None:
            break
        stream = Stream(_Decompressed(stream, *found).read)
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
                if member.isreg():
                    found = archive.extractfile(member)
                    yield from parts(Stream(found.read), None, _join(name, member.name), layers + 1)
    except DAMAGES as error:
        yield name, _unreadable("tar", error)


def _of_zip(
    stream: Stream, file: IO[bytes] | None, name: str, layers: int
) -> Iterator[tuple[str, Stream | OSError]]:
    with TemporaryFile() as copy:
        try:
            if file is None:  # the list of its files stands at its end
                while piece := stream.read(PIECE):
                    copy.write(piece)
            archive = zipfile.ZipFile(file or copy)
        except DAMAGES as error:
            yield name, _unreadable("zip", error)
            return
        for member in archive.infolist():
            if not member.is_dir():
                yield from _zipped(archive, member, _join(name, member.filename), layers)


def _zipped(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, layers: int
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
        yield from parts(Stream(read), None, name, layers + 1)


def _unreadable(kind: str, error: Exception) -> OSError:
    text = str(error).split(" for extraction")[0]
    hint = "; unpack it with its password" if "encrypted" in text else ""
    return OSError(f"a {kind} archive that cannot be read here: {text}{hint}")


def _join(*names: str) -> str:
    return "/".join(name for name in names if name)
