"""A checkpoint that was changed is refused, with what is wrong in it, before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import STATE, run, state_of
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from netdiffus.errors import InputError

NAME = "net.conditions.label.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "m"
    run(folder, 3)
    return folder


def about_of(folder: Path) -> dict[str, str]:
    with safe_open(folder / STATE, framework="pt") as file:
        return dict(file.metadata())


def changed(
    whole: Path, folder: Path, change: Callable[[dict[str, Tensor], dict[str, str]], object]
) -> None:
    """A copy of the folder with other tensors or another text in its checkpoint."""
    for path in whole.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(whole)).write_bytes(path.read_bytes())
    tensors, about = state_of(whole), about_of(whole)
    change(tensors, about)
    save_file(tensors, folder / STATE, metadata=about)


def refused(whole: Path, folder: Path, change: Callable[..., object], message: str) -> None:
    changed(whole, folder, change)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=message) as caught:
        run(folder, 6, resume=True)
    assert str(folder / STATE) in str(caught.value)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_one_that_was_not_changed_is_taken(whole: Path, tmp_path: Path) -> None:
    changed(whole, tmp_path, lambda tensors, about: None)
    assert run(tmp_path, 6, resume=True).about["steps"] == 6


@pytest.mark.parametrize("prefix", ["net.", "ema.", "exp_avg.", "exp_avg_sq."])
def test_another_shape_is_refused(whole: Path, tmp_path: Path, prefix: str) -> None:
    name = NAME.replace("net.", prefix)

    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        tensors[name] = tensors[name][:, :-1].contiguous()

    refused(whole, tmp_path, change, rf"tensor {name} must be \(2, 16\) .*, found \(2, 15\)")


@pytest.mark.parametrize("name", [NAME, NAME.replace("net.", "step.")])
def test_another_type_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        tensors[name] = tensors[name].double()

    refused(whole, tmp_path, change, f"tensor {name} must be .* torch.float32, found .* torch.flo")


@pytest.mark.parametrize("prefix", ["net.", "ema.", "exp_avg.", "step."])
def test_a_missing_tensor_is_refused(whole: Path, tmp_path: Path, prefix: str) -> None:
    name = NAME.replace("net.", prefix)
    refused(whole, tmp_path, lambda tensors, _: tensors.pop(name), f"tensor {name} is missing")


def test_an_unknown_tensor_is_refused(whole: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        tensors["net.extra"] = torch.zeros(1)

    refused(whole, tmp_path, change, "tensor net.extra is unknown")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("prefix", ["net.", "ema.", "exp_avg_sq."])
def test_a_number_that_is_not_finite_is_refused(
    whole: Path, tmp_path: Path, prefix: str, value: float
) -> None:
    name = NAME.replace("net.", prefix)

    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        tensors[name][1, 2] = value

    refused(whole, tmp_path, change, f"tensor {name} holds values that are not finite")


@pytest.mark.parametrize("key", ["traces", "seed", "step", "schedule", "losses"])
def test_a_missing_setting_is_refused(whole: Path, tmp_path: Path, key: str) -> None:
    refused(whole, tmp_path, lambda _, about: about.pop(key), f"it lacks {key}")


def test_a_truncated_file_is_refused(whole: Path, tmp_path: Path) -> None:
    changed(whole, tmp_path, lambda tensors, about: None)
    for keep in (0, 7, 3000, -1):
        content = (whole / STATE).read_bytes()
        (tmp_path / STATE).write_bytes(content[:keep])
        with pytest.raises(InputError, match="truncated or not a safetensors file"):
            run(tmp_path, 6, resume=True)


def test_text_that_is_no_json_is_refused(whole: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        about["step"] = "{"

    refused(whole, tmp_path, change, "truncated or not a safetensors file")


def test_other_traces_are_refused(whole: Path, tmp_path: Path) -> None:
    """By their hash, which stands in the checkpoint alone."""

    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        about["traces"] = json.dumps("0" * 64)

    changed(whole, tmp_path, change)
    with pytest.raises(InputError, match="resume: traces was '000"):
        run(tmp_path, 6, resume=True)


def test_it_says_that_it_is_private(whole: Path) -> None:
    note = (whole / "checkpoint" / "PRIVATE.txt").read_text()
    assert "hash of the training traces" in note
    assert "Do not give it away" in note


def test_an_unknown_key_of_the_schedule_is_refused(whole: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        about["schedule"] = json.dumps(json.loads(about["schedule"]) | {"patience": 3})

    refused(whole, tmp_path, change, "schedule: .*patience.*train without resume")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", "3"),
        ("step", -1),
        ("seconds", None),
        ("losses", ["a"]),
        ("losses", {}),
        ("schedule", []),
        ("schedule", {"losses": ["a"]}),
        ("schedule", {"decay_share": "a"}),
    ],
)
def test_counts_that_no_run_writes_are_refused(
    whole: Path, tmp_path: Path, key: str, value: object
) -> None:
    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        about[key] = json.dumps(value)

    refused(whole, tmp_path, change, "counts that no run has written")


def test_one_of_another_save_is_refused(whole: Path, tmp_path: Path) -> None:
    """Its model was replaced: the steps that follow would be of neither."""

    def change(tensors: dict[str, Tensor], about: dict[str, str]) -> None:
        about["id"] = json.dumps("0" * 32)

    refused(whole, tmp_path, change, "belongs to another save than the model beside it")
