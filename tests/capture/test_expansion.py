"""What a small file may expand to is bounded: in memory, on disk and in time."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from captures import conversation, frames, pcap

from netdiffus.capture import import_captures
from netdiffus.capture.files import streams
from netdiffus.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

ONE = pcap(frames(conversation()))
MIB = 1 << 20
LIMIT = "expand to more than 4 MiB, the limit .250 times the file, at least 4 MiB.*unpack it"


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HARMLESS", 4 * MIB)


def long_capture(size: int = 6 * MIB) -> bytes:
    return ONE + bytes(size)


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


def many(count: int) -> dict[str, bytes]:
    return {"good.pcap": ONE} | {f"{k}.txt": b"" for k in range(count)}


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(long_capture()),
    "xz": lambda: lzma.compress(long_capture()),
    "bzip2": lambda: bz2.compress(long_capture()),
    "twice": lambda: lzma.compress(gzip.compress(long_capture())),
    "zip": lambda: zipped({"good.pcap": ONE, "x.pcap": long_capture(), "y.pcap": long_capture()}),
    "zip in xz": lambda: lzma.compress(zipped({"good.pcap": ONE, "x.pcap": long_capture()})),
    "zip of zips": lambda: zipped({"good.pcap": ONE, "a.zip": zipped({"x.pcap": long_capture()})}),
    "tar in gzip": lambda: gzip.compress(tarred({"good.pcap": ONE, "x.pcap": long_capture()})),
    "no capture": lambda: gzip.compress(tarred({"good.pcap": ONE, "x.bin": bytes(6 * MIB)})),
    "many files": lambda: lzma.compress(tarred(many(400))),
    "many files of a zip": lambda: lzma.compress(zipped(many(400))),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_named_and_what_came_before_is_kept(kind: str, tmp_path: Path) -> None:
    (tmp_path / "all/a").mkdir(parents=True)
    (tmp_path / "all/a/good.pcap").write_bytes(ONE)
    bomb = tmp_path / "all/a/x"
    bomb.write_bytes(BOMBS[kind]())
    traces, report = import_captures(tmp_path / "all", lenient=True)
    assert len(traces) >= 3
    assert len(report.problems) <= 2
    assert re.search(rf"{re.escape(str(bomb))}.*{LIMIT}", report.problems[0])


def test_empty_parts_without_end_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap.xz"
    path.write_bytes(lzma.compress(gzip.compress(b"") * 1_000))
    with pytest.raises(InputError, match=LIMIT):
        import_captures(path, label_from=None)


def test_what_is_packed_well_but_not_by_malice_is_read(tmp_path: Path) -> None:
    packets = pcap(frames(conversation()) * 12_000)  # of more than 4 MiB
    path = tmp_path / "x.pcap.gz"
    path.write_bytes(gzip.compress(packets, 1))
    assert 4 * MIB < len(packets) < streams.MAX_RATIO * path.stat().st_size
    assert not import_captures(path, label_from=None)[1].problems


def test_the_bound_in_force_is_read_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = tmp_path / "x.tar.gz"
    zeros = bytes(streams.HARMLESS + MIB)
    path.write_bytes(gzip.compress(tarred({"good.pcap": ONE, "x": zeros})))
    start = time.process_time()
    traces, report = import_captures(path, label_from=None, lenient=True)
    assert len(traces) == 3
    assert "more than 256 MiB" in report.problems[0]
    assert time.process_time() - start < 5  # measured: 0.6
