"""What the networks cost on a GPU: `python -m bench.gpu_models FOLDER/gpu_models.json`.

Of `default` and `image`: seconds until made lab traffic trains a forest to the wanted accuracy,
traces a second in batches of 1,024 and 8,192, and the most memory of either. Each part is written
as it is done, so that a run that is cut short leaves figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from netdiffus import Model, Recipe, Traces, lab_traffic, sample, train
from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.metrics.classifiers import forest
from netdiffus.files import write_text
from netdiffus.progress import silent

PRESETS = ("default", "image")
WANTED = 0.85  # accuracy of a forest on unseen links; real traces reach 0.886
BUDGETS = (10.0, 20.0, 40.0)  # seconds of separate trainings, until one is long enough
BATCHES = (1024, 8192)


def main(
    out: Path, device: str, budgets: tuple[float, ...], batches: tuple[int, ...], every: int = 1
) -> None:
    """Measures each preset on each trace, or on every 30th, and writes what is known so far."""
    learn, holdout = lab_traffic()[::every].split(0.25, by="group", seed=0)
    found: dict[str, Any] = {"torch": torch.__version__, "device": _name(device), "wanted": WANTED}
    for preset in PRESETS:
        found[preset] = {"trainings": [], "sampling": []}
        for seconds in budgets:
            run, model = _training(learn, holdout, preset, seconds, device)
            found[preset]["trainings"].append(run)
            write_text(out, json.dumps(found, indent=1) + "\n")
            if run["accuracy"] >= WANTED:
                break
        for batch in batches:
            found[preset]["sampling"].append(_sampling(model, batch, device))
            write_text(out, json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _training(
    learn: Traces, holdout: Traces, preset: str, seconds: float, device: str
) -> tuple[dict[str, Any], Model]:
    def run() -> Model:
        recipe = Recipe(minutes=seconds / 60, batch_size=256)
        return train(learn, recipe=recipe, preset=preset, device=device, progress=silent)

    model, took, memory = _measured(run, device)
    made = sample(model, len(learn), seed=0, device=device, progress=silent)
    answer = forest(features(made), made.labels, len(learn.classes), 0)(features(holdout))
    accuracy = float((answer.argmax(axis=1) == holdout.labels).mean())
    kept = {"seconds": took, "steps": model.about["steps"], "memory_mb": memory}
    return {**kept, "accuracy": accuracy, "ended": model.about["ended"]}, model


def _sampling(model: Model, batch: int, device: str) -> dict[str, float]:
    def run() -> Traces:
        return sample(model, batch, seed=1, batch_size=batch, device=device, progress=silent)

    run()  # compiles, and fills caches
    _, took, memory = _measured(run, device)
    return {"batch": batch, "traces_per_second": batch / took, "memory_mb": memory}


def _measured(run: Callable[[], Any], device: str) -> tuple[Any, float, float | None]:
    """What it gives, seconds, and the most memory that torch took on the GPU (MB)."""
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    found = run()
    if on_gpu:
        torch.cuda.synchronize()
    took = time.perf_counter() - began
    return found, took, torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.gpu_models", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="on the CPU: does it work?")
    asked = parser.parse_args()
    if not asked.tiny and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device; --tiny tries the script on the CPU")
    main(asked.out, *(("cpu", (1.0,), (8,), 30) if asked.tiny else ("cuda", BUDGETS, BATCHES)))
