from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from small import packets, volumes

from netdiffus.channels import Channel
from netdiffus.codec import TokenCodec
from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces


def decoded(codec: TokenCodec, tokens: torch.Tensor, seed: int = 0) -> Traces:
    """Traces of tokens, with random places inside bins."""
    places = torch.rand(
        tokens.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    labels = np.zeros(len(tokens), dtype=np.int64)
    return codec.decode(tokens.long(), places, labels, ("a",), pa.table({"i": labels}))


def round_trip(codec: TokenCodec, traces: Traces) -> Traces:
    return decoded(codec, codec.encode(traces))


def shared(kind: str, n: int = 40, longest: int = 9) -> Traces:
    """Traces whose every value at least five of them have."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, longest + 1, n)
    lengths[:5] = longest
    directions = {"direction": [rng.choice([-1, 1], k).tolist() for k in lengths]}
    columns = {
        "packets": {"packet_length": [rng.choice([0, 40, 1500], k).tolist() for k in lengths]}
        | directions
        | {"iat": [rng.choice([0.0, 0.1, 1 / 3], k).tolist() for k in lengths]},
        "volumes": {
            "value": [rng.choice([0, 7, 10**7], k).tolist() for k in lengths],
            "value_up": [rng.choice([0.5, 2.25], k).tolist() for k in lengths],
        },
        "numbers": {"x": [rng.choice([-3, 0, 4], k).tolist() for k in lengths]} | directions,
        "flags": {"flag": [(rng.random(k) < 0.5).tolist() for k in lengths]},
    }
    return Traces.from_lists(columns[kind], ["a"] * n)


@pytest.mark.parametrize("kind", ["packets", "volumes", "numbers", "flags"])
def test_shared_values_and_lengths_come_back_exactly(kind: str) -> None:
    traces = shared(kind)
    back = round_trip(TokenCodec().fit(traces), traces)
    np.testing.assert_array_equal(back.lengths, traces.lengths)
    np.testing.assert_array_equal(back.values, traces.values)
    assert back.channels == traces.channels
    assert back.meta["i"].to_pylist() == [0] * 40


def test_times_of_shared_gaps_come_back() -> None:
    """But for the sums of gaps, whose differences round."""
    times = [np.cumsum([0.0, *[0.25 * (1 + (i + j) % 2) for j in range(5)]]) for i in range(12)]
    traces = Traces.from_lists({"timestamp": [t.tolist() for t in times]}, ["a"] * 12)
    back = round_trip(TokenCodec().fit(traces), traces)
    np.testing.assert_allclose(back.values, traces.values, rtol=1e-12)


def test_a_size_and_its_direction_are_one_token() -> None:
    codec = TokenCodec().fit(packets(40))
    assert len(codec.features) == 2  # with the gap
    assert len(TokenCodec().fit(volumes()).features) == 2
    assert len(TokenCodec().fit(packets(40).select(["packet_length", "timestamp"])).features) == 2


def test_a_size_of_0_keeps_its_direction() -> None:
    directions = [[(-1) ** (i + j) for j in range(6)] for i in range(10)]
    columns = {"packet_length": [[0] * 6] * 10, "direction": directions}
    traces = Traces.from_lists(columns, ["a"] * 10)
    back = round_trip(TokenCodec().fit(traces), traces)
    np.testing.assert_array_equal(back.values, traces.values)


def test_the_end_stands_behind_each_trace_and_nowhere_else() -> None:
    traces = packets(40)
    codec = TokenCodec().fit(traces)
    tokens = codec.encode(traces)
    assert tokens.shape == (40, codec.points, 2)
    assert tokens.dtype == torch.int16
    place = np.arange(codec.points)[None]
    np.testing.assert_array_equal(
        tokens[:, :, 0] == codec.end, place >= np.minimum(traces.lengths, codec.points)[:, None]
    )
    assert codec.sizes[0] == codec.end + 1
    assert all(int(tokens[..., f].max()) < size for f, size in enumerate(codec.sizes))


def test_what_stands_behind_the_end_is_not_read() -> None:
    codec = TokenCodec().fit(packets(40))
    tokens = codec.encode(packets(40)).long()
    noisy = tokens.clone()
    for f, size in enumerate(codec.sizes):
        junk = torch.randint(size, tokens.shape[:2], generator=torch.Generator().manual_seed(f))
        behind = (tokens[:, :, 0] == codec.end).cumsum(1) > (f == 0)
        noisy[:, :, f] = torch.where(behind, junk, noisy[:, :, f])
    assert not torch.equal(noisy, tokens)
    assert decoded(codec, noisy).equals(decoded(codec, tokens))


def test_any_tokens_decode_to_possible_traces() -> None:
    codec = TokenCodec().fit(packets(60))
    rng = np.random.default_rng(0)
    tokens = np.stack(
        [rng.integers(0, n - (f == 0), (200, 9)) for f, n in enumerate(codec.sizes)], 2
    )
    made = decoded(codec, torch.from_numpy(tokens))
    assert set(made.points("direction")) == {-1.0, 1.0}
    assert np.all(made.points("packet_length") % 1 == 0)
    assert made.points("packet_length").min() >= 0
    times = made.values[:, 2]
    assert set(times[:, 0]) == {0.0}
    assert np.all(np.diff(times, axis=1) >= 0)


def test_packets_out_of_order_never_run_backwards() -> None:
    """Their gaps below 0 are learned, but a time is never less than the one before."""
    ordered = Traces.from_lists({"timestamp": [[0.0, 1.0, 2.0, 3.0]] * 6}, ["a"] * 6)
    traces = replace(ordered, values=np.array([[[0.0, 0.5, 0.25, 2.0]]] * 6))
    back = round_trip(TokenCodec().fit(traces), traces)
    np.testing.assert_allclose(back.values[:, 0], [[0.0, 0.5, 0.5, 2.0]] * 6, rtol=1e-12)


def test_small_integers_stay_in_their_type() -> None:
    """A mean of values that are 0 or 255 may lie between; none lies outside of uint8."""
    table = pa.table({
        "label": ["a"] * 8,
        "x": pa.array([[0, 255, 255 - i] for i in range(8)], pa.list_(pa.uint8())),
    })  # fmt: skip
    traces = Traces.from_arrow(table)
    codec = TokenCodec().fit(traces)
    back = round_trip(codec, traces)
    assert back.channels[0].dtype == "uint8"
    assert back.points("x").min() >= 0
    assert back.points("x").max() <= 255
    codec.vocabularies[0].table[:] += 300  # as a network of another type could say
    assert set(round_trip(codec, traces).points("x")) == {255.0}
    codec.vocabularies[0].table[:] -= 900
    assert set(round_trip(codec, traces).points("x")) == {0.0}


def test_longer_traces_are_cut() -> None:
    traces = packets(40, 30, fixed=True)
    codec = TokenCodec(length=7).fit(traces)
    assert (codec.length, codec.points, codec.encode(traces).shape[1]) == (7, 7, 7)
    assert set(round_trip(codec, traces).lengths) == {7}
    assert TokenCodec().fit(packets(6, 300, fixed=True)).points == 256


@pytest.mark.parametrize(
    "traces", [packets(40, 50, fixed=True), volumes(40, 50)], ids=["packets", "volumes"]
)
def test_the_length_is_one_that_five_owners_reach(traces: Traces) -> None:
    """The fifth greatest; no trace alone, and no group alone, makes it longer."""
    lengths = np.arange(1, 41)
    lengths[-4:] = 50
    values = np.where(np.arange(50) < lengths[:, None, None], traces.values, 0.0)
    uneven = Traces(values, lengths, traces.channels, traces.labels, traces.classes)
    assert TokenCodec().fit(uneven).length == np.sort(lengths)[-5] == 36
    assert TokenCodec(length=99).fit(uneven).length == 36
    groups = np.arange(40) // 5
    assert TokenCodec().fit(uneven, groups).length == 20


@pytest.mark.parametrize("n", [600, 1500])
def test_long_volumes_are_averaged_and_keep_their_totals(n: int) -> None:
    traces = volumes(30, n)
    codec = TokenCodec().fit(traces)
    assert codec.points <= 512
    assert codec.bins_per_point == -(-n // 512)
    back = round_trip(codec, traces)
    assert set(back.lengths) == {n}
    total = traces.values.sum(2)
    # Means of 2 or 3 bins lie in bins about 1/256 of all apart, and are rounded to whole bytes.
    np.testing.assert_allclose(back.values.sum(2)[:, 0], total[:, 0], rtol=0.01)


def test_a_length_given_averages_nothing() -> None:
    codec = TokenCodec(length=600).fit(volumes(10, 700))
    assert (codec.points, codec.bins_per_point) == (600, 1)


def test_packets_with_a_plain_number_are_cut_and_not_averaged() -> None:
    columns = {"packet_length": [[60] * 600] * 6, "ttl": [[64] * 600] * 6}
    codec = TokenCodec().fit(Traces.from_lists(columns, ["a"] * 6))
    assert (codec.length, codec.bins_per_point) == (256, 1)


def test_the_state_survives() -> None:
    for traces in (packets(40), volumes(12, 600)):
        codec = TokenCodec().fit(traces)
        settings, tables = codec.state()
        again = TokenCodec.from_state(settings, tables)
        assert torch.equal(again.encode(traces), codec.encode(traces))
        assert round_trip(again, traces).equals(round_trip(codec, traces))
        assert again.state()[0] == settings
        assert (again.sizes, again.points) == (codec.sizes, codec.points)


def test_other_channels_are_refused() -> None:
    with pytest.raises(InputError, match="channels the codec was fitted on: packet_length"):
        TokenCodec().fit(packets(40)).encode(volumes())


def test_other_element_types_are_the_same_channels() -> None:
    codec = TokenCodec().fit(shared("volumes"))
    floats = Traces(
        shared("volumes").values,
        shared("volumes").lengths,
        tuple(Channel(c.name, c.kind, c.unit, "float") for c in shared("volumes").channels),
        shared("volumes").labels,
        ("a",),
    )
    assert torch.equal(codec.encode(floats), codec.encode(shared("volumes")))


def test_a_codec_is_fitted_once() -> None:
    codec = TokenCodec().fit(packets(40))
    with pytest.raises(InputError, match="fitted already"):
        codec.fit(packets(40))


@pytest.mark.parametrize(
    ("length", "message"),
    [(0, "length must be at least 1, got 0"), (1.5, "length must be a whole number, got 1.5")],
)
def test_bad_lengths(length: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TokenCodec(length=length)  # type: ignore[arg-type]


def test_fewer_than_five_traces_or_groups_are_refused() -> None:
    with pytest.raises(InputError, match=r"at least 5 traces \(or groups\) are needed, got 4"):
        TokenCodec().fit(packets(4))
    with pytest.raises(InputError, match="are needed, got 2"):
        TokenCodec().fit(packets(40), np.arange(40) % 2)
