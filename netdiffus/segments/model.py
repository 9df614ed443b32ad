"""A model of long traces: one model draws sums over segments, another the points of a segment."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from netdiffus.codec import TokenCodec
from netdiffus.codec.columns import Choice
from netdiffus.codec.series import shared_length
from netdiffus.errors import InputError, Note, whole
from netdiffus.model.model import Model
from netdiffus.model.pair import ModelPair
from netdiffus.progress import Progress
from netdiffus.segments.cutting import (
    NUMBER,
    OVERLAP,
    PLACE,
    as_coarse,
    as_segments,
    coarse_channels,
    points_for,
)
from netdiffus.traces.splitting import owners_of
from netdiffus.traces.traces import Ints, Traces
from netdiffus.training import Recipe
from netdiffus.training.pair import Training, train_pair

COARSE, SEGMENTS = "coarse", "segments"
PAIR = ModelPair("model of long traces", COARSE, SEGMENTS, "--segments")
OWNER = "owner of the segment"  # column of the owner of each segment, while the model is trained
COARSE_OWNER = "owner of the trace"


@dataclass(eq=False)
class SegmentModel:
    """Everything that sampling of long traces needs.

    Attributes:
        coarse: Draws class, columns, and the sums of segment after segment.
        segments: Draws the points of a segment given its class, its sums, its place in the trace
            and the points before it.
    """

    coarse: Model
    segments: Model

    def __post_init__(self) -> None:
        wanted = coarse_channels(self.segments.codec.channels)
        named = [channel.name for channel in wanted]
        if (
            [channel.name for channel in self.coarse.codec.channels] != named
            or set(self.segments.columns.names) != {*named, NUMBER, PLACE}
            or self.coarse.classes != self.segments.classes
            or (self.segments.codec.length or 0) <= OVERLAP
        ):
            raise InputError(
                f"{COARSE} and {SEGMENTS} are not of one model of long traces; train both again"
            )

    @property
    def points(self) -> int:
        """Points of a segment."""
        return (self.segments.codec.length or 0) - OVERLAP

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.coarse.classes

    @classmethod
    def load(cls, path: str | Path) -> SegmentModel:
        """Reads the folder of a model of long traces, which may come from an unknown source.

        Raises:
            InputError: One of its two models is missing or damaged, or they do not go together.
        """
        return cls(*PAIR.load(path))

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder: the coarse model, then the model of segments.

        Raises:
            FileExistsError: A model is there and `force` is false.
        """
        PAIR.save(path, self.coarse, self.segments, force)


def is_segment_model(path: str | Path) -> bool:
    """Whether a folder holds a model of long traces."""
    return PAIR.is_in(path)


def train_segments(
    traces: Traces,
    path: str | Path | None = None,
    *,
    points: int | None = None,
    recipe: Recipe | None = None,
    columns: Choice = None,
    by: str | None = None,
    resume: bool = False,
    force: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> SegmentModel:
    """Trains a model of whole long traces, coarse to fine.

    A trace is cut into segments. One model learns the sums over its segments (see
    `netdiffus.segments.cutting.as_coarse`), another the points of a segment, given its class, its
    sums, its place in the trace, and the 8 points before it. At least 5 traces, or 5 groups of
    `by`, share every value that the model keeps. Memory: the traces, and about (points + 8) /
    points times as much in addition.

    Args:
        traces: Traces of points or of volumes, of any length.
        path: Folder for the model; None keeps it in memory.
        points: Of a segment, at least 9; None takes 16, or as many as give 512 segments.
        recipe: Budget and settings. The sums get half of the minutes, and the segments the rest,
            which is more than half if the network of the sums was overfitting early. Steps count
            for each training. None is ten minutes.
        columns: Columns of the meta-data, as of `train`; they are drawn with the sums.
        by: Column of groups of traces, such as a user.
        resume: Go on from the folder's last checkpoints, with the same traces and points.
        force: Replace a model that is there.
        device: `cpu` or `cuda`; None takes CUDA if there is one.
        progress: Called with (share done, a note); None shows a bar.

    Raises:
        InputError: Traces that are not longer than a segment, or what `train` refuses.
        FileExistsError: The folder holds a model, and neither `resume` nor `force` is given.
    """
    recipe = recipe or Recipe(minutes=10)
    traces = traces.without_empty_classes()
    PAIR.refuse(path, force or resume)
    found = owners_of(traces.meta, by)
    owners = np.arange(len(traces)) if found is None else found
    points = _points(traces, points, shared_length(traces, owners))
    coarse = _with_owners(as_coarse(traces, points), COARSE_OWNER, owners)
    segments, row = as_segments(traces, coarse, points)
    segments = _with_owners(segments, OWNER, owners[row])

    def of_segments(of_coarse: Model) -> Training:
        # Sampling gives all columns.
        left = replace(_rest(recipe, of_coarse), hidden_columns=0.0)
        names = [name for name in segments.meta.column_names if name != OWNER]
        return Training(segments, left, OWNER, names, TokenCodec(points + OVERLAP))

    kept = TokenCodec(_kept_segments(coarse, owners))
    first = Training(coarse, recipe.halved(), COARSE_OWNER, columns, kept)
    both = train_pair(
        PAIR,
        path,
        first,
        of_segments,
        resume=resume,
        force=force,
        device=device,
        progress=progress,
    )
    return SegmentModel(*both)


def _rest(recipe: Recipe, before: Model) -> Recipe:
    """The budget that remains after the training of a model."""
    spent = {"minutes": "seconds", "cpu_minutes": "cpu_seconds"}
    left = {
        name: getattr(recipe, name) - before.about[of] / 60
        for name, of in spent.items()
        if getattr(recipe, name) is not None
    }
    least = recipe.halved()  # the first training may use more than its half
    return replace(recipe, **{name: max(m, getattr(least, name)) for name, m in left.items()})


def _points(traces: Traces, points: int | None, shared: int) -> int:
    """Points of a segment; refuses invalid numbers."""
    points = points_for(shared) if points is None else whole("points", points, OVERLAP + 1)
    if shared <= points:
        raise InputError(
            f"points: a segment of {points} points is a whole trace, as 5 traces share no length "
            f"above {shared}; train without segments"
        )
    return points


def _kept_segments(coarse: Traces, owners: Ints) -> int:
    """Number of segments of a trace that are learned; notes how many traces are cut."""
    kept = shared_length(coarse, owners)
    if cut := int((coarse.lengths > kept).sum()):
        warnings.warn(
            f"{cut} of {len(coarse)} traces have more than {kept} segments, which 5 traces reach; "
            "the rest is not learned",
            Note,
            stacklevel=3,
        )
    return kept


def _with_owners(traces: Traces, name: str, owners: Ints) -> Traces:
    return replace(traces, meta=traces.meta.append_column(name, pa.array(owners)))
