"""Traces to GASF images and back, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from netdiffus.channels import Channel, same_but_type
from netdiffus.errors import InputError, whole
from netdiffus.ops.decode import gasf_decode, gasf_decode_area
from netdiffus.ops.gasf import gasf_image
from netdiffus.scaling import Scale
from netdiffus.scores import Scores
from netdiffus.traces import Traces

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ScaleChoice = str | tuple[float, float]  # minmax, log, quantile, score, or given bounds (lo, hi)

DEFAULT_SCALES: dict[str, ScaleChoice] = {
    "size": "quantile",
    "direction": (-1.0, 1.0),
    "time": "score",
    "gap": "score",
    "volume": "score",
    "number": "quantile",
}


MOST_BINS, MOST_PACKETS = 512, 256  # points of an image, unless told


def default_size(traces: Traces) -> int:
    """An image size that a small machine can bear, and that resizes no trace if it can.

    The length of the longest trace; but of packets at most the first 256, and of volumes of more
    than 512 bins as few of them to a point as make 512 points at most.
    """
    longest = int(traces.lengths.max())
    if not _binned(traces):
        return min(longest, MOST_PACKETS)
    return -(-longest // -(-longest // MOST_BINS))


@dataclass(frozen=True, eq=False)
class Images:
    """N traces as GASF images, with what else decoding needs.

    Attributes:
        pixels: (N, C, m, m) in [0, 1], one GASF image per channel.
        lengths: int64 (N,), points of each trace.
        labels: int64 (N,), index into `classes`.
        classes: Names of the classes.
        meta: One Arrow row per trace.
    """

    pixels: Tensor
    lengths: Ints
    labels: Ints
    classes: tuple[str, ...]
    meta: pa.Table = field(default_factory=lambda: pa.table({}))


class GasfCodec:
    """Turns traces into GASF images and images into traces, in real units.

    Each channel is scaled to x in [0, 1], padded with 0 to a common length n, seen as angles
    theta = arccos x, and drawn as G[i, j] = cos(theta_i + theta_j); the image is
    ((G + 1) / 2)**gamma. Where n is more than `size`, `resize="bin"` averages the series to `size`
    points first (in real units, so that volumes keep their sum), which loses only what lies inside
    a bin; `resize="area"` shrinks the n x n image by area as the paper does, at the price of a bias
    (see `gasf_decode_area`). Times are coded as gaps.

    A border of constant points x = 1 may be drawn behind the series. Where it crosses point i the
    image is cos(theta_i + 0) = x_i, so the series itself stands on the image's edge: values near 0,
    where the diagonal 2 x**2 - 1 is flat, are then read as well as any.

    Args:
        size: Height and width m of the images; None never resizes (m is the longest trace).
        length: Points n kept of each trace. None keeps whole traces (n is then a multiple of
            `size`, for `bin`), except that traces of packets (no `volume` channel) keep their first
            `size` packets.
        resize: `bin` or `area`.
        gamma: Contrast; the paper uses 0.25.
        scales: For a channel's name, `minmax`, `log`, `quantile`, `score` or its bounds (lo, hi);
            the others get the default of their kind. `score` scales each class and place by itself
            (see `Scores`), which `resize="area"` mixes: there, its default is `quantile`.
        border: Constant points behind the series; images are that much larger than `size`. Only
            with `resize="bin"`.

    Raises:
        InputError: An argument out of range.
    """

    def __init__(
        self,
        size: int | None = 64,
        *,
        length: int | None = None,
        resize: str = "bin",
        gamma: float = 1.0,
        scales: Mapping[str, ScaleChoice] | None = None,
        border: int = 0,
    ) -> None:
        if resize not in ("bin", "area"):
            raise InputError(f"resize must be 'bin' or 'area', got {resize!r}")
        size = None if size is None else whole("size", size, at_least=1)
        length = None if length is None else whole("length", length, at_least=1)
        if not 0 < gamma < float("inf"):
            raise InputError(f"gamma must be a number above 0, got {gamma}")
        border = whole("border", border)
        if border < 0 or (border and resize == "area"):
            raise InputError(f"border must be 0, or above 0 with resize='bin', got {border}")
        self.size, self.length, self.resize, self.gamma = size, length, resize, gamma
        self.border = border
        self.choices = dict(scales or {})
        self.channels: tuple[Channel, ...] = ()
        self.classes: tuple[str, ...] = ()
        self.scales: list[Scale | Scores] = []

    def fit(self, traces: Traces) -> GasfCodec:
        """Learns the channels, classes, scales and the common length from traces, once."""
        if self.channels:
            raise InputError("the codec is fitted already; make a new one for other traces")
        unknown = set(self.choices) - {channel.name for channel in traces.channels}
        if unknown:
            raise InputError(f"scales: no channel {', '.join(sorted(unknown))} in the traces")
        self.channels, self.classes = traces.channels, traces.classes
        if self.size is not None:
            self.length = self.kept(traces)
        values, lengths = self._values(traces)
        mask = _mask(lengths, values.shape[2])
        self.scales = [
            Scores.fit(values[:, c], mask, traces.labels, len(traces.classes))
            if choice == "score"
            else _fit_scale(channel, choice, values[:, c][mask])
            for c, (channel, choice) in enumerate(self._choices())
        ]
        return self

    def kept(self, traces: Traces) -> int:
        """Points of a trace that a codec keeps which was, or would be, fitted on these traces."""
        longest = int(traces.lengths.max())
        if self.length is not None or self.size is None:
            return self.length or longest
        if not _binned(traces):
            return min(longest, self.size)
        # A point of the image is whole bins.
        return longest if self.resize == "area" else -(-longest // self.size) * self.size

    def encode(self, traces: Traces, dtype: torch.dtype = torch.float32) -> Images:
        """Images of traces; `decode` gives the traces back.

        Unresized float64 images give integers, directions and lengths back exactly; in float32
        images x keeps about 7 digits.
        """
        pixels = self.draw(self.series(traces).to(dtype))
        lengths = np.minimum(traces.lengths, self._length(traces))
        return Images(pixels, lengths, traces.labels, traces.classes, traces.meta)

    def decode(self, images: Images, method: str = "image", backend: str = "auto") -> Traces:
        """Traces of images, in real units, with a meta column `residual`.

        Integer channels come back whole, directions ±1; times run backwards only where those of
        the traces that were fitted do.

        Args:
            images: Pixels (N, C, m, m) and the length of each trace.
            method: `image` fits all pixels, `diagonal` reads the diagonal alone.
            backend: Of `netdiffus.ops.gasf_decode`.

        Returns:
            Traces; `residual` is the root mean square distance, over pixels and channels, of the
            images from the nearest GASF: 0 for a true one, a sign of quality for a made one.
        """
        n = self.length if self.size is not None else None
        side = images.pixels.shape[-1] - self.border
        x, residual = self._solve(images, n or side, method, backend)
        x = x[..., :side]
        labels = self._scored(images.labels, images.classes)
        values = np.stack(
            [
                scale.decode(x[:, c].numpy(), labels)
                if isinstance(scale, Scores)
                else scale.decode(x[:, c].numpy())
                for c, scale in enumerate(self.scales)
            ],
            axis=1,
        )
        if n is not None and values.shape[2] != n:
            values = _averages(values, n)
        return Traces(
            values=_in_units(values, images.lengths, self.channels),
            lengths=images.lengths,
            channels=self.channels,
            labels=images.labels,
            classes=images.classes,
            meta=_with_residual(images, residual.square().mean(1).sqrt()),
        )

    def series(self, traces: Traces) -> Tensor:
        """Traces scaled to [0, 1] and padded with 0: float64 (N, C, k), binned if need be."""
        if not same_but_type(traces.channels, self.channels):
            wanted = ", ".join(channel.title for channel in self.channels)
            found = ", ".join(channel.title for channel in traces.channels)
            raise InputError(
                f"traces must have the channels the codec was fitted on: {wanted}; got {found}"
            )
        labels = self._scored(traces.labels, traces.classes)
        values, lengths = self._values(traces)
        x = np.stack(
            [
                scale.encode(values[:, c], labels)
                if isinstance(scale, Scores)
                else scale.encode(values[:, c])
                for c, scale in enumerate(self.scales)
            ],
            axis=1,
        )
        return torch.from_numpy(np.where(_mask(lengths, x.shape[2])[:, None], x, 0.0))

    def draw(self, series: Tensor, out: Tensor | None = None, backend: str = "auto") -> Tensor:
        """GASF images (N, C, m, m) of series (N, C, k), the border included."""
        side = self._side(series.shape[-1]) + self.border
        whole = torch.nn.functional.pad(series, (0, self.border), value=1.0)
        return gasf_image(whole, side, gamma=self.gamma, out=out, backend=backend)

    def edge(self, series: Tensor) -> Tensor:
        """The points on the border of those images, (N, C, points, border), without the rest."""
        points = (0.5 * (series + 1)) ** self.gamma
        return points.unsqueeze(-1).expand(*points.shape, self.border)

    def inside(self, lengths: Ints) -> Tensor:
        """Which of the m points on an image belong to traces of these lengths, bool (N, m)."""
        m, n = self.points, self.length or 0
        points = -(-np.minimum(lengths, n) * m // n)
        return torch.from_numpy(_mask(points, m))

    @property
    def points(self) -> int:
        """Points m of a trace that an image of a fitted codec with a size shows."""
        if self.length is None:
            raise InputError("a codec with size=None has images of many sizes; give it a size")
        return self._side(self.length)

    @property
    def image_size(self) -> int:
        """Height and width of the images of a fitted codec with a size."""
        return self.points + self.border

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `from_state` needs: JSON-able settings, and one float64 table per channel."""
        settings = {
            "size": self.size,
            "length": self.length,
            "resize": self.resize,
            "gamma": self.gamma,
            "border": self.border,
            "classes": list(self.classes),
            "channels": [asdict(channel) for channel in self.channels],
            "scales": [scale.kind for scale in self.scales],
        }
        tables = {c.name: s.table for c, s in zip(self.channels, self.scales, strict=True)}
        return settings, {name: torch.from_numpy(table) for name, table in tables.items()}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], tables: Mapping[str, Tensor]) -> GasfCodec:
        """The codec that gave this `state`."""
        arguments = {key: settings[key] for key in _ARGUMENTS}
        codec = cls(**arguments)
        codec.channels = tuple(Channel(**one) for one in settings["channels"])
        codec.classes = tuple(settings["classes"])
        named = [tables[channel.name].numpy() for channel in codec.channels]
        codec.scales = [
            Scores(table) if kind == "score" else Scale(kind, table)
            for kind, table in zip(settings["scales"], named, strict=True)
        ]
        return codec

    def _choices(self) -> list[tuple[Channel, ScaleChoice]]:
        mixed = self.resize == "area"
        if mixed and "score" in self.choices.values():
            raise InputError("scale 'score' needs resize='bin': 'area' mixes the places of a trace")
        usual = DEFAULT_SCALES | {k: "quantile" for k, s in DEFAULT_SCALES.items() if s == "score"}
        default = usual if mixed else DEFAULT_SCALES
        return [(c, self.choices.get(c.name) or default[c.kind]) for c in self.channels]

    def _scored(self, labels: Ints, classes: tuple[str, ...]) -> Ints:
        """Labels by the classes that `score` was fitted on, which it scales each by itself."""
        if classes == self.classes or not any(isinstance(s, Scores) for s in self.scales):
            return labels
        unknown = set(classes) - set(self.classes)
        if unknown:
            raise InputError(
                f"class {', '.join(sorted(unknown))} is not among those that the codec was fitted "
                f"on, and scale 'score' scales each by itself; known: {', '.join(self.classes)}"
            )
        return np.array([self.classes.index(name) for name in classes])[labels]

    def _length(self, traces: Traces) -> int:
        if self.size is None or self.length is None:
            return int(traces.lengths.max())
        return self.length

    def _side(self, k: int) -> int:
        return k if self.size is None else min(k, self.size)

    def _values(self, traces: Traces) -> tuple[Floats, Ints]:
        """Real units, gaps for times, (N, C, k), and how many of the k points are the trace's."""
        n = self._length(traces)
        traces = traces.truncate(n)
        values = _with_gaps(traces)
        short = n - values.shape[2]
        values = np.pad(values, ((0, 0), (0, 0), (0, short))) if short > 0 else values
        m = self._side(n)
        if m == n or self.resize == "area":
            return values[:, :, :n], traces.lengths
        return _averages(values, m, traces.lengths), -(-traces.lengths * m // n)

    def _solve(self, images: Images, n: int, method: str, backend: str) -> tuple[Tensor, Tensor]:
        """X (N, C, m) and the residual of each image (N, C)."""
        m = images.pixels.shape[-1] - self.border
        if m == n or self.resize == "bin" or method == "diagonal":
            return gasf_decode(images.pixels, gamma=self.gamma, method=method, backend=backend)
        first_pad = torch.from_numpy(-(-images.lengths * m // n))
        anchor = torch.arange(m)[None] >= first_pad[:, None]
        parts = [
            gasf_decode_area(images.pixels[:, c], anchor, gamma=self.gamma)
            for c in range(images.pixels.shape[1])
        ]
        return torch.stack([p[0] for p in parts], 1), torch.stack([p[1] for p in parts], 1)


_ARGUMENTS = ("size", "length", "resize", "gamma", "border")


def _binned(traces: Traces) -> bool:
    return any(channel.kind in ("volume", "number") for channel in traces.channels)


def _fit_scale(channel: Channel, choice: ScaleChoice, points: Floats) -> Scale:
    if isinstance(choice, str):
        return Scale.fit(choice, points, name=channel.name)
    return Scale.fit("minmax", points, bounds=choice, name=channel.name)


def _with_gaps(traces: Traces) -> Floats:
    """(N, C, L) with times as gaps, negative where a capture has packets out of order."""
    values: Floats = traces.values.copy()
    for c, channel in enumerate(traces.channels):
        if channel.kind == "time":
            gaps = np.diff(values[:, c], axis=1, prepend=0.0)
            values[:, c] = np.where(traces.mask, gaps, 0.0)
    return values


def _mask(lengths: Ints, n: int) -> npt.NDArray[np.bool_]:
    return np.arange(n)[None] < lengths[:, None]


def _averages(values: Floats, m: int, lengths: Ints | None = None) -> Floats:
    """(N, C, n) averaged over m equal windows, fewer or more than n; sums are kept.

    A window that a trace ends in averages over the points that are there.
    """
    n = values.shape[2]
    edges = np.arange(m + 1) * n / m
    whole = np.minimum(edges.astype(np.int64), n - 1)
    # What lies before each point; cumsum less the point could round below the sum before it.
    totals = np.pad(np.cumsum(values, axis=2)[:, :, :-1], ((0, 0), (0, 0), (1, 0)))
    at_edges = totals[:, :, whole] + (edges - whole) * values[:, :, whole]
    inside = edges if lengths is None else np.minimum(edges, lengths[:, None, None])
    width = np.diff(inside)
    averages: Floats = np.diff(at_edges) / np.where(width > 0, width, 1.0)
    return averages


def _in_units(values: Floats, lengths: Ints, channels: tuple[Channel, ...]) -> Floats:
    """As on disk: whole numbers, ±1, times for gaps, float32 where that is the element type."""
    for c, channel in enumerate(channels):
        if channel.kind == "direction":
            values[:, c] = np.where(values[:, c] < 0, -1.0, 1.0)
        elif channel.kind == "time":
            values[:, c] = np.cumsum(values[:, c], axis=1)
        values[:, c] = _as_type(values[:, c], pa.type_for_alias(channel.dtype).to_pandas_dtype())
    values = values[:, :, : int(lengths.max())]
    return np.where(_mask(lengths, values.shape[2])[:, None], values, 0.0)


def _as_type(values: Floats, kind: Any) -> npt.NDArray[Any]:
    """Rounded if need be, and to the nearest that there is."""
    if np.issubdtype(kind, np.floating):
        return values.astype(kind)
    least, most = (0, 1) if kind is np.bool_ else (np.iinfo(kind).min, np.iinfo(kind).max)
    return np.clip(np.rint(values), least, most).astype(kind)


def _with_residual(images: Images, residual: Tensor) -> pa.Table:
    column = pa.array(residual.numpy())
    if images.meta.num_columns == 0:
        return pa.table({"residual": column})
    meta = images.meta
    if "residual" in meta.column_names:
        meta = meta.drop_columns(["residual"])
    return meta.append_column("residual", column)
