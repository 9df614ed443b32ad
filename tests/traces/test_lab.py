from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from netdiffus.errors import InputError
from netdiffus.traces.lab import KINDS, lab_traffic
from netdiffus.traces.traces import Traces

DATA = Path(str(files("netdiffus") / "data"))
BINS, WIDTH = 64, 0.2  # of lab_volumes: 0.2 s each


@pytest.fixture(scope="module")
def volumes() -> Traces:
    return lab_traffic("volumes")


@pytest.fixture(scope="module")
def packets() -> Traces:
    return lab_traffic("packets")


def test_both_files_hold_the_same_sessions(volumes: Traces, packets: Traces) -> None:
    for name in ("trace_id", "group"):
        assert volumes.meta[name].equals(packets.meta[name])
    assert volumes.label_names.tolist() == packets.label_names.tolist()
    assert len(set(volumes.meta["trace_id"].to_pylist())) == 900


def test_a_hundred_traces_of_nine_classes_on_twenty_links(volumes: Traces) -> None:
    links = np.array(volumes.meta["group"].to_pylist())
    assert len(volumes.classes) == 9
    assert set(volumes.counts().values()) == {100}
    for name in volumes.classes:
        assert np.unique(links[volumes.label_names == name], return_counts=True)[1].tolist() == (
            [5] * 20
        )


def test_channels(volumes: Traces, packets: Traces) -> None:
    assert [(c.name, c.kind) for c in volumes.channels] == [
        ("value", "volume"),
        ("value_up", "volume"),
    ]
    assert [(c.name, c.kind) for c in packets.channels] == [
        ("packet_length", "size"),
        ("direction", "direction"),
        ("timestamp", "time"),
    ]
    assert set(volumes.lengths) == {BINS}
    assert packets.lengths.max() == 128


def test_packets_are_possible(packets: Traces) -> None:
    sizes, times = packets.points("packet_length"), packets.values[:, 2]
    steps = np.diff(times, axis=1)[packets.mask[:, 1:]]
    assert sizes.min() >= 28  # an IP and a UDP header
    assert sizes.max() <= 1500
    assert (times[:, 0] == 0).all()
    assert (steps >= 0).all()
    assert times.max() < BINS * WIDTH


def test_packets_sum_to_volumes(volumes: Traces, packets: Traces) -> None:
    """In every bin that lies before the last packet kept."""
    compared = 0
    for i, n in enumerate(packets.lengths):
        size, direction, time = packets.values[i, :, :n]
        bins = np.floor(time / WIDTH).astype(int)
        whole = bins[-1]
        for c, sign in enumerate((-1, 1)):
            sums = np.bincount(bins, size * (direction == sign), minlength=BINS)
            near_edge = np.abs(time / WIDTH - np.rint(time / WIDTH)) < 1e-5  # float32 times
            if not near_edge[1:].any():
                np.testing.assert_array_equal(sums[:whole], volumes.values[i, c, :whole])
                compared += whole
    assert compared > 10_000


def test_no_two_traces_are_equal(volumes: Traces, packets: Traces) -> None:
    for traces in (volumes, packets):
        assert len(set(traces.duplicates().tolist())) == len(traces)


def test_files_are_small_and_the_card_names_every_class(volumes: Traces) -> None:
    card = (DATA / "lab_traffic.md").read_text(encoding="utf-8")
    sizes = [path.stat().st_size for path in DATA.glob("*.parquet")]
    assert len(sizes) == len(KINDS)
    assert sum(sizes) <= 600_000
    assert all(f"| `{name}` |" in card for name in volumes.classes)
    assert all(f"{size:,} B" in card for size in sizes)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_on_disk_are_described(kind: str) -> None:
    card = (DATA / "lab_traffic.md").read_text(encoding="utf-8")
    schema = pa.parquet.read_schema(DATA / f"lab_{kind}.parquet")
    assert all(f"`{name}`" in card for name in schema.names)


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="kind must be one of volumes, packets, got 'flows'"):
        lab_traffic("flows")
