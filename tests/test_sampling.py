from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from small import packets, volumes
from torch import Tensor

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.diffusion import Diffusion
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.networks.draws import Draws
from netdiffus.sampling import _in_turn, default_steps, sample, sample_to_parquet
from netdiffus.traces.traces import Traces, concat
from netdiffus.training import Recipe, train

PRESETS = ["causal", "series", "masked", "paper"]
SAMPLERS = ["dpm++", "ddim", "ddpm"]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """Of packets, a few steps old; of steady and on/off volumes, some hundred."""
    recipe = Recipe(steps=30, batch_size=8)
    known = {
        **{p: train(packets(60), recipe=recipe, preset=p, width=16) for p in PRESETS[:3]},
        "paper": train(packets(60), recipe=recipe, codec=GasfCodec(16), preset="paper", width=8),
    }
    longer = Recipe(steps=200, batch_size=8, learning_rate=5e-3)
    return known | {"volumes": train(volumes(64), recipe=longer, width=16)}


@pytest.fixture(params=PRESETS)
def model(models: dict[str, Model], request: pytest.FixtureRequest) -> Model:
    return models[request.param]


def assert_close(first: Traces, second: Traces) -> None:
    """The same traces but for float rounding.

    Of tokens, a uniform number falls within rounding of a limit once in 100,000 draws, and the rest
    of that trace is then another; of 1000 traces of 18 tokens that is 0.2 traces, never 5. Of
    images, it tips a rounded value to its neighbour.
    """
    assert first.label_names.tolist() == second.label_names.tolist()
    same = first.lengths == second.lengths
    assert np.sum(~same) <= 4
    if "residual" not in first.meta.column_names:
        n = min(first.values.shape[2], second.values.shape[2])
        equal = np.isclose(first.values[..., :n], second.values[..., :n], rtol=1e-12).all((1, 2))
        assert np.sum(~(equal & same)) <= 4
        return
    assert same.all()
    for c in range(len(first.channels)):
        a, b = first.points(c), second.points(c)
        scale = max(np.ptp(b), 1.0)
        assert np.mean(np.abs(a - b) > 1e-3 * scale) < 1e-3
        assert np.abs(a - b).mean() < 1e-4 * scale


def plan(model: Model, sampler: str | None = None, steps: int = 8) -> dict[str, object]:
    """Few steps, for a model of images."""
    return {} if model.diffusion is None else {"sampler": sampler, "steps": steps}


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
    diffusion = Diffusion(num_timesteps=most, prediction="x0")
    model = Model.new(volumes(20), GasfCodec(8), diffusion, preset="paper", width=8)
    assert default_steps(model, sampler) == steps


def test_an_image_is_made_in_16_steps(models: dict[str, Model]) -> None:
    made, same, other = (sample(models["paper"], 4, seed=0, steps=s) for s in (None, 16, 32))
    np.testing.assert_array_equal(made.values, same.values)
    assert not np.array_equal(made.values, other.values)
    assert default_steps(models["causal"], "dpm++") == 0


def test_the_class_asked_for_is_made(models: dict[str, Model]) -> None:
    """On/off volumes are on in a quarter of the points."""
    for label in ("steady", "onoff"):
        made = sample(models["volumes"], 30, label=label, seed=0)
        assert set(made.label_names) == {label}
        on = (made.values[:, 0] > 300).mean()
        assert on > 0.8 if label == "steady" else on < 0.5


def test_units_and_meta(model: Model) -> None:
    made = sample(model, 9, seed=3, **plan(model))
    assert [c.name for c in made.channels] == ["packet_length", "direction", "timestamp"]
    assert made.counts() == {"ssh": 3, "video": 3, "web": 3}
    assert set(made.points("direction")) <= {-1.0, 1.0}
    assert set(made.points("packet_length") % 1) == {0}
    assert made.points("packet_length").min() >= 40
    known = ["trace_id", "seed"] + (["residual"] if model.preset == "paper" else [])
    assert made.meta.column_names == known
    assert made.meta["trace_id"][0].as_py() == "synthetic-ssh-0"
    assert set(made.values[:, 2, 0]) == {0.0}
    assert np.all(np.diff(made.values[:, 2], axis=1)[made.mask[:, 1:]] >= 0)
    assert made.meta["seed"].to_pylist() == [3] * 9


@pytest.mark.parametrize("sampler", ["dpm++", "ddpm"])
def test_images_in_sevens_are_those_in_256s(models: dict[str, Model], sampler: str) -> None:
    made = [
        sample(models["paper"], 300, seed=1, sampler=sampler, steps=8, batch_size=size)
        for size in (7, 256)
    ]
    assert_close(*made)


def test_traces_in_sevens_are_those_in_256s(models: dict[str, Model]) -> None:
    assert_close(*(sample(models["causal"], 300, seed=1, batch_size=size) for size in (7, 256)))


def test_work_can_be_split(model: Model) -> None:
    asked = {"seed": 5, **plan(model)}
    parts = [sample(model, 20, **asked), sample(model, 30, start=20, **asked)]
    assert_close(concat(parts), sample(model, 50, **asked))


def test_threads_do_not_matter(model: Model) -> None:
    before = torch.get_num_threads()
    made = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        made.append(sample(model, 40, seed=5, **plan(model)))
    torch.set_num_threads(before)
    assert_close(*made)


@pytest.mark.parametrize("sampler", ["dpm++", "ddpm"])
def test_fast_images_are_the_reference(models: dict[str, Model], sampler: str) -> None:
    """Of 15,000 sizes 3 tipped: so few can only be told among many."""
    asked = {"seed": 2, "sampler": sampler, "steps": 10}
    assert_close(*(sample(models["paper"], 1000, fast=fast, **asked) for fast in (True, False)))


@pytest.mark.parametrize("name", ["causal", "volumes"])
def test_fast_traces_are_the_reference(models: dict[str, Model], name: str) -> None:
    assert_close(*(sample(models[name], 1000, fast=fast, seed=2) for fast in (True, False)))


def test_seeds_matter(model: Model) -> None:
    first, again, other = (sample(model, 10, seed=s, **plan(model)) for s in (1, 1, 2))
    assert first.equals(again)
    assert not np.array_equal(first.values, other.values)
    unseeded = [sample(model, 4, **plan(model)).meta["seed"][0].as_py() for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def test_traces_of_one_seed_differ(models: dict[str, Model]) -> None:
    made = sample(models["volumes"], 50, seed=0)
    assert len(set(made.duplicates().tolist())) == 50  # values inside bins are drawn, too


def of_classes(labels: list[str]) -> Model:
    traces = Traces.from_lists({"value": [[1, 2]] * len(labels)}, labels)
    return Model.new(traces, TokenCodec(), width=8)


def test_numbers_of_each_class(models: dict[str, Model]) -> None:
    model = models["volumes"]
    first, second = model.classes[1], model.classes[0]
    made = sample(model, label={first: 5, second: 3}, seed=0)
    assert made.label_names.tolist() == [first] * 5 + [second] * 3
    # The ranks are those of a class asked for alone, so its traces are these.
    alone = sample(model, 5, label=first, seed=0)
    assert np.array_equal(made.values[:5, :, : alone.values.shape[2]], alone.values)
    small = sample(model, 8, label={first: 5, second: 3}, seed=0, batch_size=3)
    assert np.array_equal(small.values, made.values)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (None, {}, "n is missing"),
        (4, {"label": {"usual": 5}}, "n is 4, but the numbers of label add up to 5"),
        (None, {"label": {"usual": 0}}, "n must be at least 1, got 0"),
        (None, {"label": {"usual": 1.5}}, r"label\['usual'\] must be a whole number"),
        (None, {"label": {"nix": 1}}, "label 'nix' is not a class"),
        (None, {"label": {"usual": 1}, "mix": "real"}, "leave out mix and start"),
        (None, {"label": {"usual": 1}, "start": 1}, "leave out mix and start"),
    ],
)
def test_numbers_that_cannot_be(
    models: dict[str, Model], n: int | None, options: dict[str, object], message: str
) -> None:
    model = models["volumes"]
    options = {**options}
    if isinstance(options.get("label"), dict):
        options["label"] = {
            model.classes[0] if name == "usual" else name: count
            for name, count in options["label"].items()  # type: ignore[union-attr]
        }
    message = message.replace("usual", model.classes[0])
    with pytest.raises(InputError, match=message):
        sample(model, n, seed=0, **options)  # type: ignore[arg-type]


def test_classes_come_in_turn() -> None:
    model = of_classes(["a"] * 20 + ["b"] * 5)
    assert sample(model, 7, seed=0).label_names.tolist() == ["a", "b", "a", "b", "a", "b", "a"]
    assert sample(model, 2, seed=0, start=3).label_names.tolist() == ["b", "a"]
    assert sample(model, 6, label=["a", "b", "a"], seed=0).counts() == {"a": 4, "b": 2}


@pytest.mark.parametrize("start", [0, 123456789])
def test_real_mix_is_that_of_training(start: int) -> None:
    model = of_classes(["rare"] * 10 + ["usual"] * 90)
    made = sample(model, 2000, mix="real", seed=0, start=start)
    assert abs(made.counts()["rare"] - 200) < 67  # Binomial(2000, 0.1), five standard deviations
    assert set(sample(model, 9, label="usual", mix="real", seed=0).label_names) == {"usual"}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("times", [1, 10, 16, 17, 40])
def test_a_short_process_has_its_own_number_of_steps(sampler: str, times: int) -> None:
    diffusion = Diffusion(times, "cosine", "x0")
    model = Model.new(packets(30), GasfCodec(8), diffusion, preset="paper", width=8)
    assert len(sample(model, np.int64(3), sampler=sampler, seed=np.int64(5))) == 3


def test_traces_written_as_they_are_made_are_the_traces(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netdiffus.tables.writing.GROUP", 4)
    options = {"seed": 5, "batch_size": 3, **plan(model)}
    said = sample_to_parquet(model, 11, tmp_path / "as_made.parquet", **options)
    traces = sample(model, 11, **options)
    traces.save(tmp_path / "whole.parquet")
    found, wanted = (
        pyarrow.parquet.read_table(tmp_path / f"{name}.parquet") for name in ("as_made", "whole")
    )
    assert found.equals(wanted, check_metadata=True)
    file = pyarrow.parquet.ParquetFile(tmp_path / "as_made.parquet")
    assert file.num_row_groups == 3  # of 4, 4 and 3 traces
    assert said["classes"] == traces.counts()
    if "residual" in wanted.column_names:
        assert said["residual"] == pytest.approx(np.mean(wanted["residual"].to_numpy()))


def test_no_part_of_a_file_is_left_where_making_fails(
    models: dict[str, Model], tmp_path: Path
) -> None:
    def fail(done: float, _: str) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_to_parquet(models["causal"], 11, tmp_path / "t.parquet", batch_size=3, progress=fail)
    assert not list(tmp_path.iterdir())
    (tmp_path / "t.parquet").touch()
    with pytest.raises(FileExistsError, match=r"t\.parquet exists"):
        sample_to_parquet(models["causal"], 11, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.csv: only \.parquet"):
        sample_to_parquet(models["causal"], 11, tmp_path / "t.csv")


def test_progress_counts_traces(model: Model) -> None:
    seen: list[float] = []
    sample(
        model, 10, seed=0, batch_size=4, progress=lambda done, _: seen.append(done), **plan(model)
    )
    assert seen == [4, 8, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"label": "p2p"}, "label 'p2p' is not a class of the model; classes: ssh, video, web"),
        ({"label": []}, "name at least one class"),
        ({"mix": "even"}, "mix must be"),
        ({"device": "banana"}, "device 'banana' cannot be used"),
        ({"seed": -1}, "seed must lie in"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"start": -1}, "start must be at least 0"),
        ({"n": 1.5}, "n must be a whole number, got 1.5"),
        ({"start": 2**63 - 1}, r"start and n must add up to at most 2\*\*63 - 1"),
    ],
)
def test_bad_arguments(model: Model, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample(model, **{"n": 1, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "euler"}, "sampler must be one of"),
        ({"steps": 5000}, "steps must lie in"),
        ({"steps": 0}, "steps must lie in"),
        ({"steps": 1000}, "at most 999 steps"),
    ],
)
def test_bad_plans(models: dict[str, Model], arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample(models["paper"], 1, **arguments)


@pytest.mark.parametrize(("name", "value"), [("sampler", "ddim"), ("steps", 5)])
def test_a_transformer_has_no_steps(models: dict[str, Model], name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}={value!r}: a model of preset .* has no {name}"):
        sample(models["causal"], 1, **{name: value})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_broken_model_is_named(preset: str) -> None:
    codec = GasfCodec(8) if preset == "paper" else TokenCodec()
    broken = Model.new(packets(30), codec, preset=preset, width=8)
    with torch.no_grad():
        broken.network.conditions.label.weight.fill_(float("nan"))
    for fast in (True, False):
        with pytest.raises(InputError, match="not numbers"):
            sample(broken, 1, seed=0, fast=fast)


class TestRanks:
    """How many traces of its class come before each: what spreads them evenly."""

    def ranks(self, labels: list[int], index: Tensor) -> tuple[list[int], list[int]]:
        found, rank = _in_turn(np.array(labels))(index)
        return found.tolist(), rank.tolist()

    def test_they_are_counted_over_all_turns(self) -> None:
        labels, n = [4, 1, 4, 0, 4, 1], 50
        found, ranks = self.ranks(labels, torch.arange(n))
        expected = [labels[i % 6] for i in range(n)]
        assert found == expected
        assert ranks == [expected[:i].count(expected[i]) for i in range(n)]

    def test_a_later_part_has_those_of_the_whole(self) -> None:
        labels = [2, 0, 0, 1]
        whole, part = (self.ranks(labels, torch.arange(*r)) for r in ((0, 40), (17, 29)))
        assert part == tuple(one[17:29] for one in whole)

    def test_traces_of_a_class_are_spread_evenly(self) -> None:
        """The first token of 64 traces: each as often as its probability says, to one and a bit."""
        model = Model.new(packets(60), TokenCodec(), seed=1)
        network = model.network.eval()
        label = torch.zeros(64).long()
        vocabulary = len(model.codec.vocabularies[0])
        tokens = torch.zeros(vocabulary, model.codec.points, len(model.codec.features)).long()
        tokens[:, 0, 0] = torch.arange(vocabulary)
        zeros = torch.zeros(vocabulary).long()
        with torch.no_grad():
            condition = network.conditions(zeros, torch.zeros(vocabulary, 0).long())
            x = network._attend(tokens, condition)
            p = network.logits.last[0](x[0, 0])[:vocabulary].softmax(0)
        draws = Draws(3, torch.arange(64), label, torch.arange(64))
        drawn = network.generate(draws, label.new_zeros(64, 0), "torch")[:, 0, 0]
        ends = 64 * p.cumsum(0)
        counted = torch.bincount(drawn, minlength=vocabulary).cumsum(0)
        assert (counted - ends).abs().max() <= 1
