"""Traces of which any two sets have the same law, and generators that leak or cannot."""

from __future__ import annotations

import numpy as np

from netdiffus.traces.traces import Traces

CLASSES = ("dns", "voip", "web")


def population(n: int, seed: int = 0) -> Traces:
    """n packets traces of three classes; each is a noisy version of one of the class's patterns."""
    rng, rules = np.random.default_rng(seed), np.random.default_rng(99)
    patterns = rules.integers(60, 1400, (len(CLASSES), 4, 16))
    lists: dict[str, list[list[float]]] = {"packet_length": [], "direction": [], "iat": []}
    for i in range(n):
        length, kind = int(rng.integers(8, 17)), int(rng.integers(4))
        sizes = patterns[i % 3, kind, :length] + rng.integers(-40, 41, length)
        lists["packet_length"].append(sizes.tolist())
        lists["direction"].append(
            np.where(rng.random(length) < 0.2 + 0.3 * (i % 3), -1, 1).tolist()
        )
        lists["iat"].append([0.0, *rng.lognormal(-4, 1, length - 1).tolist()])
    return Traces.from_lists(lists, [CLASSES[i % 3] for i in range(n)])


def thirds(each: int = 240, seed: int = 0) -> tuple[Traces, Traces, Traces]:
    """Members, others, and traces that a generator which cannot leak is fitted on."""
    whole = population(3 * each, seed)
    return whole[:each], whole[each : 2 * each], whole[2 * each :]


def jittered(traces: Traces, times: int = 3, seed: int = 0) -> Traces:
    """Copies with sizes up to 3 bytes off and gaps up to 2 % off."""
    rng = np.random.default_rng(seed)
    many = traces[np.tile(np.arange(len(traces)), times)]
    moved = many.values.copy()
    moved[:, 0] += rng.integers(-3, 4, moved[:, 0].shape)
    moved[:, 2] *= rng.uniform(0.98, 1.02, moved[:, 2].shape)
    moved[:, :, :] = np.where(many.mask[:, None], moved, 0.0)
    return Traces(moved, many.lengths, many.channels, many.labels, many.classes)


def counted(traces: Traces, n: int, seed: int = 0) -> Traces:
    """Each value drawn from those that the class has at the place: most are of a single trace."""
    rng = np.random.default_rng(seed)
    base = traces[rng.integers(len(traces), size=n)]
    values = base.values.copy()
    for label in range(len(traces.classes)):
        mine, of_class = base.labels == label, traces[traces.labels == label]
        for place in range(values.shape[2]):
            there = of_class.values[of_class.lengths > place, :, place]
            for c in range(values.shape[1]):
                values[mine, c, place] = rng.choice(there[:, c], int(mine.sum()))
    values = np.where(base.mask[:, None], values, 0.0)
    return Traces(values, base.lengths, base.channels, base.labels, base.classes)
