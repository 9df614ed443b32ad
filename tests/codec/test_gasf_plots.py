"""The picture of a trace and its image shows both, by pyts."""

from __future__ import annotations

import numpy as np
import pytest
from pyts.image import GramianAngularField
from small import packets, volumes

from netdiffus import GasfCodec, plot_gasf
from netdiffus.errors import InputError


def test_the_image_is_that_of_pyts_and_stands_beside_its_values() -> None:
    traces = volumes(6, 16).select(["value"])
    codec = GasfCodec(16, scales={"value": (0.0, 6000.0)})
    left, right, bar = plot_gasf(traces, 3, codec=codec).axes
    values = traces.values[3, 0]
    assert np.array_equal(left.lines[0].get_ydata(), values)
    cosine = values[None] / 6000  # what GasfCodec takes as the cosine of an angle
    theirs = GramianAngularField(sample_range=None, method="summation").transform(cosine)[0]
    np.testing.assert_allclose(right.images[0].get_array(), (theirs + 1) / 2, atol=1e-12)
    assert left.get_title(loc="left") == traces.label_names[3]
    assert left.get_ylabel() == "value [per bin]"
    assert (left.get_xlabel(), right.get_xlabel(), right.get_ylabel()) == (
        "point",
        "point j",
        "point i",
    )
    assert bar.get_ylabel() == "(cos(θᵢ + θⱼ) + 1) / 2"


def test_every_channel_of_every_row_is_drawn_times_as_gaps() -> None:
    traces = packets(9, fixed=True)
    figure = plot_gasf(traces, [0, -1])
    axes = np.array(figure.axes[:-1]).reshape(2, 6)
    names = [axis.get_ylabel() for axis in axes[0, ::2]]
    assert names == ["packet_length [B]", "direction [±1]", "gap [s]"]
    assert [row[0].get_title(loc="left") for row in axes] == ["web", "video"]
    segments = np.array(axes[1, 4].collections[0].get_segments())
    np.testing.assert_allclose(np.cumsum(segments[:, 1, 1]), traces.values[-1, 2])


@pytest.mark.parametrize(("size", "border", "width"), [(8, 0, 16.0), (8, 2, 20.0), (16, 4, 20.0)])
def test_an_image_is_as_wide_as_the_points_it_shows(size: int, border: int, width: float) -> None:
    """Of 16 points; a border of 2 pixels of 8 is as wide as 4 of them."""
    axes = plot_gasf(volumes(6, 16), codec=GasfCodec(size, border=border)).axes
    first, last, bottom, top = axes[1].images[0].get_extent()
    assert (last - first, bottom - top) == (width, width)
    assert axes[0].get_xlim() == (-0.5, 15.5)


def test_the_codec_stays_as_it_is() -> None:
    traces, codec = volumes(6), GasfCodec(8)
    plot_gasf(traces, codec=codec)
    assert codec.channels == ()
    fitted = GasfCodec(8).fit(traces)
    plot_gasf(traces[:2], 1, codec=fitted)
    with pytest.raises(InputError, match="must have the channels the codec was fitted on"):
        plot_gasf(packets(), codec=fitted)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (6, "there is no trace 6; they are 0 to 5"),
        (-7, "rows must be at least -6, got -7"),
        ([], "between 1 and 24 traces can be drawn, got 0"),
        ([0] * 25, "between 1 and 24 traces can be drawn, got 25"),
        (1.5, "rows must be a whole number"),
    ],
)
def test_rows_that_are_not_there(rows: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plot_gasf(volumes(6), rows)  # type: ignore[arg-type]
