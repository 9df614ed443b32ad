"""How well a model continues traces, beside baselines: `python -m bench.completion --help`.

The first 25, 50 and 75 % of the points of held-out traces are known, and 20 draws continue each. A
draw is right where it is near the real point (CRPS), and the spread of the draws where 80 % of the
real points lie between their 10th and 90th percentile (coverage: 0.80, and more where many points
are alike). The baselines know the class, too:
the last value repeated, a Markov chain, and the rest of the nearest training traces.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.fidelity import sets
from bench.tables import markdown
from netdiffus import Recipe, complete, train
from netdiffus.files import write_text
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Floats, Traces

DRAWS, CENTRAL = 20, (0.1, 0.9)
SHARES = (0.25, 0.5, 0.75)
MOST = 150  # held-out traces
FORMS = (("crps", ".3f"), ("coverage", ".2f"))
STATES = 32  # of each channel, with about as many points each
Rest = Callable[[Traces, Traces, int, np.random.Generator], Floats]
"""Training and held-out traces, and how many points are known, to draws (R, N, C, L - known)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and writes it with the figures beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=[sets.LAB, "cell5g_apps", "video_platforms"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("build/completion"))
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--traces", type=int, default=MOST)
    chosen = parser.parse_args(arguments)
    real, held = _read(chosen.set, chosen.data)
    some = np.random.default_rng(0).permutation(len(held))[: chosen.traces]
    budget = {"steps": chosen.steps} if chosen.steps else {"minutes": chosen.minutes}
    figures = measured(real, held[some], Recipe(**budget))
    text = table(chosen.set, figures)
    write_text(chosen.out / f"{chosen.set}.json", json.dumps(figures, indent=1) + "\n")
    write_text(chosen.out / f"{chosen.set}.md", text)
    print(text)
    return 0


def _read(name: str, data: Path) -> tuple[Traces, Traces]:
    """What is learned from, and what judges; of the lab no link is on both sides."""
    if name == sets.LAB:
        return lab_traffic("volumes").split(by="group")
    found = sets.load(name, data)
    return found.train, found.holdout


def measured(
    real: Traces, held: Traces, recipe: Recipe, draws: int = DRAWS
) -> dict[str, dict[str, dict[str, float]]]:
    """By share and by who continues, the CRPS and the coverage."""
    model = train(real, recipe=recipe, columns=[])
    length = min(model.codec.length or 0, real.values.shape[2])
    real, held = (_whole(one, length) for one in (real, held))

    def by_model(real: Traces, held: Traces, known: int, rng: np.random.Generator) -> Floats:
        made = complete(model, held.truncate(known), draws, seed=0, progress=lambda *_: None)
        shape = len(held), draws, *held.values.shape[1:]
        values = np.zeros((len(made), *held.values.shape[1:]))
        values[:, :, : made.values.shape[2]] = made.values
        return values.reshape(shape).swapaxes(0, 1)[..., known:]

    who: dict[str, Rest] = {
        "model": by_model,
        "last value": _last_value,
        "Markov chain": _markov,
        "nearest": _nearest,
    }
    found: dict[str, dict[str, dict[str, float]]] = {}
    for share in SHARES:
        known = round(share * length)
        truth = held.values[:, :, known:]
        found[f"{share:.0%}"] = {
            name: judged(rest(real, held, known, np.random.default_rng(0)), truth)
            for name, rest in who.items()
        }
    return found


def judged(drawn: Floats, truth: Floats) -> dict[str, float]:
    """Figures of draws (R, N, C, T) beside what was (N, C, T).

    The CRPS of a point is E|x - y| - E|x - x'| / 2 for draws x, x' and the real value y, by pairs
    of different draws; that of a channel is divided by the mean of its values.
    """
    ordered = np.sort(drawn, axis=0)
    r = len(drawn)
    weights = (2 * np.arange(r) - r + 1).reshape(-1, 1, 1, 1)
    between = 2 * (weights * ordered).sum(0) / max(1, r * (r - 1))  # mean |x - x'|
    crps = np.abs(drawn - truth).mean(0) - between / 2
    scale = np.abs(truth).mean(axis=(0, 2))
    # So many of the real points lie between them where they are drawn as the draws are.
    low, high = np.quantile(drawn, CENTRAL, axis=0, method="weibull")
    inside = (truth >= low) & (truth <= high)
    return {
        "crps": float((crps.mean(axis=(0, 2)) / scale).mean()),
        "coverage": float(inside.mean()),
    }


def table(name: str, figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """A row for each who, a pair of columns for each share."""
    shares = list(figures)
    rows = [
        [who, *(f"{one[who][what]:{form}}" for one in figures.values() for what, form in FORMS)]
        for who in figures[shares[0]]
    ]
    return markdown(" | ".join([name, *(f"CRPS, {s} known | coverage" for s in shares)]), rows)


def _whole(traces: Traces, length: int) -> Traces:
    """Traces of at least so many points, cut to them."""
    return traces[traces.lengths >= length].truncate(length)


def _last_value(real: Traces, held: Traces, known: int, rng: np.random.Generator) -> Floats:
    last = held.values[:, :, known - 1 : known]
    return np.repeat(last[None], held.values.shape[2] - known, axis=3)


def _markov(real: Traces, held: Traces, known: int, rng: np.random.Generator) -> Floats:
    """Each next point is one that followed a like one in a training trace of the class."""
    steps = held.values.shape[2] - known
    out = np.zeros((DRAWS, *held.values.shape[:2], steps))
    for label in np.unique(held.labels):
        mine = np.flatnonzero(held.labels == label)
        names = real.classes.index(held.classes[label])
        points = real.values[real.labels == names]
        edges = [
            np.unique(np.quantile(one, np.linspace(0, 1, STATES))) for one in points.swapaxes(0, 1)
        ]
        before, after = points[:, :, :-1].swapaxes(1, 2), points[:, :, 1:].swapaxes(1, 2)
        before, after = (one.reshape(-1, points.shape[1]) for one in (before, after))
        keys = _state(before, edges)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        now = np.repeat(held.values[mine][None, :, :, known - 1], DRAWS, axis=0)
        for t in range(steps):
            state = _state(now.reshape(-1, points.shape[1]), edges)
            # A state that never came counts as the next one that did.
            at = np.minimum(np.searchsorted(keys, state), len(keys) - 1)
            first = np.searchsorted(keys, keys[at])
            last = np.searchsorted(keys, keys[at], side="right")
            rows = order[(first + rng.random(len(state)) * (last - first)).astype(np.int64)]
            now = after[rows].reshape(now.shape)
            out[..., t][:, mine] = now
    return out


def _state(points: Floats, edges: Sequence[Floats]) -> np.ndarray:
    """(P,): one number for the states of all channels of points (P, C)."""
    found = np.zeros(len(points), dtype=np.int64)
    for c, one in enumerate(edges):
        found = found * (STATES + 1) + np.searchsorted(one, points[:, c], side="right")
    return found


def _nearest(real: Traces, held: Traces, known: int, rng: np.random.Generator) -> Floats:
    """The rest of the training traces of the class whose first points are nearest, by logs."""
    out = np.zeros((DRAWS, *held.values.shape[:2], held.values.shape[2] - known))
    for i in range(len(held)):
        mine = real.values[real.label_names == held.label_names[i]]
        a, b = np.log1p(mine[:, :, :known]), np.log1p(held.values[i, :, :known])
        near = np.argsort(((a - b) ** 2).sum((1, 2)), kind="stable")[:DRAWS]
        out[:, i] = mine[np.resize(near, DRAWS)][:, :, known:]
    return out


if __name__ == "__main__":
    raise SystemExit(main())
