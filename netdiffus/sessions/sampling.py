"""Sampling of sessions: flows with their starts and addresses."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from netdiffus.codec.column import UNKNOWN
from netdiffus.errors import InputError, checked_seed
from netdiffus.ops.noise import uniforms
from netdiffus.progress import Progress
from netdiffus.sampling import Label, sample, sample_rows
from netdiffus.sessions.flows import (
    BEGIN,
    GAP,
    LABELLED_ROW,
    ROW,
    SESSION,
    START,
    first_rows,
    token_channel,
    tokens_of,
    with_meta,
)
from netdiffus.sessions.model import SessionModel
from netdiffus.sessions.peers import PEER, Addresses
from netdiffus.traces.traces import Floats, Ints, Traces

FIRST_START = 10**9  # ns since 1970: nobody takes such a time for that of a real capture
BEGIN_DRAW = 2**31 + 2  # Philox step of the begin of a session


def sample_sessions(
    model: SessionModel,
    n: int,
    *,
    label: Label = None,
    where: Mapping[str, Any] | None = None,
    over: float | None = None,
    seed: int | None = None,
    fast: bool = True,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Traces:
    """Samples the flows of n sessions, of hosts in one network.

    Args:
        model: Of sessions.
        n: How many sessions, at least 1.
        label: Class of sessions, as for `sample`.
        where: Conditions on columns of sessions, as for `sample`.
        over: Sessions begin within this many seconds, uniformly. None draws the start of each
            session relative to the first flow of its capture, as in the training sessions; if each
            of their captures was one session, all begin at once.
        seed: None draws one; it stands in the meta.
        fast: True runs the native kernels, False the plain torch reference.
        device: Where the networks run; None takes CUDA if there is one.
        progress: Called with (share done, a note) as of `sample`.

    Returns:
        Flows in the order of their starts, with the meta of `sample` and `session` (its number),
        `start` (ns since 1970; the first begins 1 s after it), `peer`, and `client` and `server`:
        addresses of ranges for private use, tests and documentation.

    Raises:
        InputError: What `sample` refuses, or `over` is not a number above 0.
    """
    if over is not None and not 0 < over < 1e9:
        raise InputError(f"over must be seconds above 0, got {over!r}")
    seed = secrets.randbits(48) if seed is None else checked_seed(seed)
    common: dict[str, Any] = {"seed": seed, "fast": fast, "device": device, "progress": progress}
    sessions = sample(model.sessions, n, label=label, where=where, **common)
    number = np.repeat(np.arange(len(sessions)), sessions.lengths)
    labels, cells = _rows(model, sessions, number)
    flows = sample_rows(model.traces, labels, cells, **common)
    begins = _begins(sessions, over, seed)
    start = begins[number] + _since_begin(sessions, number)
    flows = with_meta(flows, **_session_columns(model, sessions, number), **_named(number, start))
    flows = _with_addresses(flows, number)
    return flows[np.argsort(start, kind="stable")]


def _rows(model: SessionModel, sessions: Traces, number: Ints) -> tuple[Ints, Ints]:
    """Class (N,) and tokens of columns (N, J) of each flow."""
    names = [channel.name for channel in sessions.channels]
    columns, classes = model.traces.columns, model.traces.classes
    labels = np.array([classes.index(one) if one in classes else 0 for one in sessions.classes])[
        sessions.labels[number]
    ]
    parts: dict[str, Ints] = {}
    if row := {ROW, LABELLED_ROW} & set(names):
        tokens = tokens_of(sessions.points(*row).astype(np.int64), model.row_sizes)
        if LABELLED_ROW in row:
            labels, tokens = tokens[:, 0], tokens[:, 1:]
        parts = dict(zip(model.rows, tokens.T, strict=True))
    cells = np.full((len(number), len(columns.sizes)), UNKNOWN, dtype=np.int64)
    for j, one in enumerate(columns.learned):
        if one.name in parts:
            cells[:, j] = parts[one.name]
        elif token_channel(one.name) in names:
            drawn = sessions.points(token_channel(one.name)).astype(np.int64)
            cells[:, j] = np.clip(drawn, 0, one.size - 1)
        else:
            cells[:, j] = one.encode(sessions.meta[one.name])[number]
    return labels, cells


def _begins(sessions: Traces, over: float | None, seed: int) -> Ints:
    """(S,), ns since 1970."""
    if over is None:
        seconds = np.maximum(np.asarray(sessions.meta[BEGIN]).astype(np.float64), 0)
    else:
        index = torch.arange(len(sessions))
        seconds = over * uniforms(seed, index, BEGIN_DRAW, 1)[:, 0].numpy()
    begins: Ints = FIRST_START + np.rint(seconds * 1e9).astype(np.int64)
    return begins


def _since_begin(sessions: Traces, number: Ints) -> Ints:
    """(N,), ns from the start of its session to the start of each flow."""
    gaps: Floats = sessions.points(GAP).copy()
    first = first_rows(number)
    gaps[first] = 0.0
    total = np.cumsum(np.rint(gaps * 1e9).astype(np.int64))
    return total - total[first][number]


def _named(number: Ints, start: Ints) -> dict[str, pa.Array]:
    place = np.arange(len(number)) - first_rows(number)[number]
    ids = [f"synthetic-{s}-{k}" for s, k in zip(number, place, strict=True)]
    return {"trace_id": pa.array(ids), SESSION: pa.array(number), START: pa.array(start)}


def _session_columns(model: SessionModel, sessions: Traces, number: Ints) -> dict[str, pa.Array]:
    """The columns that were drawn once for a session."""
    return {
        name: sessions.meta[name].take(pa.array(number))
        for name in model.traces.columns.names
        if name in sessions.meta.column_names
    }


def _with_addresses(flows: Traces, number: Ints) -> Traces:
    if PEER not in flows.meta.column_names:
        return flows
    made = Addresses()
    peers = np.array([one or "new public" for one in flows.meta[PEER].to_pylist()], dtype=object)
    ends = [
        pair
        for one in range(int(number[-1]) + 1)
        for pair in made.of_session(one, peers[number == one].tolist())
    ]
    client, server = zip(*ends, strict=True)
    return with_meta(flows, client=pa.array(client), server=pa.array(server))
