"""An Arrow table of any of the known forms as the fields of Traces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netdiffus.arrays import Floats, Ints
from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.tables import bounds, rows, wide
from netdiffus.tables.columns import (
    foreign,
    labels,
    nested,
    numbers,
    packet_lists,
    roles,
    texts,
    totals,
)
from netdiffus.tables.columns.arrow import (
    is_list,
    is_number,
    is_text,
    lists_of,
    one_array,
    release,
    said,
)
from netdiffus.tables.columns.names import Meaning
from netdiffus.tables.lists import padded
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.points import ChannelSeries, Points, mend
from netdiffus.tables.report import Findings, ReadReport


def read_table(
    held: list[pa.Table], options: ReadOptions, findings: Findings, source: str = "table"
) -> tuple[dict[str, Any], ReadReport]:
    """The fields of a Traces, and what was read as what. See `Traces.from_arrow`.

    Args:
        held: The table alone, which is taken out of the list: if nobody else has it, the memory of
            each column is free again as soon as its numbers are read.
        options: What the caller chose.
        findings: Where is said what was found.
        source: What is read, for the report.

    Raises:
        InputError: Names the column and the row that cannot be used.
    """
    table = held.pop()
    if table.num_rows == 0:
        raise InputError("no traces: the table has no rows")
    options = replace(options, by=findings.by or options.by)
    ledger = roles.declared_ledger(table.schema)
    table = _renamed(foreign.plain(table), options)
    if ledger is None and not roles.declared(table.schema):
        table = texts.parse_known(table, options, findings)
    table = nested.unnest(table)
    if options.by is None and options.channels is None:
        table = packet_lists.named_by_values(table, findings)
    _refuse_twins(table.column_names)
    if options.one_class is not None:
        table = _of_one_class(table, options.one_class)
        options = replace(options, label_column="label")
    if options.by is not None:
        table = rows.gather(table, options, findings)
    label = labels.find_label(table.column_names, _renamed_to(options, options.label_column))
    table = wide.gather_wide(table, label, options, findings)
    table = totals.unscaled(table, findings)
    chosen = roles.choose(table, label, options, findings)
    named, meta = table[label], _meta(table, chosen, findings)
    columns = {name: table[name] for name in chosen.channels}
    ours = roles.declared(table.schema)
    del table
    release()
    points = _points(columns, chosen, ours, findings)
    mend(points)
    if options.length is not None:
        points.cut(options.length)
    codes, classes = labels.encode_labels(label, named)
    findings.mended += filter(None, [labels.alike(classes)])
    channels, lengths = tuple(one.channel for one in points.series), points.lengths
    fields = {
        "values": _padded(points),
        "lengths": lengths,
        "channels": channels,
        "labels": codes,
        "classes": classes,
        "meta": meta,
        "ledger": ledger,
    }
    findings.label = label
    findings.origins |= {
        one.channel: name for name, one in chosen.channels.items() if name != one.channel
    }
    counts = np.bincount(codes, minlength=len(classes)).tolist()
    report = ReadReport.of(
        findings,
        source,
        classes=dict(zip(classes, counts, strict=True)),
        points=int(lengths.sum()),
        channels=channels,
        meta=tuple(meta.column_names),
    )
    return fields, report


def _of_one_class(table: pa.Table, name: str) -> pa.Table:
    if "label" in table.column_names:
        raise InputError(f"a column 'label' is there; leave label_column '={name}' out")
    metadata = table.schema.metadata
    column = pa.repeat(pa.scalar(name, pa.string()), table.num_rows)
    return table.append_column("label", column).replace_schema_metadata(metadata)


def _renamed(table: pa.Table, options: ReadOptions) -> pa.Table:
    names = [name.strip() for name in table.column_names]
    for old in options.columns:
        if old.strip() not in names:
            raise InputError(f"no column {old!r} to rename; columns: {labels.shown(names)}")
    new = [_renamed_to(options, name) for name in names]
    return table.rename_columns(new).replace_schema_metadata(table.schema.metadata)


def _renamed_to(options: ReadOptions, name: Any) -> Any:
    return None if name is None else options.columns.get(name, name)


def _refuse_twins(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"column {name!r} is there more than once; rename one of them")
        seen.add(name)


def _points(
    columns: dict[str, pa.ChunkedArray],
    chosen: roles.Roles,
    ours: dict[str, Channel],
    findings: Findings,
) -> Points:
    """The numbers of the columns, which are taken out of the mapping one by one."""
    found: dict[str, tuple[ChannelSeries, Ints]] = {}
    for name, known in chosen.channels.items():
        column = columns.pop(name)
        if not is_list(column.type):
            column = _one_point_lists(name, column)
        channel = roles.channel_of(name, known, column.type.value_type, ours)
        held = [column]
        del column
        flat = numbers.flatten(
            name, held, exact=channel.kind != "time", first_may_miss=channel.kind == "gap"
        )
        found[name] = _series(channel, known, flat), flat.lengths
        release()
    # A plain number may be left out, so another channel says how many points there are; gaps may
    # be those between packets, one less.
    first = min(found, key=lambda name: ("number", "gap").count(found[name][0].channel.kind))
    lengths = found[first][1]
    for name, (one, own) in found.items():
        if one.channel.kind == "gap" and (lengths - own == 1).all():
            values = np.insert(one.values, np.cumsum(own) - own, 0)
            found[name] = replace(one, values=values), lengths
            findings.mended.append(
                f"{name} has one number less than {first} in each trace: the gaps between packets; "
                "0 was put before the first"
            )
    series = [
        one
        for name, (one, own) in found.items()
        if _same_lengths(name, one.channel, own, (first, lengths), findings)
    ]
    _refuse_empty(lengths)
    return Points(lengths, series, findings.mended)


def _series(channel: Channel, known: Meaning, flat: numbers.Flat) -> ChannelSeries:
    timed = channel.kind in ("time", "gap") or flat.per_second is not None
    return ChannelSeries(
        channel,
        flat.values,
        (flat.per_second or known.per_second) if timed else 1.0,
        known.zero_is_client,
        known.padding,
    )


def _one_point_lists(name: str, column: pa.ChunkedArray) -> pa.Array:
    """Single numbers as lists of one."""
    array = one_array(column)
    if not is_number(array.type):
        raise InputError(
            f"row 0: channel {name!r} holds {said(array[0])}, neither a list nor a number"
        )
    return lists_of(array, np.ones(len(array)))


def _same_lengths(
    name: str,
    channel: Channel,
    lengths: Ints,
    first: tuple[str, Ints],
    findings: Findings,
) -> bool:
    """Whether a channel has as many points as the first; a plain number may be left out."""
    differ = np.flatnonzero(lengths != first[1])
    if not differ.size:
        return True
    row = differ[0]
    what = f"row {row}: {first[0]!r} has {first[1][row]} points but {name!r} has {lengths[row]}"
    if channel.kind == "number":
        findings.left_out[name] = what
        return False
    raise InputError(f"{what}; all channels of a trace must be equally long")


def _refuse_empty(lengths: Ints) -> None:
    if lengths.min() < 1:
        row = int(np.argmin(lengths))
        raise InputError(f"trace {row} has no points; remove it, every trace needs at least one")


def _meta(table: pa.Table, chosen: roles.Roles, findings: Findings) -> pa.Table:
    names: list[str] = []
    for name, ours in chosen.meta.items():
        fits = ours not in names and (ours == name or ours not in chosen.meta)
        names.append(ours if fits else name)
        if names[-1] != name:
            findings.origins[names[-1]] = name
    return pa.table([_plain_text(table[name]) for name in chosen.meta], names=names)


def _plain_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of any of Arrow's kinds as its plain kind, so that traces of several sources fit."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return column.cast(pa.string()) if is_text(kind) or pa.types.is_string_view(kind) else column


def _padded(points: Points) -> Floats:
    """(N, C, L); the series are taken out of the points, so that there is room for both forms."""
    lengths, channels = points.lengths, len(points.series)
    bounds.check_padding(
        len(lengths), channels, int(lengths.max()), int(lengths.sum()), int(np.argmax(lengths))
    )
    values = padded(lengths, channels, _released(points.series))
    release()
    return values


def _released(series: list[ChannelSeries]) -> Iterator[npt.NDArray[Any]]:
    """The values of each series, which is taken out of the list."""
    while series:
        release()
        yield series.pop(0).values
