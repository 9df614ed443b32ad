"""Every figure of one set of traces, from any generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.fidelity.forests import Protocol, equal_draws, mean_figure, rightly_named, two_sample_auc
from bench.fidelity.sets import FidelitySet, unsigned
from netdiffus.attacks.all_attacks import black_box
from netdiffus.attacks.sides import as_learned, sides
from netdiffus.errors import InputError
from netdiffus.evaluation.features.embedding import Embedding
from netdiffus.evaluation.features.quantities import scales
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics.distributions import SetDistributions, distribution_distances
from netdiffus.evaluation.metrics.frechet import Gaussian, RandomConvolutions, frechet_distance
from netdiffus.evaluation.metrics.memorization import Closeness, CopyDetector
from netdiffus.traces.traces import Floats, Traces, concat

HELLINGER_BINS = 10
MOST_ATTACKED = 1_000  # traces of either side


def judge(fs: FidelitySet, made: Traces, protocol: Protocol) -> dict[str, Any]:
    """The figures of one set of traces, each against the held-out traces.

    Sizes may be signed or come with directions.

    Returns:
        `n`, `missing` (classes without a trace), `accuracy` and `accuracy_distinct` (on held-out
        traces that no training trace equals), `auc`, `wasserstein`, `hellinger`,
        `frechet`, `copies`.
    """
    made, held = unsigned(made), fs.holdout
    right = named(fs, [made], protocol)
    distinct = ~_among(fs.view(held), fs.view(fs.train))
    views = fs.view(made), made.labels, fs.view(held), held.labels, fs.files
    return {
        "n": len(made),
        "missing": sum(n == 0 for n in made.counts().values()),
        "accuracy": mean_figure(right, fs.files, protocol),
        "accuracy_distinct": mean_figure(right[distinct], fs.files[distinct], protocol),
        "auc": two_sample_auc(*views, protocol),
        "wasserstein": wasserstein(fs, made, protocol.repeats),
        "hellinger": hellinger(fs, made),
        "frechet": frechet(fs, made, protocol.repeats),
        "copies": copies(fs, made),
    }


def named(fs: FidelitySet, parts: list[Traces], protocol: Protocol) -> Floats:
    """(M,): how rightly forests that learned from all the parts name each held-out trace."""
    traces = concat([unsigned(part) for part in parts])
    return rightly_named(
        fs.view(traces), traces.labels, fs.view(fs.holdout), fs.holdout.labels, protocol
    )


def wasserstein(fs: FidelitySet, made: Traces, repeats: int) -> float:
    """Mean Wasserstein-1 distance to the held-out traces, over fields and classes.

    Fields are those of `netdiffus.evaluation.metrics.distributions`, each in units of its standard
    deviation over the training traces; as many traces of each class on both sides. A class that
    `made` lacks is left out.
    """
    yardstick = scales(fs.train)
    found = []
    for seed in range(repeats):
        ours, theirs = equal_draws(made.labels, fs.holdout.labels, np.random.default_rng(seed))
        for label in np.unique(made.labels[ours]):
            pair = (
                made[ours[made.labels[ours] == label]],
                fs.holdout[theirs[fs.holdout.labels[theirs] == label]],
            )
            sides = (SetDistributions.of(traces.without_empty_classes()) for traces in pair)
            by_field = distribution_distances(*sides)["wasserstein"]
            found.append(
                np.mean([w[0] / yardstick[name] for name, w in by_field.items() if yardstick[name]])
            )
    return float(np.mean(found))


def hellinger(fs: FidelitySet, made: Traces) -> float:
    """Mean over classes of the Hellinger distance of sizes, as published for mirage_appx.

    ``H = sqrt(1 - sum_i sqrt(p_i q_i))`` over ten equal bins of the held-out sizes' range, without
    sizes of 0. Sizes outside it, which the published figures drop, count in two more bins. A class
    without sizes counts 1.
    """
    found = []
    for label in np.unique(fs.holdout.labels):
        real = _sizes(fs, fs.holdout, label)
        edges = np.linspace(real.min(), real.max(), HELLINGER_BINS + 1)
        p, q = (_shares(sizes, edges) for sizes in (real, _sizes(fs, made, label)))
        found.append(np.sqrt(max(0.0, 1 - np.sqrt(p * q).sum())))
    return float(np.mean(found))


def frechet(fs: FidelitySet, made: Traces, repeats: int) -> float:
    """Fréchet distance on GASF images by random convolutions, see `metrics.frechet`.

    Between made and held-out traces, as many of each class on both sides (a class that `made` lacks
    is left out), so that the mix of classes, which is asked for, does not count; squared, as the
    FID is, and above 0 for real traces too.
    """
    features = RandomConvolutions(fs.train)
    real, ours = features(fs.holdout), features(made)
    found = []
    for seed in range(repeats):
        draws = np.random.default_rng(seed)
        mine, theirs = equal_draws(made.labels, fs.holdout.labels, draws)
        found.append(frechet_distance(Gaussian(ours[mine]), Gaussian(real[theirs])))
    return float(np.mean(found))


def copies(fs: FidelitySet, made: Traces) -> dict[str, float]:
    """How much traces are like training traces, see `netdiffus.evaluation.metrics.memorization`.

    The training traces themselves give what copies of them get.

    Returns:
        `exact`, the share whose points are those of a training trace; `near`, the share of near
        duplicates; `closer`, the chance that the nearest training trace is closer than the nearest
        held-out one.
    """
    embedding = Embedding(fs.train)
    found = _detector(fs, embedding).of(_vectors(embedding, unsigned(made)))
    return _copies(fs, made, found)


def membership(fs: FidelitySet, made: Traces) -> float | None:
    """AUC of the best membership attack that sees made traces only.

    The attacks of `netdiffus audit` that see no model, on traces that occur once. None where these
    are too few for an attack.
    """
    made = as_learned(unsigned(made).with_gaps(), fs.train.with_gaps(), "made")
    limits: dict[str, Any] = {"drop_repeats": True, "most": MOST_ATTACKED}
    try:
        found = sides(fs.train, fs.holdout, synthetic=made, **limits)
    except InputError:
        return None
    return max(float(attack["auc"]["mean"]) for attack in black_box(found, made, 0))


def copies_of_holdout(fs: FidelitySet) -> dict[str, float]:
    """The same of the held-out traces, none compared with itself: the floor."""
    found = _detector(fs, Embedding(fs.train)).of_holdout(np.arange(len(fs.holdout)))
    return _copies(fs, fs.holdout, found)


def _copies(fs: FidelitySet, made: Traces, found: Closeness) -> dict[str, float]:
    return {
        "exact": float(_among(fs.view(made), fs.view(fs.train)).mean()),
        "near": float(found.near.mean()),
        "closer": float(found.closer.mean()),
    }


def _detector(fs: FidelitySet, embedding: Embedding) -> CopyDetector:
    train, holdout = (_vectors(embedding, part) for part in (fs.train, fs.holdout))
    return CopyDetector(train, holdout, sample=len(train))


def _vectors(embedding: Embedding, traces: Traces) -> VectorSet:
    return VectorSet(embedding(traces), traces.labels, np.arange(len(traces)))


def _sizes(fs: FidelitySet, traces: Traces, label: int) -> Floats:
    sizes: Floats = np.abs(fs.view(traces)[traces.labels == label]).ravel()
    return sizes[sizes > 0]


def _shares(sizes: Floats, edges: Floats) -> Floats:
    """(bins + 2,): below, the bins (the last with its upper edge), above."""
    place = np.searchsorted(edges, sizes, side="right")
    place[sizes == edges[-1]] = len(edges) - 1
    return np.asarray(np.bincount(place, minlength=len(edges) + 1) / max(len(sizes), 1))


def _among(x: Floats, others: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N,): whether a row of x is a row of the others."""
    known = {row.tobytes() for row in others + 0.0}  # + 0.0 makes -0.0 plain
    return np.array([row.tobytes() in known for row in x + 0.0])
