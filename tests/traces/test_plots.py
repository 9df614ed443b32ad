"""Pictures show the numbers of the traces."""

from __future__ import annotations

import numpy as np
import pytest
from small import packets, volumes

from netdiffus import Traces
from netdiffus.errors import InputError


def test_a_line_is_a_trace() -> None:
    traces = volumes(40)
    figure = traces.plot(each=2)
    assert len(figure.axes) == len(traces.classes) * len(traces.channels)
    known = {row[:n].tobytes() for row, n in zip(traces.values[:, 0], traces.lengths, strict=True)}
    columns = np.array(figure.axes).reshape(len(traces.classes), -1)
    for k, axis in enumerate(columns[:, 0]):
        assert axis.get_title(loc="left") == traces.classes[k]
        assert len(axis.lines) == 2
        assert {np.asarray(line.get_ydata()).tobytes() for line in axis.lines} <= known
    assert columns[0, 0].get_title(loc="right") == traces.channels[0].title


def test_packets_stand_at_their_times_below_zero_to_the_client() -> None:
    traces = packets(12)
    drawn = [line for axis in traces.plot(each=1).axes for line in axis.collections]
    ends = {(x, y) for line in drawn for (x, _), (_, y) in line.get_segments()}
    sizes, directions, times = (traces.points(c) for c in range(3))
    assert ends <= set(zip(times.tolist(), (sizes * directions).tolist(), strict=True))
    assert min(y for _, y in ends) < 0 < max(y for _, y in ends)


def test_others_stand_beside_them() -> None:
    traces = volumes(40)
    first = traces.plot(traces[:20], each=3).axes[0]
    assert [line.get_color() for line in first.lines] == ["#1f5fa8"] * 3 + ["#d9661f"] * 3
    with pytest.raises(InputError, match="other has the channels"):
        traces.plot(packets(12))
    with pytest.raises(InputError, match="each must be at least 1, got 0"):
        traces.plot(each=0)


def test_a_set_says_what_it_is_on_a_screen() -> None:
    text = repr(packets(60))
    assert text.startswith("Traces: 60 of ")
    assert "packet_length [B]" in text
    many = Traces.from_arrays(np.ones((40, 3)), [f"c{k}" for k in range(40)], channels=["value"])
    assert "c19 1, and 28 more" in repr(many)
    assert len(repr(many).splitlines()) == 4
    evil = Traces.from_arrays(np.ones((6, 3)), ["\x1b[31ma\nb"] * 6, channels=["value"])
    assert len(repr(evil).splitlines()) == 4
    assert "\x1b" not in repr(evil)
