"""Finished traces as Arrow tables, one row per trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import ip_address, ip_network
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from netdiffus.capture.rules import Rules
from netdiffus.protocols import PROTOCOLS
from netdiffus.tables.lists import SCHEMA_KEY

NAMES = pa.array([PROTOCOLS.get(number, str(number)) for number in range(256)])
RULES_KEY = b"netdiffus_capture"  # schema metadata: the rules, as JSON


def to_table(found: dict[str, Any], rules: Rules, capture: str, first: int) -> pa.Table:
    """A table without labels.

    Args:
        found: Columns of `_capture.Reader.take`.
        rules: What a trace is.
        capture: Name of the capture, for `capture` and `trace_id`.
        first: Number of the first trace.

    Returns:
        `trace_id`, meta, then one list column per channel; `timestamp` in s since the trace's
        first packet, the float64 next to the whole number of nanoseconds; `start` in ns since 1970.
    """
    count = len(found["start"])
    numbers = pc.utf8_lpad(pa.array(np.arange(first, first + count)).cast(pa.string()), 6, "0")
    columns: dict[str, Any] = {
        "trace_id": pc.binary_join_element_wise(capture, numbers, "#"),
        "capture": pa.repeat(capture, count),
        **_ends(found, rules, capture),
        "packets": found["packets"],
        "bytes_up": found["bytes_up"],
        "bytes_down": found["bytes_down"],
        "duration": found["duration"] / 1e9,
        "start": found["start"],
        "synthetic": found["synthetic"].astype(bool),
    }
    found = {**found, "timestamp": found["time"] / 1e9}
    for channel in rules.channels():
        items = pa.array(found[channel.name])
        columns[channel.name] = pa.ListArray.from_arrays(found["offsets"].astype(np.int32), items)
    return pa.table(columns)


def labelled(table: pa.Table, labels: pa.Array, rules: Rules) -> pa.Table:
    """The rows that have a label, with it first, and the schema's metadata."""
    table = table.add_column(0, "label", labels)
    if labels.null_count:
        table = table.filter(labels.is_valid())
    about = {"channels": [asdict(channel) for channel in rules.channels()]}
    metadata = {SCHEMA_KEY: json.dumps(about), RULES_KEY: json.dumps(rules.about())}
    return table.replace_schema_metadata(metadata)


def once_all_are_there(tables: Iterator[pa.Table], file: BinaryIO) -> Iterator[pa.Table]:
    """The same tables, all of one schema, after the last has come; they wait in the file."""
    first = next(tables, None)
    if first is None:
        return
    with pa.ipc.new_stream(file, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
    file.seek(0)
    for batch in pa.ipc.open_stream(file):
        yield pa.Table.from_batches([batch])


def _ends(found: dict[str, Any], rules: Rules, capture: str) -> dict[str, Any]:
    """Who talks to whom, as far as a trace of this kind has it."""
    client = _texts(*found["client"])
    if rules.trace == "host":
        return {"host": client}
    if rules.trace == "capture":
        return {"client": client}
    server = _texts(*found["server"])
    return {
        **_sessions(client, server, rules, capture),
        "protocol": NAMES.take(pa.array(found["protocol"])),
        "client": client,
        "client_port": found["client_port"].astype(np.int32),
        "server": server,
        "server_port": found["server_port"].astype(np.int32),
    }


def _sessions(client: pa.Array, server: pa.Array, rules: Rules, capture: str) -> dict[str, Any]:
    """The session of each flow: the capture, or the host in it; null where no end is a host."""
    if not rules.keep_flows:
        return {}
    if rules.per == "capture":
        return {"session": pa.repeat(capture, len(client))}
    networks = [ip_network(host, strict=False) for host in rules.hosts]
    is_host = {
        one: any(ip_address(one) in network for network in networks)
        for one in {*client.to_pylist(), *server.to_pylist()}
    }
    hosts = [
        next((one for one in ends if is_host[one]), None)
        for ends in zip(client.to_pylist(), server.to_pylist(), strict=True)
    ]
    named = [None if host is None else f"{capture}#{host}" for host in hosts]
    return {"session": pa.array(named, pa.string())}


def _texts(ends: np.ndarray[Any, Any], characters: bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(characters)]
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, buffers)
