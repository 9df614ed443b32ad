"""A model of sessions: one model draws the flows of a session, another the trace of each flow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from netdiffus.codec import TokenCodec
from netdiffus.codec.column import CODES, Column
from netdiffus.codec.columns import Choice, safe_columns
from netdiffus.codec.series import MOST_PACKETS, shared_length
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.model.pair import ModelPair
from netdiffus.progress import Progress
from netdiffus.sessions.flows import (
    BEGIN,
    GAP,
    LABELLED_ROW,
    ROW,
    SESSION,
    START,
    Flows,
    as_sessions,
    check_sizes,
    token_channel,
    with_meta,
)
from netdiffus.sessions.peers import PEER, peers_of
from netdiffus.traces.splitting import owners_of
from netdiffus.traces.traces import Ints, Traces
from netdiffus.training import Recipe
from netdiffus.training.pair import Training, train_pair

TRACES, SESSIONS = "traces", "sessions"
# Rows of sessions are numbers of columns of those traces.
PAIR = ModelPair("model of sessions", TRACES, SESSIONS, "--sessions")
OWNER = "session owner"  # column of the owner of each flow, while the models are trained
OURS = (SESSION, START, PEER, OWNER, "client", "server")


@dataclass(eq=False)
class SessionModel:
    """Everything that sampling of sessions needs.

    Attributes:
        sessions: Draws a session: its class and columns, then of flow after flow its class with
            its categories (a row), the gap to the start before, and its numbers.
        traces: Draws the trace of a flow given its class and columns.
    """

    sessions: Model
    traces: Model

    def __post_init__(self) -> None:
        check_sizes(self.row_sizes)
        found = {channel.name for channel in self.sessions.codec.channels}
        wanted = {GAP, *(token_channel(one.name) for one in self._of_flows if one.bins is not None)}
        if self.row_sizes:
            wanted.add(LABELLED_ROW if LABELLED_ROW in found else ROW)
        if found != wanted or BEGIN not in self.sessions.columns.chosen:
            raise InputError(
                f"{SESSIONS} and {TRACES} are not of one model of sessions: points have "
                f"{', '.join(sorted(found))}, not {', '.join(sorted(wanted))}; train both again"
            )

    @property
    def _of_flows(self) -> list[Column]:
        """The columns that are drawn for each flow."""
        columns = self.traces.columns.learned
        return [one for one in columns if one.name not in self.sessions.columns.chosen]

    @property
    def rows(self) -> list[str]:
        """The columns whose tokens form a row."""
        return [one.name for one in self._of_flows if one.bins is None]

    @property
    def row_sizes(self) -> list[int]:
        """The number of tokens of each part of a row; the class is first if it is a part."""
        names = [channel.name for channel in self.sessions.codec.channels]
        first = [len(self.traces.classes)] if LABELLED_ROW in names else []
        return [*first, *(one.size for one in self._of_flows if one.bins is None)]

    @classmethod
    def load(cls, path: str | Path) -> SessionModel:
        """Reads the folder of a model of sessions, which may come from an unknown source.

        Raises:
            InputError: One of its two models is missing or damaged, or they do not go together.
        """
        traces, sessions = PAIR.load(path)
        return cls(sessions, traces)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder: the model of traces, then the model of sessions.

        Raises:
            FileExistsError: A model is there and `force` is false.
        """
        PAIR.save(path, self.traces, self.sessions, force)


def is_session_model(path: str | Path) -> bool:
    """Whether a folder holds a model of sessions."""
    return PAIR.is_in(path)


def train_sessions(
    traces: Traces,
    path: str | Path | None = None,
    *,
    recipe: Recipe | None = None,
    columns: Choice = None,
    by: str | None = None,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> SessionModel:
    """Trains a model of sessions on flows, each a trace with the columns `session` and `start`.

    At least 5 sessions, or 5 groups of `by`, share every value that the model keeps. If all flows
    of each session have one class, it is the class of the session. Else all sessions have the same
    class, and a class is drawn for each flow. Of the addresses `client` and `server` only `peer` is
    learned, which holds none (see `netdiffus.sessions.peers`). Of a session the first 256 flows are
    learned.

    Args:
        traces: The flows, as `import_captures` gives them with `Rules(per="host",
            keep_flows=True)` or `per="capture"`.
        path: Folder for the model; None keeps it in memory.
        recipe: Budget and settings of both trainings; each gets half of the minutes.
        columns: Columns of the meta-data, as of `train`. A column with a single value in each
            session is drawn once per session; others are drawn for each flow.
        by: Column of groups of sessions, such as a user.
        resume: Go on from the folder's last checkpoints.
        force: Replace a model that is there.
        device: `cpu` or `cuda`; None takes CUDA if there is one.
        progress: Called with (share done, a note); None shows a bar.

    Raises:
        InputError: Flows without sessions or starts, fewer than 5 sessions, or what `train`
            refuses.
        FileExistsError: The folder holds a model, and neither `resume` nor `force` is given.
    """
    recipe = (recipe or Recipe(minutes=4)).halved()
    PAIR.refuse(path, force or resume)
    flows, chosen = _with_peers(Flows.of(traces), by, columns)

    def of_sessions(of_traces: Model) -> Training:
        sessions, owners = _sessions(flows, of_traces)
        names = [name for name in sessions.meta.column_names if name != OWNER]
        codec = TokenCodec(min(MOST_PACKETS, shared_length(sessions, owners)))
        return Training(sessions, recipe, OWNER, names, codec)

    first = Training(flows.traces, recipe, OWNER, chosen)
    of_flows, sessions = train_pair(
        PAIR,
        path,
        first,
        of_sessions,
        resume=resume,
        force=force,
        device=device,
        progress=progress,
    )
    return SessionModel(sessions, of_flows)


def _with_peers(flows: Flows, by: str | None, columns: Choice) -> tuple[Flows, list[str]]:
    """Flows with their peers and owners, and the names of the columns to learn."""
    groups = owners_of(flows.traces.meta, by)
    if groups is not None and not flows.is_constant(groups.tolist()):
        raise InputError(
            f"by={by!r}: a session has two values of it, but a group holds whole sessions"
        )
    owners = flows.session if groups is None else groups
    added = {OWNER: pa.array(owners)}
    peers = peers_of(flows, owners)
    if peers is not None:
        added[PEER] = pa.array(peers, pa.string())
    meta = flows.traces.meta
    if columns is None:
        columns = [name for name in CODES if name in meta.column_names]
    elif columns == "all":
        columns = [name for name in safe_columns(flows.traces) if name not in OURS]
    else:
        columns = [columns] if isinstance(columns, str) else list(columns)
        for name in columns:
            if name in OURS:
                raise InputError(f"column {name!r} is learned as sessions need it; leave it out")
    traces = with_meta(flows.traces, **added)
    return replace(flows, traces=traces), [*columns, *([PEER] if peers is not None else [])]


def _sessions(flows: Flows, model: Model) -> tuple[Traces, Ints]:
    """Sessions as traces, and the owner of each."""
    owners = np.asarray(flows.traces.meta[OWNER])
    sessions = as_sessions(flows, model.columns, owners)
    owners = owners[flows.first]
    return with_meta(sessions, **{OWNER: pa.array(owners)}), owners
