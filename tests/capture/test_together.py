"""Captures of a folder as one recording: the traces of the same packets in one file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from captures import ACK, CLIENT, FIN, SECOND, SERVER, START, SYN, Record, ethernet, ipv4, pcap, tcp
from command import run

from netdiffus import Dataset, InputError, Rules, Traces, import_captures, import_to_parts

pytestmark = pytest.mark.filterwarnings("ignore:all traces are of one class")


def packets() -> list[Record]:
    """Connections that overlap, each of 20 packets; the first is longer than half of all."""
    found = []
    for k in range(12):
        every = (20 if k else 150) * SECOND // 10
        for i in range(20):
            flags = SYN if i == 0 else FIN | ACK if i == 19 else ACK
            up = tcp(5000 + k, 443, 100 + i, flags), tcp(443, 5000 + k, 900 - i)
            ends = (CLIENT, SERVER) if i % 2 == 0 else (SERVER, CLIENT)
            frame = ethernet(ipv4(*ends, 6, up[i % 2]))
            found.append(Record(START + k * SECOND + i * every + k, frame))
    return sorted(found, key=lambda one: one.time)


def write_files(folder: Path, count: int, packed: bool = False) -> Path:
    """The packets as so many files, whose names are in another order than their times."""
    folder.mkdir(parents=True)
    every = packets()
    size = -(-len(every) // count)
    for k in range(count):
        data = pcap(every[k * size : (k + 1) * size])
        (folder / f"ring_{(7 * k) % count}.pcap").write_bytes(
            gzip.compress(data) if packed else data
        )
    return folder


def without_names(traces: Traces) -> list[dict[str, object]]:
    return traces.to_arrow().drop_columns(["trace_id", "capture"]).to_pylist()


@pytest.mark.parametrize(("count", "packed"), [(2, False), (5, True), (11, False)])
def test_flows_go_on_in_the_next_file(tmp_path: Path, count: int, packed: bool) -> None:
    whole = write_files(tmp_path / "whole" / "web", 1)
    wanted, _ = import_captures(whole.parent)
    cut = write_files(tmp_path / "cut" / "web", count, packed)
    apart, _ = import_captures(cut.parent)
    assert len(apart) > len(wanted)  # else there is nothing to join
    found, report = import_captures(cut.parent, together=True)
    assert without_names(found) == without_names(wanted)
    assert report.captures == count
    assert not report.problems


def test_each_folder_is_a_part_whoever_makes_it(tmp_path: Path) -> None:
    captures = tmp_path / "captures"
    write_files(captures / "voip", 4)
    write_files(captures / "web", 3)
    wanted, _ = import_captures(captures, together=True)
    made, _ = import_to_parts(captures, tmp_path / "set", shard="1/2", together=True)
    assert (made.made, made.missing) == (1, 1)
    import_to_parts(captures, tmp_path / "set", shard="0/2", together=True)
    assert Dataset(tmp_path / "set").load().equals(wanted)
    again, _ = import_to_parts(captures, tmp_path / "set", together=True)
    assert (again.made, again.there) == (0, 2)
    with pytest.raises(InputError, match="begun with together True, now None"):
        import_to_parts(captures, tmp_path / "set")


def test_a_file_that_is_cut_costs_its_last_packet(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "cut" / "web", 3)
    whole, _ = import_captures(folder.parent, together=True)
    first = folder / "ring_0.pcap"
    first.write_bytes(first.read_bytes()[:-7])
    with pytest.warns(UserWarning, match=r"ring_0.pcap: byte \d+: the file ends within a packet"):
        found, report = import_captures(folder.parent, together=True)
    assert report.packets == len(packets()) - 1
    assert len(found) == len(whole)
    (folder / "ring_0.pcap").write_bytes(b"\xd4\xc3\xb2\xa1")
    with pytest.warns(UserWarning, match="ring_0.pcap: .*too short"):
        import_captures(folder.parent, together=True)


def test_packets_far_out_of_order_are_sorted_over_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two taps of one link, which write at the same time."""
    folder = tmp_path / "taps" / "web"
    folder.mkdir(parents=True)
    every = packets()
    many = [one._replace(time=one.time + 1000 * SECOND * k) for k in range(600) for one in every]
    (folder / "a.pcap").write_bytes(pcap(many[::2]))
    (folder / "b.pcap").write_bytes(pcap(many[1::2]))
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "c.pcap").write_bytes(pcap(many))
    found, report = import_captures(folder, together=True)
    assert any("sorted on disk" in note for note in report.notes)
    assert without_names(found) == without_names(
        import_captures(tmp_path / "whole", label_from="=web")[0]
    )


def test_labels_of_single_files_are_refused(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "web", 2)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nring_0.pcap,a\n")
    for label_from in ("file", labels):
        with pytest.raises(InputError, match="cannot come from the single files"):
            import_captures(folder, label_from=label_from, together=True)


def test_the_command_line(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "web", 3)
    out = tmp_path / "web.parquet"
    done = run("import", folder, "--together", "-o", out, "--direction", "syn")
    assert done.code == 0, done.err
    wanted, _ = import_captures(folder, together=True, rules=Rules(direction="syn"))
    assert Traces.load(out).equals(wanted)
