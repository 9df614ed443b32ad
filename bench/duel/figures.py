"""The figures of synthetic traces, and of the real ones, controls and baselines beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from bench.duel.plan import Judges
from bench.fidelity.forests import equal_draws
from bench.fidelity.judging import copies, copies_of_holdout, judge, named
from bench.fidelity.kept import Result
from bench.fidelity.sets import FidelitySet, signed, unsigned
from bench.paper_tasks.learners import pool, series_cnn
from netdiffus.evaluation.baselines import bootstrap, jitter, markov
from netdiffus.evaluation.features.vector_set import VectorSet
from netdiffus.evaluation.metrics.classification import two_sample_scores
from netdiffus.evaluation.metrics.cnn import CnnInputs, cnn
from netdiffus.evaluation.metrics.distances import autocorrelation_distance, lag_count
from netdiffus.evaluation.metrics.distributions import class_autocorrelation
from netdiffus.traces.traces import Traces

TIMES = 5  # as many synthetic as training traces
MAKERS = {"bootstrap": bootstrap, "markov": markov, "jitter": jitter}


def of_made(fs: FidelitySet, made: Traces, more: Traces, seed: int, judges: Judges) -> Result:
    """All figures of the traces of a model.

    Args:
        fs: Real traces.
        made: As many as there are training traces, of the same classes.
        more: Four times as many more.
        seed: Of the CNN.
        judges: How they are judged.

    Returns:
        Those of `bench.fidelity.judging.judge`; accuracy with `five_times` as many traces
        and with real and made traces together (`with_real`); these three and the two-sample AUC
        of a 1-D CNN (`cnn`, `…_cnn`); `autocorrelation`.
    """
    return {
        **judge(fs, made, judges.protocol),
        "cnn": cnn_accuracy(fs, [made], seed),
        "auc_cnn": cnn_auc(fs, made, seed),
        "autocorrelation": autocorrelation(fs, made),
        "five_times": accuracy(fs, [made, more], judges),
        "five_times_cnn": cnn_accuracy(fs, [made, more], seed),
        "with_real": accuracy(fs, [made, fs.train], judges),
        "with_real_cnn": cnn_accuracy(fs, [made, fs.train], seed),
    }


def of_real(fs: FidelitySet, seed: int, judges: Judges) -> Result:
    """The training traces as if they were made, the floors of copying, and the controls.

    The controls are what costs nothing: the training traces repeated, of which each tree draws
    its own, or shaken copies of them, as many as the traces that they are compared with.
    """
    shaken = of_generator(fs, "jitter", TIMES, seed)
    once = [fs.train, of_generator(fs, "jitter", 1, seed)]
    return {
        **judge(fs, fs.train, judges.protocol),
        "cnn": cnn_accuracy(fs, [fs.train], seed),
        "auc_cnn": cnn_auc(fs, fs.train, seed),
        "autocorrelation": autocorrelation(fs, fs.train),
        "five_times": accuracy(fs, [fs.train] * TIMES, judges),
        "five_times_cnn": cnn_accuracy(fs, [fs.train] * TIMES, seed),
        "five_times_jittered": accuracy(fs, [shaken], judges),
        "five_times_jittered_cnn": cnn_accuracy(fs, [shaken], seed),
        "with_real": accuracy(fs, [fs.train] * 2, judges),
        "with_real_cnn": cnn_accuracy(fs, [fs.train] * 2, seed),
        "with_real_jittered": accuracy(fs, once, judges),
        "with_real_jittered_cnn": cnn_accuracy(fs, once, seed),
        "holdout": copies_of_holdout(fs),
        "half": copies_of_half(fs, seed),
    }


def of_baseline(fs: FidelitySet, name: str, seed: int, judges: Judges) -> Result:
    """The figures of a generator that learns little."""
    return judge(fs, of_generator(fs, name, 1, seed), judges.protocol)


def of_generator(fs: FidelitySet, name: str, times: int, seed: int) -> Traces:
    """Traces of a baseline, of sizes with their signs: that suits it best."""
    train = signed(fs.train)
    return unsigned(MAKERS[name](train, times * len(train), seed))


def accuracy(fs: FidelitySet, parts: list[Traces], judges: Judges) -> float:
    """Of forests that learned from all parts, on the held-out traces."""
    return float(named(fs, parts, judges.protocol).mean())


def cnn_accuracy(fs: FidelitySet, parts: list[Traces], seed: int) -> float:
    """Of a 1-D CNN that learned from all parts, on the held-out traces."""
    probabilities = series_cnn(pool(parts), seed)(fs.holdout)
    return float((probabilities.argmax(axis=1) == fs.holdout.labels).mean())


def cnn_auc(fs: FidelitySet, made: Traces, seed: int) -> float:
    """Of a 1-D CNN that tells made from held-out traces, as many of each class, in three folds."""
    see = CnnInputs(fs.train.with_gaps())
    held = fs.holdout
    rows, theirs = equal_draws(made.labels, held.labels, np.random.default_rng(seed))
    sides = (
        (unsigned(made)[rows], -1 - np.arange(len(rows))),
        (held[theirs], fs.files[theirs]),
    )
    ours, reference = (VectorSet(see(one.with_gaps()), one.labels, group) for one, group in sides)
    scores = two_sample_scores(ours, reference, seed, cnn)
    side = np.repeat([0, 1], [len(one) for one in scores])
    return float(roc_auc_score(side, np.concatenate(scores)))


def autocorrelation(fs: FidelitySet, made: Traces) -> float:
    """Mean absolute difference of autocorrelation to the held-out traces, over lags.

    Mean over channels and classes; a class that `made` lacks is left out.
    """
    found = []
    for label in np.intersect1d(made.labels, fs.holdout.labels):
        ours, theirs = (traces[traces.labels == label] for traces in (made, fs.holdout))
        lags = lag_count(int(theirs.lengths.max()))
        for c in range(len(theirs.channels)):
            r, wanted = (class_autocorrelation(traces, c, lags) for traces in (ours, theirs))
            found.append(autocorrelation_distance(r, wanted))
    return float(np.mean(found))


def copies_of_half(fs: FidelitySet, seed: int) -> dict[str, float]:
    """How much one half of the training traces is like the other, with no model between them.

    Unlike held-out traces, both halves are cut from the same files.
    """
    rows = np.arange(len(fs.train))
    first, second = train_test_split(
        rows, test_size=0.5, stratify=fs.train.labels, random_state=seed
    )
    return copies(replace(fs, train=fs.train[first]), fs.train[second])
