"""Figures that compare synthetic with real sessions, each with its floor (real against real)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from netdiffus.errors import InputError
from netdiffus.sessions.flows import Flows, first_rows
from netdiffus.traces.traces import Floats, Ints, Traces, values_of

KINDS = ("protocol", "server_port")  # of a flow, beside its class
FEWEST = 10  # sessions of a set
MOST_KINDS = 30  # kinds of flows whose numbers a forest sees
FIRST_FLOWS = 8  # flows of a session whose gaps and kinds a forest sees
ENDS = ("begin", "end")


def compare_sessions(
    made: Traces, real: Traces, holdout: Traces, *, seed: int = 0
) -> dict[str, Any]:
    """Compares synthetic sessions with held-out ones.

    - `flows`, `gaps`, `concurrency`: Kolmogorov-Smirnov distance of flows per session, of seconds
      between starts, and of the largest number of concurrent flows.
    - `order`: total variation of pairs of kinds of flows that follow each other. The kind of a flow
      is its class, or else its protocol and server port.
    - `c2st`: two-sample AUC of a random forest that separates synthetic from held-out sessions. Its
      features are numbers of flows, bytes and kinds, gaps, concurrency, and the kinds and gaps of
      the first flows. 0.5 is chance.

    Args:
        made: Flows of synthetic sessions.
        real: Flows of the training sessions.
        holdout: Flows of the held-out sessions.
        seed: Of the forest, and of the sessions that are used if sets differ in size.

    Returns:
        `made` and `floor` (`real` against `holdout`), each with these five figures; and the number
        of compared sessions of each set.

    Raises:
        InputError: Flows without sessions, or fewer than 10 sessions.
    """
    sets = {"made": made, "real": real, "holdout": holdout}
    flows = {name: Flows.of(one) for name, one in sets.items()}
    few = min(flows, key=lambda name: len(flows[name].counts))
    n = len(flows[few].counts)
    if n < FEWEST:
        raise InputError(f"{few}: {n} sessions; at least {FEWEST} are needed to compare")
    names = _kind_columns(flows)
    rng = np.random.default_rng(seed)
    some = {name: _some(one, n, rng) for name, one in flows.items()}
    kinds = {name: _kinds(one, names) for name, one in some.items()}
    found: dict[str, Any] = {"sessions": n}
    for name, one in (("made", "made"), ("floor", "real")):
        pair = (some[one], some["holdout"])
        of_kinds = (kinds[one], kinds["holdout"])
        found[name] = _distances(pair, of_kinds) | {"c2st": _c2st(pair, of_kinds, seed)}
    return found


def _kind_columns(flows: dict[str, Flows]) -> list[str] | None:
    """The columns that define a kind; None if the class does."""
    if any(not one.is_constant(one.traces.labels.tolist()) for one in flows.values()):
        return None
    return [n for n in KINDS if all(n in one.traces.meta.column_names for one in flows.values())]


def _some(flows: Flows, n: int, rng: np.random.Generator) -> Flows:
    """N random sessions, with about the same shares of the classes."""
    labels = flows.traces.labels[flows.first]
    place = np.empty(len(labels))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        place[mine] = (rng.permutation(len(mine)) + rng.random()) / len(mine)
    chosen = np.sort(np.argsort(place, kind="stable")[:n])
    rows = np.isin(flows.session, chosen)
    session = np.searchsorted(chosen, flows.session[rows])
    return replace(flows, traces=flows.traces[rows], session=session, start=flows.start[rows])


def _kinds(flows: Flows, names: list[str] | None) -> list[str]:
    """(N,), the kind of each flow."""
    if names is None:
        return [str(one) for one in flows.traces.label_names]
    columns = [flows.traces.meta[name].to_pylist() for name in names]
    return [" ".join(map(str, cells)) for cells in zip(*columns, strict=True)] or [""] * len(
        flows.session
    )


def _distances(
    pair: tuple[Flows, Flows], kinds: tuple[Sequence[str], Sequence[str]]
) -> dict[str, float]:
    a, b = pair
    gaps = [np.delete(one.gaps, one.first) for one in pair]
    return {
        "flows": _ks(a.counts, b.counts),
        "gaps": _ks(*gaps) if all(map(len, gaps)) else 0.0,
        "concurrency": _ks(concurrency(a), concurrency(b)),
        "order": _variation(_pairs(a, kinds[0]), _pairs(b, kinds[1])),
    }


def _ks(a: Any, b: Any) -> float:
    return float(ks_2samp(a, b).statistic)


def concurrency(flows: Flows) -> Ints:
    """(S,), the largest number of concurrent flows of each session."""
    spans = flows.start + np.rint(_durations(flows.traces) * 1e9).astype(np.int64)
    time = np.concatenate([flows.start, spans])
    change = np.repeat([1, -1], len(flows.start))
    session = np.tile(flows.session, 2)
    order = np.lexsort((-change, time, session))  # what ends as another begins overlaps it
    running = np.cumsum(change[order])  # 0 after each session
    found: Ints = np.maximum.reduceat(running, first_rows(session[order]))
    return found


def _durations(traces: Traces) -> Floats:
    """(N,), seconds from the first to the last point of each flow."""
    times, gaps = (values_of(traces, kind) for kind in ("time", "gap"))
    if times is not None:
        return np.asarray(times.max(1))
    return np.zeros(len(traces)) if gaps is None else np.asarray(gaps.sum(1))


def _pairs(flows: Flows, kinds: Sequence[str]) -> Counter[tuple[str, str]]:
    """Counts of pairs of consecutive kinds of flows, with begin and end of a session."""
    found: Counter[tuple[str, str]] = Counter()
    for first, count in zip(flows.first.tolist(), flows.counts.tolist(), strict=True):
        path = [ENDS[0], *kinds[first : first + count], ENDS[1]]
        found.update(itertools.pairwise(path))
    return found


def _variation(a: Counter[Any], b: Counter[Any]) -> float:
    """Total variation of two distributions."""
    both = a.keys() | b.keys()
    return 0.5 * sum(abs(a[key] / a.total() - b[key] / b.total()) for key in both)


def _c2st(
    pair: tuple[Flows, Flows], kinds: tuple[Sequence[str], Sequence[str]], seed: int
) -> float:
    """AUC of a forest that separates the sessions of two sets, with three folds."""
    from sklearn.metrics import roc_auc_score

    from netdiffus.evaluation.features.vector_set import VectorSet
    from netdiffus.evaluation.metrics.classification import two_sample_scores

    common = [kind for kind, _ in Counter([*kinds[0], *kinds[1]]).most_common(MOST_KINDS)]
    sides = []
    for k, (flows, mine) in enumerate(zip(pair, kinds, strict=True)):
        x = _features(flows, mine, common)
        group = np.arange(len(x)) + k * len(x)
        sides.append(VectorSet(x, np.zeros(len(x), dtype=np.int64), group))
    scores = two_sample_scores(sides[0], sides[1], seed)
    side = np.repeat([0, 1], [len(one) for one in scores])
    return float(roc_auc_score(side, np.concatenate(scores)))


def _features(flows: Flows, kinds: Sequence[str], common: Sequence[str]) -> Floats:
    """(S, F) of each session."""
    place = {kind: k for k, kind in enumerate(common)}
    codes = np.array([place.get(kind, len(common)) for kind in kinds])
    of_kind = np.zeros((len(flows.counts), len(common) + 1))
    np.add.at(of_kind, (flows.session, codes), 1)
    gaps = flows.gaps
    size = flows.traces.lengths.astype(np.float64)
    rows = []
    for s, first in enumerate(flows.first.tolist()):
        own = slice(first, first + int(flows.counts[s]))
        between = gaps[own][1:] if flows.counts[s] > 1 else np.zeros(1)
        head = slice(first, first + min(FIRST_FLOWS, int(flows.counts[s])))
        rows.append(
            [
                flows.counts[s],
                gaps[own].sum(),
                *np.quantile(between, [0.1, 0.5, 0.9]),
                between.max(),
                *_filled(codes[head]),
                *_filled(gaps[head]),
                size[own].sum(),
            ]
        )
    return np.column_stack([np.array(rows), concurrency(flows), of_kind])


def _filled(numbers: Any) -> list[float]:
    return [*numbers.tolist(), *[-1.0] * (FIRST_FLOWS - len(numbers))]
