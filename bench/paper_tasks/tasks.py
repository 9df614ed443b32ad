"""The tasks of the NetDiffus paper.

Every function takes real traces, `train` and `holdout`, and the kind of classifier, `learn`: one
of `learners.py`, or `paper_cnn`. Accuracies are balanced, on the holdout; each has one number for
every repeat, which draws traces and classifiers anew. Same seed, same accuracies. `InputError` says
that a class is not there, or has too few traces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from sklearn.metrics import roc_auc_score

from bench.paper_tasks.learners import Classifier, Learner, forest, pool, train_and_test
from netdiffus.errors import InputError
from netdiffus.evaluation.draws import class_counts, draw_rows
from netdiffus.evaluation.prepare import with_classes
from netdiffus.traces.traces import Bools, Floats, Ints, Traces

Generator = Callable[[Traces, Ints, int], Traces]
"""Makes traces from (what it learns from, how many of each class (K,), seed)."""

MEMBERS = 5  # classifiers of an ensemble


def counts(traces: Traces) -> Ints:
    """(K,): traces of each class."""
    return class_counts(traces.labels, len(traces.classes))


def draw(traces: Traces, n: Ints, rng: np.random.Generator) -> Traces:
    """n (K,) random traces of each class."""
    return traces[draw_rows(traces.labels, n, rng)]


def train_and_test_sets(
    train: Traces,
    synthetic: Traces,
    holdout: Traces,
    *,
    learn: Learner = forest,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Trained on real traces, on as many synthetic ones, or on both together.

    Returns:
        Accuracies of `original` (n traces), `synthetic` (n), `half` (n/2 of each) and `both` (n of
        each); n, for each class, is the smaller number of the two sets.
    """
    synthetic = with_classes(synthetic, train.classes, "synthetic")
    n = np.minimum(counts(train), counts(synthetic))
    found: dict[str, list[float]] = {"original": [], "synthetic": [], "half": [], "both": []}
    for rng in _draws(seed, repeats):
        real, made = draw(train, n, rng), draw(synthetic, n, rng)
        half = [draw(real, (n + 1) // 2, rng), draw(made, n // 2, rng)]
        sets = {"original": [real], "synthetic": [made], "half": half, "both": [real, made]}
        run = int(rng.integers(2**31))
        for name, parts in sets.items():
            found[name].append(_balanced(parts, holdout, run, learn))
    return found


def synthetic_curve(
    train: Traces,
    synthetic: Traces,
    holdout: Traces,
    *,
    times: Sequence[int] = (1, 2, 3, 4, 5),
    learn: Learner = forest,
    repeats: int = 5,
    seed: int = 0,
) -> dict[int, dict[str, list[float]]]:
    """Accuracy by the number of synthetic traces, as multiples of the real ones of each class.

    Returns:
        For each multiple the accuracies of `synthetic` and of `both` (all of `train` added).
    """
    n, synthetic = counts(train), with_classes(synthetic, train.classes, "synthetic")
    _check_enough(synthetic, n * max(times), "synthetic")
    found: dict[int, dict[str, list[float]]] = {k: {"synthetic": [], "both": []} for k in times}
    for rng in _draws(seed, repeats):
        for k, accuracies in found.items():
            made, run = draw(synthetic, n * k, rng), int(rng.integers(2**31))
            accuracies["synthetic"].append(_balanced([made], holdout, run, learn))
            accuracies["both"].append(_balanced([train, made], holdout, run, learn))
    return found


def few_originals(
    train: Traces,
    holdout: Traces,
    generate: Generator,
    *,
    originals: Sequence[int] = (5, 10, 15, 20),
    times: int = 5,
    learn: Learner = forest,
    repeats: int = 5,
    seed: int = 0,
) -> dict[int, dict[str, list[float]]]:
    """Accuracy where only a few traces of each class are known, to the generator too.

    The generator learns from the few alone, once a repeat and number of originals.

    Returns:
        For each number of originals the accuracies of `original`, `synthetic` and `both`.
    """
    ones = np.ones(len(train.classes), dtype=np.int64)
    _check_enough(train, ones * max(originals), "train")
    found: dict[int, dict[str, list[float]]] = {}
    for few in originals:
        runs = found[few] = {"original": [], "synthetic": [], "both": []}
        for rng in _draws(seed, repeats):
            known, run = draw(train, ones * few, rng), int(rng.integers(2**31))
            made = generate(known, ones * few * times, run)
            sets = {"original": [known], "synthetic": [made], "both": [known, made]}
            for name, parts in sets.items():
                runs[name].append(_balanced(parts, holdout, run, learn))
    return found


def rare_classes(
    train: Traces,
    holdout: Traces,
    generate: Generator,
    *,
    rare: Sequence[str],
    originals: int = 5,
    learn: Learner = forest,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Detection of anomalies that are known by a few traces each.

    All classes but the rare ones keep their traces. The generator learns from what is left, and
    fills the rare ones, of which it is asked alone, up to the mean number of the others. In the
    paper two classes are rare, with 5 or 10 originals.

    Returns:
        `original` and `both`: the share of the rare classes' holdout traces labelled rightly, mean
        over the classes, without and with synthetic traces; and, under `original_others` and
        `both_others`, that of the other classes.
    """
    is_rare = _which(train, rare)
    n = np.where(is_rare, originals, counts(train))
    _check_enough(train, n, "train")
    wanted = np.where(is_rare, max(round(float(n[~is_rare].mean())) - originals, 1), 0)
    found: dict[str, list[float]] = {}
    for rng in _draws(seed, repeats):
        known, run = draw(train, n, rng), int(rng.integers(2**31))
        made = generate(known, wanted, run)
        for name, parts in (("original", [known]), ("both", [known, made])):
            recalls = train_and_test(parts, holdout, run, learn).recalls
            found.setdefault(name, []).append(float(np.nanmean(recalls[is_rare])))
            found.setdefault(f"{name}_others", []).append(float(np.nanmean(recalls[~is_rare])))
    return found


def unknown_classes(
    train: Traces,
    holdout: Traces,
    synthetic: Traces | None = None,
    *,
    unknown: Sequence[str],
    learn: Learner = forest,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Detection of classes that no trace is known of, by the entropy of an ensemble.

    Several classifiers learn the known classes from real and, if given, synthetic traces, each by a
    seed of its own. The entropy of the mean of their probabilities is high where they do not know,
    or do not agree.

    Returns:
        `auc` (1: every unknown trace has more entropy than every known one; 0.5: chance), and the
        mean entropy in bits of `known` and `unknown` traces.
    """
    is_unknown = _which(train, unknown)
    sets = [train] if synthetic is None else [train, synthetic]
    known = [_only(with_classes(t, train.classes, "synthetic"), ~is_unknown) for t in sets]
    found: dict[str, list[float]] = {"auc": [], "known": [], "unknown": []}
    new = is_unknown[with_classes(holdout, train.classes, "holdout").labels]
    if new.all() or not new.any():
        raise InputError(
            f"holdout: {new.sum()} of {len(new)} traces are of unknown classes; it needs traces of "
            "known and of unknown classes"
        )
    for rng in _draws(seed, repeats):
        ensemble = [learn(pool(known), int(rng.integers(2**31))) for _ in range(MEMBERS)]
        bits = entropy(ensemble, holdout)
        found["auc"].append(float(roc_auc_score(new, bits)))
        found["known"].append(float(bits[~new].mean()))
        found["unknown"].append(float(bits[new].mean()))
    return found


def entropy(ensemble: Sequence[Classifier], traces: Traces) -> Floats:
    """(N,): entropy in bits of the mean of the classifiers' probabilities."""
    p = np.mean([classify(traces) for classify in ensemble], axis=0)
    bits: Floats = -np.where(p > 0, p * np.log2(np.where(p > 0, p, 1.0)), 0.0).sum(axis=1)
    return bits


def _draws(seed: int, repeats: int) -> list[np.random.Generator]:
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    return [np.random.default_rng([seed, r]) for r in range(repeats)]


def _balanced(parts: Sequence[Traces], holdout: Traces, seed: int, learn: Learner) -> float:
    return train_and_test(parts, holdout, seed, learn).balanced_accuracy


def _check_enough(traces: Traces, wanted: Ints, name: str) -> None:
    for label, (has, needs) in enumerate(zip(counts(traces), wanted, strict=True)):
        if has < needs:
            raise InputError(
                f"{name}: {has} traces of {traces.classes[label]}, {needs} are needed; give more, "
                "or ask for fewer"
            )


def _which(traces: Traces, names: Sequence[str]) -> Bools:
    """(K,): the classes of these names, some but not all."""
    if unknown := [name for name in names if name not in traces.classes]:
        raise InputError(
            f"{', '.join(unknown)} is not a class; classes: {', '.join(traces.classes)}"
        )
    found = np.array([name in names for name in traces.classes])
    if not found.any() or found.all():
        raise InputError(f"{found.sum()} of {len(found)} classes chosen; choose some, not all")
    return found


def _only(traces: Traces, kept: Bools) -> Traces:
    """Traces of the classes kept, with these classes alone."""
    mine = traces[kept[traces.labels]]
    classes = tuple(name for name, keep in zip(traces.classes, kept, strict=True) if keep)
    return replace(mine, labels=(np.cumsum(kept) - 1)[mine.labels], classes=classes)
