"""Traces as Arrow tables, whose list columns are channels; lists as padded arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.arrays import Floats, Ints
from netdiffus.channels import Channel
from netdiffus.tables.columns.arrow import lists_of

SCHEMA_KEY = b"netdiffus"  # schema metadata: what each channel is, and the privacy ledger, as JSON


def to_table(
    labels: list[str],
    meta: pa.Table,
    points: dict[Channel, Floats],
    lengths: Ints,
    ledger: dict[str, Any] | None = None,
) -> pa.Table:
    """One Arrow row per trace from the flat points of each channel. See `Traces.to_arrow`."""
    columns: dict[str, Any] = {"label": pa.array(labels, pa.string())}
    columns |= {name: meta[name] for name in meta.column_names}
    for channel, flat in points.items():
        items = pa.array(flat).cast(pa.type_for_alias(channel.dtype))
        columns[channel.name] = lists_of(items, lengths).cast(pa.list_(items.type))
    about: dict[str, Any] = {"channels": [asdict(channel) for channel in points]}
    if ledger is not None:
        about["ledger"] = ledger
    return pa.table(columns).replace_schema_metadata({SCHEMA_KEY: json.dumps(about)})


def padded(lengths: Ints, channels: int, points: Iterator[npt.NDArray[Any]]) -> Floats:
    """(N, C, L) from the flat points of each channel, zero beyond each trace's length.

    In memory a channel lies behind the other.
    """
    longest = int(lengths.max())
    values = np.zeros((channels, len(lengths), longest))
    inside = np.arange(longest)[None] < lengths[:, None]
    for channel in values:
        channel[inside] = next(points)  # in no variable, which would keep it for the next channel
    of_traces: Floats = values.transpose(1, 0, 2)
    return of_traces
