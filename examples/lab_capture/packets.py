"""From a pcap file of one session to the rows of the two tables, and on to Parquet."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import IPPROTO_ICMP, inet_aton
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from link import MTU
from namespaces import CLIENT
from numpy.typing import NDArray

BINS, BIN_S = 64, 0.2
WINDOW_S = BINS * BIN_S
PACKETS = 128  # the first so many of each session: what the package's size allows
MAGIC, RAW_IP = 0xA1B23C4D, (12, 101)  # pcap with nanoseconds; IP without a link header


@dataclass(frozen=True)
class Packets:
    """The packets of one session in the order seen at the client's device."""

    time: NDArray[np.int64]  # ns since the first
    length: NDArray[np.int64]  # IP total length, bytes
    direction: NDArray[np.int64]  # +1 from the client, -1 to it
    protocol: NDArray[np.int64]  # of IP


def read_pcap(path: Path) -> Packets:
    """Read a capture by `namespaces.sniff`, up to the end of the window.

    Raises:
        ValueError: not such a file, or a packet in it that cannot be one of the session's.
    """
    data = path.read_bytes()
    if len(data) < 24 or struct.unpack_from("=I", data)[0] != MAGIC:
        raise ValueError(f"{path}: not a nanosecond pcap of this machine's byte order")
    if (link_type := struct.unpack_from("=I", data, 20)[0]) not in RAW_IP:
        raise ValueError(f"{path}: link type {link_type}, not raw IP")
    rows: list[tuple[int, int, int, int]] = []
    at = 24
    while at + 16 <= len(data):
        seconds, nanoseconds, kept, length = struct.unpack_from("=4I", data, at)
        header = data[at + 16 : at + 16 + kept]
        if header[0] >> 4 != 4 or struct.unpack_from("!H", header, 2)[0] != length or length > MTU:
            raise ValueError(f"{path}: packet {len(rows)} of {length} B is no whole IPv4 packet")
        direction = 1 if header[12:16] == inet_aton(CLIENT) else -1
        rows.append((seconds * 10**9 + nanoseconds, length, direction, header[9]))
        at += 16 + kept
    table = np.array(rows, np.int64).reshape(-1, 4)
    table = table[np.argsort(table[:, 0], kind="stable")]
    time = table[:, 0] - table[:1, 0]
    inside = time < WINDOW_S * 1e9
    return Packets(time[inside], *table[inside, 1:].T)


def check(packets: Packets) -> None:
    """Refuse a session that is not one: it starts with the client, and both ends speak."""
    if not len(packets.time):
        raise ValueError("no packet was captured")
    if packets.direction[0] != 1:
        raise ValueError("the first packet is not the client's")
    if not np.any((packets.direction == -1) & (packets.protocol != IPPROTO_ICMP)):
        raise ValueError("the server sent nothing, or only that nobody listens")


def volume(packets: Packets, direction: int) -> NDArray[np.int32]:
    """Sum the bytes that went one way in each bin."""
    way = packets.direction == direction
    bins = packets.time[way] // round(BIN_S * 1e9)
    sums = np.bincount(bins, weights=packets.length[way], minlength=BINS)
    return sums.astype(np.int32)


def volume_columns(packets: Packets) -> dict[str, NDArray[Any]]:
    """One row of `lab_volumes`."""
    return {"value": volume(packets, -1), "value_up": volume(packets, 1)}


def packet_columns(packets: Packets) -> dict[str, NDArray[Any]]:
    """One row of `lab_packets`."""
    first = slice(PACKETS)
    return {
        "packet_length": packets.length[first].astype(np.int32),
        "direction": packets.direction[first].astype(np.int8),
        "timestamp": (np.round(packets.time[first] / 1e3) / 1e6).astype(np.float32),
    }


def write(path: Path, rows: Sequence[Mapping[str, Any]], made: Mapping[str, Any]) -> None:
    """Write rows as Parquet under a passing name first, so that `path` is whole or not there.

    Args:
        path: where to.
        rows: all with the same keys; lists are numpy arrays, their types become the columns'.
        made: how the rows came about, kept in the file under the key `lab_capture`.
    """
    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    table = pa.table(columns).replace_schema_metadata({"lab_capture": json.dumps(made)})
    partial = path.with_name(path.name + ".partial")
    try:
        # Times repeat in nothing but their high bytes: splitting the bytes lets zstd see it.
        split = [name for name in columns if name == "timestamp"]
        pq.write_table(
            table,
            partial,
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in columns if name not in split],
            use_byte_stream_split=[f"{name}.list.element" for name in split] or False,
        )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _column(values: list[Any]) -> pa.Array:
    if isinstance(values[0], np.ndarray):
        return pa.array(values, pa.list_(pa.from_numpy_dtype(values[0].dtype)))
    return pa.array(values)
