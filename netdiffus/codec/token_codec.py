"""From traces to tokens, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netdiffus.channels import Channel
from netdiffus.codec.runs import (
    MOST_RUNS,
    are_directions,
    can_be_runs,
    count_runs,
    merge,
    run_channels,
    split,
)
from netdiffus.codec.series import (
    as_gaps,
    averages,
    check_channels,
    in_units,
    is_binned,
    mask_of,
    parts_of,
    shared_by,
    shared_length,
)
from netdiffus.codec.vocabulary import Vocabulary
from netdiffus.errors import InputError, Note, whole
from netdiffus.traces.traces import Floats, Ints, Traces

MOST_TOKENS = 512  # of a channel whose values matter one by one: sizes, plain numbers
FEWER_TOKENS = 256  # of a channel whose values are amounts: gaps, volumes
MOST_POINTS = 512
EXACT = ("size", "number", "direction")
# An amount is an atom if it is as frequent as a quarter of a bin; others lie in bins.
FREQUENT = 1 / (4 * FEWER_TOKENS)


@dataclass(frozen=True)
class Feature:
    """What one token of a point represents: a channel, or a size with its direction.

    Attributes:
        channel: Index of the channel.
        direction: Index of the channel that gives the sign of a size; None for all else.
    """

    channel: int
    direction: int | None = None


class TokenCodec:
    """Turns traces into tokens and tokens into traces, in real units.

    A point of a trace is one token for each feature: a size and its direction are one feature, all
    other channels are one each, and times are coded as gaps. The first feature has one more token,
    `end`, which follows the last point of a trace.

    Args:
        length: Points kept of each trace; None keeps as many as 5 traces have, of packets at most
            256, and averages longer traces of volumes to 512 points at most.
        runs: Of packets, how many runs of equal sizes and directions are kept of each trace, each
            a point with a count; of directions alone a point is two runs. `length` None then keeps
            all packets that lie in them. 0 is none. None takes 512 for directions alone of which 5
            traces have more than 256, else none.

    Raises:
        InputError: An impossible length or number of runs.
    """

    def __init__(self, length: int | None = None, runs: int | None = None) -> None:
        self.length = None if length is None else whole("length", length, at_least=1)
        self.runs = None if runs is None else whole("runs", runs, at_least=0)
        self.bins_per_point = 1
        self.channels: tuple[Channel, ...] = ()
        self.features: tuple[Feature, ...] = ()
        self.vocabularies: tuple[Vocabulary, ...] = ()

    def fit(self, traces: Traces, owners: Ints | None = None) -> TokenCodec:
        """Finds length and vocabularies, once.

        Args:
            traces: What to learn from.
            owners: (N,) the owner of each trace, as a number; None: each trace has its own.

        Raises:
            InputError: The codec is fitted already, or fewer than 5 owners.
        """
        if self.channels:
            raise InputError("the codec is fitted already; make a new one for other traces")
        owners = np.arange(len(traces)) if owners is None else owners
        self.channels = traces.channels
        self._fit_length(traces, owners)
        self.features = _features(self._coded)
        points = self._counts(traces)
        if owners.max() < 2**31:  # there is one for each point
            owners = owners.astype(np.int32)
        self.vocabularies = tuple(
            Vocabulary.fit(  # frees its arguments early, as nobody else holds them
                self._points_of(traces, feature, int(points.sum())),
                np.repeat(owners, points),
                FEWER_TOKENS,
                MOST_TOKENS if self._is_exact(feature) else FEWER_TOKENS,
                0.0 if self._is_exact(feature) else FREQUENT,
            )
            for feature in self.features
        )
        return self

    @property
    def points(self) -> int:
        """Points T of a trace that are tokens."""
        return self.runs or -(-(self.length or 0) // self.bins_per_point)

    @property
    def _coded(self) -> tuple[Channel, ...]:
        """The channels of the points that are tokens."""
        return run_channels(self.channels) if self.runs else self.channels

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many tokens each feature has, `end` included."""
        return tuple(len(v) + (f == 0) for f, v in enumerate(self.vocabularies))

    @property
    def are_amounts(self) -> tuple[bool, ...]:
        """Of each feature, whether its values are amounts, which few traces share exactly."""
        return tuple(self._coded[f.channel].kind not in EXACT for f in self.features)

    @property
    def end(self) -> int:
        """The token of the first feature that follows the last point."""
        return len(self.vocabularies[0])

    def encode(self, traces: Traces) -> Tensor:
        """Tokens int16 (N, T, F); behind a trace `end` for the first feature, 0 for others."""
        check_channels(traces, self.channels)
        tokens = np.zeros((len(traces), self.points, len(self.features)), dtype=np.int16)
        for rows in parts_of(len(traces)):
            values, lengths = self._series(traces, rows)
            inside = mask_of(lengths, self.points)
            pairs = zip(self.features, self.vocabularies, strict=True)
            for f, (feature, vocabulary) in enumerate(pairs):
                behind = self.end if f == 0 else 0
                known = vocabulary.encode(_take(values, feature))
                tokens[rows, :, f] = np.where(inside, known, behind)
        return torch.from_numpy(tokens)

    def decode(
        self, tokens: Tensor, uniforms: Tensor, labels: Ints, classes: tuple[str, ...], meta: Any
    ) -> Traces:
        """Traces of tokens.

        Args:
            tokens: int64 (N, T, F); the first is not `end`.
            uniforms: float64 (N, T, F) in [0, 1): they choose the values inside bins.
            labels: (N,) index into `classes`.
            classes: Their names.
            meta: One Arrow row per trace.

        Returns:
            Traces in real units; whole numbers are whole, directions ±1, and times count from the
            first point and never run backwards.
        """
        found = tokens.numpy()
        ended = found[:, :, 0] == self.end
        points = np.where(ended.any(1), ended.argmax(1), self.points)
        inside = mask_of(points, self.points)
        values = np.zeros((len(found), len(self._coded), self.points))
        for f, (feature, vocabulary) in enumerate(
            zip(self.features, self.vocabularies, strict=True)
        ):
            known = np.where(inside, found[:, :, f], 0)
            value = vocabulary.decode(known, uniforms[:, :, f].numpy())
            _put(values, feature, value)
        if self.runs:
            values, points = split(values, points, self.channels, self.length or 0)
        lengths = np.minimum(points * self.bins_per_point, self.length or 0)
        if self.bins_per_point > 1:
            values = np.repeat(values, self.bins_per_point, axis=2)
        values = in_units(values, lengths, self.channels)
        traces = Traces(values, lengths, self.channels, labels, classes, meta)
        return from_zero(traces)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `from_state` needs: JSON-able settings, and a float64 table per feature."""
        settings = {
            "kind": "tokens",
            "length": self.length,
            "bins_per_point": self.bins_per_point,
            "channels": [asdict(channel) for channel in self.channels],
            "is_whole": [vocabulary.is_whole for vocabulary in self.vocabularies],
        }
        if self.runs:
            settings["runs"] = self.runs
        tables = {
            f"vocabulary.{f}": torch.from_numpy(v.table) for f, v in enumerate(self.vocabularies)
        }
        return settings, tables

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], tables: Mapping[str, Tensor]) -> TokenCodec:
        """The codec that gave this `state`."""
        codec = cls(settings["length"], settings.get("runs", 0))
        codec.bins_per_point = settings["bins_per_point"]
        codec.channels = tuple(Channel(**one) for one in settings["channels"])
        codec.features = _features(codec._coded)
        codec.vocabularies = tuple(
            Vocabulary(tables[f"vocabulary.{f}"].numpy(), settings["is_whole"][f])
            for f in range(len(codec.features))
        )
        return codec

    def _fit_length(self, traces: Traces, owners: Ints) -> None:
        """As many points as K owners have, or fewer."""
        shared = shared_length(traces, owners)
        if self.runs is None:
            long = shared > MOST_POINTS // 2
            self.runs = MOST_RUNS if are_directions(self.channels) and long else 0
        if self.runs:
            self._fit_runs(traces, owners, shared)
            return
        most = shared if self.length is None else min(shared, self.length)
        if is_binned(traces):
            self.bins_per_point = -(-most // MOST_POINTS) if self.length is None else 1
        elif self.length is None:
            most = min(most, MOST_POINTS // 2)
        self.length = most

    def _fit_runs(self, traces: Traces, owners: Ints, shared: int) -> None:
        """As many runs as K owners have, and the points in them, or fewer."""
        if not can_be_runs(self.channels):
            raise InputError(
                "runs are of packets with packet_length or direction; leave runs out for "
                f"{', '.join(channel.title for channel in self.channels)}"
            )
        length = shared if self.length is None else min(shared, self.length)
        most, counts = self.runs or 0, np.zeros(len(traces), np.int64)
        points = np.zeros(len(traces), np.int64)
        for rows in parts_of(len(traces)):
            values = traces.values[rows, :, :length]
            kept = np.minimum(traces.lengths[rows], length)
            counts[rows], points[rows] = count_runs(values, kept, self.channels, most)
        if cut := int((counts > most).sum()):
            warnings.warn(
                Note(
                    f"{cut} of {len(traces)} traces have more than {most} runs of equal packets; "
                    f"only the first {most} are learned. runs=… (--runs) sets another number"
                ),
                stacklevel=4,
            )
        self.runs = min(most, shared_by(counts, owners))
        self.length = shared_by(points, owners)

    def _counts(self, traces: Traces) -> Ints:
        """(N,), points of each trace that are tokens."""
        kept = np.minimum(traces.lengths, self.length or 0)
        if not self.runs:
            return np.asarray(-(-kept // self.bins_per_point), dtype=np.int64)
        parts = [self._series(traces, rows)[1] for rows in parts_of(len(traces))]
        return np.concatenate(parts)

    def _is_exact(self, feature: Feature) -> bool:
        return self._coded[feature.channel].kind in EXACT

    def _points_of(self, traces: Traces, feature: Feature, points: int) -> Floats:
        """The values of one feature at all points of all traces."""
        found, end = np.empty(points), 0
        for rows in parts_of(len(traces)):
            values, lengths = self._series(traces, rows)
            start, end = end, end + int(lengths.sum())
            found[start:end] = _take(values, feature)[mask_of(lengths, self.points)]
        return found

    def _series(self, traces: Traces, rows: slice) -> tuple[Floats, Ints]:
        """Some traces in real units (N, C, T), gaps in place of times; and their points."""
        length = self.length or 0
        lengths = np.minimum(traces.lengths[rows], length)
        values = as_gaps(traces.values[rows, :, :length], lengths, traces.channels)
        if self.runs:
            return merge(values, lengths, self.channels, self.runs)
        whole_points = self.points * self.bins_per_point
        if short := whole_points - values.shape[2]:
            values = np.pad(values, ((0, 0), (0, 0), (0, short)))
        if self.bins_per_point > 1:
            values = averages(values, self.points, lengths)
            lengths = -(-lengths // self.bins_per_point)
        return values, lengths


def _features(channels: tuple[Channel, ...]) -> tuple[Feature, ...]:
    """One feature for a size with its direction, if both exist; one for each other channel."""
    sizes, directions = (
        [c for c, channel in enumerate(channels) if channel.kind == kind]
        for kind in ("size", "direction")
    )
    if len(sizes) != 1 or len(directions) != 1:
        return tuple(Feature(c) for c in range(len(channels)))
    others = [Feature(c) for c in range(len(channels)) if c not in (sizes[0], directions[0])]
    return (Feature(sizes[0], directions[0]), *others)


def _take(values: Floats, feature: Feature) -> Floats:
    """(N, T) of a feature. A signed size is one larger than the size: 0 has a direction, too."""
    size = values[:, feature.channel]
    if feature.direction is None:
        return size
    return np.where(values[:, feature.direction] < 0, -1.0, 1.0) * (size + 1)


def _put(values: Floats, feature: Feature, value: Floats) -> None:
    """The reverse of `_take`, into `values` (N, C, T)."""
    if feature.direction is None:
        values[:, feature.channel] = value
    else:
        values[:, feature.channel] = np.maximum(np.abs(value) - 1, 0)
        values[:, feature.direction] = np.sign(value)


def from_zero(traces: Traces) -> Traces:
    """Times count from the first point and never run backwards."""
    for c, channel in enumerate(traces.channels):
        if channel.kind == "time":
            since = np.maximum.accumulate(traces.values[:, c] - traces.values[:, c, :1], axis=1)
            traces.values[:, c] = np.where(traces.mask, since, 0.0)
    return traces
