"""Trains diffusion in the frequency domain; runs in the environment of `peers.py`.

The score model, noise and loss are those of the package at its defaults, on Fourier transforms, as
its authors recommend. It knows neither classes nor ends: the class is a channel of ±1 for each bit
of its number, constant over the trace, and one more channel is 1 up to the trace's end and -1
beyond. Sizes and volumes are taken as log(1 + |x|) with their sign, all channels are standardised.
It cannot be asked for a class.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch

# The import of the usual build of torchvision fails with the CPU build of torch, which lacks these
# two operators. They are never called: only layers in Python are used.
VISION = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    VISION.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from fdiff.models.score_models import ScoreModule  # noqa: E402
from fdiff.sampling.sampler import DiffusionSampler  # noqa: E402
from fdiff.schedulers.sde import VPScheduler  # noqa: E402
from fdiff.utils.dataclasses import DiffusableBatch  # noqa: E402
from fdiff.utils.fourier import dft, idft  # noqa: E402

BATCH = 64
OVERSAMPLE = 1.2  # classes cannot be asked for, so more traces are made than are kept
SAMPLING_STEPS = 200
TRIED = 10  # steps that say how many fit into the time


def main(source: str, target: str, cpu_seconds: float, seed: int, times: int) -> None:
    """Reads training traces from `source` (.npz), writes made ones to `target`."""
    torch.manual_seed(seed)
    given = dict(np.load(source, allow_pickle=False))
    x = tensor(given)
    mean, sd = x.mean(dim=(0, 1)), x.std(dim=(0, 1)).clamp_min(1e-3)
    model, spent, steps = fit(dft((x - mean) / sd), cpu_seconds)
    began = time.process_time()
    count = int(OVERSAMPLE * times * len(x))
    made = idft(DiffusionSampler(model, count).sample(count, SAMPLING_STEPS)) * sd + mean
    about = {
        "package": f"freqdiff {version('freqdiff')}",
        "torch": torch.__version__,
        "cpu_seconds": spent,
        "batches": steps,
        "ms_per_trace": 1000 * (time.process_time() - began) / len(made),
        "config": {"batch": BATCH, "sampling_steps": SAMPLING_STEPS, "domain": "frequency"},
    }
    np.savez(target, about=np.array(json.dumps(about)), **arrays(made.numpy(), given))


def tensor(given: dict[str, np.ndarray]) -> torch.Tensor:
    """(N, L, C): channels, then the end, then the bits of the class."""
    values = np.moveaxis(given["values"], 1, 2)
    logs = np.sign(values) * np.log1p(np.abs(values))
    n, points, _ = values.shape
    end = np.where(np.arange(points) < given["lengths"][:, None], 1.0, -1.0)[..., None]
    bits = 2.0 * ((given["labels"][:, None] >> np.arange(_bits(given))) & 1) - 1
    code = np.broadcast_to(bits[:, None], (n, points, bits.shape[1]))
    return torch.tensor(np.concatenate([logs, end, code], axis=2), dtype=torch.float32)


def _bits(given: dict[str, np.ndarray]) -> int:
    return max(int(given["labels"].max()).bit_length(), 1)


def fit(x: torch.Tensor, cpu_seconds: float) -> tuple[ScoreModule, float, int]:
    """Trains for so much processor time; returns it and the number of batches too."""
    trial, spent = _trained(x, TRIED)
    steps = max(int((cpu_seconds - spent) / (spent / TRIED)), 1)
    del trial
    model, spent = _trained(x, steps)
    return model, spent, steps


def _trained(x: torch.Tensor, steps: int) -> tuple[ScoreModule, float]:
    noise = VPScheduler(fourier_noise_scaling=True)
    model = ScoreModule(x.shape[2], x.shape[1], noise, num_training_steps=steps)
    noise.set_noise_scaling(x.shape[1])
    found = model.configure_optimizers()
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    began = time.process_time()
    for _ in range(steps):
        batch = DiffusableBatch(X=x[torch.randint(len(x), (BATCH,))])
        loss = model.training_loss_fn(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model, time.process_time() - began


def arrays(made: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays as in `given`, of the made traces of a class that there is."""
    count = given["values"].shape[1]
    logs = np.moveaxis(made[..., :count], 2, 1)
    beyond = made[..., count] < 0
    lengths = np.where(beyond.any(axis=1), beyond.argmax(axis=1), made.shape[1]).clip(1)
    bits = made[..., count + 1 :].mean(axis=1) > 0
    labels = (bits << np.arange(bits.shape[1])).sum(axis=1)
    known = labels <= given["labels"].max()
    values = np.sign(logs) * np.expm1(np.abs(logs))
    return {"values": values[known], "lengths": lengths[known], "labels": labels[known]}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:]))
