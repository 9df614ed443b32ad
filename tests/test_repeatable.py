"""What is the same to the last bit: `docs/limits.md` lists it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small import volumes
from test_sampling import assert_close, plan

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.ops import _backend
from netdiffus.sampling import sample
from netdiffus.traces.lab import lab_traffic
from netdiffus.training import Recipe, train
from netdiffus.training.processes import check_deterministic

PRESETS = ["causal", "paper"]


def learned(preset: str, folder: Path | None = None, **recipe: float) -> Model:
    codec = TokenCodec() if preset == "causal" else GasfCodec(8)
    made = Recipe(**{"steps": 4, "batch_size": 8, **recipe})  # type: ignore[arg-type]
    return train(volumes(40), folder, recipe=made, codec=codec, preset=preset, width=8)


@pytest.fixture(scope="module", params=PRESETS)
def model(request: pytest.FixtureRequest) -> Model:
    return learned(request.param)


def digest(path: Path) -> str:
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("preset", PRESETS)
def test_two_trainings_of_one_seed_write_one_file(preset: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        learned(preset, tmp_path / name)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_deterministic_training_does_not_depend_on_threads(tmp_path: Path) -> None:
    """Of a network and a batch that are large enough for torch to split its sums by threads."""
    before = torch.get_num_threads()
    recipe = Recipe(steps=3, deterministic=True)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            train(lab_traffic(), tmp_path / str(threads), recipe=recipe)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_deterministic_training_is_for_the_cpu() -> None:
    with pytest.raises(InputError, match=r"deterministic: not on cuda; give device='cpu'"):
        check_deterministic(True, torch.device("cuda"))
    check_deterministic(True, torch.device("cpu"))
    check_deterministic(False, torch.device("cuda"))


@pytest.fixture
def levels() -> Iterator[list[str]]:
    """The instruction sets of this processor; that of before is in force again afterwards."""
    kernels = _backend._C
    before = kernels.isa()
    yield kernels.isas()
    kernels.set_isa(before)


@pytest.mark.parametrize("preset", PRESETS)
def test_training_does_not_depend_on_the_instruction_set_of_our_kernels(
    preset: str, levels: list[str], tmp_path: Path
) -> None:
    for level in levels:
        _backend._C.set_isa(level)
        learned(preset, tmp_path / level)
    assert len({digest(tmp_path / level) for level in levels}) == 1


def test_sampling_does_not_depend_on_the_instruction_set(model: Model, levels: list[str]) -> None:
    """But for rounding, in products of matrices: see `test_sampling.py`."""
    made = []
    for level in levels:
        _backend._C.set_isa(level)
        made.append(sample(model, 100, seed=3, **plan(model)))
    for other in made[1:]:
        assert_close(made[0], other)


def test_sampling_again_gives_the_same_bits(model: Model) -> None:
    first, second = (sample(model, 20, seed=3, **plan(model)) for _ in range(2))
    assert first.equals(second)
