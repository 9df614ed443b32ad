"""Which columns of a table are channels, and which are meta-data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.channels import KINDS, Channel
from netdiffus.errors import InputError
from netdiffus.ledger import checked
from netdiffus.tables.columns.arrow import is_list, is_number, is_text
from netdiffus.tables.columns.labels import shown
from netdiffus.tables.columns.names import (
    META,
    Meaning,
    channel_named,
    flow_table,
    is_called,
    meaning,
)
from netdiffus.tables.lists import SCHEMA_KEY
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings


@dataclass(frozen=True)
class Roles:
    """What each column is.

    Attributes:
        channels: Column of each channel, and what it means.
        meta: Column of each meta-datum, and its name.
    """

    channels: dict[str, Meaning]
    meta: dict[str, str]


def choose(table: pa.Table, label: str, options: ReadOptions, findings: Findings) -> Roles:
    """Says which columns are read as what.

    Raises:
        InputError: A column with a channel's name holds no lists, a channel that was asked for is
            not there, or there is none.
    """
    rest = {field.name: field.type for field in table.schema if field.name != label}
    scalars = {name: kind for name, kind in rest.items() if not is_list(kind)}
    lists = {name: kind for name, kind in rest.items() if is_list(kind)}
    if options.channels is not None:
        channels = _asked(rest, options.channels)
        for name in lists.keys() - channels.keys():
            findings.left_out[name] = "not among the channels that were asked for"
        return Roles(channels, {name: name for name in scalars if name not in channels})
    channels = _of_lists(lists, set(declared(table.schema)), findings)
    flows = None if channels else flow_table(list(scalars))
    if flows is None:
        _refuse_scalars(table, scalars)
        if not channels:
            raise InputError(_advice(scalars, findings))
        return Roles(channels, {name: _meta_name(name, rest, channels) for name in scalars})
    tool, found = flows
    findings.form += f", {tool}"
    channels = {name: Meaning(name) for name in found if _without_number(table[name]) < 0}
    # When a flow began is no channel.
    _refuse_scalars(table, {n: k for n, k in scalars.items() if channel_named(n) != "timestamp"})
    gaps = [name for name in found if name not in channels]
    if not channels:
        raise InputError(
            f"a table of flows ({tool}), but {shown(gaps)} have cells without a number "
            f"(the first in row {min(_without_number(table[name]) for name in gaps)}); remove "
            "those rows"
        )
    findings.mended.append(
        f"one row is one flow ({tool}): each is a trace of one point, of the channels "
        f"{shown(list(channels))}; other columns are meta-data"
        + (f", and so are {shown(gaps)}, which have cells without a number" if gaps else "")
    )
    return Roles(channels, {n: META.get(n.lower(), n) for n in scalars if n not in channels})


def _without_number(column: pa.ChunkedArray) -> int:
    """The first row whose cell is no finite number; -1 if there is none."""
    if not is_number(column.type):
        return 0
    finite = pc.is_finite(column) if pa.types.is_floating(column.type) else pc.is_valid(column)
    return int(pc.index(pc.fill_null(finite, False), False).as_py())


def _meta_name(name: str, rest: dict[str, Any], channels: dict[str, Meaning]) -> str:
    """Our name for a tool's server port and protocol, in a table of such a tool."""
    known = META.get(name.lower(), name)
    of_tool = any(one.tool for one in channels.values())
    return known if of_tool and known not in rest else name


def declared(schema: pa.Schema) -> dict[str, Channel]:
    """The channels that our own metadata of a file describes.

    Raises:
        InputError: The metadata is damaged.
    """
    text = (schema.metadata or {}).get(SCHEMA_KEY)
    if text is None:
        return {}
    try:
        channels = [Channel(**one) for one in json.loads(text)["channels"]]
        for one in channels:
            _check_declared(one)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"the metadata 'netdiffus', which describes the channels, is damaged: {error}; "
            "remove it, or write the file again"
        ) from None
    return {one.name: one for one in channels}


def declared_ledger(schema: pa.Schema) -> dict[str, Any] | None:
    """The privacy ledger in our own metadata of a file, if there is one.

    Raises:
        InputError: It is damaged.
    """
    text = (schema.metadata or {}).get(SCHEMA_KEY)
    try:
        return None if text is None else checked(json.loads(text).get("ledger"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"the privacy ledger in the metadata 'netdiffus' is damaged: {error}; write the file "
            "again from the private traces"
        ) from None


def _check_declared(channel: Channel) -> None:
    kinds = {kind for kind, _ in KINDS.values()} | {"number"}
    texts = (channel.name, channel.kind, channel.unit, channel.dtype)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a name, kind, unit or dtype is no text")
    if channel.kind not in kinds:
        raise ValueError(f"kind {channel.kind!r} is none of {', '.join(sorted(kinds))}")
    width = channel.bin_width
    if width is not None and not (isinstance(width, int | float) and 0 < width < float("inf")):
        raise ValueError(f"bin_width is {width!r}")
    pa.type_for_alias(channel.dtype)


def channel_of(name: str, known: Meaning, kind: pa.DataType, ours: dict[str, Channel]) -> Channel:
    """The channel that a column with items of this type is."""
    dtype = str(kind) if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "double"
    dtype = "int8" if pa.types.is_boolean(kind) else dtype
    if name in ours:
        return replace(ours[name], dtype=dtype)
    channel = Channel.named(known.channel, dtype)
    if channel.kind == "number" and pa.types.is_timestamp(kind):
        return replace(channel, kind="time", unit="s")
    return channel


def _asked(rest: dict[str, pa.DataType], names: Sequence[str]) -> dict[str, Meaning]:
    """The columns of the channels that were asked for, by their name or by ours."""
    found: dict[str, Meaning] = {}
    for name in names:
        same = [one for one in rest if is_called(one, (name,))]
        if not same:
            raise InputError(f"channel {name!r} is not there; columns: {shown(list(rest))}")
        column = name if name in same else same[0]
        found[column] = meaning(column) or Meaning(column)
    return found


def _refuse_scalars(table: pa.Table, scalars: dict[str, pa.DataType]) -> None:
    for name in scalars:
        if name not in KINDS and not (meaning(name) or Meaning("")).tool:
            continue
        cell = table[name][0].as_py()
        raise InputError(
            f"row 0: column {name!r} has the name of a channel, but {cell!r} is no list of "
            "numbers. If one row is one packet, name the column of the trace, or `file` for a "
            "trace per file: by=… (--flow-column); if it is no channel, rename it (--columns "
            f"{name}=other) or choose the channels (--channels)"
        )


def _of_lists(
    lists: dict[str, pa.DataType], ours: set[str], findings: Findings
) -> dict[str, Meaning]:
    """The list columns that are channels; one of each meaning, but for those that we wrote."""
    found: dict[str, Meaning] = {}
    first: dict[str, str] = {}  # our name of a channel to its column
    for name in sorted(lists, key=_surest):
        known, items = (None if name in ours else meaning(name)), lists[name].value_type
        if pa.types.is_dictionary(items):
            items = items.value_type
        if not is_number(items) and not (known and (is_text(items) or pa.types.is_null(items))):
            findings.left_out[name] = f"it holds lists of {lists[name].value_type}, not of numbers"
            if is_list(items) and is_number(items.value_type):
                findings.left_out[name] += "; write a column of lists for each number of a packet"
            continue
        means = known or Meaning(name)
        if means.channel in first:
            twin = first[means.channel]
            findings.left_out[name] = f"{twin!r} is the same channel; --channels chooses"
            continue
        first[means.channel] = name
        found[name] = means
    return {name: found[name] for name in lists if name in found}


def _surest(name: str) -> int:
    """Our own names first, then those of tools, then those that others use, too."""
    known = meaning(name)
    return 0 if name in KINDS else 1 if known and known.sure else 2


def _advice(scalars: dict[str, pa.DataType], findings: Findings) -> str:
    if findings.left_out:
        left = "; ".join(f"{name!r} was left out: {why}" for name, why in findings.left_out.items())
        return (
            f"no column is a channel, which is a list of numbers per trace; {left}. Columns: "
            f"{shown(list(scalars)) or 'no others'}"
        )
    numbers = [name for name, kind in scalars.items() if is_number(kind)]
    numbered = [name for name in numbers if re.fullmatch(r".*[0-9]+", name)]
    text = (
        "no list column: a channel is a column with a list of numbers per trace, such as "
        f"packet_length, direction, timestamp or value; columns: {shown(list(scalars))}"
    )
    if len(numbered) >= 2:
        return (
            f"{text}. If {numbered[0]!r}, {numbered[1]!r} … are the points of one series, "
            "name it: channels=… (--channels value)"
        )
    return (
        f"{text}. If one row is one packet, name the column of the trace: by=… (--flow-column); if "
        "one row is one flow, name its columns of numbers: channels=… (--channels)"
    )
