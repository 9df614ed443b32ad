"""Sampling into a data set: any process makes a part, a range of traces, with the same bytes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from netdiffus.errors import InputError, checked_seed, whole
from netdiffus.model.files import identity
from netdiffus.model.model import Model
from netdiffus.parts.building import (
    SOFTWARE,
    Made,
    Plan,
    Record,
    begin,
    check_is_here,
    done,
    finish,
    make,
    plan_of,
    records,
)
from netdiffus.parts.shards import Shard
from netdiffus.parts.work import each
from netdiffus.progress import Progress, given_or_bar, silent
from netdiffus.sampling import Counts, batches, number_of

PART_SIZE = 16_384  # traces
# Settings on which the traces do not depend, except for rounding.
ROUNDING = ("fast", "batch_size", "device")


def sample_to_parts(
    model: Model,
    n: int | None,
    folder: str | Path,
    *,
    part_size: int = PART_SIZE,
    shard: str | None = None,
    ray: str | None = None,
    seed: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Made:
    """Samples n traces into a data set, part by part; memory does not grow with n.

    The traces are those of `sample` with the same arguments. A part depends only on its range of
    traces. So several processes can make one data set, each its own shard, and a lost part can be
    made again with the same bytes. Existing parts are kept. The run that finds all parts complete
    writes the manifest.

    Args:
        model: A trained model.
        n: How many, at least 1; None where `label` has the numbers.
        folder: Of the data set; made if need be.
        part_size: Traces of a part, but for the last.
        shard: Make only this share of the parts, such as `0/4`, the first of four; None makes all.
        ray: Let Ray make the parts, see `netdiffus.parts.on_ray`: `local`, `auto` or `HOST:PORT`.
        seed: None takes the seed of the existing folder, or draws one. A shard needs a seed.
        force: Replace the traces of an earlier call.
        progress: Called with (traces done, a note). None shows a bar, as `train` does.
        **options: All others of `sample`: `label`, `where`, `mix`, `fast`, `sampler`, `steps`,
            `start`, `batch_size` and `device`.

    Returns:
        What was done, and how many parts are still missing.

    Raises:
        InputError: An argument that cannot be used, see `sample`; a shard without a seed; or the
        folder has parts of other arguments or another model, or holds another data set.
    """
    folder, n = Path(folder), number_of(n, options.get("label"))
    part_size = whole("part_size", part_size, 1)
    share = Shard.asked(shard, force)
    seed = _seed(folder, seed, shard, force)
    batches(model, n, seed=seed, **options)  # refuses what cannot be used
    plan = _plan(model, n, part_size, seed, options)
    begin(folder, plan, force=force)
    work = _Work(model, n, folder, plan, options)
    return _done_by(work, share, ray, progress)


def _done_by(work: _Work, shard: Shard, ray: str | None, progress: Progress | None) -> Made:
    """Makes all missing parts of a shard."""
    count = ceil(work.n / work.plan["part_size"])
    mine = shard.of(range(count))
    todo = [k for k in mine if done(work.folder, _name(k), work.key(k)) is None]
    with given_or_bar(progress, "sample", float(sum(map(work.rows, mine)))) as shown:
        finished = float(sum(work.rows(k) for k in mine) - sum(work.rows(k) for k in todo))
        for record in each(work, todo, ray=ray, on_gpus=work.may_use_gpus):
            check_is_here(work.folder, record)
            finished += record.part.rows if record.part else 0
            shown(finished, f"{record.name} of {count}")
    return _ended(work, count, len(mine), len(todo))


def _ended(work: _Work, count: int, mine: int, made: int) -> Made:
    """States what was done; writes the manifest if no part is missing."""
    there = {one.key: one for one in records(work.folder)}
    parts = [there[key] for key in map(work.key, range(count)) if key in there]
    if len(parts) == count:
        finish(work.folder, parts, work.plan)
    return Made(work.folder, count, made, mine - made, count - len(parts), tuple(parts))


@dataclass(frozen=True)
class _Work:
    """Makes the k-th part."""

    model: Model
    n: int
    folder: Path
    plan: Plan
    options: dict[str, Any]

    def __call__(self, k: int) -> Record:
        first = k * self.plan["part_size"]
        found = Counts(self.model.classes)
        traces = batches(
            self.model,
            self.n,
            seed=self.plan["seed"],
            within=(first, first + self.rows(k)),
            progress=silent,
            **self.options,
        )
        tables = (found.counted(one).to_arrow() for one in traces)
        return make(self.folder, _name(k), self.key(k), tables, found.said)

    @property
    def may_use_gpus(self) -> bool:
        """Whether a GPU, if there is one, is wanted."""
        return str(self.options.get("device") or "cuda").startswith("cuda")

    def rows(self, k: int) -> int:
        """How many traces the part has."""
        size: int = self.plan["part_size"]
        return min(size, self.n - k * size)

    def key(self, k: int) -> str:
        """Of all that the part depends on."""
        return hashlib.sha256(json.dumps([self.plan, k]).encode()).hexdigest()


def _plan(model: Model, n: int, part_size: int, seed: int, options: Mapping[str, Any]) -> Plan:
    """Everything that the bytes of the parts depend on, except for rounding."""
    asked = {name: value for name, value in options.items() if name not in ROUNDING and value}
    if isinstance(asked.get("label"), Mapping):  # classes are made in this order
        asked["label"] = list(asked["label"].items())
    plan = {
        "work": "sample",
        "netdiffus": SOFTWARE,
        "model": _identity(model),
        "n": n,
        "part_size": part_size,
        "seed": seed,
        **asked,
    }
    found: Plan = json.loads(json.dumps(plan, default=_as_json))
    return found


def _as_json(value: Any) -> Any:
    """Converts mappings, numbers and times of other types for JSON."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _identity(model: Model) -> str:
    """The identity of a model: of its weights and everything else that affects its traces."""
    config = {name: value for name, value in model.config().items() if name != "about"}
    weights = identity(model.network.state_dict())
    codec = identity(model.codec.state()[1] | model.columns.tables())
    text = json.dumps([weights, codec, config], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _seed(folder: Path, seed: int | None, shard: str | None, force: bool) -> int:
    before = None if force else plan_of(folder)
    if seed is None and before is not None:
        seed = before.get("seed")
    if seed is not None:
        return checked_seed(seed)
    if shard is not None:
        raise InputError(
            "a shard without a seed: all shards must have the same, so give one (--seed)"
        )
    return secrets.randbits(48)


def _name(k: int) -> str:
    return f"part-{k:06d}"
