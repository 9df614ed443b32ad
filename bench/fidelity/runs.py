"""Trains, samples and judges; every part is kept as JSON, so that a stopped bench goes on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bench.fidelity import sets
from bench.fidelity.forests import Protocol, mean_figure
from bench.fidelity.judging import copies_of_holdout, judge, membership, named
from bench.fidelity.kept import Result, kept
from bench.fidelity.peers import PEERS, in_classes, trained_peer
from bench.fidelity.sets import FidelitySet
from netdiffus import Model, Recipe, sample, train
from netdiffus.evaluation.evaluator import BASELINES
from netdiffus.model.files import STATE
from netdiffus.networks.build import parameters
from netdiffus.sampling import default_steps
from netdiffus.traces.traces import Traces

TIMES = 5  # as many synthetic as training traces


@dataclass(frozen=True)
class Plan:
    """What the bench does.

    Attributes:
        out: Folder of models, parts and results.
        sets: Names of the sets.
        minutes: Budgets of processor time; each is a training of its own. The longest gets all
            figures: with the first seed steps and the peers, too.
        seeds: Of the training.
        all_seeds: Names of the sets that are trained with every seed, at the longest budget; the
            others, and the shorter budgets, take the first.
        steps: Numbers of sampling steps to compare, for a preset that has any.
        peers: Generators that are not ours, each with the longest budget. The network often ends
            earlier.
        preset: The kind of network.
        data: Folder of the public sets, None for the usual one.
        protocol: Of the forests.
    """

    out: Path
    sets: tuple[str, ...] = tuple(name for name in sets.SETS if name != sets.LAB)
    minutes: tuple[float, ...] = (2.5, 5.0, 10.0, 20.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    all_seeds: tuple[str, ...] = ("video_platforms", "alexa_voice")
    steps: tuple[int, ...] = (4, 8, 16, 32, 1000)
    peers: tuple[str, ...] = tuple(PEERS)
    preset: str = "default"
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
    fs = sets.load(name, plan.data)
    folder = plan.out / name
    result = {
        "set": name,
        "points": fs.points,
        "bars": None if fs.bars is None else asdict(fs.bars),
        "traces": {"train": len(fs.train), "holdout": len(fs.holdout)},
        "real": kept(folder / "real.json", lambda: _real(fs, plan.protocol)),
        "baselines": {
            kind: kept(folder / f"{kind}.json", partial(_baseline, fs, kind, plan.protocol))
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
    return {**judge(fs, fs.train, protocol), "copies_floor": copies_of_holdout(fs)}


def _baseline(fs: FidelitySet, kind: str, protocol: Protocol) -> Result:
    """A generator that learns little, of sizes with their signs: that suits it best."""
    train = sets.signed(fs.train)
    return judge(fs, BASELINES[kind](train, len(train)), protocol)


def _run(fs: FidelitySet, plan: Plan, out: Path, seed: int, minutes: float) -> Result:
    folder = out / f"seed{seed}-{minutes:g}min"
    print(f"{fs.name}: seed {seed}, {minutes:g} minutes", flush=True)
    recipe = Recipe(cpu_minutes=minutes, seed=seed)
    cost = kept(folder / "training.json", lambda: _train(fs, plan.preset, folder / "model", recipe))
    model = Model.load(folder / "model")
    first = seed == plan.seeds[0] and minutes == plan.longest
    result = {"seed": seed, "minutes": minutes, "training": cost}
    result["ours"] = kept(
        folder / "ours.json",
        lambda: _ours(fs, model, seed, plan.protocol, whole=minutes == plan.longest),
    )
    if not first:
        return result
    result["steps"] = [
        kept(folder / f"steps-{n}.json", partial(_steps, fs, model, seed, n, plan.protocol))
        for n in (plan.steps if model.diffusion else ())
    ]
    result["peers"] = {
        peer: kept(folder / f"{peer}.json", partial(_peer, fs, plan, peer, seed))
        for peer in plan.peers
    }
    return result


def _train(fs: FidelitySet, preset: str, folder: Path, recipe: Recipe) -> Result:
    """Trains, or goes on with a training that was stopped."""
    resume = (folder / STATE).exists()
    model = train(fs.train, folder, recipe=recipe, preset=preset, resume=resume)
    if model.about["ended"] == "interrupted":
        raise KeyboardInterrupt
    return {**model.about, "preset": preset, "parameters": parameters(model.network)}


def _ours(fs: FidelitySet, model: Model, seed: int, protocol: Protocol, *, whole: bool) -> Result:
    """The figures of as many traces as there are for training; if `whole`, of more of them."""
    made, ms = _sampled(fs, model, seed)
    result = {
        **judge(fs, made, protocol),
        "ms_per_trace": ms,
        "steps": default_steps(model, "dpm++"),
    }
    if whole:
        result["membership"] = membership(fs, made)
        more, _ = _sampled(fs, model, seed, rounds=range(1, TIMES))
        for name, parts in (("more", [made, more]), ("with_real", [made, fs.train])):
            result[name] = mean_figure(named(fs, parts, protocol), fs.files, protocol)
    return result


def _steps(fs: FidelitySet, model: Model, seed: int, steps: int, protocol: Protocol) -> Result:
    made, ms = _sampled(fs, model, seed, steps=steps)
    return {**judge(fs, made, protocol), "ms_per_trace": ms, "steps": steps}


def _peer(fs: FidelitySet, plan: Plan, name: str, seed: int) -> Result:
    made, about = trained_peer(
        name,
        fs.train,
        plan.out / name,
        f"{fs.name}-split0-{plan.longest:g}min-seed{seed}",
        cpu_seconds=60 * plan.longest,
        seed=seed,
    )
    first = in_classes(made, fs.train)
    figures = {
        **judge(fs, first, plan.protocol),
        "membership": membership(fs, first),
        "ms_per_trace": about["ms_per_trace"],
        "about": about,
    }
    if PEERS[name].times > 1:
        figures["more"] = mean_figure(named(fs, [made], plan.protocol), fs.files, plan.protocol)
    return figures


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
    is_whole = model.diffusion is not None and steps == model.diffusion.num_timesteps
    n, first = len(rounds) * len(labels), rounds.start * len(labels)
    began = time.perf_counter()
    made = sample(
        model,
        n,
        label=labels,
        seed=seed,
        start=first,
        sampler="ddpm" if is_whole else None,
        steps=steps,
    )
    return made, 1000 * (time.perf_counter() - began) / n
