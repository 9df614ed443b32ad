"""Traces of packets as tables of flows: statistics, or the first packets as lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.errors import InputError
from netdiffus.export.packets import PointsToWrite, packet_points, starts_of
from netdiffus.tables import writing as formats
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

SUFFIXES = (".csv", ".parquet")
PPI_POINTS, SPLT_POINTS = 30, 255
SPREAD = pc.VarianceOptions(ddof=1)
STATISTICS = ("min", "mean", "stddev", "max")


def flow_table(traces: Traces) -> pa.Table:
    """Statistics of each trace, under the names and by the definitions of nfstream (6.6).

    Every column stands three times: for both directions (`bidirectional_`), for the client's
    packets (`src2dst_`, direction +1) and for the server's (`dst2src_`, direction -1); nfstream's
    client is the sender of the first packet. What has no value, such as the mean of no gaps, is
    null, where nfstream writes 0.

    - `packets`: their number.
    - `bytes`: the sum of their sizes, in bytes.
    - `duration_ms`: from the first to the last of them, in ms.
    - `min_ps`, `mean_ps`, `stddev_ps`, `max_ps`: of their sizes, in bytes.
    - `min_piat_ms`, `mean_piat_ms`, `stddev_piat_ms`, `max_piat_ms`: of the times between one and
      the next of them, in ms; there is one fewer than of packets.

    Each stddev is that of a sample, not of a population: of n sizes or gaps the squares are divided
    by n - 1, and of one it is null. Sizes mean what they mean in the traces, which nfstream calls
    the accounting mode. Times are exact to the ns; nfstream cuts those of packets to whole ms.

    Args:
        traces: Channels of sizes, directions, and times or gaps.

    Returns:
        One row per trace: `label`, its meta, then the above.

    Raises:
        InputError: These are not traces of packets.
    """
    points = packet_points(traces)
    columns = _names(traces)
    for side, mine in (
        ("bidirectional", np.ones(len(points.trace), bool)),
        ("src2dst", points.direction > 0),
        ("dst2src", points.direction < 0),
    ):
        found = _statistics(points, mine, len(traces))
        columns |= {f"{side}_{name}": column for name, column in found.items()}
    return pa.table(columns)


def ppi_table(traces: Traces, points: int = PPI_POINTS) -> pa.Table:
    """The first packets of each trace, under the names of CESNET's ipfixprobe (plugin pstats).

    `PPI_PKT_LENGTHS` are sizes in the meaning of the traces (CESNET's own are payload bytes),
    `PPI_PKT_TIMES` timestamps in UTC, to the µs, `PPI_PKT_DIRECTIONS` 1 from the client and -1 to
    it. Times start as in a capture of these traces: see `start` of `write_capture`.

    Args:
        traces: Channels of sizes, directions, and times or gaps.
        points: Keep at most this many packets of each trace.

    Returns:
        One row per trace: `label`, its meta, then the above as lists.

    Raises:
        InputError: These are not traces of packets.
    """
    found, first = _first(traces, points)
    clock = starts_of(traces, found)[found.trace] + found.time
    lengths = np.minimum(traces.lengths, points)
    times = pa.array(np.rint(clock[first] / 1000).astype(np.int64), pa.timestamp("us"))
    return pa.table(
        {
            **_names(traces),
            "PPI_PKT_LENGTHS": _lists(pa.array(found.size[first]), lengths),
            "PPI_PKT_TIMES": _lists(times, lengths),
            "PPI_PKT_DIRECTIONS": _lists(pa.array(found.direction[first], pa.int8()), lengths),
        }
    )


def splt_table(traces: Traces, points: int = SPLT_POINTS) -> pa.Table:
    """The first packets of each trace, under the names of nfstream's SPLT analysis.

    `splt_direction` is 0 from the client and 1 to it, `splt_ps` sizes in the meaning of the
    traces, `splt_piat_ms` ms since the packet before, exact to the ns, 0 for the first. All lists
    have `points` numbers, -1 where there is no packet, as nfstream's do.

    Args:
        traces: Channels of sizes, directions, and times or gaps.
        points: Length of the lists.

    Returns:
        One row per trace: `label`, its meta, then the above as lists.

    Raises:
        InputError: These are not traces of packets.
    """
    found, first = _first(traces, points)
    at = (found.trace[first], found.position[first])

    def padded(values: Floats | Ints) -> pa.Array:
        out = np.full((len(traces), points), -1, dtype=values.dtype)
        out[at] = values[first]
        return _lists(pa.array(out.reshape(-1)), np.full(len(traces), points))

    return pa.table(
        {
            **_names(traces),
            "splt_direction": padded((found.direction < 0).astype(np.int64)),
            "splt_ps": padded(found.size),
            "splt_piat_ms": padded(_gaps(found.trace, found.time) / 1e6),
        }
    )


TABLES = {"flows": flow_table, "ppi": ppi_table, "splt": splt_table}


def write_flows(
    traces: Traces,
    path: str | Path,
    kind: str = "flows",
    *,
    force: bool = False,
    for_spreadsheets: bool = False,
) -> None:
    """Writes a table of flows, whole or not at all.

    In CSV, lists are `[1,2,3]`, those of `ppi` `[1|2|3]` as ipfixprobe's are.

    Args:
        traces: Channels of sizes, directions, and times or gaps.
        path: A .csv or .parquet file.
        kind: `flows` (see `flow_table`), `ppi` (`ppi_table`) or `splt` (`splt_table`).
        force: Replace what is there.
        for_spreadsheets: Of a CSV file: as of `Traces.save`.

    Raises:
        InputError: An unknown kind or suffix, not traces of packets, or `for_spreadsheets` with
            another kind of file than CSV.
        FileExistsError: The file is there and `force` is false.
    """
    path = Path(path)
    if kind not in TABLES:
        raise InputError(f"kind must be one of {', '.join(TABLES)}, got {kind!r}")
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a table of flows is written to {' or '.join(SUFFIXES)}")
    table = TABLES[kind](traces)
    if kind == "ppi" and path.suffix == ".csv":
        for name in ("PPI_PKT_LENGTHS", "PPI_PKT_TIMES", "PPI_PKT_DIRECTIONS"):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, _with_bars(table[name].combine_chunks()))
    formats.write(table, path, force=force, for_spreadsheets=for_spreadsheets)


def _names(traces: Traces) -> dict[str, pa.Array]:
    """The columns that say which trace a row is."""
    meta = {name: traces.meta[name] for name in traces.meta.column_names}
    return {"label": pa.array(traces.label_names), **meta}


def _first(traces: Traces, points: int) -> tuple[PointsToWrite, Bools]:
    if points < 1:
        raise InputError(f"points must be at least 1, got {points}")
    found = packet_points(traces)
    return found, found.position < points


def _gaps(trace: Ints, time: Ints) -> Ints:
    """Time since the row before in ns, 0 for the first row of each trace."""
    gaps = np.diff(time, prepend=0)
    gaps[np.diff(trace, prepend=-1) > 0] = 0
    return gaps


def _lists(items: pa.Array, lengths: Ints) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(offsets, items).cast(pa.list_(items.type))


def _with_bars(lists: pa.Array) -> pa.Array:
    items = lists.flatten()
    stamps = pa.types.is_timestamp(items.type)
    text = pc.strftime(items, "%Y-%m-%dT%H:%M:%S") if stamps else items.cast(pa.string())
    joined = pc.binary_join(pa.ListArray.from_arrays(lists.offsets, text), "|")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _statistics(points: PointsToWrite, mine: Bools, n: int) -> dict[str, pa.Array]:
    """Columns of n rows: statistics over the points that `mine` marks."""
    trace, time = points.trace[mine], points.time[mine]
    first = np.diff(trace, prepend=-1) > 0
    table = pa.table(
        {
            "trace": trace,
            "time": time,
            "ps": points.size[mine],
            "piat_ms": pa.array(_gaps(trace, time) / 1e6, mask=first),
        }
    )
    wanted = [
        (name, what, SPREAD if what == "stddev" else None)
        for name in ("ps", "piat_ms")
        for what in STATISTICS
    ]
    found = table.group_by("trace", use_threads=False).aggregate(
        [("ps", "count"), ("ps", "sum"), ("time", "min"), ("time", "max"), *wanted]
    )
    row = np.full(n, -1)
    row[found["trace"].to_numpy()] = np.arange(len(found))
    found = found.take(pa.array(row, mask=row < 0))
    duration = pc.subtract(found["time_max"], found["time_min"])
    return {
        "packets": pc.fill_null(found["ps_count"], 0),
        "bytes": pc.fill_null(found["ps_sum"], 0),
        "duration_ms": pc.divide(duration.cast(pa.float64()), 1e6),
        **{f"{what}_{name}": found[f"{name}_{what}"] for name, what, _ in wanted},
    }
