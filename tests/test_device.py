"""A GPU learns and makes what the CPU does; without one most of these skip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import packets, volumes

from netdiffus.codec import GasfCodec
from netdiffus.errors import InputError
from netdiffus.model import Model
from netdiffus.recipe import Recipe
from netdiffus.sampling import sample
from netdiffus.traces import Traces
from netdiffus.training import train
from netdiffus.training_state import read_log

on_a_gpu = pytest.mark.parametrize("backend", ["cuda"], indirect=True)


def learn(
    traces: Traces, device: str, folder: Path | None = None, steps: int = 60, **settings: Any
) -> Model:
    recipe = Recipe(steps=steps, batch_size=16)
    codec = GasfCodec(16, border=0 if "preset" in settings else 1)
    return train(traces, folder, recipe=recipe, codec=codec, width=24, device=device, **settings)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder)]


@on_a_gpu
@pytest.mark.parametrize("settings", [{}, {"preset": "paper"}], ids=["default", "paper"])
def test_training(backend: str, device: str, settings: dict[str, Any], tmp_path: Path) -> None:
    for where in ("cpu", device):
        model = learn(packets(60), where, tmp_path / where, **settings)
        assert {p.device.type for p in model.unet.parameters()} == {"cpu"}
    np.testing.assert_allclose(losses(tmp_path / device), losses(tmp_path / "cpu"), rtol=2e-3)


@on_a_gpu
def test_training_goes_on(backend: str, device: str, tmp_path: Path) -> None:
    """On the GPU, from its own checkpoint and from one of the CPU."""
    learn(packets(60), "cpu", tmp_path / "whole")
    for first in ("cpu", device):
        learn(packets(60), first, tmp_path / first, steps=30)
        learn(packets(60), device, tmp_path / first, resume=True)
        np.testing.assert_allclose(losses(tmp_path / first), losses(tmp_path / "whole"), rtol=2e-3)


@on_a_gpu
@pytest.mark.parametrize("sampler", ["dpm++", "ddpm"])
@pytest.mark.parametrize("traces", [packets(60), volumes(60)], ids=["packets", "volumes"])
def test_sampling(backend: str, device: str, sampler: str, traces: Traces) -> None:
    """The same traces; rounding may tip a value to its neighbour now and then."""
    model = learn(traces, "cpu")
    for fast in (True, False):
        here, there = (
            sample(model, 200, seed=1, steps=10, sampler=sampler, device=where, fast=fast)
            for where in ("cpu", device)
        )
        np.testing.assert_array_equal(here.lengths, there.lengths)
        assert here.label_names.tolist() == there.label_names.tolist()
        for c in range(len(here.channels)):
            a, b = here.points(c), there.points(c)
            assert np.mean(np.abs(a - b) > 1e-3 * np.ptp(a)) < 2e-3
    assert {p.device.type for p in model.unet.parameters()} == {"cpu"}


def test_no_such_device() -> None:
    with pytest.raises(InputError, match=r"device 'cuda:77' cannot be used: .*; try 'cpu'"):
        learn(volumes(), "cuda:77")
