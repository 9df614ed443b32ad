"""What people have goes in: folders, links, archives, pipes and lists; what came of it is said."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
from backports import zstd
from captures import (
    ACK,
    CLIENT,
    SECOND,
    SERVER,
    START,
    SYN,
    Record,
    conversation,
    ethernet,
    frames,
    ipv4,
    ipv6,
    pcap,
    pcapng,
    tcp,
    udp,
)
from command import run

from netdiffus.capture import Rules, import_captures
from netdiffus.capture.labels import file_label
from netdiffus.capture.report import DUPLICATES, LARGE
from netdiffus.errors import InputError, Note
from netdiffus.traces.traces import Traces

# Those that are tested are waited for.
pytestmark = pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")

PLAIN = pcap(frames(conversation()))
ONE = pcap(frames(conversation()[:1]))
REUSED = "flows begun by a SYN with another sequence number on the ports of the one before"
TURNED = "flows turned round: their SYN or ports show that the server sent first"
TO_TURN = "flows whose server seems to have sent first (--direction port turns them round)"


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Classes by folder


def test_the_class_is_the_folder_just_below_the_one_given(tmp_path: Path) -> None:
    for name in ("voip/day1/a.pcap", "voip/day2/b/c.pcap", "web/day1/a.pcap", "top.pcap"):
        write(tmp_path / "all" / name, ONE)
    traces, report = import_captures(tmp_path / "all")
    assert traces.counts() == {"all": 1, "voip": 2, "web": 1}
    assert report.classes == traces.counts()
    folders = [tmp_path / "all/voip/day1", tmp_path / "all/web"]
    assert import_captures(folders)[0].counts() == {"day1": 2}


def test_captures_that_are_named_have_no_class_by_folder(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"voip/{name}.pcap", ONE) for name in "ab"]
    with pytest.warns(Note, match="2 were named themselves.*'unlabelled'.*--label-from file"):
        traces, report = import_captures(paths)
    assert traces.classes == ("unlabelled",)
    assert report.without_folder == 2
    assert import_captures(paths, label_from="none")[0].classes == ("unlabelled",)
    assert import_captures(paths, label_from="=voip")[0].classes == ("voip",)


def test_a_single_class_is_said(tmp_path: Path) -> None:
    write(tmp_path / "all/voip/a.pcap", ONE)
    with pytest.warns(Note, match="all traces are of one class, 'voip'; a class is the folder"):
        import_captures(tmp_path / "all")
    result = run("import", tmp_path / "all", "-o", tmp_path / "t.parquet")
    assert result.code == 0
    assert "classes:\n  voip: 1\n" in result.out
    assert "note: all traces are of one class" in result.err


def test_a_capture_without_traces_is_named(tmp_path: Path) -> None:
    write(tmp_path / "all/voip/a.pcap", ONE)
    write(tmp_path / "all/web/b.pcap", pcap([]))
    _, report = import_captures(tmp_path / "all")
    assert report.without_traces == [str(tmp_path / "all/web/b.pcap")]
    assert report.summary()["captures without a trace"] == report.without_traces


# Links and names


def test_links_are_followed_and_nothing_comes_twice(tmp_path: Path) -> None:
    write(tmp_path / "pool/voip/a.pcap", ONE)
    write(tmp_path / "pool/one.pcap", ONE)
    write(tmp_path / "all/web/b.pcap", ONE)
    (tmp_path / "all/voip").symlink_to("../pool/voip")
    (tmp_path / "all/web/one.pcap").symlink_to("../../pool/one.pcap")
    (tmp_path / "all/again").symlink_to("web")
    (tmp_path / "all/web/loop").symlink_to("..")
    traces, report = import_captures(tmp_path / "all")
    assert traces.counts() == {"voip": 1, "web": 2}
    assert report.skipped == [
        f"{tmp_path / 'all/again'}: the same as {tmp_path / 'all/web'}",
        f"{tmp_path / 'all/web/loop'}: the same as {tmp_path / 'all'}",
    ]


def test_broken_links_are_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path / "all/web/b.pcap", ONE)
    (tmp_path / "all/voip").symlink_to("../gone")
    result = run("import", tmp_path / "all", "-o", tmp_path / "t.parquet")
    assert result.code == 1
    assert f"{tmp_path / 'all/voip'}: a broken link to ../gone" in result.err
    assert Traces.load(tmp_path / "t.parquet").counts() == {"web": 1}
    with pytest.raises(InputError, match=r"no such file or folder, but a broken link to \.\./gone"):
        import_captures(tmp_path / "all/voip")


def test_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    write(tmp_path / "all" / odd / f"{odd}.pcap", ONE)
    write(tmp_path / "all/web/b.pcap", ONE)
    write(tmp_path / f"all/{odd}.txt", b"words")
    result = run("import", tmp_path / "all", "-o", tmp_path / "t.parquet", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["no captures"] == [str(tmp_path / "all") + r"/caf\xe9.txt"]
    traces = Traces.load(tmp_path / "t.parquet")
    assert traces.counts() == {r"caf\xe9": 1, "web": 1}
    assert traces.meta["trace_id"].to_pylist()[0] == r"caf\xe9/caf\xe9.pcap#000000"


# Archives, compression, pipes


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


INSIDE = {"voip/day/a.pcap": ONE, "web/b.pcapng.xz": lzma.compress(ONE), "web/read.me": b"words"}
ARCHIVES = {
    "tar": tarred(INSIDE),
    "tar.gz": tarred(INSIDE, "w:gz"),
    "tar.xz": tarred(INSIDE, "w:xz"),
    "zip": zipped(INSIDE),
    "tar.zst": zstd.compress(tarred(INSIDE)),
    "zip in tar": tarred({"voip/a.zip": zipped({"x": ONE}), "web/b.pcap": ONE, "n": b"words"}),
    "tar.gz in zip": zipped(
        {"voip/a.tgz": tarred({"x": ONE}, "w:gz"), "web/b.pcap": ONE, "n": b"words"}
    ),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_read(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x", ARCHIVES[kind])
    traces, report = import_captures(path)
    assert traces.counts() == {"voip": 1, "web": 1}
    assert len(report.skipped) == 1
    assert not report.problems
    write(tmp_path / "all/mail/x", ARCHIVES[kind])
    assert import_captures(tmp_path / "all")[0].counts() == {"mail": 2}


def test_an_archived_capture_in_no_order_is_read_again(tmp_path: Path) -> None:
    packets = [ipv4(CLIENT, SERVER, 17, udp(i % 2 + 5000, 53)) for i in range(70_000)]
    mixed = [Record(START + i * 10**6, ethernet(p)) for i, p in enumerate(packets)][::-1]
    path = write(tmp_path / "x.tar", tarred({"a/1.pcap": ONE, "b/2.pcap": pcap(mixed)}))
    traces, report = import_captures(path, rules=Rules(packets=None))
    assert traces.counts() == {"a": 1, "b": 2}
    assert traces.lengths.tolist() == [1, 35_000, 35_000]
    assert report.packets == 70_001


def test_a_part_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    whole = zipped({"voip/a.pcap": ONE, "web/b.pcap.xz": lzma.compress(PLAIN)[:-20]})
    path = write(tmp_path / "x.zip", whole)
    result = run("import", path, "-o", tmp_path / "t.parquet")
    assert result.code == 1
    assert f"{path}/web/b.pcap.xz: the xz compressed data ends early" in result.err
    write(tmp_path / "y.tar.gz", tarred({"voip/a.pcap": ONE, "web/b.pcap": PLAIN})[:2100])
    result = run("import", tmp_path / "y.tar.gz", "-o", tmp_path / "u.parquet")
    assert result.code == 1
    assert Traces.load(tmp_path / "u.parquet").counts()["voip"] == 1


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.pcap": ONE}))
    data[6] |= 1  # the flags of the file, and of its entry in the list
    data[data.index(b"PK\1\2") + 8] |= 1
    path = write(tmp_path / "x.zip", bytes(data))
    with pytest.raises(InputError, match=r"encrypted.*unpack it with its password"):
        import_captures(path)


def test_an_archive_without_captures_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip", zipped({"a": b"1", "b": b"2"}))
    with pytest.raises(InputError, match=r"x\.zip: an archive without captures"):
        import_captures(path)


def test_long_windows_of_zstd(tmp_path: Path) -> None:
    level = zstd.CompressionParameter
    options = {level.window_log: 29, level.enable_long_distance_matching: 1}
    path = write(tmp_path / "x.zst", zstd.compress(PLAIN, options=options))
    assert len(import_captures(path, label_from=None)[0]) == 3


def greedy(kind: str) -> bytes:
    """A capture of a few hundred bytes that asks for 2 GiB, or 1.5, to be decompressed."""
    if kind == "xz":
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
        found = bytearray(lzma.compress(PLAIN, lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=filters))
        at = found.index(b"\x21\x01") + 2  # the size of the dictionary, in the header of the block
        found[at] = 37
        found[20:24] = zlib.crc32(found[12:20]).to_bytes(4, "little")
        return bytes(found)
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 31})
    return packer.compress(PLAIN) + packer.flush()


@pytest.mark.parametrize("kind", ["zst", "xz"])
def test_a_window_of_gigabytes_is_refused(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.pcap.{kind}", greedy(kind))
    with pytest.raises(InputError, match="needs more than 512 MiB of memory; decompress it first"):
        import_captures(path, label_from=None)


def test_standard_input_of_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "netdiffus", "import", "-", "-o", tmp_path / "t.parquet"]
    done = subprocess.run(command, input=PLAIN, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(Traces.load(tmp_path / "t.parquet")) == 3


@pytest.mark.parametrize("data", [PLAIN, ARCHIVES["zip"], ARCHIVES["tar.gz"]])
def test_standard_input(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    traces, _ = import_captures("-", label_from=None)
    names = traces.meta["trace_id"].to_pylist()
    assert {name.split("#")[0].split("/")[0] for name in names} == {"stdin"}


def test_a_named_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(PLAIN,))
    writer.start()
    assert len(import_captures(pipe, label_from=None)[0]) == 3
    writer.join()


# What is no capture


NO_CAPTURES = {
    "an empty file": b"",
    "a Git LFS pointer.*git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:1",
    "a web page.*download it again": b"\n<!DOCTYPE html><html></html>",
    "text, not a capture.*tshark -r": b'"No.","Time","Source"\n"1","0.0","a"\n',
    "a table, not a capture": b"PAR1" + bytes(20),
    "a 7-Zip archive; unpack it: 7z x": b"7z\xbc\xaf\x27\x1c" + bytes(30),
    "a Network Monitor capture; convert it: editcap": b"GMBU" + bytes(30),
    "a capture of AIX; convert it: editcap": b"iptrace 2.0" + bytes(30),
    "a capture of Bluetooth": b"btsnoop\0" + bytes(30),
    "a hex dump; make a capture of it: text2pcap": b"0000  45 00 00 28 00 01 00 00\n",
    "no capture that is read.*if Wireshark opens it, convert it: editcap": bytes(40),
    "no capture that is read: it begins with 0x00010203": b"\0\1\2\3" + bytes(30),
}


@pytest.mark.parametrize("what", NO_CAPTURES)
def test_what_is_no_capture_is_named_with_the_next_step(what: str, tmp_path: Path) -> None:
    path = write(tmp_path / "all/voip/x.pcap", NO_CAPTURES[what])
    with pytest.raises(InputError, match=f"no captures in {path}; {path}: {what}"):
        import_captures(path)
    write(tmp_path / "all/web/b.pcap", ONE)
    result = run("import", tmp_path / "all", "-o", tmp_path / "t.parquet")
    assert result.code == 1
    assert f"warning: {path}: " in result.err


def test_a_capture_given_to_train(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pcap", PLAIN)
    result = run("train", path, "--steps", 1, "-o", tmp_path / "m")
    assert result.code == 2
    assert f"{path}: this is a capture: run `netdiffus import` on it first" in result.err


# Lists of labels


LISTS = {
    "l.csv": b"\xef\xbb\xbffile;label\na.pcap;voip\n",
    "l.tsv": b"Filename\tClass\nc/a.pcap\tvoip\n",
    "bars.csv": b"File Name|Label|note\n./a.pcap|voip|x\n",
    "excel.csv": "file,label\r\na.pcap,voip\r\n".encode("utf-16"),
    "l.json": b'[{"file": "a.pcap", "label": "voip"}]',
    "dict.json": b'{"a.pcap": "voip"}',
    "lines.csv": b'{"file": "a.pcap", "label": "voip"}\n',
    "flows.csv": b"Src IP, Source Port ,Label,Flow Bytes\n192.168.1.5,,voip,9\n",
    "zeek.tsv": b"id.orig_h\tproto\tlabel\n203.0.113.9\t\tvoip\n",
    "short.csv": b"sip,dip,label\n203.0.113.9,192.168.1.5,voip\n192.0.2.1,192.0.2.2,no\n",
    "unsw.csv": b"Source IP,Attack category\n192.168.1.5,voip\n",
    "one.json": b'{"src_ip": "192.168.1.5", "label": "voip"}',
    # of IoT-23, with three blanks before its labels
    "conn.log": b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n"
    b"#path\tconn\n#fields\tuid\tid.orig_h\tid.orig_p\tid.resp_h   label   detailed-label\n"
    b"#types\tstring\taddr\tport\taddr   string   string\n"
    b"C1\t192.168.1.5\t-\t203.0.113.9   voip   -\n#close\t2024-01-01-00-00-00\n",
    "blank.csv": b"src_ip,label\n,\n192.168.1.5,voip\n,\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_labels(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "c/a.pcap", PLAIN)
    labels = write(tmp_path / name, LISTS[name])
    assert import_captures(path, label_from=labels)[0].counts() == {"voip": 3}


def test_a_list_in_windows_1252(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", PLAIN)
    labels = write(tmp_path / "l.csv", "file,label\na.pcap,Web \u2013 XSS\n".encode("cp1252"))
    with pytest.warns(Note, match="read as cp1252"):
        traces, _ = import_captures(path, label_from=labels)
    assert traces.classes == ("Web \u2013 XSS",)


def test_a_list_of_labels_in_another_script(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", PLAIN)
    labels = write(tmp_path / "l.csv", "file,label\na.pcap,微信\n".encode("gb18030"))
    with pytest.raises(InputError, match=r"l\.csv: no UTF-8, and in which encoding"):
        import_captures(path, label_from=labels)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_long_list_of_labels_in_utf8(shift: int, tmp_path: Path) -> None:
    """Of one of the shifts, what is looked at for the encoding ends within a character."""
    path = write(tmp_path / "a.pcap", PLAIN)
    text = f"file,label\na.pcap,微信\n{'x' * shift}{'微' * 50_000},a\n"
    labels = write(tmp_path / "l.csv", text.encode())
    assert import_captures(path, label_from=labels)[0].classes == ("微信",)


def flow(port: int, seconds: float) -> Record:
    packet = ipv4(CLIENT, SERVER, 6, tcp(port, 443, 0, SYN, number=port))
    return Record(START + round(seconds * SECOND), ethernet(packet))


def test_times_of_cicflowmeter_decide_only_where_labels_differ(tmp_path: Path) -> None:
    # START is 14 Nov 2023, 22:13:20 UTC; the first two flows share their ends.
    path = write(tmp_path / "a.pcap", pcap([flow(5, 0), flow(6, 10), flow(5, 7200), flow(7, 7300)]))
    head = "Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Label"
    rows = [
        (5, "14/11/2023 10:13:20 PM", "BENIGN"),
        (5, "15/11/2023 12:13:00 AM", "DoS"),
        (6, "14/11/2023 07:13:30 PM", "Bot"),  # of another zone, but the only label
        (7, "14/11/2023 07:13:30 PM", "BENIGN"),
        (7, "14/11/2023 08:13:30 PM", "DoS"),
    ]
    lines = [f"x,{CLIENT},{port},{SERVER},443,6,{time},{label}" for port, time, label in rows]
    labels = write(tmp_path / "cic.csv", "\n".join([head, *lines]).encode())
    with pytest.warns(Note, match="1 flows have no label.*another time zone"):
        traces, report = import_captures(path, label_from=labels)
    assert traces.label_names.tolist() == ["BENIGN", "Bot", "DoS"]
    assert report.dropped.total() == 1


def test_columns_without_use_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", PLAIN)
    labels = write(tmp_path / "l.csv", b"file,label,a,b\na.pcap,x,1,2\n")
    with pytest.warns(Note, match="columns without use here: a, b"):
        import_captures(path, label_from=labels)


# Flows merged, doubled and turned round


def records(packets: list[tuple[float, bytes]]) -> list[Record]:
    return [Record(START + round(at * SECOND), ethernet(packet)) for at, packet in packets]


def up(payload: int = 0, flags: int = ACK, number: int = 0, port: int = 40000) -> bytes:
    return ipv4(CLIENT, SERVER, 6, tcp(port, 443, payload, flags, number=number))


def down(payload: int = 0, flags: int = ACK, number: int = 0) -> bytes:
    return ipv4(SERVER, CLIENT, 6, tcp(443, 40000, payload, flags, number=number))


def test_a_syn_with_another_number_begins_a_flow(tmp_path: Path) -> None:
    packets = [
        *[(0, up(0, SYN, 7)), (1, up(0, SYN, 7)), (2, down(0, SYN | ACK, 3)), (3, up(9))],
        *[(5, up(0, SYN, 8)), (6, down(0, SYN | ACK, 4))],
        (7, ipv4(CLIENT, SERVER, 6, tcp(6, 443))),  # under way
        (8, ipv4(CLIENT, SERVER, 6, tcp(6, 443, 0, SYN, number=5))),
    ]
    path = write(tmp_path / "a.pcap", pcap(records(packets)))
    traces, report = import_captures(path, label_from=None)
    assert traces.lengths.tolist() == [4, 2, 1, 1]
    assert report.notes[REUSED] == 2


def test_flows_that_begin_with_the_server_are_counted_or_turned(tmp_path: Path) -> None:
    packets = [(0, down(70)), (0.01, up(80)), (0.02, down(90))]
    path = write(tmp_path / "a.pcap", pcap(records(packets)))
    traces, report = import_captures(path, label_from=None)
    assert traces.meta["client_port"].to_pylist() == [443]
    assert report.notes[TO_TURN] == 1
    turned, report = import_captures(path, label_from=None, rules=Rules(direction="port"))
    assert turned.meta["client"].to_pylist() == [CLIENT]
    assert turned.points("direction").tolist() == [-1, 1, -1]
    assert turned.meta["bytes_down"].to_pylist() == [240]
    assert report.notes[TURNED] == 1
    syn = [(0, down(0, SYN)), (1, up(0, SYN | ACK))]  # which says more than the port
    path = write(tmp_path / "b.pcap", pcap(records(syn)))
    traces, report = import_captures(path, label_from=None, rules=Rules(direction="port"))
    assert traces.meta["client_port"].to_pylist() == [443]
    assert TURNED not in report.notes
    with pytest.raises(InputError, match="direction 'port' is a rule for flows"):
        Rules(direction="port", per="host")


@pytest.mark.parametrize("tags", [[], [0x8100]])
def test_packets_that_come_twice(tags: list[int], tmp_path: Path) -> None:
    packets = [up(i, number=i) for i in range(20)]
    twice = []
    for i, packet in enumerate(packets):
        twice.append(Record(START + i * 10**7, ethernet(packet)))
        twice.append(Record(START + i * 10**7 + 2000, ethernet(packet, tags=tags)))
    path = write(tmp_path / "a.pcap", pcap(twice))
    with pytest.warns(Note, match="20 of 40 packets came twice.*--dedup"):
        traces, report = import_captures(path, label_from=None)
    assert traces.lengths.tolist() == [40]
    assert report.notes[DUPLICATES] == 20
    traces, report = import_captures(path, label_from=None, rules=Rules(dedup=True))
    assert traces.lengths.tolist() == [20]
    assert traces.points("packet_length").tolist() == [40 + i for i in range(20)]
    assert report.dropped == {"duplicate: the same IP packet less than 10 ms before": 20}


def test_what_is_alike_later_or_in_part_is_no_duplicate(tmp_path: Path) -> None:
    body = bytes(200)
    packets = [
        (0, ipv4(CLIENT, SERVER, 17, udp(5000, 53, body))),
        (0.001, ipv4(CLIENT, SERVER, 17, udp(5000, 53, body[:-1] + b"x"))),
        (0.02, ipv4(CLIENT, SERVER, 17, udp(5000, 53, body))),
        (0.021, ipv6("fd00::1", "fd00::2", 17, udp(5000, 53, body))),
    ]
    path = write(tmp_path / "a.pcap", pcap(records(packets)))
    _, report = import_captures(path, label_from=None, rules=Rules(dedup=True))
    assert not report.dropped


def test_packets_larger_than_the_wire_takes_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", pcapng(records([(0, up(1460)), (1, up(8000))])))
    with pytest.warns(Note, match="1 IP packets have more than 1500 bytes, the largest 8040.*TSO"):
        _, report = import_captures(path, label_from=None)
    assert report.notes[LARGE] == 1


# Classes that come out wrong unseen


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("voip-042.pcap.gz", "voip"),
        ("www.bbc.co.uk_12.pcap", "www.bbc.co.uk"),
        ("google.de.PCAPNG", "google.de"),
        ("web.pcap17", "web"),
        ("web.3.cap.xz", "web"),
        ("12.pcap", "12"),
        ("web", "web"),
    ],
)
def test_the_class_in_a_files_name(name: str, label: str) -> None:
    assert file_label(f"some.folder/{name}") == label


def test_captures_beside_the_folders_of_classes_are_said(tmp_path: Path) -> None:
    for name in ("all/voip/a.pcap", "all/web/b.pcap", "all/c.pcap"):
        write(tmp_path / name, ONE)
    with pytest.warns(Note, match=r"1, such as .*c\.pcap; their class is 'all'"):
        import_captures(tmp_path / "all")


def test_a_list_with_two_labels_of_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", ONE)
    labels = write(tmp_path / "l.csv", b"file,label\na.pcap,web\na.pcap,web\n./a.pcap,ssh\n")
    with pytest.raises(InputError, match=r"line 4: a\.pcap is 'ssh' here and 'web' above"):
        import_captures(path, label_from=labels)


def test_a_list_may_name_files_without_suffix_and_its_others_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap.gz", gzip.compress(ONE))
    labels = write(tmp_path / "l.csv", b"file,label\na,web\nb.pcap,ssh\n")
    with pytest.warns(Note, match=r"1 of 2 files of the list are none .* such as b\.pcap"):
        traces, _ = import_captures(path, label_from=labels)
    assert traces.counts() == {"web": 1}


def test_a_list_may_come_from_another_machine(tmp_path: Path) -> None:
    path = write(tmp_path / "c/a.pcap", ONE)
    labels = write(tmp_path / "l.csv", b"file,label\nC:\\data\\web\\a.pcap,web\n/data/b.pcap,ssh\n")
    with pytest.warns(Note, match=r"1 files were found by their names alone, .*web/a\.pcap"):
        traces, _ = import_captures(path, label_from=labels)
    assert traces.counts() == {"web": 1}
    labels = write(tmp_path / "m.csv", b"file,label\n/data/web/a.pcap,web\n/data/ssh/a.pcap,ssh\n")
    with pytest.raises(InputError, match=r"no label for a\.pcap"):
        import_captures(path, label_from=labels)


def test_lines_of_a_list_that_contradict_each_other_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", ONE)
    ends = f"{CLIENT},50000,{SERVER},443"
    head = "src_ip,src_port,dst_ip,dst_port,label\n"
    text = f"{head}{ends},web\n{ends},ssh\n,,,,other\n"
    with pytest.warns(Note, match="1 flows fit lines of several labels, of which the first"):
        traces, _ = import_captures(path, label_from=write(tmp_path / "l.csv", text.encode()))
    assert traces.counts() == {"web": 1}
    labels = write(tmp_path / "m.csv", f"{head}{ends},web\n,,,,other\n".encode())
    assert not [one for one in import_captures(path, label_from=labels)[1].hints if "fit" in one]


def test_what_macs_write_beside_captures_is_no_damage(tmp_path: Path) -> None:
    write(tmp_path / "all/voip/a.pcap", ONE)
    beside = write(tmp_path / "all/voip/._a.pcap", b"\0\5\x16\7\0\2\0\0")
    report = import_captures(tmp_path / "all")[1]
    assert (report.problems, report.skipped) == ([], [str(beside)])


def test_nanoseconds_that_are_called_microseconds_are_said(tmp_path: Path) -> None:
    one = pcap([Record(START, ethernet(conversation()[0][1]))], nano=False)
    late = one[:28] + (999_999_000).to_bytes(4, "little") + one[32:]
    with pytest.warns(Note, match="1 packets have a second or more as the fraction"):
        import_captures(write(tmp_path / "all/a/1.pcap", late), label_from="=a")


def test_a_damage_before_another_file_in_any_pieces() -> None:
    """The packet between both is found wherever a piece ends, as in the next file's header."""
    data = ONE + b"\xff" * 16 + ONE[24:] + ONE
    for end in range(1, len(data)):
        reader = Rules().reader()
        reader.feed(data[:end])
        reader.feed(data[end:])
        reader.finish(9)
        assert (reader.packets, reader.damages, reader.lost) == (3, 1, 16), end
