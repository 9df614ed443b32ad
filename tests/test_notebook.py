"""What a notebook shows: all that there is, and nothing of it as markup."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from notebook_pages import EVIL, TAGS, Page, colours, evil_traces
from small import packets, volumes

from netdiffus import Model, TokenCodec, Traces
from netdiffus.notebook import NO_PICTURES, lines, number, table


@pytest.mark.parametrize("what", ["traces", "model"])
def test_nothing_of_the_data_is_markup(what: str) -> None:
    traces = evil_traces()
    shown = traces if what == "traces" else Model.new(traces, TokenCodec(), width=16)
    page = Page(shown._repr_html_())
    assert page.tags <= TAGS
    assert page.names == {"style", "alt", "src"}
    text = " ".join(page.words)
    assert '<b onclick="x">' in text
    assert "\x1b" not in text
    assert colours(page.images[0]) > 10  # an empty picture has one
    if what == "traces":
        assert all(name in text for name in EVIL[:3])
        assert "<i>meta" in text


def test_traces_show_what_they_hold() -> None:
    traces = packets(60)
    words = Page(traces._repr_html_()).words
    lengths = traces.of_class("web").lengths
    assert words[0] == "Traces: 60 of 3 classes"
    of_class = ["web", "20", f"{lengths.min()} to {lengths.max()}"]
    of_channel = ["packet_length", "B", "size", "40", "1,500"]
    assert words[words.index("web") :][:3] == of_class
    assert words[words.index("packet_length") :][:5] == of_channel


def test_of_many_classes_some_are_shown_and_the_others_counted() -> None:
    many = Traces.from_arrays(np.ones((40, 3)), [f"c{k}" for k in range(40)], channels=["value"])
    page = Page(many._repr_html_())
    assert "and 28 more classes" in page.words
    assert many.classes[11] in page.words
    assert many.classes[12] not in page.words
    assert "The picture has 6 of the 40 classes." in page.words


def test_a_notebook_takes_no_longer_for_long_traces() -> None:
    """Its picture shows 500 points: as large a file for 100,000 as for 1,000."""
    values = np.random.default_rng(0).uniform(0, 9, (6, 100_000))
    long = Traces.from_arrays(values, list("ababab"), ["value"])
    pages = [Page(one._repr_html_()) for one in (long.truncate(1_000), long)]
    sizes = [len(page.images[0]) for page in pages]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
    assert "It shows the first 500 points of a trace." in pages[1].words


def test_a_figure_is_a_picture_without_pyplot() -> None:
    figure = volumes().plot()
    assert colours(figure._repr_png_()) > 10


@pytest.mark.parametrize("what", ["traces", "model"])
def test_without_matplotlib_there_is_text_and_a_word_of_it(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = volumes()
    shown = traces if what == "traces" else Model.new(traces, TokenCodec(), width=16)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "netdiffus.traces.plots", raising=False)
    page = Page(shown._repr_html_())
    assert page.images == []
    assert NO_PICTURES in page.words
    assert "value [per bin], value_up [per bin]" in page.words or "value_up" in page.words
    with pytest.raises(ModuleNotFoundError, match=r"pictures need matplotlib.*netdiffus\[eval\]"):
        traces.plot()


def test_text_is_escaped_wherever_it_stands() -> None:
    page = Page(table([("<b>", 1)], ("<th>", "n")) + lines(["<p>&amp;"]))
    assert page.words == ["<th>", "n", "<b>", "1", "<p>&amp;"]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0"),
        (3.0, "3"),
        (1234.5, "1,234"),
        (0.12345, "0.123"),
        (7e-6, "7e-06"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers_are_short(x: float, text: str) -> None:
    assert number(x) == text
