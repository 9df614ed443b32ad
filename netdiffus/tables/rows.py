"""Tables with one row per packet: the rows of each trace become lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.arrays import Ints
from netdiffus.errors import InputError
from netdiffus.tables.columns import cells
from netdiffus.tables.columns.arrow import is_number, is_text, lists_of, one_array, said
from netdiffus.tables.columns.labels import find_label, shown
from netdiffus.tables.columns.names import channel_named, is_called
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

# Columns of the address that sent a packet: of tshark, Wireshark and others.
_SENDERS = (
    "ip.src", "ip_src", "ip.src_host", "ipv6.src", "src_ip", "srcip", "source_ip", "sourceip",
    "source", "src", "src_addr", "srcaddr", "saddr",
)  # fmt: skip


def gather(table: pa.Table, options: ReadOptions, findings: Findings) -> pa.Table:
    """One row per trace, of a table with one row per packet, in the order of first packets.

    Columns of a known name, or of `options.channels`, become lists. A column with one value in each
    trace becomes that value; others are left out, which is said.

    Raises:
        InputError: No such column `options.by`, an empty cell in it, or two classes in one trace.
    """
    by = str(options.by)
    if by not in table.column_names:
        raise InputError(
            f"no column {by!r} (by); columns: {shown(table.column_names)}. One column must tell "
            "the traces apart, as tshark's tcp.stream does, with both ways of a flow in one"
        )
    trace = _numbers(by, table[by])
    order = np.argsort(trace, kind="stable")
    lengths = np.bincount(trace)
    first = order[np.cumsum(lengths) - lengths]
    label = find_label(table.column_names, options.label_column)
    table = _with_directions(table, trace, first, options, findings)
    columns: dict[str, pa.Array] = {"trace_id": one_array(table[by]).take(pa.array(first))}
    for name in (one for one in table.column_names if one != by):
        column = one_array(table[name])
        items = _items(name, column.take(pa.array(order)), lengths)
        if _is_channel(name, items.type, options):
            columns[name] = lists_of(items, lengths)
            continue
        differs = _differs(column, trace, first)
        if differs < 0:
            columns[name] = column.take(pa.array(first))
        elif name == label:
            raise InputError(
                f"row {differs}: trace {said(table[by][differs])} has the class "
                f"{said(column[differs])} beside another; a trace has one class: check that "
                f"{by!r} tells all traces apart"
            )
        elif options.channels is None and channel_named(name) is not None:
            raise InputError(
                f"row {differs}: column {name!r} has the name of a channel, but "
                f"{said(column[differs])} is no number; mend the cells (tshark writes times as "
                f"numbers in frame.time_epoch), rename the column (--columns {name}=other) or "
                "choose the channels (--channels)"
            )
        else:
            findings.left_out[name] = f"it changes inside a trace of {by!r} and is no channel"
    findings.form += f", one row per packet of {by!r}"
    return pa.table(columns)


def _with_directions(
    table: pa.Table, trace: Ints, first: Ints, options: ReadOptions, findings: Findings
) -> pa.Table:
    """The table with directions by the sender of each packet, where it has none.

    Only where each trace has two senders at most. From the client is what the first one sent.
    """
    names = table.column_names
    sender = next((name for name in names if name.strip().lower() in _SENDERS), None)
    asked = options.channels is None or "direction" in options.channels
    if sender is None or not asked or any(channel_named(one) == "direction" for one in names):
        return table
    senders = one_array(table[sender])
    if pa.types.is_nested(senders.type) or senders.null_count:
        return table
    codes = senders.dictionary_encode().indices.to_numpy().astype(np.int64)
    pairs = np.unique(np.stack([trace, codes]), axis=1)
    if np.bincount(pairs[0]).max() > 2 or len(pairs[0]) == len(first):
        return table
    findings.mended.append(
        f"direction: from {sender!r}; +1 is what the sender of a trace's first packet sent"
    )
    values = np.where(codes == codes[first][trace], 1, -1).astype(np.int8)
    return table.append_column("direction", pa.array(values))


def _items(name: str, column: pa.Array, lengths: Ints) -> pa.Array:
    """The values of all traces, one trace after the other; texts of a channel as numbers."""
    text = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if channel_named(name) is None or not is_text(text.type):
        return column
    try:
        return cells.items(name, text, lengths)
    except InputError:
        return column  # no channel


def _numbers(by: str, column: pa.ChunkedArray) -> Ints:
    """The number of each row's trace, in the order in which they begin."""
    encoded = one_array(column)
    if pa.types.is_nested(encoded.type) or pa.types.is_interval(encoded.type):
        raise InputError(
            f"column {by!r} (by) is of {encoded.type}; the name of a trace is a text or a number"
        )
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if encoded.null_count:
        row = pc.index(pc.is_null(encoded), True).as_py()
        raise InputError(f"column {by!r} is empty in row {row}; name the trace or remove the row")
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    begins, numbers = np.unique(codes, return_index=True, return_inverse=True)[1:]
    rank = np.empty(len(begins), np.int64)
    rank[np.argsort(begins, kind="stable")] = np.arange(len(begins))
    return rank[numbers]


def _is_channel(name: str, kind: pa.DataType, options: ReadOptions) -> bool:
    if not is_number(kind):
        return False
    if options.channels is not None:
        return is_called(name, options.channels)
    return channel_named(name) is not None


def _differs(column: pa.Array, trace: Ints, first: Ints) -> int:
    """The first row whose value is not that of its trace's first row; -1 if there is none."""
    if not pa.types.is_dictionary(column.type):
        if pa.types.is_nested(column.type):
            return 0
        column = column.dictionary_encode(null_encoding="encode")
    codes = column.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = codes != codes[first][trace]
    return int(np.argmax(wrong)) if wrong.any() else -1
