"""Traces to GASF images and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from netdiffus.channels import Channel
from netdiffus.codec.scaling import Scale
from netdiffus.codec.series import (
    as_gaps,
    averages,
    check_channels,
    in_units,
    is_binned,
    mask_of,
    parts_of,
    shared_length,
)
from netdiffus.codec.vocabulary import without_rare
from netdiffus.errors import InputError, whole
from netdiffus.ops.decode import gasf_decode, gasf_decode_area
from netdiffus.ops.gasf import gasf_image
from netdiffus.traces.traces import Floats, Ints, Traces

ScaleChoice = str | tuple[float, float]  # minmax, log, quantile, or given bounds (lo, hi)

DEFAULT_SCALES: dict[str, ScaleChoice] = {
    "size": "quantile",
    "direction": (-1.0, 1.0),
    "time": "quantile",
    "gap": "quantile",
    "volume": "quantile",
    "number": "quantile",
}


@dataclass(frozen=True, eq=False)
class Images:
    """N traces as GASF images, with everything that decoding needs.

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
    points first (in real units, so that volumes keep their sum), which loses only the variation
    inside a bin; `resize="area"` shrinks the n x n image by area as the paper does, which causes a
    bias (see `gasf_decode_area`). Times are coded as gaps.

    A border of constant points x = 1 may follow the series. There the image is cos(theta_i + 0) =
    x_i, so its edge shows the series itself. Then values near 0, where the diagonal 2 x**2 - 1 is
    flat, are decoded as well as others.

    Args:
        size: Height and width m of the images; None never resizes (m is the longest trace).
        length: Points n kept of each trace. None keeps whole traces (n is then a multiple of
            `size`, for `bin`), except that traces of packets (no `volume` channel) keep their first
            `size` packets.
        resize: `bin` or `area`.
        gamma: Contrast; the paper uses 0.25.
        scales: For a channel's name, `minmax`, `log`, `quantile` or its bounds (lo, hi); the others
            get the default of their kind.
        border: Constant points after the series; images are larger than `size` by this number. Only
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
        self.bins_per_point = 1
        self.border = border
        self.choices = dict(scales or {})
        self.channels: tuple[Channel, ...] = ()
        self.scales: list[Scale] = []

    def fit(self, traces: Traces, owners: Ints | None = None) -> GasfCodec:
        """Learns the channels, scales and the common length from traces, once.

        Args:
            traces: What to learn from.
            owners: (N,) the owner of each trace, as a number. If given, every number that the codec
                keeps is made from the traces of at least 5 owners, and rarer values are no longer
                coded exactly.

        Raises:
            InputError: The codec is fitted already, or fewer than 5 owners.
        """
        if self.channels:
            raise InputError("the codec is fitted already; make a new one for other traces")
        unknown = set(self.choices) - {channel.name for channel in traces.channels}
        if unknown:
            raise InputError(f"scales: no channel {', '.join(sorted(unknown))} in the traces")
        self.channels = traces.channels
        if self.size is not None:
            self.length = self.kept(traces, owners)
        n = self._length(traces)
        for c, channel in enumerate(self.channels):
            points, owner = self._points_of(traces, c, n, owners)
            points = points if owner is None else without_rare(points, owner)
            choice = self.choices.get(channel.name) or DEFAULT_SCALES[channel.kind]
            kind, bounds = (choice, None) if isinstance(choice, str) else ("minmax", choice)
            self.scales.append(Scale.fit(kind, points, bounds, channel.name))
        return self

    def kept(self, traces: Traces, owners: Ints | None = None) -> int:
        """Number of points of a trace that the codec keeps if it is fitted on these traces."""
        longest = int(traces.lengths.max()) if owners is None else shared_length(traces, owners)
        if self.length is not None or self.size is None:
            return self.length or longest
        if not is_binned(traces):
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

        Integer channels come back whole, directions ±1. Times run backwards only if times of the
        fitted traces do.

        Args:
            images: Pixels (N, C, m, m) and the length of each trace.
            method: `image` fits all pixels, `diagonal` uses only the diagonal.
            backend: Of `netdiffus.ops.gasf_decode`.

        Returns:
            Traces; `residual` is the root mean square distance, over pixels and channels, of the
            images from the nearest GASF: 0 for an exact GASF; for a synthetic image a measure of
            its quality.
        """
        n = self.length if self.size is not None else None
        side = images.pixels.shape[-1] - self.border
        x, residual = self._solve(images, n or side, method, backend)
        x = x[..., :side]
        values = np.stack(
            [scale.decode(x[:, c].numpy()) for c, scale in enumerate(self.scales)], axis=1
        )
        if n is not None and values.shape[2] != n:
            values = averages(values, n)
        return Traces(
            values=in_units(values, images.lengths, self.channels),
            lengths=images.lengths,
            channels=self.channels,
            labels=images.labels,
            classes=images.classes,
            meta=_with_residual(images, residual.square().mean(1).sqrt()),
        )

    def series(self, traces: Traces) -> Tensor:
        """Traces scaled to [0, 1] and padded with 0: float64 (N, C, k), binned if need be."""
        check_channels(traces, self.channels)
        values, lengths = self._values(traces, slice(None), self._length(traces))
        x = np.stack([scale.encode(values[:, c]) for c, scale in enumerate(self.scales)], axis=1)
        return torch.from_numpy(np.where(mask_of(lengths, x.shape[2])[:, None], x, 0.0))

    def draw(self, series: Tensor, out: Tensor | None = None, backend: str = "auto") -> Tensor:
        """GASF images (N, C, m, m) of series (N, C, k), the border included."""
        side = self._side(series.shape[-1]) + self.border
        whole = torch.nn.functional.pad(series, (0, self.border), value=1.0)
        return gasf_image(whole, side, gamma=self.gamma, out=out, backend=backend)

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
            "channels": [asdict(channel) for channel in self.channels],
            "scales": [scale.kind for scale in self.scales],
        }
        tables = {c.name: s.table for c, s in zip(self.channels, self.scales, strict=True)}
        return settings, {name: torch.from_numpy(table) for name, table in tables.items()}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], tables: Mapping[str, Tensor]) -> GasfCodec:
        """The codec that gave this `state`."""
        named = ("size", "length", "resize", "gamma", "border")
        codec = cls(**{name: settings[name] for name in named})
        codec.channels = tuple(Channel(**one) for one in settings["channels"])
        pairs = zip(settings["scales"], codec.channels, strict=True)
        codec.scales = [Scale(kind, tables[channel.name].numpy()) for kind, channel in pairs]
        return codec

    def _length(self, traces: Traces) -> int:
        if self.size is None or self.length is None:
            return int(traces.lengths.max())
        return self.length

    def _side(self, k: int) -> int:
        return k if self.size is None else min(k, self.size)

    def _points_of(
        self, traces: Traces, c: int, n: int, owners: Ints | None
    ) -> tuple[Floats, Ints | None]:
        """One channel at all points of all traces; and the owner of each point, if given."""
        found, counts = [], []
        for rows in parts_of(len(traces)):
            values, lengths = self._values(traces, rows, n)
            found.append(values[:, c][mask_of(lengths, values.shape[2])])
            counts.append(lengths)
        points = np.concatenate(found)
        return points, None if owners is None else np.repeat(owners, np.concatenate(counts))

    def _values(self, traces: Traces, rows: slice, n: int) -> tuple[Floats, Ints]:
        """Some traces in real units (N, C, k), gaps in place of times; and their points."""
        lengths = np.minimum(traces.lengths[rows], n)
        values = as_gaps(traces.values[rows, :, :n], lengths, traces.channels)
        values = np.pad(values, ((0, 0), (0, 0), (0, n - values.shape[2])))
        m = self._side(n)
        if m == n or self.resize == "area":
            return values, lengths
        return averages(values, m, lengths), -(-lengths * m // n)

    def _solve(self, images: Images, n: int, method: str, backend: str) -> tuple[Tensor, Tensor]:
        """X (N, C, m) and the residual of each image (N, C)."""
        m = images.pixels.shape[-1] - self.border
        if m == n or self.resize == "bin" or method == "diagonal":
            return gasf_decode(images.pixels, gamma=self.gamma, method=method, backend=backend)
        first_pad = torch.from_numpy(-(-images.lengths * m // n))
        anchor = torch.arange(m)[None] >= first_pad[:, None]
        shape = images.pixels.shape[:2]
        anchor = anchor.repeat_interleave(shape[1], 0)
        x, residual = gasf_decode_area(images.pixels.flatten(0, 1), anchor, gamma=self.gamma)
        return x.view(*shape, m), residual.view(shape)


def _with_residual(images: Images, residual: Tensor) -> pa.Table:
    column = pa.array(residual.numpy())
    if images.meta.num_columns == 0:
        return pa.table({"residual": column})
    meta = images.meta
    if "residual" in meta.column_names:
        meta = meta.drop_columns(["residual"])
    return meta.append_column("residual", column)
