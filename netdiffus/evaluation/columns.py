"""Columns of the meta-data: each alone, in pairs (also with the class), and all together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from netdiffus.codec.column import Column, is_category, plain
from netdiffus.errors import InputError
from netdiffus.evaluation.draws import draw_rows
from netdiffus.evaluation.features.table import features
from netdiffus.evaluation.intervals import figure
from netdiffus.evaluation.prepare import PreparedSets
from netdiffus.traces.traces import Floats, Ints, Traces

OF_A_TRACE = ("trace_id", "seed", "residual")  # columns that say which trace it is
BINS = 8  # quantiles of the holdout that numbers are cut at
MOST_VALUES = 32  # of a category, the most frequent of the holdout
FOLDS, TREES, LEAF = 5, 200, 5


def column_figures(comparison: PreparedSets, by: str | None, seed: int) -> dict[str, Any] | None:
    """Figures of the columns that all three sets have, or None where there is none.

    As many traces of each class are compared as in the other figures (`PreparedSets.compared`).
    Numbers are cut into 8 quantile bins of the holdout; categories keep their 32 most frequent
    values; an empty cell is a value. Beside each figure is the floor: the figure of the training
    traces in place of the synthetic ones.

    - Total variation of each column: half the sum of absolute differences of shares.
    - Association: the mean absolute difference of Cramér's V, corrected for bias (Bergsma, 2013),
      over all pairs of columns, and of columns with the class.
    - Two-sample AUC of a forest of 200 trees that is given columns and class, by 5 folds; and of
      one that is given `features` of the traces as well, which sees whether both go together.

    Args:
        comparison: The three sets.
        by: The column that names a group, which is left out.
        seed: Of the forest.
    """
    rng = np.random.default_rng(seed)
    sets = [
        s.traces[draw_rows(s.traces.labels, comparison.compared, rng)]
        for s in (comparison.synthetic, comparison.train, comparison.holdout)
    ]
    names, codes = _coded(sets, by)
    if not names:
        return None
    made, train, holdout = codes
    both = [
        np.concatenate([code, features(one)], axis=1) for code, one in zip(codes, sets, strict=True)
    ]
    return {
        "names": names,
        "total_variation": {
            name: {
                side: figure(_total_variation(one[:, j], holdout[:, j]), np.nan)
                for side, one in (("synthetic", made), ("real", train))
            }
            for j, name in enumerate(names, start=1)
        },
        **{
            measure: {
                side: figure(of(one, holdout), np.nan)
                for side, one in (("synthetic", made), ("real", train))
            }
            for measure, of in (
                ("association", _association_error),
                ("two_sample_auc", lambda a, b: _auc(a, b, seed)),
            )
        },
        "two_sample_auc_with_traces": {
            side: figure(_auc(one, both[2], seed), np.nan)
            for side, one in (("synthetic", both[0]), ("real", both[1]))
        },
    }


def _coded(sets: Sequence[Traces], by: str | None) -> tuple[list[str], list[Ints]]:
    """The columns that all sets have and that can be compared; class and columns of each set."""
    first, *others = (t.meta.column_names for t in sets)
    found, codes = [], [[t.labels] for t in sets]
    for name in first:
        if name in (*OF_A_TRACE, by) or not all(name in other for other in others):
            continue
        with suppress(InputError):  # lists, identifiers, and types that are not the same
            for mine, one in zip(codes, [_codes(t, sets[-1], name) for t in sets], strict=True):
                mine.append(one)
            found.append(name)
    return found, [np.stack(mine, 1) for mine in codes]


def _codes(traces: Traces, holdout: Traces, name: str) -> Ints:
    """(N,): which value or bin of the holdout each cell is; 0 for all others, 1 for empty."""
    known = plain(name, holdout.meta[name])
    column = Column(name, str(known.type))
    cells = column.as_learned(traces.meta[name])
    if is_category(name, known.type):
        values, counts = np.unique(known.drop_null().to_pylist(), return_counts=True)
        frequent = values[np.argsort(-counts, kind="stable")][:MOST_VALUES].tolist()
        code = {value: k for k, value in enumerate(frequent, start=2)}
        return np.array([1 if c is None else code.get(c, 0) for c in cells.to_pylist()])
    raw, reference = (column.raw(one) for one in (cells, known))
    there = reference[~np.isnan(reference)]
    if not len(there):
        return np.isnan(raw).astype(np.int64)
    edges = np.unique(np.quantile(there, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.where(np.isnan(raw), 1, 2 + np.searchsorted(edges, raw, side="right"))


def _total_variation(a: Ints, b: Ints) -> float:
    size = int(max(a.max(), b.max())) + 1
    p, q = (np.bincount(one, minlength=size) / len(one) for one in (a, b))
    return float(np.abs(p - q).sum() / 2)


def _association_error(a: Ints, b: Ints) -> float:
    pairs = list(combinations(range(a.shape[1]), 2))
    found = [abs(_cramer(a[:, [i, j]]) - _cramer(b[:, [i, j]])) for i, j in pairs]
    return float(np.mean(found))


def _cramer(pair: Ints) -> float:
    """Cramér's V of two columns of codes (N, 2), corrected for bias; 0 where one is constant."""
    x, y = (np.unique(one, return_inverse=True)[1] for one in pair.T)
    counts: Floats = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(counts, (x, y), 1)
    n, (rows, columns) = len(pair), counts.shape
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / n
    phi = ((counts - expected) ** 2 / expected).sum() / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    least = min(m - (m - 1) ** 2 / (n - 1) for m in (rows, columns)) - 1
    return float(np.sqrt(phi / least)) if least > 0 else 0.0


def _auc(a: Floats | Ints, b: Floats | Ints, seed: int) -> float:
    """AUC of a forest that separates rows of a from equally many rows of b."""
    rng = np.random.default_rng(seed)
    n = min(len(a), len(b))
    if n < FOLDS:
        return float("nan")
    x = np.concatenate([rng.permutation(a)[:n], rng.permutation(b)[:n]])
    side = np.repeat([0, 1], n)
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    told = cross_val_predict(forest, x, side, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(side, told))
