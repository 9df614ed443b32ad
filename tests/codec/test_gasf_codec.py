from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pyts.image import GramianAngularField
from small import packets, volumes

from netdiffus.codec import GasfCodec, Images, default_size
from netdiffus.codec.series import _as_type, averages
from netdiffus.errors import InputError, Note
from netdiffus.ops.decode import gasf_decode, gasf_decode_area
from netdiffus.ops.gasf import gasf_image
from netdiffus.traces.traces import Traces

SHARED = Path(__file__).parents[3] / "shared" / "data"
SETS = (
    "alexa_voice",
    "cell5g_apps",
    "iot_sentinel",
    "mirage_appx",
    "nab_network_in",
    "video_platforms",
    "web_doh",
)


def round_trip(codec: GasfCodec, traces: Traces, dtype: torch.dtype = torch.float64) -> Traces:
    return codec.decode(codec.encode(traces, dtype))


def assert_same(back: Traces, traces: Traces) -> None:
    """Integers, directions and lengths exactly, floats to 1e-5 of their range."""
    np.testing.assert_array_equal(back.lengths, traces.lengths)
    np.testing.assert_array_equal(back.label_names, traces.label_names)
    for c, channel in enumerate(traces.channels):
        if channel.is_integer:
            np.testing.assert_array_equal(back.points(c), traces.points(c))
        else:
            span = np.ptp(traces.points(c))
            assert np.abs(back.points(c) - traces.points(c)).max() <= 1e-5 * span


@pytest.mark.parametrize("scale", ["minmax", "log", "quantile"])
@pytest.mark.parametrize("gamma", [1.0, 0.25])
def test_unresized_round_trip(scale: str, gamma: float) -> None:
    for traces in (packets(), volumes()):
        scales = {channel.name: scale for channel in traces.channels}
        codec = GasfCodec(64, gamma=gamma, scales=scales).fit(traces)
        back = round_trip(codec, traces)
        assert_same(back, traces)
        assert max(back.meta["residual"].to_pylist()) < 1e-12
        assert back.meta["trace_id"].equals(traces.meta["trace_id"])


def test_the_border_shows_the_series_and_is_taken_off_again() -> None:
    traces = packets()
    codec = GasfCodec(64, border=3).fit(traces)
    images = codec.encode(traces, torch.float64)
    m = codec.points
    assert images.pixels.shape[-1] == codec.image_size == m + 3
    edge = 2 * images.pixels[..., :m, m:] - 1
    series = codec.series(traces).unsqueeze(-1)
    torch.testing.assert_close(edge, series.expand_as(edge), atol=1e-12, rtol=0)
    assert_same(codec.decode(images), traces)
    with pytest.raises(InputError, match="border must be 0, or above 0 with resize='bin'"):
        GasfCodec(8, resize="area", border=1)


def test_round_trip_in_float32() -> None:
    traces = packets(200, 60)
    assert_same(round_trip(GasfCodec(64).fit(traces), traces, torch.float32), traces)


@pytest.mark.parametrize("name", SETS)
def test_unresized_round_trip_of_public_traffic(name: str) -> None:
    """Every trace where NETDIFFUS_ALL_TRACES is set (five minutes), else a spread of 100."""
    path = SHARED / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is not here; it is not ours to ship")
    with warnings.catch_warnings():  # of packets out of order
        warnings.simplefilter("ignore", Note)
        traces = Traces.load(path)
    codec = GasfCodec(None).fit(traces)
    order = np.argsort(traces.lengths, kind="stable")
    if "NETDIFFUS_ALL_TRACES" not in os.environ:
        order = order[:: max(1, len(order) // 100)]
        order = order[traces.lengths[order] <= 1200]
    for rows in _of_like_length(order, traces.lengths):
        part = traces[rows].truncate(int(traces.lengths[rows].max()))
        assert_same(round_trip(codec, part), part)


def _of_like_length(order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Runs of rows of one length, whose images take at most 160 MB."""
    pixels = 20_000_000
    runs = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    parts = [max(1, pixels // int(lengths[run[0]]) ** 2) for run in runs]
    return [
        run[i : i + k] for run, k in zip(runs, parts, strict=True) for i in range(0, len(run), k)
    ]


def test_image_is_pyts_gasf_of_the_scaled_series() -> None:
    traces = volumes()
    codec = GasfCodec(64, scales={"value": "minmax", "value_up": "minmax"}).fit(traces)
    series = codec.series(traces).numpy()
    theirs = GramianAngularField(sample_range=None, method="summation").fit_transform(series[:, 0])
    np.testing.assert_allclose(
        codec.encode(traces, torch.float64).pixels[:, 0], (theirs + 1) / 2, atol=1e-12
    )


@pytest.mark.parametrize("size", [5, 7, 12])
def test_area_image_is_opencv_resize_of_pyts_gasf(size: int) -> None:
    traces = volumes()
    codec = GasfCodec(size, resize="area", gamma=0.25).fit(traces)
    gaf = GramianAngularField(sample_range=None, method="summation")
    theirs = gaf.fit_transform(codec.series(traces).numpy()[:, 1])
    theirs = np.stack([cv2.resize(g, (size, size), interpolation=cv2.INTER_AREA) for g in theirs])
    ours = codec.encode(traces, torch.float64).pixels[:, 1]
    np.testing.assert_allclose(ours, ((theirs + 1) / 2) ** 0.25, atol=1e-5)


@pytest.mark.parametrize("size", [4, 5, 13])
def test_bins_keep_sums_and_lengths(size: int) -> None:
    traces = volumes()
    shorter = Traces.from_lists(
        {"value": [one[: 7 + i % 9] for i, one in enumerate(traces.values[:, 0].tolist())]},
        traces.label_names.tolist(),
    )
    codec = GasfCodec(size, scales={"value": "minmax"}).fit(shorter)
    back = round_trip(codec, shorter)
    np.testing.assert_array_equal(back.lengths, shorter.lengths)
    sums = shorter.values[:, 0].sum(1)
    # Sums are kept but for a bin cut in two by the trace's end, and rounding to whole bytes.
    whole = shorter.lengths == 15
    assert np.abs(back.values[whole, 0].sum(1) - sums[whole]).max() <= 8
    full = round_trip(GasfCodec(4).fit(traces), traces)
    assert np.abs(full.values[:, 0].sum(1) - traces.values[:, 0].sum(1)).max() <= 8


def test_area_decode_beats_the_diagonal() -> None:
    """The diagonal of an area image is biased upwards on spiky traces; the whole image is not."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((40, 720)) ** 8)
    x[:, 650:] = 0  # padding: the anchor
    blocks = x.reshape(40, 90, 8).mean(-1)
    image = gasf_image(x, 90)
    anchor = (torch.arange(90) >= 82).expand(40, 90)
    whole, residual = gasf_decode_area(image, anchor)
    diagonal, _ = gasf_decode(image, method="diagonal")
    assert (whole - blocks).abs().max() < 1e-6
    assert residual.max() < 1e-7
    assert (diagonal - blocks).mean() > 0.05


class TestDecode:
    def test_noisy_images_are_read_better_than_from_the_diagonal(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(50, 32, generator=generator, dtype=torch.float64)
        noise = 0.05 * torch.randn(50, 32, 32, generator=generator, dtype=torch.float64)
        image = (gasf_image(x, 32) + noise).clamp(0, 1)
        whole, residual = gasf_decode(image)
        diagonal, _ = gasf_decode(image, method="diagonal")
        rms = [(found - x).square().mean().sqrt().item() for found in (whole, diagonal)]
        assert rms[0] < 0.4 * rms[1]
        # Symmetrising halves the noise's power off the diagonal.
        assert 0.02 < residual.mean() < 0.05

    def test_is_the_least_squares_minimum_that_scipy_finds(self) -> None:
        from scipy.optimize import minimize

        generator = torch.Generator().manual_seed(1)
        x = 0.2 + 0.6 * torch.rand(4, 6, generator=generator, dtype=torch.float64)
        noise = 0.03 * torch.randn(4, 6, 6, generator=generator, dtype=torch.float64)
        image = gasf_image(x, 6) + 0.5 * (noise + noise.mT)
        found, residual = gasf_decode(image, iterations=20)

        def distance(theta: np.ndarray, target: np.ndarray) -> float:
            return float(np.square(np.cos(np.add.outer(theta, theta)) - (2 * target - 1)).sum())

        for k in range(4):
            best = minimize(distance, np.arccos(x[k].numpy()), args=(image[k].numpy(),), tol=1e-14)
            np.testing.assert_allclose(found[k].numpy(), np.cos(best.x), atol=1e-5)
            assert residual[k] == pytest.approx(0.5 * np.sqrt(best.fun / 36), rel=1e-6)

    def test_bad_arguments(self) -> None:
        with pytest.raises(ValueError, match=r"expected \(\.\.\., m, m\), found \(3, 4\)"):
            gasf_decode(torch.zeros(3, 4))
        with pytest.raises(ValueError, match="expected 'image' or 'diagonal'"):
            gasf_decode(torch.zeros(3, 3), method="corner")


def test_packets_out_of_order_come_back_so() -> None:
    times = [[0.0, 0.5, 0.4999, 2.0], [0.0, 0.25, 0.5, 3.0]]
    ordered = Traces.from_lists({"timestamp": [[0.0, 1.0, 2.0, 3.0]] * 2}, ["a", "b"])
    traces = replace(ordered, values=np.array(times)[:, None])
    assert_same(round_trip(GasfCodec(8).fit(traces), traces), traces)


def test_codec_state_survives() -> None:
    traces = packets()
    codec = GasfCodec(8).fit(traces)
    settings, tables = codec.state()
    again = GasfCodec.from_state(settings, tables)
    assert torch.equal(again.encode(traces).pixels, codec.encode(traces).pixels)
    assert again.decode(codec.encode(traces)).equals(codec.decode(codec.encode(traces)))


def test_packets_are_cut_and_volumes_are_binned() -> None:
    assert GasfCodec(4).fit(packets()).length == 4
    assert GasfCodec(4).fit(volumes()).length == 16
    assert GasfCodec(4).fit(volumes()).image_size == 4


def test_default_size_resizes_no_short_trace() -> None:
    assert default_size(volumes(length=40)) == 40
    assert default_size(volumes(length=500)) == 500
    assert default_size(packets(9, 100, fixed=True)) == 100
    assert default_size(packets(9, 1000, fixed=True)) == 256


@pytest.mark.parametrize("length", [513, 1000, 1600, 10_001])
def test_points_of_longer_volumes_are_whole_bins(length: int) -> None:
    traces = volumes(4, length)
    size = default_size(traces)
    codec = GasfCodec(size, scales=dict.fromkeys(("value", "value_up"), "minmax")).fit(traces)
    assert 256 < size <= 512
    assert codec.length % size == 0
    assert length <= codec.length < length + codec.length // size
    back = codec.decode(codec.encode(traces, torch.float64))
    bins = codec.length // size
    for trace, again in zip(traces.values[:, 0], back.values[:, 0], strict=True):
        whole = length // bins * bins
        means = trace[:whole].reshape(-1, bins).mean(axis=1, keepdims=True)
        assert np.abs(again[:whole].reshape(-1, bins) - means).max() <= 0.51  # whole numbers


def test_kept_points_are_known_before_and_after() -> None:
    for codec, traces, kept in (
        (GasfCodec(4), packets(), 4),
        (GasfCodec(3), volumes(), 18),
        (GasfCodec(3, resize="area"), volumes(), 16),
        (GasfCodec(3, length=5), volumes(), 5),
        (GasfCodec(None), volumes(), 16),
    ):
        assert codec.kept(traces) == kept
        assert codec.fit(traces).kept(traces) == kept


def test_any_pixels_decode_to_possible_traces() -> None:
    codec = GasfCodec(8).fit(packets(40))
    pixels = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    back = codec.decode(Images(pixels, np.full(30, 7), np.zeros(30, np.int64), ("web",)))
    assert set(back.points("direction")) <= {-1.0, 1.0}
    assert np.all(back.points("packet_length") % 1 == 0)
    assert np.all(np.diff(back.values[:, 2, :7], axis=1) >= 0)


def test_constant_traces() -> None:
    traces = Traces.from_lists({"value": [[5, 5, 5], [5, 5]]}, ["a", "b"])
    for scale in ("minmax", "log", "quantile"):
        assert_same(round_trip(GasfCodec(3, scales={"value": scale}).fit(traces), traces), traces)


def test_ten_million_points_are_binned() -> None:
    values = np.zeros((2, 1, 10_000_000))
    values[:, 0, ::1000] = [[3.0], [5.0]]
    template = volumes().select(["value"])[:2]
    traces = Traces(
        values, np.full(2, 10_000_000), template.channels, template.labels, template.classes
    )
    x = GasfCodec(16, scales={"value": (0, 10)}).fit(traces).series(traces)
    np.testing.assert_allclose(x, np.repeat([[[3e-4]], [[5e-4]]], 16, axis=2), rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be at least 1"),
        ({"length": 0}, "length must be at least 1"),
        ({"resize": "nearest"}, "resize must be 'bin' or 'area'"),
        ({"gamma": 0.0}, "gamma must be a number above 0"),
        ({"size": 8.0}, "size must be a whole number, got 8.0"),
    ],
)
def test_bad_settings(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GasfCodec(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "m"), [(256, 64), (300, 128), (100, 64), (64, 100)])
def test_no_average_of_volumes_is_below_0(n: int, m: int) -> None:
    """Zeros beside large values with fractions; the sums before each bin round."""
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 3, (40, 1, n)) * (rng.random((40, 1, n)) < 0.3)
    assert averages(values, m).min() >= 0


def test_flags_and_narrow_numbers_stay_what_they_are() -> None:
    rng = np.random.default_rng(0)
    flags = np.repeat(rng.random((30, 16)) < 0.2, 4, axis=1).tolist()
    codec = GasfCodec(16, border=1)
    traces = Traces.from_lists({"flag": flags}, ["a"] * 30)
    back = codec.fit(traces).decode(codec.encode(traces, torch.float64))
    assert np.array_equal(back.points("flag"), traces.points("flag"))
    assert _as_type(np.array([-3.2, 7.6, 300.0]), np.uint8).tolist() == [0, 8, 255]


def test_a_codec_is_fitted_once() -> None:
    codec = GasfCodec(8).fit(packets())
    with pytest.raises(InputError, match="fitted already"):
        codec.fit(packets())


def test_other_element_types_are_the_same_channels() -> None:
    lists = [[1, 2, 3], [4, 5, 6]]
    codec = GasfCodec(3).fit(Traces.from_lists({"x": lists}, ["a", "b"]))
    floats = Traces.from_lists({"x": [[float(v) for v in one] for one in lists]}, ["a", "b"])
    assert codec.series(floats).shape == (2, 1, 3)


def test_other_channels_are_refused() -> None:
    with pytest.raises(InputError, match="channels the codec was fitted on: packet_length"):
        GasfCodec(8).fit(packets()).encode(volumes())
    with pytest.raises(InputError, match="no channel size in the traces"):
        GasfCodec(8, scales={"size": "log"}).fit(packets())


@pytest.mark.parametrize("owned", [False, True])
def test_a_class_without_traces_does_no_harm(owned: bool) -> None:
    some = packets(24)[packets(24).label_names != "ssh"]
    owners = np.arange(len(some)) if owned else None
    codec = GasfCodec(None).fit(some, owners)
    assert round_trip(codec, some).label_names.tolist() == some.label_names.tolist()
