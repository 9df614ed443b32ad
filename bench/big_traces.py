"""Traces of any number, length and number of classes: random, but with the marks of traffic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from netdiffus.channels import Channel
from netdiffus.traces.traces import Traces

SIZES = np.array([40, 52, 60, 93, 158, 571, 733, 1200, 1420, 1500])
PART = 4_096  # traces that are made at a time
CHANNELS = tuple(
    Channel.named(name, kind)
    for name, kind in (("packet_length", "int32"), ("direction", "int8"), ("timestamp", "double"))
)


def big_traces(n: int, points: int, classes: int = 10, seed: int = 0) -> Traces:
    """n traces of sizes, directions and times in whole µs, all of as many points."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    mean = 10.0 ** -(1 + 3 * labels / classes)
    values = np.zeros((n, 3, points))
    usual = rng.choice(SIZES, (n, points))
    values[:, 0] = np.where(rng.random((n, points)) < 0.7, usual, rng.integers(40, 1500, (n, 1)))
    values[:, 1] = rng.choice([-1, 1], (n, points))
    gaps = np.rint(rng.exponential(1e6, (n, points)) * mean[:, None])
    gaps[:, 0] = 0
    values[:, 2] = np.cumsum(gaps, axis=1) / 1e6
    names = tuple(f"class-{k:04d}" for k in range(classes))
    return Traces(values, np.full(n, points), CHANNELS, labels, names)


def write_traces(path: Path, n: int, points: int, wide: bool = False) -> None:
    """The same as a Parquet file, part by part; `wide` writes every number as a double."""
    writer = None
    for start in range(0, n, PART):
        table = big_traces(min(PART, n - start), points, seed=start).to_arrow()
        if wide:
            table = table.cast(_widened(table.schema))
        writer = writer or pa.parquet.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _widened(schema: pa.Schema) -> pa.Schema:
    wide = pa.list_(pa.float64())
    fields = [pa.field(f.name, wide if pa.types.is_list(f.type) else f.type) for f in schema]
    return pa.schema(fields, schema.metadata)
