"""The points of all traces as flat arrays, and what is mended in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiffus.arrays import Bools, Ints
from netdiffus.channels import Channel
from netdiffus.errors import InputError
from netdiffus.tables.columns.names import PER_SECOND
from netdiffus.tables.columns.numbers import EXACT, position

YEAR = 365 * 86400  # seconds
LARGEST = 65575  # bytes of a packet: of IPv6, without jumbograms
_UNSIGNED = (2**8 - 1, 2**16 - 1, 2**32 - 1)  # what -1 becomes


@dataclass(frozen=True)
class ChannelSeries:
    """One channel's values of all traces, one after another.

    Attributes:
        channel: What they are.
        values: (P,), float64 or whole numbers.
        per_second: Units of a time or gap in a second.
        zero_is_client: Whether direction 0 is from the client and 1 to it.
        padding: Value that fills the list where there is no point.
    """

    channel: Channel
    values: npt.NDArray[Any]
    per_second: float = 1.0
    zero_is_client: bool = False
    padding: float | None = None


@dataclass
class Points:
    """The points of N traces of C channels.

    Attributes:
        lengths: int64 (N,), points of each trace, at least 1.
        series: One for each channel.
        mended: Sentences that say what was changed; more are added.
    """

    lengths: Ints
    series: list[ChannelSeries]
    mended: list[str]

    @property
    def starts(self) -> Ints:
        """int64 (N,), where the points of each trace begin."""
        return np.asarray(np.cumsum(self.lengths) - self.lengths)

    @property
    def rows(self) -> Ints:
        """int64 (P,), the trace of each point."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def of_kind(self, kind: str) -> list[int]:
        """Where the channels of this kind stand."""
        return [k for k, one in enumerate(self.series) if one.channel.kind == kind]

    def note(self, text: str, concerned: Bools) -> None:
        """Notes a change, with the number of traces that it concerned, if it is not 0."""
        if concerned.any():
            self.mended.append(f"{text} ({int(concerned.sum())} of {len(self.lengths)} traces)")

    def place(self, wrong: Bools) -> str:
        """Where the first point is that is wrong, of `wrong` (P,)."""
        row, point = position(self.lengths, int(np.argmax(wrong)))
        return f"at point {point} of trace {row}"

    def any_in_trace(self, wrong: Bools) -> Bools:
        """(N,): whether a point of the trace is wrong, of `wrong` (P,)."""
        return np.asarray(np.bitwise_or.reduceat(wrong, self.starts))

    def keep(self, mask: Bools) -> None:
        """Drops the points where the mask (P,) is false."""
        self.lengths = np.add.reduceat(mask, self.starts, dtype=np.int64)
        self.series = [replace(one, values=one.values[mask]) for one in self.series]

    def cut(self, length: int) -> None:
        """Keeps the first points of each trace."""
        if int(self.lengths.max()) > length:
            self.keep(np.arange(len(self.rows)) - np.repeat(self.starts, self.lengths) < length)


def mend(points: Points) -> None:
    """Puts points into the one form that traces have.

    Padding at the end is cut off; directions 0 and 1 become +1 and -1, signed sizes sizes and
    directions; times count from the first point in seconds and never run backwards.

    Raises:
        InputError: Names what cannot be mended without doubt.
    """
    _cut_nans(points)
    for k in points.of_kind("gap"):
        _first_gaps(points, k)
    _check_finite(points)
    _cut_padding(points)
    for k in points.of_kind("direction"):
        _directions(points, k)
    for k in points.of_kind("size"):
        _signed_sizes(points, k)
    times, gaps = points.of_kind("time"), points.of_kind("gap")
    for k in gaps:
        _seconds(points, k)
    for k in times:
        _times(points, k)
    if times and gaps:
        _drop_gaps(points, times[0], gaps)
    _doubt_times(points)
    _check_exact(points)
    _check_durations(points)
    _doubt_sizes(points)


def _check_finite(points: Points) -> None:
    for one in points.series:
        wrong = ~np.isfinite(one.values)
        if wrong.any():
            affected = int(points.any_in_trace(wrong).sum())
            raise InputError(
                f"{one.channel.name} is {one.values[np.argmax(wrong)]:g} {points.place(wrong)} "
                f"({affected} traces affected): remove the trace or replace the value"
            )


def _cut_nans(points: Points) -> None:
    """Drops the last points that are NaN in all channels.

    Only where all traces have as many points, or all end in NaN: a single one is a value that is
    missing.
    """
    if all(one.values.dtype.kind == "f" for one in points.series):
        padded = [np.isnan(one.values) for one in points.series]
        last = points.starts + points.lengths - 1
        is_padding = np.logical_and.reduce(padded)
        is_rectangle = points.lengths.min() == points.lengths.max()
        if is_padding.any() and (is_rectangle or is_padding[last].all()):
            _cut_where(points, padded)


def _first_gaps(points: Points, k: int) -> None:
    """Gaps before the first packets, where only they are NaN, become 0: there is none before."""
    one = points.series[k]
    missing = np.isnan(one.values)
    if missing.any() and missing.sum() == missing[points.starts].sum():
        points.series[k] = replace(one, values=np.where(missing, 0, one.values))
        points.note(
            f"{one.channel.name}: no gap before the first packet was read as 0",
            missing[points.starts],
        )


def _cut_padding(points: Points) -> None:
    """Drops the last points where every channel that can be padding is."""
    padded = [
        one.values == one.padding for one in points.series if one.padding is not None
    ] or _minus_ones(points)
    padded = padded or _zero_directions(points) or _zero_sizes(points)
    if padded:
        _cut_where(points, padded)


def _cut_where(points: Points, padded: list[Bools]) -> None:
    real = ~np.logical_and.reduce(padded)
    place = np.arange(len(real)) - np.repeat(points.starts, points.lengths)
    kept = np.maximum.reduceat(np.where(real, place + 1, 0), points.starts)
    if kept.min() == 0:
        row = int(np.argmin(kept))
        raise InputError(f"trace {row} has no points, only padding; remove it")
    cut = kept < points.lengths
    if cut.any():
        points.note("padding at the end of traces was cut off", cut)
        points.keep(place < np.repeat(kept, points.lengths))


def _minus_ones(points: Points) -> list[Bools]:
    """Sizes of -1, where no other is negative: there is no packet."""
    sizes = [points.series[k].values for k in points.of_kind("size")]
    return [one == -1 for one in sizes if (one == -1).any() and one.min() == -1 and one.max() > 1]


def _zero_directions(points: Points) -> list[Bools]:
    """Zeros of directions that are else +1 and -1: there is no packet."""
    directions = [points.series[k].values for k in points.of_kind("direction")]
    return [one == 0 for one in directions if (one < 0).any() and (one == 0).any()][:1]


def _zero_sizes(points: Points) -> list[Bools]:
    """Zeros of all sizes, times and gaps, where these cannot be of packets.

    Among sizes with signs a 0 has none; times do not fall back to 0; and lists that all have as
    many points, of which some end in several zeros, were filled up.
    """
    sizes = [points.series[k].values for k in points.of_kind("size")]
    times = [points.series[k].values for k in points.of_kind("time")]
    timed = times + [points.series[k].values for k in points.of_kind("gap")]
    if not sizes or points.of_kind("direction"):
        return []
    several = np.repeat(points.lengths > 1, points.lengths)
    zeros = [(one == 0) & several for one in sizes + timed]
    last = points.starts + points.lengths - 1
    ending = np.logical_and.reduce(zeros)[last]
    if not ending.any():
        return []
    signed = any((one < 0).any() for one in sizes)
    back = any((one[last] < np.maximum.reduceat(one, points.starts))[ending].any() for one in times)
    filled = np.logical_and.reduce(zeros)[np.maximum(last - 1, 0)] & ending
    is_rectangle = points.lengths.min() == points.lengths.max()
    return zeros if signed or back or (timed and is_rectangle and filled.any()) else []


def _directions(points: Points, k: int) -> None:
    one = points.series[k] = _without_wrap(points, k)
    zero, unit = one.values == 0, one.values == 1
    if not (zero | unit).all() or not (zero.any() or one.zero_is_client):
        return
    client = zero if one.zero_is_client else unit
    values = np.where(client, 1, -1).astype(np.int8)
    points.series[k] = replace(one, values=values, channel=replace(one.channel, dtype="int8"))
    first = (
        "0 was read as +1, from the client, 1 as -1"
        if one.zero_is_client
        else "1 was read as +1, from the client, 0 as -1"
    )
    points.note(f"{one.channel.name}: {first}", np.ones(len(points.lengths), bool))


def _without_wrap(points: Points, k: int) -> ChannelSeries:
    """Directions where -1 was written as an unsigned number, such as 255 of 8 bits."""
    one = points.series[k]
    largest = one.values.max()
    wrapped = one.values == largest
    if largest not in _UNSIGNED or not (wrapped | (one.values == 1)).all():
        return one
    points.note(
        f"{one.channel.name}: {largest:.0f} was read as -1, which an unsigned number cannot hold",
        points.any_in_trace(wrapped),
    )
    values = np.where(wrapped, -1, 1).astype(np.int8)
    return replace(one, values=values, channel=replace(one.channel, dtype="int8"))


def _signed_sizes(points: Points, k: int) -> None:
    """Sizes whose sign is the direction become sizes and directions."""
    one = points.series[k]
    negative = one.values < 0
    if not negative.any():
        return
    beside = points.of_kind("direction")
    sign = np.sign(one.values).astype(np.int8)
    if beside:
        _check_signs(points, k, beside[0], sign)
    else:
        points.series.insert(k + 1, _direction_of(points, k, sign))
    wide = "int64" if one.values.dtype.kind in "iu" else "double"
    values = np.abs(one.values.astype(np.int64 if wide == "int64" else np.float64))
    points.series[k] = replace(one, values=values, channel=replace(one.channel, dtype=wide))
    points.note(
        f"{one.channel.name}: signed sizes were read as sizes and directions, + from the client",
        points.any_in_trace(negative),
    )


def _direction_of(points: Points, k: int, sign: npt.NDArray[Any]) -> ChannelSeries:
    if (sign == 0).any():
        raise InputError(
            f"{points.series[k].channel.name} is 0 {points.place(sign == 0)}: the other sizes have "
            "a sign for the direction, 0 has none; cut padding off, or add a column 'direction'"
        )
    return ChannelSeries(Channel.named("direction", "int8"), sign)


def _check_signs(points: Points, k: int, beside: int, sign: npt.NDArray[Any]) -> None:
    direction = points.series[beside].values
    wrong = (sign != 0) & (sign != direction)
    if wrong.any():
        one = points.series[k]
        raise InputError(
            f"{one.channel.name} is {one.values[np.argmax(wrong)]:g} {points.place(wrong)} "
            f"({int(points.any_in_trace(wrong).sum())} traces affected): a size cannot be "
            "negative, and as a sign of the direction it contradicts the column of directions"
        )


def _times(points: Points, k: int) -> None:
    """Sorts the points of each trace by time, and counts time from the first, in seconds."""
    name = points.series[k].channel.name
    values = points.series[k].values
    back = np.zeros(len(values), bool)
    back[1:] = values[1:] < values[:-1]
    back[points.starts] = False
    if back.any():
        order = np.lexsort((values, points.rows))
        points.series = [replace(one, values=one.values[order]) for one in points.series]
        points.note(
            f"{name}: times ran backwards; the points were sorted by time, in all channels",
            points.any_in_trace(back),
        )
    one = points.series[k] = _with_unit(points, k)
    first = one.values[points.starts]
    _check_precision(one, first)
    points.note(
        f"{name}: times did not start at 0; each trace's times now count from its first packet",
        first != 0,
    )
    if (first != 0).any() or one.per_second != 1:
        points.series[k] = replace(
            one,
            values=_since(one, first, points.lengths),
            per_second=1.0,
            channel=replace(one.channel, dtype="double"),
        )


def _doubt_times(points: Points) -> None:
    """Says where no time goes on, as where a spreadsheet wrote all of them as 1.7E+09."""
    timed = points.of_kind("time")
    several = points.lengths > 1
    if timed and several.sum() > 1 and not points.series[timed[0]].values.any():
        points.note(
            f"{points.series[timed[0]].channel.name}: all points of a trace have the same time, in "
            "every trace; if the file lost digits, as in 1.7E+09, export it with all of them",
            several,
        )


def _with_unit(points: Points, k: int) -> ChannelSeries:
    """Times that are too large for seconds since 1970 in ms, µs or ns, as they say by that."""
    one, smallest = points.series[k], points.series[k].values[points.starts].min()
    units = {10**17: "ns", 10**14: "us", 10**11: "ms"}  # each from the year 1973 on
    unit = next((name for least, name in units.items() if smallest >= least), None)
    if unit is None or one.per_second != 1:
        return one
    points.mended.append(
        f"{one.channel.name}: times such as {smallest:.6g} were read as {unit} since 1970"
    )
    return replace(one, per_second=PER_SECOND[unit])


def _since(one: ChannelSeries, first: npt.NDArray[Any], lengths: Ints) -> npt.NDArray[Any]:
    """Times since the first one of each trace, in seconds."""
    since = np.repeat(first, lengths)
    np.subtract(one.values, since, out=since)
    return since if one.per_second == 1 else since / one.per_second


def _check_precision(one: ChannelSeries, first: npt.NDArray[Any]) -> None:
    if one.channel.dtype not in ("float", "halffloat"):
        return
    largest = np.float32(np.abs(first).max() / one.per_second)
    if np.spacing(largest) > 1e-3:
        raise InputError(
            f"{one.channel.name} starts at {largest:g} s as {one.channel.dtype} of "
            f"{32 if one.channel.dtype == 'float' else 16} bits, which holds only steps of "
            f"{np.spacing(largest):g} s there; write it as double"
        )


def _seconds(points: Points, k: int) -> None:
    one = points.series[k]
    if one.per_second != 1:
        points.series[k] = replace(
            one,
            values=one.values / one.per_second,
            per_second=1.0,
            channel=replace(one.channel, dtype="double"),
        )


def _drop_gaps(points: Points, time: int, gaps: list[int]) -> None:
    """Leaves the gaps out that stand beside times, and says where they contradict each other."""
    values = points.series[time].values.astype(np.float64)
    steps = np.diff(values, prepend=values[:1])
    steps[points.starts] = 0
    inner = np.ones(len(steps), bool)
    inner[points.starts] = False
    for k in gaps:
        one, name = points.series[k], points.series[time].channel.name
        # Times and gaps are each rounded, some of them to float32.
        far = np.abs(one.values - steps) > 1e-6 + 1e-5 * np.abs(values)
        different = points.any_in_trace(far & inner)
        points.mended.append(
            f"{one.channel.name} was left out: {name} tells the times too"
            + (f", but differs in {int(different.sum())} traces" if different.any() else "")
            + f"; to keep it choose channels without {name} (--channels)"
        )
    points.series = [one for k, one in enumerate(points.series) if k not in gaps]


def _check_exact(points: Points) -> None:
    """Refuses whole numbers that float64, as which traces hold them, cannot."""
    for one in points.series:
        if one.values.dtype.kind not in "iu" or one.values.dtype.itemsize < 8:
            continue
        large = (one.values > EXACT) | (one.values < -EXACT)
        if large.any():
            raise InputError(
                f"{one.channel.name} is {one.values[np.argmax(large)]} {points.place(large)}: "
                "whole numbers beyond 2**53 cannot be kept exactly"
            )


def _check_durations(points: Points) -> None:
    """Refuses traces of more than a year: the unit is then not the one that was taken."""
    for one in points.series:
        if one.channel.kind not in ("time", "gap") or one.channel.unit != "s":
            continue
        whole = np.maximum if one.channel.kind == "time" else np.add
        lasting = whole.reduceat(one.values, points.starts, dtype=np.float64)
        if lasting.max() > YEAR:
            row, name = int(np.argmax(lasting)), one.channel.name
            raise InputError(
                f"{name}: trace {row} lasts {lasting[row]:.4g} s, {lasting[row] / YEAR:.1f} years "
                f"({int((lasting > YEAR).sum())} traces affected); if the numbers are ms, µs or "
                f"ns, name the column {name}_ms, {name}_us or {name}_ns "
                f"(--columns {name}={name}_us)"
            )

        hours = lasting.max() / 3600
        if hours > 1 and (one.values == np.rint(one.values)).all():
            points.mended.append(
                f"{one.channel.name}: whole seconds, up to {hours:.1f} hours in a trace; if they "
                f"are ms or µs, call the column {one.channel.name}_ms or {one.channel.name}_us "
                "(--columns)"
            )


def _doubt_sizes(points: Points) -> None:
    """Notes sizes that are those of no packet in bytes."""
    for k in points.of_kind("size"):
        one = points.series[k]
        if one.values.max() <= 1 and (one.values != np.rint(one.values)).any():
            points.mended.append(
                f"{one.channel.name}: no size is above 1 byte, as if they were scaled; a capture, "
                "and figures in bytes, need the sizes as they were"
            )
        parts = one.values != np.rint(one.values)
        if one.values.max() > 1 and parts.any() and not parts.all():
            points.note(
                f"{one.channel.name}: sizes such as {one.values[np.argmax(parts)]:g} are no whole "
                "bytes; if the point separates thousands, write the sizes without it",
                points.any_in_trace(parts),
            )
        if one.values.max() > LARGEST:
            large = one.values > LARGEST
            points.note(
                f"{one.channel.name}: sizes above {LARGEST} bytes, such as "
                f"{one.values[np.argmax(large)]:.0f}, are of no single packet",
                points.any_in_trace(large),
            )
