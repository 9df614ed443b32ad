"""Traces as Arrow tables: list columns are channels, the others meta."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.channels import Channel

SCHEMA_KEY = b"netdiffus"  # schema metadata: what each channel is, and the privacy ledger, as JSON


def to_table(
    labels: list[str],
    meta: pa.Table,
    points: dict[Channel, npt.NDArray[np.float64]],
    lengths: npt.NDArray[np.int64],
    ledger: dict[str, Any] | None = None,
) -> pa.Table:
    """One Arrow row per trace from the flat points of each channel. See `Traces.to_arrow`."""
    columns: dict[str, Any] = {"label": pa.array(labels, pa.string())}
    columns |= {name: meta[name] for name in meta.column_names}
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for channel, flat in points.items():
        items = pa.array(flat).cast(pa.type_for_alias(channel.dtype))
        lists = pa.LargeListArray.from_arrays(offsets, items)
        columns[channel.name] = lists.cast(pa.list_(items.type))
    about: dict[str, Any] = {"channels": [asdict(channel) for channel in points]}
    if ledger is not None:
        about["ledger"] = ledger
    return pa.table(columns).replace_schema_metadata({SCHEMA_KEY: json.dumps(about)})
