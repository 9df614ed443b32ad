"""How close made rows of a table of flows are to real ones: figures of `bench.flow_tables`.

A table of rows has a text column for each category and a float64 column for each number.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from netdiffus.arrays import Floats, Ints

BINS = 8  # quantiles of the held-out rows that numbers are cut at, for associations
MOST_VALUES = 64  # of a category, which forests and associations tell apart
TREES, LEAF, FOLDS = 200, 5, 5


def fields(rows: pa.Table, *, number: bool) -> list[str]:
    """Names of the numbers, or of the categories."""
    return [one.name for one in rows.schema if pa.types.is_floating(one.type) == number]


def divergence(a: pa.ChunkedArray, b: pa.ChunkedArray) -> float:
    """Jensen-Shannon divergence of two categories in nats, at most ln 2; an empty cell counts."""
    p, q = _shares(a, b)
    middle = (p + q) / 2
    return float(_entropy(middle) - (_entropy(p) + _entropy(q)) / 2)


def earth_mover(a: pa.ChunkedArray, b: pa.ChunkedArray) -> float:
    """Earth mover's distance of two numbers, in their unit; empty cells are left out."""
    x, y = (np.sort(one.drop_null().to_numpy()) for one in (a, b))
    if not len(x) or not len(y):
        return float("nan")
    places = np.sort(np.concatenate([x, y]))
    below = [np.searchsorted(one, places[:-1], side="right") / len(one) for one in (x, y)]
    return float(np.abs(below[0] - below[1]) @ np.diff(places))


def normalised(distances: Floats) -> Floats:
    """Distances (G, F) of G generators, scaled in each field from 0.1 (best) to 0.9 (worst)."""
    least, most = np.nanmin(distances, axis=0), np.nanmax(distances, axis=0)
    spread = np.where(most > least, most - least, 1.0)
    found: Floats = 0.1 + 0.8 * (distances - least) / spread
    return found


def contingency(made: pa.Table, held: pa.Table) -> float:
    """Mean distance of the joint shares of two categories, in the Frobenius norm, over all pairs.

    FlowChronicle calls it the contingency matrix difference (CMD).
    """
    pairs = combinations(fields(held, number=False), 2)
    return float(np.mean([np.linalg.norm(np.subtract(*_joint(made, held, two))) for two in pairs]))


def association(made: pa.Table, held: pa.Table) -> float:
    """Mean absolute difference of the normalised mutual information, over all pairs of fields.

    Numbers are cut into 8 quantile bins of the held-out rows.
    """
    names = held.column_names
    a, b = (np.stack([_code(one[name], held[name]) for name in names], 1) for one in (made, held))
    pairs = combinations(range(len(names)), 2)
    found = [abs(_information(a, i, j) - _information(b, i, j)) for i, j in pairs]
    return float(np.mean(found))


def two_sample_auc(made: pa.Table, held: pa.Table, seed: int) -> float:
    """How well a forest tells made rows from held-out ones: 0.5 not at all, 1 always.

    Its areas under the ROC curve are of 5 folds, with as many rows of both.
    """
    rng, n = np.random.default_rng(seed), min(len(made), len(held))
    some = [rng.permutation(_numbers(one, held))[:n] for one in (made, held)]
    side = np.repeat([0, 1], n)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    told = cross_val_predict(
        _forest(seed), np.concatenate(some), side, cv=folds, method="predict_proba"
    )
    return float(roc_auc_score(side, told[:, 1]))


def accuracy(made: pa.Table, held: pa.Table, target: str, seed: int) -> float:
    """Share of held-out rows whose `target` a forest names that learned from made rows."""
    x, held_x = (_numbers(one.drop_columns([target]), held) for one in (made, held))
    y, held_y = (np.asarray(one[target].to_pylist(), dtype=str) for one in (made, held))
    return float(np.mean(_forest(seed).fit(x, y).predict(held_x) == held_y))


def copied(made: pa.Table, train: pa.Table) -> float:
    """Share of rows that equal a row of `train` in every field."""
    known = set(_tuples(train))
    return float(np.mean([row in known for row in _tuples(made)]))


def _tuples(rows: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _shares(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[Floats, Floats]:
    """(V,) each: how often each value of either side is on each."""
    counts = [Counter(one.to_pylist()) for one in (a, b)]
    values = list(counts[0] | counts[1])
    p, q = (np.array([one[value] for value in values]) / one.total() for one in counts)
    return p, q


def _entropy(p: Floats) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _joint(made: pa.Table, held: pa.Table, pair: tuple[str, str]) -> tuple[Floats, Floats]:
    both = [
        pa.chunked_array([[str(two) for two in _tuples(one.select(list(pair)))]])
        for one in (made, held)
    ]
    return _shares(*both)


def _information(codes: Ints, i: int, j: int) -> float:
    return float(normalized_mutual_info_score(codes[:, i], codes[:, j]))


def _code(cells: pa.ChunkedArray, held: pa.ChunkedArray) -> Ints:
    """(N,): which frequent value or bin of the held-out rows; 0 for others, 1 for empty."""
    if pa.types.is_floating(cells.type):
        x, reference = cells.to_numpy(), held.drop_null().to_numpy()
        edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
        return np.where(np.isnan(x), 1, 2 + np.searchsorted(edges, x, side="right"))
    frequent = Counter(held.drop_null().to_pylist()).most_common(MOST_VALUES)
    code = {None: 1} | {value: k for k, (value, _) in enumerate(frequent, start=2)}
    return np.array([code.get(cell, 0) for cell in cells.to_pylist()])


def _numbers(rows: pa.Table, held: pa.Table) -> Floats:
    """(N, F) as a forest reads them; an empty number is -1. Ports are numbers and values both."""
    found: list[npt.NDArray[np.generic]] = []
    for name in rows.column_names:
        cells = rows[name]
        if not pa.types.is_floating(cells.type):
            found.append(_code(cells, held[name]))
            if not all(cell is None or cell.isdecimal() for cell in held[name].to_pylist()):
                continue
            cells = cells.cast(pa.float64())
        found.append(np.nan_to_num(cells.to_numpy(), nan=-1.0))
    return np.stack(found, axis=1).astype(np.float64)


def _forest(seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=seed)
