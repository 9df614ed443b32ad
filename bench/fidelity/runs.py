"""Trains, samples and judges; every part is kept as JSON, so that a stopped bench goes on."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.fidelity import sets
from bench.fidelity.forests import Protocol, mean_figure
from bench.fidelity.gan import trained_gan
from bench.fidelity.judging import copies, judge, named
from bench.fidelity.sets import FidelitySet
from netdiffus import Model, Recipe, sample, train
from netdiffus.evaluation.baselines import bootstrap, jitter, markov
from netdiffus.files import write_text
from netdiffus.sampling import default_steps
from netdiffus.traces import Traces
from netdiffus.training_state import STATE

TIMES = 5  # as many synthetic as training traces
BASELINES = {"jitter": jitter, "bootstrap": bootstrap, "markov": markov}
Result = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What the bench does.

    Attributes:
        out: Folder of models, parts and results.
        sets: Names of the sets.
        minutes: Budgets; each is a training of its own, and the longest gets all figures: with the
            first seed steps and the GAN, too.
        seeds: Of the training.
        all_seeds: Names of the sets that are trained with every seed, at the longest budget; the
            others, and the shorter budgets, take the first.
        steps: Numbers of sampling steps to compare.
        gan: Whether to train the GAN.
        one_channel: Whether our model sees sizes and directions as one signed channel.
        data: Folder of the public sets, None for the usual one.
        protocol: Of the forests.
    """

    out: Path
    sets: tuple[str, ...] = tuple(name for name in sets.SETS if name != sets.LAB)
    minutes: tuple[float, ...] = (2.5, 5.0, 10.0, 20.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    all_seeds: tuple[str, ...] = ("video_platforms", "alexa_voice")
    steps: tuple[int, ...] = (4, 8, 16, 32, 1000)
    gan: bool = True
    one_channel: bool = False
    data: Path | None = None
    protocol: Protocol = field(default_factory=Protocol)

    @property
    def longest(self) -> float:
        """Minutes of the training that gets all figures."""
        return max(self.minutes)


def run(plan: Plan) -> list[Result]:
    """All results, one per set; what is in the folder is not done again."""
    return [run_set(plan, name) for name in plan.sets]


def run_set(plan: Plan, name: str) -> Result:
    """Everything about one set: `real`, `baselines` and one entry of `runs` per training."""
    fs = sets.load(name, plan.data, one_channel=plan.one_channel)
    folder = plan.out / name
    result = {
        "set": name,
        "points": fs.points,
        "bars": None if fs.bars is None else asdict(fs.bars),
        "traces": {"train": len(fs.train), "holdout": len(fs.holdout)},
        "real": _kept(folder / "real.json", lambda: _real(fs, plan.protocol)),
        "baselines": {
            kind: _kept(folder / f"{kind}.json", partial(_baseline, fs, kind, plan.protocol))
            for kind in BASELINES
        },
    }
    trainings = [(plan.seeds[0], minutes) for minutes in sorted(plan.minutes, reverse=True)]
    if name in plan.all_seeds:
        trainings += [(seed, plan.longest) for seed in plan.seeds[1:]]
    result["runs"] = [_run(fs, plan, folder, seed, minutes) for seed, minutes in trainings]
    return result


def _real(fs: FidelitySet, protocol: Protocol) -> Result:
    """The training traces as if they were made, and how near held-out ones are to them."""
    return {**judge(fs, fs.train, protocol), "copies_floor": copies(fs, fs.holdout)}


def _baseline(fs: FidelitySet, kind: str, protocol: Protocol) -> Result:
    """A generator that learns little, of sizes with their signs: that suits it best."""
    train = sets.signed(fs.train)
    return judge(fs, BASELINES[kind](train, len(train)), protocol)


def _run(fs: FidelitySet, plan: Plan, out: Path, seed: int, minutes: float) -> Result:
    folder = out / f"seed{seed}-{minutes:g}min"
    print(f"{fs.name}: seed {seed}, {minutes:g} minutes", flush=True)
    cost = _kept(folder / "training.json", lambda: _train(fs, folder / "model", seed, minutes))
    model = Model.load(folder / "model")
    first = seed == plan.seeds[0] and minutes == plan.longest
    result = {"seed": seed, "minutes": minutes, "training": cost}
    result["ours"] = _kept(
        folder / "ours.json",
        lambda: _ours(fs, model, seed, plan.protocol, whole=minutes == plan.longest),
    )
    if not first:
        return result
    result["steps"] = [
        _kept(folder / f"steps-{n}.json", partial(_steps, fs, model, seed, n, plan.protocol))
        for n in plan.steps
    ]
    if plan.gan:
        scratch, seconds = plan.out / "gan", cost["cpu_seconds"]
        result["gan"] = _kept(
            folder / "gan.json", lambda: _gan(fs, scratch, seconds, seed, plan.protocol)
        )
    return result


def _train(fs: FidelitySet, folder: Path, seed: int, minutes: float) -> Result:
    """Trains, or goes on with a training that was stopped."""
    resume = (folder / STATE).exists()
    before = Model.load(folder).about["seconds"] if resume else 0.0
    began = time.process_time()
    model = train(fs.train, folder, recipe=Recipe(minutes=minutes, seed=seed), resume=resume)
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt
    here = model.about["seconds"] - before
    # Threads in use, by this part of the training where it is long enough to tell.
    threads = (time.process_time() - began) / here if here > 1 else torch.get_num_threads()
    return {
        **model.about,
        "cpu_seconds": threads * model.about["seconds"],
        "parameters": sum(p.numel() for p in model.unet.parameters()),
        "image_size": model.unet_config.size,
    }


def _ours(fs: FidelitySet, model: Model, seed: int, protocol: Protocol, *, whole: bool) -> Result:
    """The figures of as many traces as there are for training; if `whole`, of more of them."""
    made, ms = _sampled(fs, model, seed)
    result = {
        **judge(fs, made, protocol),
        "ms_per_trace": ms,
        "steps": default_steps(model, "dpm++"),
    }
    if whole:
        more, _ = _sampled(fs, model, seed, rounds=range(1, TIMES))
        for name, parts in (("more", [made, more]), ("with_real", [made, fs.train])):
            result[name] = mean_figure(named(fs, parts, protocol), fs.files, protocol)
    return result


def _steps(fs: FidelitySet, model: Model, seed: int, steps: int, protocol: Protocol) -> Result:
    made, ms = _sampled(fs, model, seed, steps=steps)
    return {**judge(fs, made, protocol), "ms_per_trace": ms, "steps": steps}


def _gan(fs: FidelitySet, scratch: Path, seconds: float, seed: int, protocol: Protocol) -> Result:
    train = sets.unsigned(fs.train)
    made, about = trained_gan(train, scratch, cpu_seconds=seconds, seed=seed)
    return {**judge(fs, made, protocol), "about": about}


def _sampled(
    fs: FidelitySet,
    model: Model,
    seed: int,
    *,
    steps: int | None = None,
    rounds: range = range(1),
) -> tuple[Traces, float]:
    """Traces with the classes of the training traces, once a round, and milliseconds for each.

    All T steps are those of the ancestral sampler, which leaves nothing out.
    """
    labels = fs.train.label_names.tolist()
    sampler = "ddpm" if steps == model.diffusion.num_timesteps else "dpm++"
    n, first = len(rounds) * len(labels), rounds.start * len(labels)
    began = time.perf_counter()
    made = sample(model, n, label=labels, seed=seed, start=first, sampler=sampler, steps=steps)
    return made, 1000 * (time.perf_counter() - began) / n


def _kept(path: Path, make: Callable[[], Result]) -> Result:
    """What the file holds; if there is none, what `make` gives, which is then written there."""
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    print(f"  {path}", flush=True)
    made = make() | {"commit": _commit()}
    write_text(path, json.dumps(made, indent=1) + "\n")
    return made


def _commit() -> str:
    """Of the code that gave a figure; a + stands for changes since."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
