"""Training traces and rare values that stand verbatim in synthetic traces or in a model folder.

Beside each count stands the same count for the holdout, which was not learned from: that is chance.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from netdiffus.attacks.rates import share
from netdiffus.attacks.sides import keys
from netdiffus.codec.vocabulary import K
from netdiffus.traces.traces import Traces

PRIVATE = "checkpoint"  # folder that is not given away
Numbers = dict[str, set[float]]


def whole_traces(train: Traces, holdout: Traces, made: Traces) -> dict[str, Any]:
    """How many different real traces are among the synthetic ones, with every point.

    Returns:
        `train` and `holdout`: the share of their different traces that is among the synthetic ones.
        Traces that are in both are not counted.
    """
    ours, theirs, found = (set(keys(t)) for t in (train, holdout, made))
    both = ours & theirs
    sides = {"train": ours - both, "holdout": theirs - both}
    return {name: share(len(side & found), len(side)) for name, side in sides.items()}


def rare_values(train: Traces, holdout: Traces, made: Traces) -> dict[str, dict[str, Any]]:
    """For each kind of number, how many rare values are among those of the synthetic traces.

    A value of `train` is rare if fewer than 5 of its traces and no trace of `holdout` have it, and
    the other way round. A larger set has more rare values, but the shares can be compared.
    """
    ours, theirs, found = (values_of(t) for t in (train, holdout, made))
    told = {}
    for kind in ours:
        known = [set().union(*side[kind]) for side in (ours, theirs)]
        come = set().union(*found.get(kind, [set()]))
        rare = [
            _rare(side[kind]) - other
            for side, other in zip((ours, theirs), reversed(known), strict=True)
        ]
        told[kind] = {
            name: share(len(one & come), len(one))
            for name, one in zip(("train", "holdout"), rare, strict=True)
        }
    return told


def from_folder(folder: Path, train: Traces, holdout: Traces) -> dict[str, Any]:
    """How many rare numbers, and whole traces, a model folder without its checkpoint holds.

    Args:
        folder: Of the model.
        train: The traces that it learned from, cut to the points that it learned.
        holdout: Other traces, cut likewise.

    Returns:
        For `train` and `holdout`: `rebuilt`, the share of traces all of whose numbers are in the
        folder; `values`, the share of rare numbers that are there. `checkpoint`, whether the folder
        has a checkpoint, which must not be given away.
    """
    numbers = numbers_in(folder)
    sides = {"train": (train, holdout), "holdout": (holdout, train)}
    values, rebuilt = {}, {}
    for name, (side, other) in sides.items():
        known, rare = values_of(other), rare_of(side)
        rare = {kind: one - set().union(*known.get(kind, [])) for kind, one in rare.items()}
        hits = _hits(rare, numbers)
        values[name] = share(sum(map(len, hits.values())), sum(map(len, rare.values())))
        rebuilt[name] = share(_rebuilt(set(numbers), side), len(side))
    there = (folder / PRIVATE).exists()
    return {"numbers": len(numbers), "values": values, "rebuilt": rebuilt, "checkpoint": there}


def leaked(folder: Path, traces: Traces) -> dict[str, dict[float, str]]:
    """The rare numbers of the traces that stand in the folder, and where."""
    return {kind: one for kind, one in _hits(rare_of(traces), numbers_in(folder)).items() if one}


def rebuilt(folder: Path, traces: Traces) -> int:
    """How many traces have all their numbers in the folder."""
    return _rebuilt(set(numbers_in(folder)), traces)


def values_of(traces: Traces) -> dict[str, list[set[float]]]:
    """For each kind of number the set of values of each trace."""
    found: dict[str, list[set[float]]] = defaultdict(list)
    for c, channel in enumerate(traces.channels):
        for row, length in zip(traces.values[:, c], traces.lengths, strict=True):
            points = row[:length]
            if channel.kind == "time":
                found["gap"].append(set(np.diff(points).tolist()))
            elif channel.kind != "direction":
                found[channel.name].append(set(points.tolist()))
    found["length"] = [{float(length)} for length in traces.lengths]
    if "server_port" in traces.meta.column_names:
        ports = traces.meta["server_port"].to_pylist()
        found["port"] = [set() if port is None else {float(port)} for port in ports]
    return dict(found)


def rare_of(traces: Traces) -> Numbers:
    """The numbers of each kind that fewer than five traces have.

    Without the greatest length: traces were cut to it, and at least five are that long.
    """
    rare = {kind: _rare(sets) for kind, sets in values_of(traces).items()}
    return rare | {"length": rare["length"] - {float(traces.lengths.max())}}


def numbers_in(folder: Path) -> dict[float, str]:
    """Every number in every file of a folder but its checkpoint, and where it stands.

    Counts of tokens and of traces and the hash of the weights are left out: no trace has them.
    """
    found: dict[float, str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.relative_to(folder).parts[0] == PRIVATE or path.suffix not in _READERS:
            continue
        for place, number in _READERS[path.suffix](path):
            if not _COUNTS.match(f"{path.name}: {place}"):
                found.setdefault(float(number), f"{path.name}: {place}")
    return found


def forms(value: float, kind: str = "packet_length") -> set[float]:
    """The forms of a number in a folder: sizes are signed and one larger, weights float32."""
    exact = {value, -value, value + 1, -value - 1} if kind == "packet_length" else {value}
    return exact | {float(np.float32(v)) for v in exact}


def _rare(sets: list[set[float]]) -> set[float]:
    count = Counter(v for one in sets for v in one)
    return {v for v, n in count.items() if n < K}


def _hits(rare: Numbers, numbers: dict[float, str]) -> dict[str, dict[float, str]]:
    return {
        kind: {v: numbers[f] for v in values for f in forms(v, kind) if f in numbers}
        for kind, values in rare.items()
    }


def _rebuilt(numbers: set[float], traces: Traces) -> int:
    sets = [s for kind, s in values_of(traces).items() if kind not in ("length", "port")]
    whole = (
        all(forms(v) & numbers for v in set.union(*of_one)) for of_one in zip(*sets, strict=True)
    )
    return sum(whole)


def _in_tensors(path: Path) -> Iterator[tuple[str, float]]:
    for name, tensor in load_file(path).items():
        for number in tensor.astype(np.float64).ravel().tolist():
            yield name, number


def _in_json(path: Path) -> Iterator[tuple[str, float]]:
    for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
        yield from _inside("", json.loads(line))


def _inside(place: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _inside(f"{place}.{key}".lstrip("."), one)
    elif isinstance(value, list):
        for one in value:
            yield from _inside(place, one)
    elif isinstance(value, (int, float)):
        yield place, value
    elif isinstance(value, str):
        yield from ((place, number) for number in _in_words(value))


def _in_lines(path: Path) -> Iterator[tuple[str, float]]:
    for line in path.read_text().splitlines():
        yield from ((line, number) for number in _in_words(line))


def _in_words(text: str) -> Iterator[float]:
    for word in re.findall(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", text):
        yield float(word.replace(",", ""))


_READERS = {
    ".safetensors": _in_tensors,
    ".json": _in_json,
    ".jsonl": _in_json,
    ".md": _in_lines,
}
# Counts of tokens and traces, and the hash of the weights: none is a number of a trace.
_COUNTS = re.compile(
    r"config\.json: (id$|network\.(sizes|columns)|about\.(traces|longer_traces))"
    r"|README\.md: - (traces|longer_traces)"
)
