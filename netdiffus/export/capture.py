"""Traces as a capture file: pcap or pcapng, and the labels of its flows beside it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from netdiffus.errors import InputError
from netdiffus.export import tcp
from netdiffus.export.headers import Bytes, frame_lengths, headers
from netdiffus.export.packets import (
    MTUS,
    FlowsToWrite,
    Packets,
    PointsToWrite,
    flows_of,
    frame,
    ip_size,
    on_free_ports,
    packet_points,
    refuse,
)
from netdiffus.files import refuse_existing, whole_file
from netdiffus.progress import Progress
from netdiffus.traces.traces import Bools, Ints, Traces

CAPTURES = (".pcap", ".pcapng")
RESOLUTIONS = {"ns": 1, "us": 1000}
SMALL = ("refuse", "raise")
ON_PORTS = ("move", "keep")
PACKETS_AT_A_TIME = 8192
LINK_ETHERNET = 1
SNAPLEN = 1 << 18
RECORD, BLOCK = 16, 28  # bytes before a frame: of a pcap record, of an enhanced packet block


def write_capture(
    traces: Traces,
    path: str | Path,
    *,
    size: str = "ip",
    ip: int = 4,
    mtu: int = 1500,
    protocol: str = "tcp",
    server_port: int = 443,
    start: str | None = None,
    resolution: str = "ns",
    small: str = "refuse",
    ports: str = "move",
    addresses: str = "own",
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes traces of packets as a capture, and the label of each flow as CSV beside it.

    Each trace becomes one flow between addresses for documentation, with a 5-tuple of its own.
    Its points become packets of exactly their sizes, directions and times; a TCP flow also gets a
    handshake and a teardown, which carry no data and are recognised by their MAC addresses:
    02:6e:64:66:00:xx sends generated packets, 02:6e:64:66:01:xx the others, where xx is 01 for
    the client and 02 for the server. A pcapng file says in a comment that it is synthetic.
    `import_captures(path, label_from=labels, rules=Rules(packets=None))` gives the same traces
    back, in the order of their starts, times to the file's resolution.

    Payloads are zeros. On some ports programs parse the payload, as DNS on port 53, and would call
    zeros malformed. A flow on such a port is moved to port 50000 plus the last four digits of its
    own, 53 to 50053, and counted as moved. These ports were found by trying all of them with tshark
    4.0 and tcpdump 4.99. On some of them long payloads of zeros pass. There a flow stays if each of
    its packets (of TCP, each with data) carries enough bytes: 5 on TCP port 22 (SSH), and on UDP
    ports 300 on 67 and 68 (DHCP), 48 on 123 (NTP), 28 on 500 and 32 on 4500 (IKE). On TCP ports 80
    and 443 and on UDP port 443 every flow stays.

    `NAME.labels.csv` has a row per trace: label, protocol, src_ip, src_port, dst_ip, dst_port, and
    the times of its first and last generated packet, start and end, in seconds since the epoch.

    The channels `tcp_flags`, `ttl` and `tcp_window` are written, too, where traces have them. A
    trace that begins with a SYN of its own gets no handshake, one with a FIN or RST no teardown.
    Flags that TCP cannot have there are mended, and counted (`netdiffus.export.tcp`).

    Args:
        traces: Channels of sizes, directions, and times or gaps. Of their meta, `protocol`,
            `server_port` and `start` (ns since the epoch) are used. Protocols are names such as
            tcp, or numbers; all but TCP (6) and UDP (17) are written as UDP, which leaves as much
            room as ICMP, and counted. Empty cells say nothing, nor does a port 0. A port is a
            number up to 65535, or its digits as text.
        path: A .pcap or .pcapng file.
        size: What sizes are: `ip` packets, frames on the `wire` (Ethernet without its check
            sequence) or `payload` bytes after the transport header.
        ip: 4 or 6.
        mtu: The largest IP packet in bytes. Larger ones are refused: to split them would change
            the trace. Captures on a host with offloading need up to 65535.
        protocol: tcp or udp, for traces whose meta does not say.
        server_port: For traces whose meta does not say.
        start: When the clock of each trace is zero: `meta`, `sequence` (one trace after another)
            or `together` (1 s after the epoch); None is `meta` if the traces have it, else
            `sequence`, also from then.
        resolution: ns or us, of the file's times.
        small: What happens to sizes below that of the headers: `refuse`, or `raise` to it.
        ports: What happens to flows that would be called malformed on their port: `move` them, or
            `keep` them there.
        addresses: Whose they are: `own`, for documentation, a pair for each trace; or `meta`, those
            of the columns `client` and `server`, as sessions that are made have them. Addresses
            of real hosts are refused.
        force: Replace what is there.
        progress: Called with (share done, a note).

    Returns:
        What was written: `capture` and `labels`, the files; `traces`, `packets`, and `framing`, the
        packets around them; `raised`, sizes that were; `as_udp`, flows of other protocols written
        as UDP; `mended`, packets whose flags or TTL were; `moved`, flows moved to another port.

    Raises:
        InputError: Names the option, or the trace and its point or meta that cannot be written.
        FileExistsError: A file is there and `force` is false.
    """
    path = Path(path)
    check_capture_path(path)
    for name, value, choices in (
        ("resolution", resolution, tuple(RESOLUTIONS)),
        ("small", small, SMALL),
        ("ports", ports, ON_PORTS),
    ):
        if value not in choices:
            raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    labels = free_labels(path, force)
    step = RESOLUTIONS[resolution]
    points = packet_points(traces, step)
    flows = flows_of(
        traces,
        points,
        size=size,
        ip=ip,
        protocol=protocol,
        server_port=server_port,
        start=start,
        resolution=step,
        addresses=addresses,
    )
    payload, raised = _payloads(points, flows, size, mtu, small)
    points, mended = tcp.mended(points, flows, payload)
    asked = flows.server_port
    if ports == "move":
        flows = on_free_ports(flows, points, payload)
    packets = frame(points, flows, payload)
    _check_times(packets, path)
    # Labels get their final name first: so a capture under its final name always has labels.
    with whole_file(path) as part, whole_file(labels) as labels_part:
        pa.csv.write_csv(_labels(traces, points, flows), labels_part)
        with part.open("wb") as opened:
            _write(opened, path.suffix, packets, flows, mtu, step, progress)
        path.unlink(missing_ok=True)  # an old capture never stands beside new labels
    return {
        "capture": str(path),
        "labels": str(labels),
        "traces": len(traces),
        "packets": len(points.size),
        "framing": int((~packets.generated).sum()),
        "raised": raised,
        "mended": mended,
        "as_udp": int(flows.as_udp.sum()),
        "moved": int((flows.server_port != asked).sum()),
    }


def check_capture_path(path: Path) -> None:
    """Raises InputError unless the name ends in .pcap or .pcapng."""
    if path.suffix not in CAPTURES:
        raise InputError(f"{path}: a capture is written to {' or '.join(CAPTURES)}")


def free_labels(path: Path, force: bool) -> Path:
    """The file for a capture's labels; refuses it, or the capture, if it cannot be written."""
    labels = path.with_suffix(".labels.csv")
    for file in (path, labels):
        refuse_existing(file, force)
    return labels


def _payloads(
    points: PointsToWrite, flows: FlowsToWrite, size: str, mtu: int, small: str
) -> tuple[Ints, int]:
    """int64 (P,), bytes after the transport header; and how many sizes were raised."""
    least, most = MTUS[flows.ip]
    if not least <= mtu <= most:
        raise InputError(f"mtu of IPv{flows.ip} must be in {least}..{most}, got {mtu}")
    header = flows.header[points.trace]
    length = ip_size(points.size, header, size)
    below: Bools = length < header
    if small == "refuse":
        room = int(header[np.argmax(below)])
        refuse(
            below,
            points,
            f"a size ({size}) leaves no room for headers of {room} bytes",
            "choose another protocol or meaning of size, or raise sizes with small='raise' "
            "(--small raise)",
        )
    length = np.maximum(length, header)
    refuse(
        length > mtu,
        points,
        f"a size ({size}) makes an IP packet above the MTU of {mtu} bytes",
        "give its MTU with mtu= (--mtu), up to 65535",
    )
    return length - header, int(below.sum())


def _check_times(packets: Packets, path: Path) -> None:
    first, last = int(packets.time[0]), int(packets.time[-1])
    if first < 0:
        raise InputError(f"{path}: a packet lies {-first} ns before the epoch; use other starts")
    if path.suffix == ".pcap" and last >= 10**9 << 32:
        raise InputError(f"{path}: time {last} ns does not fit into pcap; write .pcapng")


def _labels(traces: Traces, points: PointsToWrite, flows: FlowsToWrite) -> pa.Table:
    """One row per trace, in the columns that `import_captures` reads labels from."""
    clients, servers = (np.array(side) for side in flows.ends)
    last = np.cumsum(traces.lengths) - 1
    start, end = (
        [f"{time // 10**9}.{time % 10**9:09d}" for time in flows.start + points.time[at]]
        for at in (last - traces.lengths + 1, last)
    )
    return pa.table(
        {
            "label": traces.label_names,
            "protocol": np.where(flows.is_tcp, "tcp", "udp"),
            "src_ip": clients[flows.client],
            "src_port": flows.client_port,
            "dst_ip": servers[flows.server],
            "dst_port": flows.server_port,
            "start": start,
            "end": end,
        }
    )


def _write(
    file: BinaryIO,
    suffix: str,
    packets: Packets,
    flows: FlowsToWrite,
    mtu: int,
    step: int,
    progress: Progress | None,
) -> None:
    begin, chunk = {".pcap": (_pcap_begin, _pcap), ".pcapng": (_pcapng_begin, _pcapng)}[suffix]
    file.write(begin(step))
    n = len(packets.flow)
    for first in range(0, n, PACKETS_AT_A_TIME):
        some = packets[first : first + PACKETS_AT_A_TIME]
        lengths = frame_lengths(some, flows)
        file.write(chunk(some.time // step, lengths, headers(some, flows, mtu), step).data)
        if progress:
            progress(min(first + PACKETS_AT_A_TIME, n) / n, f"{n} packets")


def _pcap_begin(step: int) -> bytes:
    """File header: draft-ietf-opsawg-pcap, version 2.4."""
    magic = {1: 0xA1B23C4D, 1000: 0xA1B2C3D4}[step]
    return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, SNAPLEN, LINK_ETHERNET)


def _pcap(ticks: Ints, lengths: Ints, frames: Iterator[tuple[Ints, Bytes]], step: int) -> Bytes:
    """Records: seconds, fraction, bytes kept, bytes there were, frame."""
    seconds, fraction = np.divmod(ticks, 10**9 // step)
    begins, out = _room(lengths + RECORD)
    _put(out, begins, np.stack([seconds, fraction, lengths, lengths], axis=1))
    for rows, header in frames:
        _scatter(out, begins[rows] + RECORD, header)
    return out


def _pcapng_begin(step: int) -> bytes:
    """Section header and one interface: draft-ietf-opsawg-pcapng."""
    comment = "Synthetic traffic: generated by a model, not captured from any network."
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    section += _option(1, comment) + _option(4, f"netdiffus {version('netdiffus')}")
    interface = struct.pack("<HHI", LINK_ETHERNET, 0, SNAPLEN) + _option(2, "synthetic")
    interface += _option(9, chr({1: 9, 1000: 6}[step]))
    return _block(0x0A0D0D0A, section) + _block(1, interface)


def _option(code: int, text: str) -> bytes:
    value = text.encode()
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(4)  # end of options
    total = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + total + body + total


def _pcapng(ticks: Ints, lengths: Ints, frames: Iterator[tuple[Ints, Bytes]], step: int) -> Bytes:
    """Enhanced packet blocks: kind, total, interface, time, lengths, frame, padding, total."""
    del step
    total = BLOCK + lengths + -lengths % 4 + 4
    begins, out = _room(total)
    kind, interface = np.full_like(ticks, 6), np.zeros_like(ticks)
    fields = (kind, total, interface, ticks >> 32, ticks & 0xFFFFFFFF, lengths, lengths)
    _put(out, begins, np.stack(fields, axis=1))
    _put(out, begins + total - 4, total[:, None])
    for rows, header in frames:
        _scatter(out, begins[rows] + BLOCK, header)
    return out


def _room(lengths: Ints) -> tuple[Ints, Bytes]:
    """Where records of these lengths begin, and zeros for all of them."""
    ends = np.cumsum(lengths)
    return ends - lengths, np.zeros(ends[-1], np.uint8)


def _put(out: Bytes, at: Ints, numbers: Ints) -> None:
    """Writes rows of 32-bit numbers, little-endian."""
    _scatter(out, at, numbers.astype("<u4").view(np.uint8))


def _scatter(out: Bytes, at: Ints, rows: Bytes) -> None:
    out[at[:, None] + np.arange(rows.shape[1])] = rows
