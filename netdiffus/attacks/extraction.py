"""Training traces and rare values that stand verbatim in synthetic traces or in a model folder.

Beside each count stands the same count for the holdout, which was not learned from: that is chance.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load_file

from netdiffus.attacks.rates import share
from netdiffus.attacks.sides import keys
from netdiffus.codec.column import numbers_of, plain
from netdiffus.codec.columns import OURS
from netdiffus.codec.vocabulary import K
from netdiffus.errors import InputError
from netdiffus.traces.traces import Traces

PRIVATE = "checkpoint"  # folder that is not given away
COLUMN = "column "  # begins the kind of a column of the meta
SHORTEST = 4  # letters of a text that is looked for; a shorter one is anywhere by chance
Value = float | str
Numbers = dict[str, set[Value]]


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
    """For each kind of value, how many rare ones are among those of the synthetic traces.

    A value of `train` is rare if fewer than 5 of its traces and no trace of `holdout` have it, and
    the other way round. A larger set has more rare values, but the shares can be compared.
    """
    ours, theirs, found = (values_of(t) for t in (train, holdout, made))
    told = {}
    # A column that was not learned is none of the synthetic traces, and gives nothing away.
    for kind in [kind for kind in ours if kind in found or not kind.startswith(COLUMN)]:
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

    Traces are cut to the points that it learned.

    Returns:
        For `train` and `holdout`: `rebuilt`, the share of traces all of whose numbers are in the
        folder; `values`, the share of rare numbers of points and lengths that are there; `columns`,
        that of rare values of the meta-data. `checkpoint`, whether the folder has a checkpoint,
        which must not be given away.
    """
    numbers = numbers_in(folder)
    sides = {"train": (train, holdout), "holdout": (holdout, train)}
    text = texts_in(folder)
    told: dict[str, Any] = {"values": {}, "columns": {}, "rebuilt": {}}
    for name, (side, other) in sides.items():
        known, rare = values_of(other), rare_of(side)
        rare = {kind: one - set().union(*known.get(kind, [])) for kind, one in rare.items()}
        hits = _hits(rare, numbers, text)
        for group in ("values", "columns"):
            kinds = [k for k in rare if k.startswith(COLUMN) == (group == "columns")]
            found = sum(len(hits[k]) for k in kinds)
            told[group][name] = share(found, sum(len(rare[k]) for k in kinds))
        told["rebuilt"][name] = share(rebuilt(numbers, side), len(side))
    return {"numbers": len(numbers), **told, "checkpoint": (folder / PRIVATE).exists()}


def leaked(folder: Path, traces: Traces) -> dict[str, dict[Value, str]]:
    """The rare values of the traces that stand in the folder, and where."""
    hits = _hits(rare_of(traces), numbers_in(folder), texts_in(folder))
    return {kind: one for kind, one in hits.items() if one}


def rebuilt(numbers: Iterable[float], traces: Traces) -> int:
    """How many traces have all their numbers among these."""
    known, sets = set(numbers), of_points(traces).values()
    return sum(
        all(forms(v) & known for v in set.union(*of_one)) for of_one in zip(*sets, strict=True)
    )


def values_of(traces: Traces) -> dict[str, list[set[Value]]]:
    """For each kind of value those of each trace: of channels, the length, columns of the meta."""
    found: dict[str, list[set[Value]]] = defaultdict(list)
    for c, channel in enumerate(traces.channels):
        for row, length in zip(traces.values[:, c], traces.lengths, strict=True):
            points = row[:length]
            if channel.kind == "time":
                found["gap"].append(set(np.diff(points).tolist()))
            elif channel.kind != "direction":
                found[channel.name].append(set(points.tolist()))
    found["length"] = [{float(length)} for length in traces.lengths]
    for name in traces.meta.column_names:
        cells = None if name in OURS else _cells(name, traces.meta[name])
        if cells is not None:
            found[COLUMN + name] = cells
    return dict(found)


def of_points(traces: Traces) -> dict[str, list[set[Value]]]:
    """`values_of` without lengths and columns: what the points of each trace hold."""
    kinds = values_of(traces).items()
    return {k: sets for k, sets in kinds if k != "length" and not k.startswith(COLUMN)}


def _cells(name: str, column: pa.ChunkedArray) -> list[set[Value]] | None:
    """The number or the text of each cell; None where a column has neither."""
    try:
        cells = plain(name, column)
        there = np.asarray(cells.is_valid())
        if pa.types.is_boolean(cells.type):
            return None
        known = cells.drop_null()
        is_text = pa.types.is_string(cells.type)
        values = iter(known.to_pylist() if is_text else numbers_of(name, known).tolist())
    except InputError:
        return None
    return [{next(values)} if one else set() for one in there.tolist()]


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
        for place, number in _read(path):
            if not _COUNTS.match(f"{path.name}: {place}"):
                found.setdefault(float(number), f"{path.name}: {place}")
    return found


def _read(path: Path) -> list[tuple[str, float]]:
    try:
        return list(_READERS[path.suffix](path))
    except (ValueError, OverflowError, RecursionError, SafetensorError) as error:
        raise InputError(
            f"{path}: not readable ({error}); take it out of the model folder"
        ) from None


def texts_in(folder: Path) -> str:
    """Every file of a folder but its checkpoint, as text; of tensors their names and metadata."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file())
    given = (p for p in paths if p.relative_to(folder).parts[0] != PRIVATE)
    return "\n".join(_text(path) for path in given)


def forms(value: float, kind: str = "packet_length") -> set[float]:
    """The forms of a number in a folder: sizes are signed and one larger, weights float32."""
    exact = {value, -value, value + 1, -value - 1} if kind == "packet_length" else {value}
    return exact | {float(np.float32(v)) for v in exact}


def _rare(sets: list[set[Value]]) -> set[Value]:
    count = Counter(v for one in sets for v in one)
    return {v for v, n in count.items() if n < K}


def _hits(rare: Numbers, numbers: dict[float, str], text: str) -> dict[str, dict[Value, str]]:
    found: dict[str, dict[Value, str]] = {}
    for kind, values in rare.items():
        found[kind] = {v: where for v in values if (where := _where(v, kind, numbers, text))}
    return found


def _where(value: Value, kind: str, numbers: dict[float, str], text: str) -> str | None:
    """Where a value stands in a folder, if it does."""
    if not isinstance(value, str):
        return next((numbers[form] for form in forms(value, kind) if form in numbers), None)
    if len(value) < SHORTEST:
        return None
    written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    words = (rf"(?<!\w){re.escape(one)}(?!\w)" for one in written if one in text)
    return "text" if any(re.search(word, text) for word in words) else None


def _text(path: Path) -> str:
    if path.suffix != ".safetensors":
        return path.read_bytes().decode("utf-8", "replace")
    with path.open("rb") as file:
        return file.read(int.from_bytes(file.read(8), "little")).decode("utf-8", "replace")


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
