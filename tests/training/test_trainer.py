from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import STATE, mean_loss, run, same_weights, stops_at
from safetensors import safe_open
from small import packets, volumes

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.errors import InputError, Note
from netdiffus.model.model import Model
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, loop, train
from netdiffus.training.batches import Batches
from netdiffus.training.checkpoint import read_log
from netdiffus.training.processes import check_batch
from netdiffus.training.run import Run
from netdiffus.training.validation import RAISE


def test_the_loss_falls(tmp_path: Path) -> None:
    run(tmp_path, 160, recipe={"learning_rate": 5e-3, "batch_size": 8})
    losses = [line["loss"] for line in read_log(tmp_path)]
    assert len(losses) == 8
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])  # the entropy of the tokens is its floor


def test_a_folder_of_one_run(tmp_path: Path) -> None:
    model = run(tmp_path / "m", 25)
    names = sorted(str(p.relative_to(tmp_path / "m")) for p in (tmp_path / "m").rglob("*"))
    assert names == [
        "README.md",
        "checkpoint",
        "checkpoint/PRIVATE.txt",
        "checkpoint/state.safetensors",
        "config.json",
        "log.jsonl",
        "model.safetensors",
    ]
    again = Model.load(tmp_path / "m")
    assert again.about["steps"] == 25
    assert again.about["ended"] == "budget used"
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)
    assert [line["step"] for line in read_log(tmp_path / "m")] == [20]


def test_a_model_needs_no_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, 3)
    before = sample(Model.load(tmp_path), 4, seed=0)
    for path in (tmp_path / "checkpoint").iterdir():
        path.unlink()
    (tmp_path / "checkpoint").rmdir()
    assert sample(Model.load(tmp_path), 4, seed=0).equals(before)
    with pytest.raises(InputError, match=r"state\.safetensors: no such file.*train without resume"):
        run(tmp_path, 6, resume=True)


@pytest.mark.parametrize("preset", ["causal", "image", "paper"])
def test_resumed_is_the_same_as_uninterrupted_bit_for_bit(preset: str, tmp_path: Path) -> None:
    run(tmp_path / "whole", 24, preset=preset)
    for k, stop in enumerate((7, 17, 0)):  # the rate falls after 16
        run(tmp_path / "parts", 24, preset=preset, resume=k > 0, progress=stops_at(stop))
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    logs = [[(o["step"], o["loss"]) for o in read_log(tmp_path / k)] for k in ("whole", "parts")]
    assert logs[0] == logs[1] != []
    made = [sample(Model.load(tmp_path / k), 6, seed=0) for k in ("whole", "parts")]
    assert made[0].equals(made[1])


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    run(tmp_path / "a", 5)
    run(tmp_path / "b", 5, recipe={"seed": 1})
    run(tmp_path / "c", 5)
    assert same_weights(tmp_path / "a", tmp_path / "c")
    assert not same_weights(tmp_path / "a", tmp_path / "b")


def test_training_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(3)
    first = torch.rand(2)
    torch.manual_seed(3)
    run(None, 2)
    assert torch.equal(torch.rand(2), first)


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(done: float, note: str) -> None:
        with pytest.raises(InputError, match="m: another training writes here"):
            run(tmp_path / "m", 5)

    run(tmp_path / "m", 2, progress=second)
    run(tmp_path / "alone", 2)
    assert same_weights(tmp_path / "m", tmp_path / "alone")
    run(tmp_path / "m", 4, resume=True)  # and is free again


def test_refusals(tmp_path: Path) -> None:
    run(tmp_path / "m", 2)
    with pytest.raises(FileExistsError, match="--force"):
        run(tmp_path / "m", 2)
    with pytest.raises(InputError, match="resume: seed was 0 and is now 5"):
        run(tmp_path / "m", 4, resume=True, recipe={"seed": 5})
    with pytest.raises(InputError, match=r"resume: weight_decay was 0\.2 and is now 0\.5"):
        run(tmp_path / "m", 4, resume=True, recipe={"weight_decay": 0.5})
    with pytest.raises(InputError, match="resume: preset was 'default' and is now 'paper'"):
        run(tmp_path / "m", 4, resume=True, preset="paper")
    with pytest.raises(InputError, match="resume: traces was"):
        run(tmp_path / "m", 4, resume=True, traces=volumes()[np.arange(24) ^ 2])
    with pytest.raises(InputError, match="resume: classes was"):
        run(tmp_path / "m", 4, resume=True, traces=packets(30, fixed=True))
    with pytest.raises(InputError, match="resume: width was 16 and is now 32"):
        run(tmp_path / "m", 4, resume=True, width=32)
    with pytest.raises(InputError, match="not a netdiffus model folder"):
        run(tmp_path / "none", 4, resume=True)
    with pytest.raises(InputError, match="resume needs the path"):
        run(None, 4, resume=True)
    run(tmp_path / "m", 3, force=True)
    assert Model.load(tmp_path / "m").about["steps"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give steps or minutes"),
        ({"steps": 1, "batch_size": 0}, "batch_size must be a number above 0, got 0"),
        ({"steps": 1, "validation_fraction": 0.9}, r"validation_fraction must lie in 0\.\.0\.5"),
        ({"minutes": float("nan")}, "minutes must be a number above 0, got nan"),
        ({"steps": 2.5}, r"steps must be a whole number, got 2\.5"),
        ({"cpu_minutes": -1}, "cpu_minutes must be a number above 0, got -1"),
        ({"minutes": "5"}, "minutes must be a number above 0, got '5'"),
        ({"steps": 1, "learning_rate": 0}, "learning_rate must be a number above 0, got 0"),
        ({"steps": 1, "seed": -1}, "seed must lie in"),
    ],
)
def test_bad_recipes(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**settings)  # type: ignore[arg-type]


def test_bad_traces_and_settings() -> None:
    few = Traces.from_lists({"value": [[1, 2], [2, 3], [3, 4], [1, 1]]}, ["a", "a", "b", "b"])
    with pytest.raises(InputError, match=r"at least 5 traces \(or groups\) are needed, got 4"):
        train(few, recipe=Recipe(steps=1))
    with pytest.raises(InputError, match="preset must be one of default, causal, series, masked"):
        run(None, 1, preset="large")
    with pytest.raises(InputError, match="no column 'user' to group by"):
        run(None, 1, by="user")
    with pytest.raises(InputError, match="batch_size 2 is less than the 3 processes"):
        check_batch(2, 3)
    with pytest.raises(InputError, match="width must be a multiple of 4, got 10"):
        run(None, 1, width=10)


def test_groups_are_owners() -> None:
    """A value of ten traces of one user is no value of five users."""
    values = [[9, 9] if i < 10 else [1, 2] for i in range(40)]
    users = ["odd" if i < 10 else f"u{i % 8}" for i in range(40)]
    traces = Traces.from_lists({"x": values}, ["a"] * 40, {"user": users})
    assert 9 in run(None, 1, traces=traces).codec.vocabularies[0].table
    assert 9 not in run(None, 1, traces=traces, by="user").codec.vocabularies[0].table


def test_few_and_long_traces_are_told() -> None:
    with pytest.warns(Note, match="class 'ssh' has 4 traces, and 2 more classes have fewer"):
        run(None, 1, traces=packets(12, fixed=True))
    with pytest.warns(Note, match="30 of 30 traces are longer than 4 points"):
        run(None, 1, traces=packets(30, fixed=True), codec=TokenCodec(length=4))


def test_classes_without_a_trace_are_left_out() -> None:
    model = run(None, 2, traces=volumes().of_class("onoff"))
    assert model.classes == ("onoff",)
    assert set(sample(model, 3).label_names) == {"onoff"}


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    recipe = Recipe(steps=np.int64(2), batch_size=np.int64(4), seed=np.int64(3))
    for k, settings in enumerate((
        {"codec": TokenCodec(np.int64(8)), "width": np.int64(8)},
        {"codec": GasfCodec(np.int64(8), length=np.int32(16)), "width": np.int64(8)},
    )):  # fmt: skip
        preset = "paper" if k else "causal"
        with pytest.warns(Note) if not k else _nothing():
            train(volumes(), tmp_path / preset, recipe=recipe, preset=preset, **settings)
        assert Model.load(tmp_path / preset).about["budget"] == {"steps": 2}


def test_a_resumed_run_without_a_recipe_has_its_own(tmp_path: Path) -> None:
    run(tmp_path, 40, recipe={"seed": 3}, progress=stops_at(25))
    assert Model.load(tmp_path).about["ended"] == "interrupted"
    train(volumes(), tmp_path, codec=TokenCodec(), width=16, resume=True)
    assert Model.load(tmp_path).about["steps"] == 40


def test_logs_that_are_not_whole(tmp_path: Path) -> None:
    run(tmp_path, 40)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 60, "sec')
    assert [line["step"] for line in read_log(tmp_path)] == [20, 40]
    run(tmp_path, 60, resume=True)
    assert [line["step"] for line in read_log(tmp_path)] == [20, 40, 60]


def test_constant_and_tiny_traces_train() -> None:
    lists = [[7], [7], [7, 7], [7], [7, 7]] * 4
    traces = Traces.from_lists({"value": lists}, ["a", "b"] * 10)
    for preset in ("causal", "image", "paper"):
        model = train(traces, recipe=Recipe(steps=3, batch_size=3), preset=preset, width=8)
        assert model.about["steps"] == 3
        assert set(sample(model, 20, seed=0).points("value")) == {7.0}


def test_what_a_model_leaves_out_is_kept_with_it() -> None:
    with pytest.warns(Note):
        cut = run(None, 1, traces=packets(60), codec=TokenCodec(4)).about
    longer = int((packets(60).lengths > 4).sum())
    assert [cut[k] for k in ("length", "points", "longer_traces")] == [4, 4, longer]
    whole = run(None, 1, preset="paper", codec=GasfCodec(5)).about
    assert [whole[k] for k in ("length", "points")] == [20, 5]
    assert "longer_traces" not in whole


def test_minutes_end_the_run() -> None:
    seen: list[float] = []
    model = train(
        volumes(),
        recipe=Recipe(minutes=0.02, batch_size=4),
        width=8,
        progress=lambda done, _: seen.append(done),
    )
    assert 1.2 <= model.about["seconds"] < 3  # and the last step
    assert seen == sorted(seen)
    assert seen[-1] >= 1


def test_minutes_of_processor_time_end_the_run() -> None:
    """Time in which a process waits does not count."""
    model = train(
        volumes(),
        recipe=Recipe(cpu_minutes=0.02, batch_size=4),
        width=8,
        progress=lambda *_: time.sleep(0.05),
    )
    assert 1.2 <= model.about["cpu_seconds"] < 3  # and the last step
    assert model.about["seconds"] > 1.5 * model.about["cpu_seconds"]


def test_log_is_json_lines(tmp_path: Path) -> None:
    run(tmp_path, 40)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"step", "seconds", "loss"}] * 2


def test_a_loss_that_is_not_finite_ends_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no longer finite at step .*lower learning_rate"):
        run(tmp_path, 100, recipe={"learning_rate": 1e30})


HELD = {"traces": volumes(80), "recipe": {"validation_fraction": 0.25}}


@pytest.mark.parametrize(
    ("traces", "batch_size", "steps"),
    [(80, 64, 10), (320, 64, 20), (9000, 64, 40), (9000, 512, 40), (9000, 8, 320), (80, 4, 160)],
)
def test_steps_between_validations(traces: int, batch_size: int, steps: int) -> None:
    assert loop.validation_steps(traces, batch_size) == steps


class TestValidation:
    @pytest.fixture(autouse=True)
    def every_ten_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loop, "validation_steps", lambda traces, batch_size: 10)

    def test_overfitting_ends_training(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = iter([9.0, 8.0, 5.0, 4.0, 6.0, 5.0, 4.5, 4.25])

        def overfitting(run: Run) -> None:
            run.state.schedule.losses.append(next(given))
            run.state.schedule.learned_loss = 0.0

        monkeypatch.setattr(loop, "validate", overfitting)
        model = run(tmp_path, 2000, **HELD)
        assert model.about["steps"] == 120  # 80, and half as many again
        assert model.about["ended"] == "overfitting"
        assert model.about["rate_fell_at_step"] == 80
        assert model.about["validation_loss"] == 4.25
        assert model.about["least_validation_loss"] == 4.0
        shown = [line.get("validation_loss") for line in read_log(tmp_path)]
        assert shown == [8.0, 4.0, 5.0, 4.25, None, None]

    def test_its_traces_are_learned_from_when_the_rate_falls(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, seen = Batches._rows, []

        def noted(self: Batches, draws: torch.Tensor) -> torch.Tensor:
            seen.append(rows(self, draws))
            return seen[-1]

        monkeypatch.setattr(Batches, "_rows", noted)
        run(tmp_path, 120, **HELD)
        first, last = (set(torch.cat(part).tolist()) for part in (seen[:80], seen[81:]))
        assert 55 < len(first) < 65
        assert len(last) == 80

    def test_is_of_the_averaged_weights_without_dropout(self, tmp_path: Path) -> None:
        """Measured again by hand, with the weights of the model that was saved then."""
        model = run(tmp_path, 40, progress=stops_at(10), **HELD)
        with safe_open(tmp_path / STATE, framework="pt") as file:
            noted = json.loads(file.metadata()["schedule"])["losses"]
        data = Batches(model, volumes(80), 4, 0.25, 0)
        assert len(data.validation()) >= 4
        means = [mean_loss(model, data.validation(), t) for t in (1.0, RAISE)]
        assert noted == [pytest.approx(min(means), rel=1e-5)]

    def test_is_resumed_with(self, tmp_path: Path) -> None:
        run(tmp_path / "whole", 60, **HELD)
        for k, stop in enumerate((25, 47, 0)):  # before and after all are learned from
            run(tmp_path / "parts", 60, resume=k > 0, progress=stops_at(stop), **HELD)
        assert same_weights(tmp_path / "whole", tmp_path / "parts")
        about = [Model.load(tmp_path / k).about for k in ("whole", "parts")]
        assert about[0]["validation_loss"] == about[1]["validation_loss"] > 0
        with pytest.raises(InputError, match=r"validation_fraction was 0\.25 and is now 0\.1"):
            run(tmp_path / "parts", 70, resume=True, traces=volumes(80))

    def test_none_ends_nothing_early(self, tmp_path: Path) -> None:
        about = run(tmp_path, 60, volumes(80), recipe={"validation_fraction": 0.0}).about
        assert about["steps"] == 60
        assert "validation_loss" not in about


def _nothing() -> object:
    from contextlib import nullcontext

    return nullcontext()
