"""Flags that were seen come out as they were; those that cannot be are mended."""

from __future__ import annotations

from pathlib import Path

import dpkt
import numpy as np
import pytest
from captures import CLIENT, FIN, RST, SERVER, SYN, Record, ethernet, ipv4, pcap, tcp, udp

from netdiffus.capture import Rules, import_captures
from netdiffus.errors import InputError
from netdiffus.export.capture import write_capture
from netdiffus.traces.traces import Traces

ACK, PSH, URG = 16, 8, 32
COLUMNS = ("tcp_flags", "ttl", "tcp_window")
RULES = Rules(packets=None, packet_columns=COLUMNS)


def flow(flags: list[int], up: list[int], sizes: list[int] | None = None) -> Traces:
    """One TCP trace; packets of 40 bytes carry no data."""
    return Traces.from_lists(
        {
            "packet_length": [sizes or [40] * len(flags)],
            "direction": [[1 if one else -1 for one in up]],
            "timestamp": [[float(k) for k in range(len(flags))]],
            "tcp_flags": [flags],
        },
        ["a"],
        {"protocol": ["tcp"]},
    )


def written(traces: Traces, path: Path) -> tuple[dict, list[dpkt.tcp.TCP]]:
    """What is said of it, and the TCP headers of the packets that are points."""
    found = write_capture(traces, path)
    with path.open("rb") as file:
        frames = [dpkt.ethernet.Ethernet(one) for _, one in dpkt.pcap.Reader(file)]
    return found, [one.data.data for one in frames if one.src[4] == 0]


class TestColumnsOfPackets:
    @pytest.fixture
    def seen(self, tmp_path: Path) -> Traces:
        c, s = (CLIENT, SERVER), (SERVER, CLIENT)
        bodies = [
            (c, 6, tcp(5000, 80, 0, SYN, 20)),
            (s, 6, tcp(80, 5000, 0, SYN | ACK, 20)),
            (c, 6, tcp(5000, 80, 0, ACK)),
            (c, 6, tcp(5000, 80, 99, ACK | PSH)),
            (s, 6, tcp(80, 5000, 0, FIN | ACK)),
            (c, 6, tcp(5000, 80, 0, RST)),
            (c, 17, udp(5000, 53, 30)),
        ]
        records = [
            Record((k + 1) * 10**9, ethernet(ipv4(*ends, kind, body)))
            for k, (ends, kind, body) in enumerate(bodies)
        ]
        path = tmp_path / "seen.pcap"
        path.write_bytes(pcap(records))
        return import_captures(path, label_from="=a", rules=RULES)[0]

    def test_are_read_as_they_stand_in_the_headers(self, seen: Traces) -> None:
        assert [channel.name for channel in seen.channels[3:]] == list(COLUMNS)
        of_tcp, of_udp = seen.values
        assert of_tcp[3].tolist() == [SYN, SYN | ACK, ACK, ACK | PSH, FIN | ACK, RST]
        assert of_udp[3, 0] == 0
        assert set(of_tcp[4]) == {64}

    def test_come_back_from_a_capture_that_is_written(self, seen: Traces, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        seen.values[:, 4][seen.mask] = rng.integers(1, 255, int(seen.mask.sum()))
        seen.values[0, 5] = rng.integers(0, 65535, 6)
        path = tmp_path / "made.pcap"
        found = write_capture(seen, path)
        assert (found["mended"], found["framing"]) == (0, 0)
        back = import_captures(path, label_from="=a", rules=RULES)[0]
        assert np.array_equal(back.values, seen.values)

    def test_are_not_of_bins(self) -> None:
        with pytest.raises(InputError, match="packet_columns"):
            Rules(packet_columns=("ttl",), bin_width=1.0)
        with pytest.raises(InputError, match="tcp_flags, ttl, tcp_window"):
            Rules(packet_columns=("flags",))


class TestFlags:
    @pytest.mark.parametrize(
        ("flags", "up", "sizes", "right"),
        [
            ([SYN | ACK, ACK], [1, 0], None, [SYN, ACK]),
            ([SYN, SYN, ACK], [1, 0, 1], None, [SYN, SYN | ACK, ACK]),
            ([SYN | FIN | RST], [1], None, [SYN]),
            ([0, URG | ACK], [1, 0], None, [ACK, ACK]),
            ([ACK, SYN], [1, 1], None, [ACK, ACK]),
            ([SYN | ACK, ACK], [0, 1], None, [ACK, ACK]),
            ([FIN | ACK, ACK], [1, 1], [40, 60], [ACK, ACK]),
            ([FIN | ACK, ACK], [1, 0], [40, 60], [FIN | ACK, ACK]),
            ([RST, ACK], [0, 0], [40, 60], [ACK, ACK]),
            ([ACK, FIN | RST], [1, 0], None, [ACK, RST]),
            (
                [SYN, SYN, SYN | ACK, ACK | 0x40],
                [1, 1, 0, 1],
                None,
                [SYN, SYN, SYN | ACK, ACK | 0x40],
            ),
        ],
    )
    def test_that_cannot_be_are_mended_and_counted(
        self,
        flags: list[int],
        up: list[int],
        sizes: list[int] | None,
        right: list[int],
        tmp_path: Path,
    ) -> None:
        found, packets = written(flow(flags, up, sizes), tmp_path / "a.pcap")
        assert [one.flags for one in packets] == right
        assert found["mended"] == sum(a != b for a, b in zip(flags, right, strict=True))

    def test_of_one_trace_do_not_matter_to_the_next(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        many = {
            "packet_length": [[40] * 6] * 50,
            "direction": rng.choice([-1, 1], (50, 6)).tolist(),
            "timestamp": [list(range(6))] * 50,
            "tcp_flags": rng.integers(0, 256, (50, 6)).tolist(),
        }
        traces = Traces.from_lists(many, ["a"] * 50)
        _, packets = written(traces, tmp_path / "all.pcap")
        alone = [written(traces[k], tmp_path / f"{k}.pcap")[1] for k in range(50)]
        assert [one.flags for one in packets] == [one.flags for few in alone for one in few]

    def test_repeated_syns_and_fins_keep_their_numbers(self, tmp_path: Path) -> None:
        flags = [SYN, SYN, SYN | ACK, ACK, FIN | ACK, FIN | ACK, ACK]
        _, packets = written(flow(flags, [1, 1, 0, 1, 1, 1, 0]), tmp_path / "a.pcap")
        assert [one.seq for one in packets] == [0, 0, 0, 1, 1, 1, 1]
        assert [one.ack for one in packets] == [0, 0, 1, 1, 1, 1, 2]
