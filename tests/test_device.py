"""A GPU learns and makes what the CPU does; without one most of these skip."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import packets, volumes

from netdiffus.codec import GasfCodec, TokenCodec
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.sampling import sample
from netdiffus.traces.traces import Traces
from netdiffus.training import Recipe, train
from netdiffus.training.checkpoint import read_log

on_a_gpu = pytest.mark.parametrize("backend", ["cuda"], indirect=True)
PRESETS = ["causal", "image", "paper"]


def learn(
    traces: Traces, device: str, folder: Path | None = None, preset: str = "causal", **more: Any
) -> Model:
    recipe = Recipe(steps=60, batch_size=16)
    codec = GasfCodec(16, border=int(preset == "image")) if preset != "causal" else TokenCodec()
    settings = {"recipe": recipe, "codec": codec, "width": 24, "device": device, **more}
    return train(traces, folder, preset=preset, **settings)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder)]


@on_a_gpu
@pytest.mark.parametrize("preset", PRESETS)
def test_training(backend: str, device: str, preset: str, tmp_path: Path) -> None:
    """A transformer drops other features there, as GPUs have other random numbers."""
    for where in ("cpu", device):
        model = learn(packets(60), where, tmp_path / where, preset)
        assert {p.device.type for p in model.network.parameters()} == {"cpu"}
    tolerance = 2e-2 if preset == "causal" else 2e-3
    np.testing.assert_allclose(losses(tmp_path / device), losses(tmp_path / "cpu"), rtol=tolerance)


@on_a_gpu
@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_training_goes_on(backend: str, device: str, first: str, tmp_path: Path) -> None:
    """On the GPU, from its own checkpoint and from one of the CPU."""
    learn(packets(60), "cpu", tmp_path / "whole", "paper")
    learn(packets(60), first, tmp_path / "parts", "paper", progress=stops_at(30))
    learn(packets(60), device, tmp_path / "parts", "paper", resume=True)
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "whole"), rtol=2e-3)


def stops_at(step: int) -> Any:
    """Ctrl-C after the step."""

    def progress(share: float, note: str) -> None:
        if note.startswith(f"step {step} "):
            signal.raise_signal(signal.SIGINT)

    return progress


@on_a_gpu
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("traces", [packets(60), volumes(60)], ids=["packets", "volumes"])
def test_sampling(backend: str, device: str, preset: str, traces: Traces) -> None:
    """The same traces; rounding may tip a value of an image, or change a trace of tokens."""
    model = learn(traces, "cpu", preset=preset)
    plan = {} if preset == "causal" else {"steps": 10}
    for fast in (True, False):
        here, there = (
            sample(model, 200, seed=1, device=where, fast=fast, **plan) for where in ("cpu", device)
        )
        same = here.lengths == there.lengths
        assert np.sum(~same) <= (2 if preset == "causal" else 0)
        assert here.label_names.tolist() == there.label_names.tolist()
        for c in range(len(here.channels)):
            a, b = here[same].points(c), there[same].points(c)
            assert np.mean(np.abs(a - b) > 1e-3 * np.ptp(a)) < (
                1e-2 if preset == "causal" else 2e-3
            )
    assert {p.device.type for p in model.network.parameters()} == {"cpu"}


def test_no_such_device() -> None:
    with pytest.raises(InputError, match=r"device 'cuda:77' cannot be used: .*; try 'cpu'"):
        learn(volumes(), "cuda:77")
