"""How well a model completes traces, beside baselines: `python -m bench.completion --help`.

Of held-out traces 25, 50 and 75 % of the points are known, and 100 draws complete each. What is
drawn are the values of volumes; of packets it is the size with the sign of its direction.

The default network continues: the first so many points of the set's length are known, of traces
that have so many. All places behind them are judged, up to the set's last, with 0 behind the end
of a trace. So a draw that ends too early or too late is judged as one of the wrong size is. Nothing
else is known of the end: a trace may end right behind the known points.

`--preset masked` fills in: each point is known with this probability, at least one of a trace; the
unknown ones are judged. The length is known.

CRPS: E|x - y| - E|x - x'| / 2 for draws x, x' of a point and the real y, divided by the mean
absolute value of the real points. Coverage: the share of real points between the 10th and 90th
percentile of the draws (0.80, and more where many points are alike). Sum: the CRPS of the sum of
the absolute values of all drawn points of a trace, for which the points have to fit together.

The baselines are given the class and the known points, too:
- last value: the last known point, repeated.
- Markov chain: each next point is one that followed a like one in a training trace of the class.
- interpolation: straight lines between known points; level before the first and behind the last.
- nearest: one of the k nearest training traces of the class, by their known points or by the
  logarithms or square roots of these; each draw is any of the k. k and the scale are those of the
  lowest CRPS for training traces, each completed by the others.
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

from bench.fidelity import sets
from bench.tables import markdown
from netdiffus import Model, Recipe, complete, train
from netdiffus.files import write_text
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

DRAWS, CENTRAL = 100, (0.1, 0.9)
SHARES = (0.25, 0.5, 0.75)
MOST = 1_000  # held-out traces
STATES = 32  # of each channel, with about as many points each
NEIGHBOURS = (1, 2, 3, 5, 10, 20, 40)
SCALES: dict[str, Callable[[Floats], Floats]] = {"log": np.log1p, "root": np.sqrt, "as is": np.abs}
LAB_PACKETS, LAB_POINTS = "lab_packets", 32
NAMES = (*sets.SETS, LAB_PACKETS)
CAUSAL, MASKED = "causal", "masked"


@dataclass(frozen=True)
class Seen:
    """What is judged of traces.

    Attributes:
        values: (N, C, T), 0 behind the end.
        names: (N,) the classes.
        known: (N, T) which points are known.
        fits: (N,) which traces have the known points, and others.
    """

    values: Floats
    names: npt.NDArray[np.str_]
    known: Bools
    fits: Bools

    def __getitem__(self, rows: Bools) -> Seen:
        return Seen(self.values[rows], self.names[rows], self.known[rows], self.fits[rows])

    @property
    def truth(self) -> Floats:
        """(N, C, T): what is to be drawn, 0 at known points."""
        return np.where(self.known[:, None], 0.0, self.values)


Rest = Callable[[Seen, Seen], Floats]
"""Training and held-out traces to draws (R, N, C, T); known points of draws do not matter."""
Figures = dict[str, dict[str, dict[str, float]]]  # by share known, who, and what


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and writes it with the figures beside it."""
    chosen = _options().parse_args(arguments)
    real, held = _read(chosen.set, chosen.data, chosen.seed)
    some = np.random.default_rng(chosen.seed).permutation(len(held))[: chosen.traces]
    budget = {"steps": chosen.steps} if chosen.steps else {"cpu_minutes": chosen.minutes}
    recipe = Recipe(**budget, validation_fraction=chosen.validation, seed=chosen.seed)
    model = train(real, recipe=recipe, preset=chosen.preset, columns=[])
    figures = measured(model, real, held[some], chosen.seed, chosen.draws)
    text, name = table(chosen.set, figures), f"{chosen.set}-{chosen.preset}"
    write_text(chosen.out / f"{name}.json", json.dumps(figures, indent=1) + "\n")
    write_text(chosen.out / f"{name}.md", text)
    print(text)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=NAMES)
    parser.add_argument("--preset", choices=[CAUSAL, MASKED], default=CAUSAL)
    parser.add_argument("--data", type=Path, default=sets.folder_of_data())
    parser.add_argument("--out", type=Path, default=Path("build/completion"))
    parser.add_argument("--minutes", type=float, default=3.0, help="of processor time")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--validation", type=float, default=0.1, help="share of traces; see Recipe")
    parser.add_argument("--traces", type=int, default=MOST, help="held-out ones, at most")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the model")
    parser.add_argument("--seed", type=int, default=0, help="of split, training and draws")
    return parser


def _read(name: str, data: Path, seed: int) -> tuple[Traces, Traces]:
    """What is learned from, and what judges; of the lab no link is on both sides."""
    if name == sets.LAB:
        return lab_traffic("volumes").split(by="group", seed=seed)
    if name == LAB_PACKETS:
        packets = lab_traffic("packets").select(["packet_length", "direction"])
        # Short first parts of different links are often equal, and may stand on both sides.
        begin = packets.truncate(LAB_POINTS)
        return begin.split(by="group", seed=seed, keep_duplicates=False)
    found = sets.load(name, data, seed=seed)
    return found.train, found.holdout


def measured(model: Model, real: Traces, held: Traces, seed: int, draws: int) -> Figures:
    """The figures of the model and of each baseline."""
    points, found = real.values.shape[2], {}
    cut = in_part if model.preset == MASKED else at_first
    baselines = FILLING if model.preset == MASKED else CONTINUING
    for share in SHARES:
        learned, every = cut(real, points, share, seed), cut(held, points, share, seed + 1)
        judging = every[every.fits]
        drawn = {"model": by_model(model, held[every.fits], judging, seed, draws)}
        drawn |= {name: rest(learned, judging) for name, rest in baselines.items()}
        found[f"{share:.0%}"] = compared(drawn, judging)
    return found


def at_first(traces: Traces, points: int, share: float, seed: int) -> Seen:
    """The first points are known, of traces that have so many."""
    count = round(share * points)
    known = np.broadcast_to(np.arange(points) < count, (len(traces), points))
    fits = traces.lengths >= count
    return Seen(in_places(traces, points), traces.label_names, known, fits)


def in_part(traces: Traces, points: int, share: float, seed: int) -> Seen:
    """Random points are known, and all places behind the end."""
    inside = np.arange(points) < traces.lengths[:, None]
    drawn = np.where(inside, np.random.default_rng(seed).random(inside.shape), 0.0)
    least = np.where(inside, drawn, 1.0).min(axis=1, keepdims=True)
    known = (drawn < share) | (drawn == least)
    return Seen(in_places(traces, points), traces.label_names, known, ~known.all(axis=1))


def in_places(traces: Traces, points: int) -> Floats:
    """(N, C, T): sizes with the sign of their direction, where traces have both; else all channels.

    Behind the end they are 0.
    """
    values = sets.signed(traces).values[:, :, :points]
    return np.pad(values, ((0, 0), (0, 0), (0, points - values.shape[2])))


def by_model(model: Model, held: Traces, seen: Seen, seed: int, draws: int) -> Floats:
    """Draws (R, N, C, T) of the model."""
    points = seen.known.shape[1]
    begun = held if model.preset == MASKED else held.truncate(int(seen.known[0].sum()))
    known = seen.known[:, : begun.values.shape[2]]
    made = complete(model, begun, draws, known=known, seed=seed, progress=lambda *_: None)
    values = in_places(made, points)
    return values.reshape(len(held), draws, *values.shape[1:]).swapaxes(0, 1)


def compared(drawn: dict[str, Floats], seen: Seen) -> dict[str, dict[str, float]]:
    """The figures of each; and how far its CRPS is above the first one's, with standard error."""
    by_trace = {name: scores(one, seen) for name, one in drawn.items()}
    first = next(iter(by_trace.values()))
    found = {}
    for name, one in drawn.items():
        above = by_trace[name] - first
        error = above.std() / np.sqrt(len(above))
        found[name] = judged(one, seen) | {
            "traces": len(above),
            "above": float(above.mean()),
            "error": float(error),
        }
    return found


def judged(drawn: Floats, seen: Seen) -> dict[str, float]:
    """Figures of draws (R, N, C, T).

    A real point lies between two percentiles as often as draws of it do.
    """
    low, high = np.quantile(drawn, CENTRAL, axis=0, method="weibull")
    inside = (seen.values >= low) & (seen.values <= high)
    wanted = ~seen.known[:, None] & np.ones_like(inside)
    sums = [np.abs(one).sum(-1, keepdims=True) for one in (drawn * wanted, seen.truth)]
    return {
        "crps": float(scores(drawn, seen).mean()),
        "sum": float(_crps(*sums).mean()),
        "coverage": float(inside[wanted].mean()),
    }


def scores(drawn: Floats, seen: Seen) -> Floats:
    """(N,) the CRPS of draws (R, N, C, T) of each trace, as a share of its mean real value."""
    return _crps(np.where(seen.known[:, None], 0.0, drawn), seen.truth)


def _crps(drawn: Floats, truth: Floats) -> Floats:
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


def _last_value(real: Seen, held: Seen) -> Floats:
    last = held.known.sum(1)[0]
    drawn: Floats = np.repeat(held.values[None, :, :, last - 1, None], held.known.shape[1], axis=3)
    return drawn


def _interpolation(real: Seen, held: Seen) -> Floats:
    out, places = np.zeros_like(held.values), np.arange(held.known.shape[1])
    for i, known in enumerate(held.known):
        for c, values in enumerate(held.values[i]):
            out[i, c] = np.interp(places, places[known], values[known])
    return out[None]


def _markov(real: Seen, held: Seen) -> Floats:
    rng, known = np.random.default_rng(0), int(held.known.sum(1)[0])
    out = np.repeat(held.values[None], DRAWS, axis=0)
    for name in np.unique(held.names):
        mine, chain = held.names == name, _Chain(real.values[real.names == name])
        for t in range(known, out.shape[3]):
            now = out[:, mine, :, t - 1]
            out[:, mine, :, t] = chain.next(now.reshape(-1, now.shape[2]), rng).reshape(now.shape)
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


def _nearest(real: Seen, held: Seen) -> Floats:
    def lost(scale: str, k: int) -> float:
        return float(scores(real.values[_any_of(near[scale][:k])], real[real.fits]).mean())

    near = {scale: neighbours(real, real, scale)[:, real.fits] for scale in SCALES}
    scale, k = min(itertools.product(SCALES, NEIGHBOURS), key=lambda one: lost(*one))
    return real.values[_any_of(neighbours(real, held, scale)[:k])]


def _any_of(rows: Ints) -> Ints:
    """(DRAWS, N): each is one of rows (K, N), with repetition.

    Different rows as draws would have a CRPS as if there were many more like them.
    """
    rng = np.random.default_rng(0)
    return np.take_along_axis(rows, rng.integers(len(rows), size=(DRAWS, rows.shape[1])), axis=0)


def neighbours(real: Seen, held: Seen, scale: str) -> Ints:
    """(K, N): by the known points, the nearest real traces of the class, nearest first.

    No trace is its own. Where a class has fewer than K, they are repeated.
    """
    found = np.zeros((max(NEIGHBOURS), len(held.names)), dtype=np.int64)
    for name in np.unique(held.names):
        rows, mine = (np.flatnonzero(one.names == name) for one in (held, real))
        far = _distances(held[held.names == name], real.values[mine], scale)
        if held is real:
            np.fill_diagonal(far, np.inf)
        others = max(1, len(mine) - (held is real))
        order = np.argsort(far, axis=1, kind="stable")
        found[:, rows] = mine[order[:, np.arange(len(found)) % others]].T
    return found


def _distances(held: Seen, others: Floats, scale: str) -> Floats:
    """(N, M): sums over known points of squared differences to others (M, C, T)."""
    a, b = (np.sign(v) * SCALES[scale](np.abs(v)) for v in (held.values, others))
    known = np.broadcast_to(held.known[:, None], a.shape).reshape(len(a), -1).astype(float)
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    far: Floats = known @ (b**2).T - 2 * (known * a) @ b.T + (known * a**2).sum(1, keepdims=True)
    return far


NEAREST = "nearest"
CONTINUING: dict[str, Rest] = {
    "last value": _last_value,
    "Markov chain": _markov,
    NEAREST: _nearest,
}
FILLING: dict[str, Rest] = {"interpolation": _interpolation, NEAREST: _nearest}

if __name__ == "__main__":
    raise SystemExit(main())
