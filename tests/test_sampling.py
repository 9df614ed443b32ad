from __future__ import annotations

import numpy as np
import pytest
import torch
from small import packets, volumes

from netdiffus.codec import GasfCodec
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.model import Model
from netdiffus.recipe import Recipe
from netdiffus.sampling import default_steps, sample
from netdiffus.traces import Traces, concat
from netdiffus.training import train


@pytest.fixture(scope="module")
def model() -> Model:
    return train(
        volumes(64),
        recipe=Recipe(steps=400, batch_size=8, learning_rate=3e-3),
        codec=GasfCodec(16, border=1),
        width=16,
    )


@pytest.fixture(scope="module")
def packet_model() -> Model:
    return train(
        packets(60), recipe=Recipe(steps=60, batch_size=8), codec=GasfCodec(16, border=1), width=8
    )


def assert_close(first: Traces, second: Traces) -> None:
    """The same traces but for float rounding, which may tip a rounded value to its neighbour."""
    assert first.label_names.tolist() == second.label_names.tolist()
    np.testing.assert_array_equal(first.lengths, second.lengths)
    for c in range(len(first.channels)):
        a, b = first.points(c), second.points(c)
        scale = max(np.ptp(b), 1.0)
        assert np.mean(np.abs(a - b) > 1e-3 * scale) < 1e-3
        assert np.abs(a - b).mean() < 1e-4 * scale


@pytest.mark.parametrize(
    ("most", "sampler", "steps"),
    [
        (1000, "dpm++", 16),
        (16, "dpm++", 15),
        (1, "dpm++", 1),
        (1000, "ddim", 50),
        (20, "ddim", 20),
        (1000, "ddpm", 1000),
    ],
)
def test_steps_where_none_are_asked_for(most: int, sampler: str, steps: int) -> None:
    diffusion = Diffusion(num_timesteps=most, schedule="log", prediction="x0", loss="levels")
    model = Model.new(volumes(20), GasfCodec(8, border=1), diffusion, width=8)
    assert default_steps(model, sampler) == steps


def test_a_trace_is_made_in_16_steps(model: Model) -> None:
    made, same, other = (sample(model, 4, seed=0, steps=steps) for steps in (None, 16, 32))
    np.testing.assert_array_equal(made.values, same.values)
    assert not np.array_equal(made.values, other.values)


def test_the_class_asked_for_is_made(model: Model) -> None:
    for label in ("steady", "onoff"):
        made = sample(model, 30, label=label, seed=0)
        assert set(made.label_names) == {label}
        on = (made.values[:, 0] > 300).mean()
        assert on > 0.8 if label == "steady" else on < 0.5


def test_units_and_meta(packet_model: Model) -> None:
    made = sample(packet_model, 9, seed=3)
    assert [c.name for c in made.channels] == ["packet_length", "direction", "timestamp"]
    assert made.counts() == {"ssh": 3, "video": 3, "web": 3}
    assert set(made.points("direction")) <= {-1.0, 1.0}
    assert made.points("packet_length").min() >= 40
    assert made.meta.column_names == ["trace_id", "seed", "residual"]
    assert made.meta["trace_id"][0].as_py() == "synthetic-ssh-0"
    assert set(made.values[:, 2, 0]) == {0.0}
    assert made.meta["seed"].to_pylist() == [3] * 9


def test_lengths_are_the_classes_own() -> None:
    lists = [[1] * (3 if i % 2 else 9) for i in range(20)]
    traces = Traces.from_lists({"value": lists}, ["long", "short"] * 10)
    made = sample(Model.new(traces, GasfCodec(16, border=1), width=8), 40, seed=0, steps=1)
    assert set(made.of_class("short").lengths) == {3}
    assert set(made.of_class("long").lengths) == {9}


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
def test_a_thousand_in_sevens_are_a_thousand_in_256s(packet_model: Model, sampler: str) -> None:
    made = [
        sample(packet_model, 1000, seed=1, sampler=sampler, steps=8, batch_size=size)
        for size in (7, 256)
    ]
    assert_close(*made)


def test_work_can_be_split(packet_model: Model) -> None:
    parts = [sample(packet_model, 20, seed=5), sample(packet_model, 30, seed=5, start=20)]
    assert_close(concat(parts), sample(packet_model, 50, seed=5))


def test_threads_do_not_matter(packet_model: Model) -> None:
    before = torch.get_num_threads()
    made = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made.append(sample(packet_model, 20, seed=5))
    torch.set_num_threads(before)
    assert_close(*made)


@pytest.mark.parametrize("sampler", ["dpm++", "ddpm"])
def test_fast_is_the_reference(packet_model: Model, sampler: str) -> None:
    """Of 15,000 sizes 3 tipped: so few can only be told among many."""
    assert_close(
        *(
            sample(packet_model, 1000, seed=2, sampler=sampler, steps=10, fast=f)
            for f in (True, False)
        )
    )


def test_seeds_matter(packet_model: Model) -> None:
    first, again, other = (sample(packet_model, 10, seed=s) for s in (1, 1, 2))
    assert first.equals(again)
    assert not np.array_equal(first.values, other.values)
    unseeded = [sample(packet_model, 4).meta["seed"][0].as_py() for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def small_model(lengths: list[int], labels: list[str]) -> Model:
    traces = Traces.from_lists({"value": [[1, 2] * n for n in lengths]}, labels)
    return Model.new(traces, GasfCodec(32, border=1), width=8)


@pytest.mark.parametrize("start", [0, 1001, 10**12])
def test_as_many_traces_as_training_had_have_their_lengths(start: int) -> None:
    model = small_model([*range(1, 9), 9, 9, 3], ["a"] * 8 + ["b"] * 3)
    made = sample(model, 48, seed=0, steps=1, start=start)
    assert sorted(made.of_class("a").lengths) == sorted(3 * [*range(2, 17, 2)])
    assert sorted(made.of_class("b").lengths) == sorted(8 * [6, 18, 18])


def test_fewer_traces_are_spread_over_the_lengths() -> None:
    model = small_model([*range(1, 16)] * 20, ["a"] * 300)
    for seed in range(10):
        lengths = np.sort(sample(model, 5, seed=seed, steps=1).lengths) / 2
        assert np.diff(lengths).min() >= 1  # of five drawn apart two are equal with chance 0.52
        assert lengths[-1] - lengths[0] >= 8


def test_a_class_named_twice_comes_twice_as_often_and_has_all_lengths() -> None:
    model = small_model([*range(1, 9), 1, 1], ["a"] * 8 + ["b"] * 2)
    made = sample(model, 36, label=["a", "b", "a"], seed=0, steps=1)
    assert made.counts() == {"a": 24, "b": 12}
    assert np.unique(made.of_class("a").lengths, return_counts=True)[1].tolist() == [3] * 8


def test_one_trace_alone_is_drawn_by_chance() -> None:
    model = small_model([1] * 5 + [2] * 15, ["a"] * 20)
    for mix in ("balanced", "real"):
        short = [sample(model, 1, mix=mix, seed=s, steps=1).lengths[0] == 2 for s in range(300)]
        assert abs(np.sum(short) - 75) < 38  # Binomial(300, 1/4), five standard deviations


@pytest.mark.parametrize("start", [0, 123456789])
def test_real_mix_is_that_of_training(start: int) -> None:
    model = small_model([*range(1, 6)] * 10, ["rare"] * 5 + ["usual"] * 45)
    made = sample(model, 50, mix="real", seed=0, steps=1, start=start)
    assert made.counts() == {"rare": 5, "usual": 45}
    assert sorted(made.of_class("rare").lengths) == [2, 4, 6, 8, 10]
    few = sample(model, 20, mix="real", seed=0, steps=1, start=start)
    assert 1 <= few.counts()["rare"] <= 3
    assert set(sample(model, 9, label="usual", mix="real", seed=0).label_names) == {"usual"}


@pytest.mark.parametrize("sampler", ["dpm++", "ddim", "ddpm"])
@pytest.mark.parametrize("times", [1, 10, 16, 17, 40])
def test_a_short_process_has_its_own_number_of_steps(sampler: str, times: int) -> None:
    diffusion = Diffusion(times, "log", "x0", "levels")
    model = Model.new(packets(), GasfCodec(8, border=1), diffusion, width=8)
    assert len(sample(model, np.int64(3), sampler=sampler, seed=np.int64(5))) == 3


def test_progress_counts_traces(packet_model: Model) -> None:
    seen: list[float] = []
    sample(
        packet_model, 10, seed=0, steps=1, batch_size=4, progress=lambda done, _: seen.append(done)
    )
    assert seen == [4, 8, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"label": "p2p"}, "label 'p2p' is not a class of the model; classes: ssh, video, web"),
        ({"label": []}, "name at least one class"),
        ({"mix": "even"}, "mix must be"),
        ({"sampler": "euler"}, "sampler must be one of"),
        ({"steps": 5000}, "steps must lie in"),
        ({"steps": 0}, "steps must lie in"),
        ({"steps": 1000}, "at most 999 steps"),
        ({"device": "banana"}, "device 'banana' cannot be used"),
        ({"seed": -1}, "seed must lie in"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"start": -1}, "start must be at least 0"),
        ({"n": 1.5}, "n must be a whole number, got 1.5"),
    ],
)
def test_bad_arguments(packet_model: Model, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample(packet_model, **{"n": 1, **arguments})


def test_a_broken_model_is_named(packet_model: Model) -> None:
    broken = Model.new(packets(), GasfCodec(8, border=1), width=8)
    broken.unet.points.weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match="not numbers"):
        sample(broken, 1, seed=0)
