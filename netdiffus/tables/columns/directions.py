"""Directions that are written as words: out and in, up and down, > and <."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from netdiffus.tables.columns.arrow import is_text

_FROM_CLIENT = (
    "out", "outgoing", "outbound", "up", "uplink", "upload", "upstream", "egress", "tx", "send",
    "sent", "fwd", "forward", "c2s", "client", "client_to_server", "to_server", "toserver",
    "src2dst", "src_to_dst", "ul", "request", "client->server", "c->s", "src->dst", ">", "->", "→",
    "+", "c", "f",
)  # fmt: skip
_TO_CLIENT = (
    "in", "incoming", "inbound", "down", "downlink", "download", "downstream", "ingress", "rx",
    "recv", "received", "bwd", "backward", "s2c", "server", "server_to_client", "to_client",
    "toclient", "dst2src", "dst_to_src", "dl", "response", "server->client", "s->c", "dst->src",
    "<", "<-", "←", "-", "s", "b",
)  # fmt: skip


def from_words(items: pa.Array) -> pa.Array | None:
    """+1 from the client and -1 to it, int8; None where a text is no such word."""
    if not is_text(items.type):
        return None
    words = pc.utf8_lower(pc.utf8_trim_whitespace(items))
    out = pc.is_in(words, pa.array(_FROM_CLIENT, words.type))
    known = pc.or_(out, pc.is_in(words, pa.array(_TO_CLIENT, words.type)))
    if not len(items) or items.null_count or not pc.all(known).as_py():
        return None
    return pc.if_else(out, pa.scalar(1, pa.int8()), pa.scalar(-1, pa.int8()))
