from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import packets, volumes

from netdiffus import muon
from netdiffus.batches import Batches
from netdiffus.codec import GasfCodec
from netdiffus.errors import InputError
from netdiffus.model import Model
from netdiffus.ops import linear
from netdiffus.recipe import Recipe
from netdiffus.sampling import sample
from netdiffus.traces import Traces
from netdiffus.training import _check_batch, border_of, train
from netdiffus.training_state import State, read_log


def run(path: Path | None, steps: int, traces: Traces | None = None, **more: object) -> Model:
    recipe = Recipe(steps=steps, batch_size=4, **more.pop("recipe", {}))  # type: ignore[arg-type]
    return train(
        traces or volumes(), path, recipe=recipe, codec=GasfCodec(8, border=1), width=8, **more
    )  # type: ignore[arg-type]


def same_weights(first: Path, second: Path) -> bool:
    states = [load_file(folder / "training_state.safetensors") for folder in (first, second)]
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(("preset", "decays"), [("default", {0.5}), ("paper", {0.01})])
def test_weights_of_each_preset_decay_by_its_own_rate(preset: str, decays: set[float]) -> None:
    """That of `paper` is the default of torch.optim.AdamW, which stands for the usual."""
    codec = GasfCodec(8, border=border_of(preset))
    unet = Model.new(volumes(), codec, preset=preset, width=8).unet
    groups = [g for o in State.new(unet, 1e-3).optimizers for g in o.param_groups]
    assert {group["weight_decay"] for group in groups} == decays
    assert sum(len(group["params"]) for group in groups) == len(list(unet.parameters()))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_loss_falls(preset: str, tmp_path: Path) -> None:
    run(tmp_path, 300, preset=preset, recipe={"learning_rate": 3e-3})
    losses = [line["loss"] for line in read_log(tmp_path)]
    assert len(losses) == 15
    # Both have a floor: the entropy of the levels, and that of the images themselves.
    assert sum(losses[-3:]) < (0.9 if preset == "default" else 0.95) * sum(losses[:3])


def test_products_of_halves_learn_as_those_of_singles_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss curves agree within 0.3 % (measured: 0.083 %)."""
    for halves in (False, True):
        for user in (linear, muon):
            monkeypatch.setattr(user, "multiplies_halves", lambda halves=halves: halves)
        recipe = Recipe(steps=200, batch_size=32)
        codec = GasfCodec(16, border=1)
        train(packets(80), tmp_path / str(halves), recipe=recipe, codec=codec, width=24)
    single, half = ([v["loss"] for v in read_log(tmp_path / str(k))] for k in (False, True))
    assert half == pytest.approx(single, rel=3e-3)
    assert half != single


def test_a_folder_of_one_run(tmp_path: Path) -> None:
    model = run(tmp_path / "m", 25)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "README.md",
        "config.json",
        "log.jsonl",
        "model.safetensors",
        "training_state.safetensors",
    ]
    again = Model.load(tmp_path / "m")
    assert again.about["steps"] == 25
    assert again.about["ended"] == "budget used"
    for name, tensor in model.unet.state_dict().items():
        assert torch.equal(again.unet.state_dict()[name], tensor)
    log = read_log(tmp_path / "m")
    assert [line["step"] for line in log] == [20]


def test_resumed_is_the_same_as_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    run(tmp_path / "whole", 45)
    run(tmp_path / "parts", 13)
    run(tmp_path / "parts", 31, resume=True)
    run(tmp_path / "parts", 45, resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    logs = [[(o["step"], o["loss"]) for o in read_log(tmp_path / k)] for k in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    run(tmp_path / "a", 5)
    run(tmp_path / "b", 5, recipe={"seed": 1})
    assert not same_weights(tmp_path / "a", tmp_path / "b")


def test_averaged_weights_are_the_power_function_average(tmp_path: Path) -> None:
    """After two steps: w1 / 2**10 + w2 (1 - 1 / 2**10), as width 0.1 means power 10."""
    states = []
    for steps in (1, 2):
        run(tmp_path / str(steps), steps)
        states.append(load_file(tmp_path / str(steps) / "training_state.safetensors"))
    for name in [name for name in states[0] if name.startswith("net.")]:
        expected = torch.lerp(states[0][name], states[1][name], 1 - 2.0**-10)
        torch.testing.assert_close(states[1][name.replace("net.", "ema.")], expected)


CTRL_C = """
import sys
from test_training import run
model = run(sys.argv[1], 100_000, progress=lambda done, note: print(note, flush=True))
print("ended:", model.about["ended"], flush=True)
"""


def test_ctrl_c_leaves_a_usable_model_that_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, str(tmp_path / "m")],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    while "step 30 " not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ended: interrupted" in out
    done = Model.load(tmp_path / "m").about["steps"]
    assert done >= 30
    run(tmp_path / "m", done + 5, resume=True)
    run(tmp_path / "whole", done + 5)
    assert same_weights(tmp_path / "whole", tmp_path / "m")


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    def second(done: float, note: str) -> None:
        with pytest.raises(InputError, match="m: another training writes here"):
            run(tmp_path / "m", 5)

    run(tmp_path / "m", 2, progress=second)
    run(tmp_path / "alone", 2)
    assert same_weights(tmp_path / "m", tmp_path / "alone")
    run(tmp_path / "m", 4, resume=True)  # and is free again


def test_a_killed_run_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    code = CTRL_C.replace("100_000,", "100_000, recipe={'checkpoint_seconds': 0.2},")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
    )
    state = tmp_path / "m" / "training_state.safetensors"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = Model.load(tmp_path / "m").about["steps"]
    run(tmp_path / "m", done + 40, resume=True)
    run(tmp_path / "whole", done + 40)
    assert same_weights(tmp_path / "whole", tmp_path / "m")


def test_two_processes_learn_the_same(tmp_path: Path) -> None:
    code = "import sys; from test_training import run; run(sys.argv[1], 8)"
    script = tmp_path / "script.py"
    script.write_text(code)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node=2",
            str(script),
            str(tmp_path / "two"),
        ],
        check=True,
        capture_output=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
            ),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        },
    )
    run(tmp_path / "one", 8)
    states = [load_file(tmp_path / k / "training_state.safetensors") for k in ("one", "two")]
    for name, tensor in states[0].items():
        if name.startswith("net."):
            # Adam divides tiny gradients by themselves, so rounding of the mean shows: 1e-3 steps.
            torch.testing.assert_close(states[1][name], tensor, atol=2e-4, rtol=0)


def test_refusals(tmp_path: Path) -> None:
    run(tmp_path / "m", 2)
    with pytest.raises(FileExistsError, match="--force"):
        run(tmp_path / "m", 2)
    with pytest.raises(InputError, match="resume: seed was 0 and is now 5"):
        run(tmp_path / "m", 4, resume=True, recipe={"seed": 5})
    with pytest.raises(InputError, match="resume: preset was 'default' and is now 'paper'"):
        run(tmp_path / "m", 4, resume=True, preset="paper")
    with pytest.raises(InputError, match="resume: fingerprint was"):
        run(tmp_path / "m", 4, resume=True, traces=volumes(seed=9))
    with pytest.raises(InputError, match="resume: classes was"):
        run(tmp_path / "m", 4, resume=True, traces=packets())
    with pytest.raises(InputError, match="not a netdiffus model folder"):
        run(tmp_path / "none", 4, resume=True)
    run(tmp_path / "m", 3, force=True)
    assert Model.load(tmp_path / "m").about["steps"] == 3


def test_bad_recipes_and_traces() -> None:
    with pytest.raises(InputError, match="give steps or minutes"):
        Recipe()
    with pytest.raises(InputError, match="batch_size must be a number above 0, got 0"):
        Recipe(steps=1, batch_size=0)
    with pytest.raises(InputError, match=r"held must lie in 0..0.5, got 0.9"):
        Recipe(steps=1, held=0.9)
    with pytest.raises(InputError, match="minutes must be a number above 0, got nan"):
        Recipe(minutes=float("nan"))
    lonely = Traces.from_lists({"value": [[1, 2], [2, 3], [3, 4]]}, ["a", "a", "b"])
    with pytest.raises(InputError, match="class 'b' has one trace"):
        train(lonely, recipe=Recipe(steps=1))
    with pytest.raises(InputError, match=r"steps must be a whole number, got 2\.5"):
        Recipe(steps=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="minutes must be a number above 0, got '5'"):
        Recipe(minutes="5")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size 2 is less than the 3 processes"):
        _check_batch(Recipe(steps=1, batch_size=2), 3)


def test_classes_without_a_trace_are_left_out() -> None:
    model = run(None, 2, traces=volumes().of_class("onoff"))
    assert model.classes == ("onoff",)
    assert set(sample(model, 3).label_names) == {"onoff"}


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    codec = GasfCodec(np.int64(8), length=np.int32(16), border=np.int8(1))
    recipe = Recipe(steps=np.int64(2), batch_size=np.int64(4), seed=np.int64(3))
    train(volumes(), tmp_path, recipe=recipe, codec=codec, width=np.int64(8))
    assert Model.load(tmp_path).about["budget"] == {"steps": 2}


def test_a_resumed_run_without_a_recipe_has_its_own(tmp_path: Path) -> None:
    run(tmp_path, 40, recipe={"seed": 3}, progress=stops_at(25))
    assert Model.load(tmp_path).about["ended"] == "interrupted"
    train(volumes(), tmp_path, codec=GasfCodec(8, border=1), width=8, resume=True)
    assert Model.load(tmp_path).about["steps"] == 40


def test_states_and_logs_that_are_not_whole(tmp_path: Path) -> None:
    run(tmp_path, 40)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 60, "sec')
    assert [line["step"] for line in read_log(tmp_path)] == [20, 40]
    run(tmp_path, 60, resume=True)
    assert [line["step"] for line in read_log(tmp_path)] == [20, 40, 60]
    save_file({"x": torch.zeros(1)}, tmp_path / "training_state.safetensors")
    with pytest.raises(InputError, match="no checkpoint of this version, it lacks fingerprint"):
        run(tmp_path, 80, resume=True)


def test_constant_and_tiny_traces_train() -> None:
    traces = Traces.from_lists({"value": [[7], [7], [7, 7], [7]]}, ["a", "b", "a", "b"])
    model = train(traces, recipe=Recipe(steps=3, batch_size=3))
    assert model.about["steps"] == 3


def test_what_the_images_leave_out_is_kept_with_the_model() -> None:
    recipe, small = Recipe(steps=1, batch_size=3), {"width": 8}
    cut = train(packets(20), recipe=recipe, codec=GasfCodec(4, border=1), **small).about
    longer = int((packets(20).lengths > 4).sum())
    assert [cut[k] for k in ("length", "points", "longer_traces")] == [4, 4, longer]
    whole = train(volumes(), recipe=recipe, codec=GasfCodec(5, border=1), **small).about
    assert [whole[k] for k in ("length", "points")] == [20, 5]
    assert "longer_traces" not in whole


def test_minutes_end_the_run() -> None:
    seen: list[float] = []
    run_for = Recipe(minutes=0.02, batch_size=4)
    model = train(
        volumes(),
        recipe=run_for,
        codec=GasfCodec(8, border=1),
        width=8,
        progress=lambda d, _: seen.append(d),
    )
    assert model.about["seconds"] == pytest.approx(1.2, abs=1.0)
    assert seen == sorted(seen)
    assert seen[-1] >= 1


def test_log_is_json_lines(tmp_path: Path) -> None:
    run(tmp_path, 40)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"step", "seconds", "loss"}] * 2


def test_learning_by_heart_ends_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distance goes down, up by less than two fifths, down, and up by more."""
    given = [1.0, 0.9, 1.25, 0.8, 1.13]
    found = iter(given)
    monkeypatch.setattr(Batches, "held_distance", lambda *_: next(found))
    model = run(tmp_path, 2000, traces=volumes(80))
    assert model.about["steps"] == 240  # 200, and a sixth of all with the held traces
    assert model.about["ended"] == "learning by heart"
    assert (model.about["held_distance"], model.about["least_held_distance"]) == (1.13, 0.8)
    log = [line["held_distance"] for line in read_log(tmp_path) if "held_distance" in line]
    assert log == [v for v in given for _ in range(2)][:9]
    assert model.about["held_until_step"] == 200


def test_held_traces_are_learned_from_in_the_last_sixth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, seen = Batches._rows, []

    def noted(self: Batches, draws: torch.Tensor) -> torch.Tensor:
        seen.append(rows(self, draws))
        return seen[-1]

    monkeypatch.setattr(Batches, "_rows", noted)
    run(tmp_path, 240, traces=volumes(80), recipe={"held": 0.25})
    first, last = (set(torch.cat(part).tolist()) for part in (seen[:200], seen[200:]))
    assert len(first) < 80
    assert len(last) == 80


def stops_at(step: int) -> Callable[[float, str], None]:
    """Ctrl-C after the step."""

    def progress(share: float, note: str) -> None:
        if note.startswith(f"step {step} "):
            signal.raise_signal(signal.SIGINT)

    return progress


def test_held_traces_are_resumed_with(tmp_path: Path) -> None:
    more = {"traces": volumes(80), "recipe": {"held": 0.25}}
    run(tmp_path / "whole", 130, **more)
    for k, stop in enumerate((50, 120, 0)):  # before and after held traces are learned from
        run(tmp_path / "parts", 130, resume=k > 0, progress=stops_at(stop), **more)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    about = [Model.load(tmp_path / k).about for k in ("whole", "parts")]
    assert about[0]["held_distance"] == about[1]["held_distance"] > 0
    with pytest.raises(InputError, match=r"resume: held was 0\.25 and is now 0\.1"):
        run(tmp_path / "parts", 140, resume=True, traces=volumes(80))
