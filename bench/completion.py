"""How well a model continues traces, beside baselines: `python -m bench.completion --help`.

The first 25, 50 and 75 % of a set's points are known of held-out traces that have so many, and 20
draws continue each. What is drawn are the values of volumes; of packets it is the size with the
sign of its direction, at each place up to the set's last, 0 behind the end of a trace. So a draw
that ends too early or too late is judged as one of the wrong size is. Nothing else is known of the
end: a trace may end right behind the known points.

CRPS: E|x - y| - E|x - x'| / 2 for draws x, x' of a point and the real y, divided by the mean
absolute value of the real points. Coverage: the share of real points between the 10th and 90th
percentile of the draws (0.80, and more where many points are alike). Sum: the CRPS of the sum of
the absolute values of all drawn points of a trace, for which the points have to fit together.

The baselines know class and known points, too:
- last value: the last known point, repeated.
- Markov chain: each next point is one that followed a like one in a training trace of the class.
- nearest: the rest of one of the k nearest training traces of the class, by their known points or
  by the logarithms or square roots of these; each draw is any of the k. k and the scale are those
  of the lowest CRPS for training traces, each continued by the others.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from bench.fidelity import sets
from bench.tables import markdown
from netdiffus import Recipe, complete, train
from netdiffus.files import write_text
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Floats, Ints, Traces

DRAWS, CENTRAL = 20, (0.1, 0.9)
SHARES = (0.25, 0.5, 0.75)
MOST = 1_000  # held-out traces
STATES = 32  # of each channel, with about as many points each
NEIGHBOURS = (1, 2, 3, 5, 10, 20, 40)
SCALES: dict[str, Callable[[Floats], Floats]] = {"log": np.log1p, "root": np.sqrt, "as is": np.abs}
LAB_PACKETS, LAB_POINTS = "lab_packets", 32
NAMES = (*sets.SETS, LAB_PACKETS)


@dataclass(frozen=True)
class Seen:
    """What is judged of traces: values (N, C, T), 0 behind the end; class of each; lengths."""

    values: Floats
    names: npt.NDArray[np.str_]
    lengths: Ints

    @classmethod
    def of(cls, traces: Traces, points: int) -> Seen:
        """Sizes with the sign of their direction, where traces have both; else all channels."""
        values = sets.signed(traces).values[:, :, :points]
        padded = np.pad(values, ((0, 0), (0, 0), (0, points - values.shape[2])))
        return cls(padded, traces.label_names, traces.lengths)


Rest = Callable[[Seen, Seen, int], Floats]
"""Training and held-out traces, and how many points are known, to draws (R, N, C, T - known)."""
Figures = dict[str, dict[str, dict[str, float]]]  # by share known, who, and what


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and writes it with the figures beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=NAMES)
    parser.add_argument("--data", type=Path, default=sets.folder_of_data())
    parser.add_argument("--out", type=Path, default=Path("build/completion"))
    parser.add_argument("--minutes", type=float, default=3.0, help="of processor time")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--traces", type=int, default=MOST)
    parser.add_argument("--seed", type=int, default=0, help="of split, training and draws")
    chosen = parser.parse_args(arguments)
    real, held = _read(chosen.set, chosen.data, chosen.seed)
    some = np.random.default_rng(chosen.seed).permutation(len(held))[: chosen.traces]
    budget = {"steps": chosen.steps} if chosen.steps else {"cpu_minutes": chosen.minutes}
    figures = measured(real, held[some], Recipe(**budget, seed=chosen.seed))
    text = table(chosen.set, figures)
    write_text(chosen.out / f"{chosen.set}.json", json.dumps(figures, indent=1) + "\n")
    write_text(chosen.out / f"{chosen.set}.md", text)
    print(text)
    return 0


def _read(name: str, data: Path, seed: int) -> tuple[Traces, Traces]:
    """What is learned from, and what judges; of the lab no link is on both sides."""
    if name == sets.LAB:
        return lab_traffic("volumes").split(by="group", seed=seed)
    if name == LAB_PACKETS:
        packets = lab_traffic("packets").select(["packet_length", "direction"])
        # Short first parts of different links are often equal, and may stand on both sides.
        return packets.truncate(LAB_POINTS).split(by="group", seed=seed, keep_duplicates=False)
    found = sets.load(name, data, seed=seed)
    return found.train, found.holdout


def measured(real: Traces, held: Traces, recipe: Recipe, draws: int = DRAWS) -> Figures:
    """The figures of the model and of each baseline."""
    model, points = train(real, recipe=recipe, columns=[]), real.values.shape[2]
    learned, found = Seen.of(real, points), {}
    for share in SHARES:
        known = round(share * points)
        going = held[held.lengths >= known]

        def by_model(real: Seen, held: Seen, known: int, going: Traces = going) -> Floats:
            begun = going.truncate(known)
            made = complete(model, begun, draws, seed=recipe.seed, progress=lambda *_: None)
            values = Seen.of(made, points).values
            by_trace = values.reshape(len(begun), draws, *values.shape[1:])
            rest: Floats = by_trace.swapaxes(0, 1)[..., known:]
            return rest

        who: dict[str, Rest] = {"model": by_model, **BASELINES}
        judged_by = Seen.of(going, points)
        drawn = {name: rest(learned, judged_by, known) for name, rest in who.items()}
        found[f"{share:.0%}"] = compared(drawn, judged_by.values[:, :, known:])
    return found


def compared(drawn: dict[str, Floats], truth: Floats) -> dict[str, dict[str, float]]:
    """The figures of each; and how far its CRPS is above the first one's, with standard error."""
    by_trace = {name: scores(one, truth) for name, one in drawn.items()}
    first = next(iter(by_trace.values()))
    found = {}
    for name, one in drawn.items():
        above = by_trace[name] - first
        error = above.std() / np.sqrt(len(above))
        found[name] = judged(one, truth) | {
            "traces": len(above),
            "above": float(above.mean()),
            "error": float(error),
        }
    return found


def judged(drawn: Floats, truth: Floats) -> dict[str, float]:
    """Figures of draws (R, N, C, T) beside what was (N, C, T).

    A real point lies between two percentiles as often as draws of it do.
    """
    low, high = np.quantile(drawn, CENTRAL, axis=0, method="weibull")
    inside = (truth >= low) & (truth <= high)
    sums = [np.abs(one).sum(-1, keepdims=True) for one in (drawn, truth)]
    return {
        "crps": float(scores(drawn, truth).mean()),
        "sum": float(scores(*sums).mean()),
        "coverage": float(inside.mean()),
    }


def scores(drawn: Floats, truth: Floats) -> Floats:
    """(N,) the CRPS of draws (R, N, C, T) of each trace, by pairs of different draws.

    It estimates the CRPS of what draws are drawn from without bias, if they are independent. The
    CRPS of each channel is divided by the mean of its absolute values.
    """
    ordered = np.sort(drawn, axis=0)
    r = len(drawn)
    weights = (2 * np.arange(r) - r + 1).reshape(-1, 1, 1, 1)
    between = 2 * (weights * ordered).sum(0) / max(1, r * (r - 1))  # mean |x - x'|
    crps = np.abs(drawn - truth).mean(0) - between / 2
    scale = np.abs(truth).mean(axis=(0, 2))
    found: Floats = (crps.mean(2) / scale).mean(1)
    return found


def table(name: str, figures: Figures) -> str:
    """A row for each share: CRPS (coverage), and the CRPS of the sum, of each who."""
    who = list(figures[next(iter(figures))])
    rows = []
    for share, one in figures.items():
        best = min(who[1:], key=lambda w: one[w]["crps"])
        rows.append(
            [
                f"{name}, {share}",
                *(f"{one[w]['crps']:.3f} ({one[w]['coverage']:.2f})" for w in who),
                f"{one[best]['above']:.3f} ± {one[best]['error']:.3f}",
                *(f"{one[w]['sum']:.3f}" for w in who),
            ]
        )
    sums = [f"sum: {w}" for w in who]
    return markdown(" | ".join(["set, known", *who, "best baseline less model", *sums]), rows)


def _last_value(real: Seen, held: Seen, known: int) -> Floats:
    last = held.values[:, :, known - 1 : known]
    rest: Floats = np.repeat(last[None], held.values.shape[2] - known, axis=3)
    return rest


def _markov(real: Seen, held: Seen, known: int) -> Floats:
    rng = np.random.default_rng(0)
    steps = held.values.shape[2] - known
    out = np.zeros((DRAWS, *held.values.shape[:2], steps))
    for name in np.unique(held.names):
        mine, points = held.names == name, real.values[real.names == name]
        chain = _Chain(points)
        now = np.repeat(held.values[mine][None, :, :, known - 1], DRAWS, axis=0)
        for t in range(steps):
            now = chain.next(now.reshape(-1, now.shape[2]), rng).reshape(now.shape)
            out[..., t][:, mine] = now
    return out


class _Chain:
    """Which points followed which, in traces (N, C, T)."""

    def __init__(self, points: Floats) -> None:
        self.edges = [_edges(one) for one in points.swapaxes(0, 1)]
        before, after = points[:, :, :-1].swapaxes(1, 2), points[:, :, 1:].swapaxes(1, 2)
        before, after = (one.reshape(-1, points.shape[1]) for one in (before, after))
        keys = self._state(before)
        order = np.argsort(keys, kind="stable")
        self.keys, self.after = keys[order], after[order]

    def next(self, points: Floats, rng: np.random.Generator) -> Floats:
        """(P, C): one point behind each; a state that never came counts as the next that did."""
        at = np.minimum(np.searchsorted(self.keys, self._state(points)), len(self.keys) - 1)
        first = np.searchsorted(self.keys, self.keys[at])
        last = np.searchsorted(self.keys, self.keys[at], side="right")
        rows = (first + rng.random(len(points)) * (last - first)).astype(np.int64)
        following: Floats = self.after[rows]
        return following

    def _state(self, points: Floats) -> Ints:
        """(P,): one number for the states of all channels of points (P, C)."""
        found = np.zeros(len(points), dtype=np.int64)
        for c, edges in enumerate(self.edges):
            found = found * (STATES + 4) + np.searchsorted(edges, points[:, c], side="right")
        return found


def _edges(values: Floats) -> Floats:
    """Where states begin; 0, which is the end of packets, is a state by itself."""
    spread = np.quantile(values, np.linspace(0, 1, STATES))
    return np.unique([*spread, 0.0, np.nextafter(0.0, 1.0)])


def _nearest(real: Seen, held: Seen, known: int) -> Floats:
    rest, going = real.values[:, :, known:], real.lengths >= known

    def lost(scale: str, k: int) -> float:
        return float(scores(rest[_any_of(near[scale][:k])], rest[going]).mean())

    near = {scale: neighbours(real, real, known, scale)[:, going] for scale in SCALES}
    scale, k = min(itertools.product(SCALES, NEIGHBOURS), key=lambda one: lost(*one))
    return rest[_any_of(neighbours(real, held, known, scale)[:k])]


def _any_of(rows: Ints) -> Ints:
    """(DRAWS, N): each is one of rows (K, N), with repetition.

    Different rows as draws would have a CRPS as if there were many more like them.
    """
    rng = np.random.default_rng(0)
    return np.take_along_axis(rows, rng.integers(len(rows), size=(DRAWS, rows.shape[1])), axis=0)


def neighbours(real: Seen, held: Seen, known: int, scale: str) -> Ints:
    """(K, N): the nearest real traces of the class, nearest first; no trace is its own.

    Where a class has fewer than K, they are repeated.
    """
    found = np.zeros((max(NEIGHBOURS), len(held.names)), dtype=np.int64)
    a, b = (_scaled(one.values[:, :, :known], scale) for one in (held, real))
    for name in np.unique(held.names):
        rows, mine = (np.flatnonzero(one.names == name) for one in (held, real))
        far = cdist(a[rows], b[mine], "sqeuclidean")
        if held is real:
            np.fill_diagonal(far, np.inf)
        others = max(1, len(mine) - (held is real))
        order = np.argsort(far, axis=1, kind="stable")
        found[:, rows] = mine[order[:, np.arange(len(found)) % others]].T
    return found


def _scaled(values: Floats, scale: str) -> Floats:
    """(N, C * T), with the sign of the values."""
    found: Floats = (np.sign(values) * SCALES[scale](np.abs(values))).reshape(len(values), -1)
    return found


BASELINES: dict[str, Rest] = {
    "last value": _last_value,
    "Markov chain": _markov,
    "nearest": _nearest,
}

if __name__ == "__main__":
    raise SystemExit(main())
