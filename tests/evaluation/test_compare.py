"""Two sets side by side: counts, quantiles and distances by NumPy, and the picture of both."""

from __future__ import annotations

import numpy as np
import pytest
from notebook_pages import EVIL, TAGS, Page, colours, evil_traces
from small import packets, volumes

from netdiffus import Comparison, Traces, compare
from netdiffus.errors import InputError, Note


def numbers_of(found: Comparison, quantity: str) -> object:
    return next(one for one in found.differences if one.quantity == quantity)


def largest_gap(x: np.ndarray, y: np.ndarray) -> float:
    """Of the two distribution functions, looked at where each value lies."""
    at = np.union1d(x, y)
    shares = [(one[:, None] <= at).mean(0) for one in (x, y)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_numbers_are_those_of_numpy() -> None:
    a, b = packets(30, seed=0), packets(30, longest=5, seed=1)
    found = compare(a, b)
    for name in ("packet_length", "direction"):
        x, y = a.points(name), b.points(name)
        one = numbers_of(found, name)
        assert one.first == pytest.approx(tuple(np.quantile(x, (0.05, 0.5, 0.95))))
        assert one.second == pytest.approx(tuple(np.quantile(y, (0.05, 0.5, 0.95))))
        assert one.ks == pytest.approx(largest_gap(x, y))
    assert numbers_of(found, "trace length").ks == pytest.approx(
        largest_gap(a.lengths.astype(float), b.lengths.astype(float))
    )


def test_the_same_set_has_no_distance_and_another_unit_of_it_all() -> None:
    traces = volumes(24)
    assert {one.ks for one in compare(traces, traces).differences} == {0.0}
    far = Traces.from_lists({"value": [[9e9] * 16] * 4, "value_up": [[9e9] * 16] * 4}, ["a"] * 4)
    assert numbers_of(compare(traces, far), "value").ks == 1.0


def test_classes_of_either_side_are_counted() -> None:
    a, b = packets(30), packets(30)
    found = compare(a.of_class("web"), b[b.label_names != "web"], names=("old", "new"))
    assert found.counts == {"web": (10, 0), "ssh": (0, 10), "video": (0, 10)}
    text = repr(found)
    assert text.splitlines()[0].split("  ")[0] == "class"
    assert "old, median" in text
    assert "KS distance" in text


def test_channels_may_come_in_another_order_and_as_gaps() -> None:
    a, b = packets(30), packets(30, seed=1)
    other = b.with_gaps().select(["gap", "packet_length", "direction"])
    assert compare(a, other).differences == compare(a, b).differences


def test_the_picture_shows_traces_of_both_side_by_side() -> None:
    a, b = volumes(40, seed=0), volumes(40, seed=1)
    axes = [axis for axis in compare(a, b).figure.axes if axis.get_title(loc="left") in a.classes]
    known = [{row.tobytes() for row in one.values[:, 0]} for one in (a, b)]
    assert [axis.get_title(loc="left") for axis in axes] == ["onoff", "onoff", "steady", "steady"]
    for k, axis in enumerate(axes):
        drawn = {np.asarray(line.get_ydata()).tobytes() for line in axis.lines}
        assert len(drawn) == 2
        assert drawn <= known[k % 2]
        assert axis.get_ylim() == axes[k ^ 1].get_ylim()  # so that heights can be compared


def test_the_picture_shows_every_quantity_and_the_shares_of_classes() -> None:
    a = packets(30)
    figure = compare(a, a[a.label_names != "web"]).figure
    shares = [0 if name == "web" else 50 for name in a.classes]
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[0] == "classes"
    assert {"packet_length [B]", "gap [s]", "trace length [points]"} <= set(titles)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([100 / 3] * 3 + shares)


def test_a_notebook_shows_tables_and_the_picture_and_no_markup_of_the_data() -> None:
    traces = evil_traces()
    page = Page(compare(traces, traces, names=("<u>", "b"))._repr_html_())
    assert page.tags <= TAGS
    assert page.words[0] == "<u> beside b"
    assert all(name in page.words for name in EVIL[:3])
    assert colours(page.images[0]) > 10


def test_a_large_set_is_represented_and_that_is_said() -> None:
    n = 6_000
    large = Traces.from_arrays(np.arange(n)[:, None], ["a", "b"] * (n // 2), ["value"])
    with pytest.warns(Note, match="big: 5,000 of 6,000 traces are compared, random ones"):
        found = compare(large, large[:100], names=("big", "small"))
    assert len(found.first) == 5_000
    assert found.counts == {"a": (3_000, 50), "b": (3_000, 50)}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (volumes(), "b has the channels value, value_up, a has direction, gap, packet_length"),
        (packets().select(["packet_length"]), "select the same channels of both"),
    ],
)
def test_other_channels(other: Traces, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(packets(), other)


def test_bins_of_another_width() -> None:
    from dataclasses import replace

    traces = volumes()
    channels = tuple(replace(channel, bin_width=0.5) for channel in traces.channels)
    with pytest.raises(InputError, match=r"channel value: a has .*, b has .* of 0\.5 s"):
        compare(traces, replace(traces, channels=channels))
