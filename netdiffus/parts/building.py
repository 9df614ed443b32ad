"""A data set in the making: parts that are done, in a folder that several processes may work in.

`plan.json` says what is made, and comes first; all who work in the folder must ask for the same.
A part is written whole or not at all, then its record, in `records`; a part with a record is done.
The manifest comes last, once all parts are there. So a process that is killed loses the parts that
it was at, and whoever runs the command again makes what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from netdiffus.errors import InputError
from netdiffus.files import refuse_existing, write_new, write_text
from netdiffus.parts.reading import named
from netdiffus.parts.writing import write_part
from netdiffus.tables.manifest import (
    MANIFEST,
    PLAN,
    SUFFIX,
    Manifest,
    Part,
    PartColumns,
    part_from_json,
    total_counts,
)

SOFTWARE = version("netdiffus")  # stands in a plan: other code may make other parts
RECORDS = "records"  # folder of what is known of each part
Plan = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What is known of a part that is done.

    `part` and `columns` are None where nothing came out, and there is no file. `key` stands for all
    that it was made from; another key is another part. `about` is what its maker has to say of it.
    """

    name: str
    key: str
    part: Part | None
    columns: PartColumns | None
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        part = None if self.part is None else asdict(self.part)
        columns = None if self.columns is None else self.columns.to_json()
        return {**vars(self), "part": part, "columns": columns}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Record:
        """The record as `to_json` gave it."""
        part = None if found["part"] is None else part_from_json(found["part"])
        columns = None if found["columns"] is None else PartColumns.from_json(found["columns"])
        return cls(**{**found, "part": part, "columns": columns})


@dataclass(frozen=True)
class Made:
    """What a run has done for a data set.

    Attributes:
        folder: The data set.
        parts: Of the whole plan.
        made: Parts that this run made.
        there: Parts that were there before.
        missing: Parts that others have to make; none if the manifest is written.
        records: Of all parts that are there.
    """

    folder: Path
    parts: int
    made: int
    there: int
    missing: int
    records: tuple[Record, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all parts are there, and the manifest."""
        return not self.missing

    @property
    def classes(self) -> dict[str, int]:
        """Traces of each class in the parts that are there."""
        return total_counts(tuple(one.part for one in self.records if one.part is not None))

    def summary(self) -> dict[str, Any]:
        """For printing; of a model of images with the mean `residual` of the parts there."""
        counts = {"parts": self.parts, "made": self.made, "there before": self.there}
        sums = [
            (one.about["residual"] * one.part.rows, one.part.rows)
            for one in self.records
            if one.part is not None and "residual" in one.about
        ]
        rows = sum(one for _, one in sums)
        mean = {"residual": sum(one for one, _ in sums) / rows} if rows else {}
        return counts | ({"missing": self.missing} if self.missing else {}) | mean


def is_folder(path: Path) -> bool:
    """Whether traces that go to `path` become a data set: it is a folder, or has no suffix."""
    return path.is_dir() or not path.suffix


def begin(folder: Path, plan: Plan, *, force: bool = False) -> None:
    """Makes a folder ready for the parts of a plan, or goes on with the same plan there.

    `force` takes away what another plan, or this one, has made there.

    Raises:
        InputError: Another plan was begun there, the folder holds files of others, or it cannot be
            written to.
    """
    refuse_existing(folder / PLAN, True)
    if force:
        _clear(folder)
    plan = json.loads(json.dumps(plan))
    before = plan_of(folder)
    if before is None:
        _refuse_others(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_new(folder / PLAN, json.dumps(plan, indent=1) + "\n")
        before = plan_of(folder) or plan
    for name in {**before, **plan}:
        if before.get(name) != plan.get(name):
            raise InputError(
                f"{folder}: begun with {name} {before.get(name)!r}, now {plan.get(name)!r}; give "
                "the same, choose another folder, or begin anew (force=True, --force)"
            )


def go_on(folder: Path, plan: Plan, *, force: bool) -> None:
    """Goes on with the same plan; begins anew with another, where that is forced."""
    try:
        begin(folder, plan)
    except InputError:
        if not force:
            raise
        begin(folder, plan, force=True)


def plan_of(folder: Path) -> Plan | None:
    """The plan that a folder was begun with, if it was.

    Raises:
        InputError: It is damaged.
    """
    if not (folder / PLAN).is_file():
        return None
    try:
        found = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / PLAN}: damaged ({error}); --force begins anew") from None
    if not isinstance(found, dict):
        raise InputError(f"{folder / PLAN}: not a plan of netdiffus; choose another folder")
    return found


def done(folder: Path, name: str, key: str) -> Record | None:
    """The record of a part that is there, made from the same."""
    record = _read(folder / RECORDS / f"{name}.json")
    if record is None or record.key != key:
        return None
    if record.part is None:
        return record
    path = folder / record.part.file
    is_there = path.is_file() and path.stat().st_size == record.part.bytes
    return record if is_there else None


def make(
    folder: Path,
    name: str,
    key: str,
    tables: Iterable[pa.Table],
    about: Callable[[], dict[str, Any]] = dict,
) -> Record:
    """Writes a part and its record; no part if there are no rows.

    `key` stands for all that it is made from. `about` gives what is to be kept in the record, once
    the tables have been taken.
    """
    filled = (table for table in tables if table.num_rows)
    first = next(filled, None)
    part: Part | None = None
    columns: PartColumns | None = None
    if first is not None:
        part, columns = write_part(folder / f"{name}{SUFFIX}", chain([first], filled))
    record = Record(name, key, part, columns, about())
    write_text(folder / RECORDS / f"{name}.json", json.dumps(record.to_json()) + "\n")
    return record


def check_is_here(folder: Path, record: Record) -> None:
    """Refuses a part that another machine has written where this one cannot see it.

    Raises:
        InputError: It is not in the folder.
    """
    if done(folder, record.name, record.key) is None:
        raise InputError(
            f"{folder / record.name}{SUFFIX}: made, but not to be seen here; the folder must lie "
            "on a file system that all machines share, under the same path"
        )


def records(folder: Path) -> list[Record]:
    """The records of all parts that are done."""
    found = (_read(path) for path in sorted((folder / RECORDS).glob("*.json")))
    there = (done(folder, one.name, one.key) for one in found if one is not None)
    return [one for one in there if one is not None]


def finish(folder: Path, parts: Sequence[Record], made: dict[str, Any]) -> Manifest:
    """Writes the manifest of these parts, in this order; parts without traces are left out.

    Raises:
        InputError: None has a trace, or one has other columns than the first.
    """
    filled = [one for one in parts if one.part is not None and one.columns is not None]
    if not filled:
        raise InputError(f"{folder}: no traces in any part")
    columns = filled[0].columns
    assert columns is not None
    for one in filled:
        named(folder / f"{one.name}{SUFFIX}", columns.refuse_others, one.columns)
    manifest = Manifest(columns, tuple(one.part for one in filled if one.part), made)
    manifest.write(folder)
    return Manifest.read(folder)


def remove(folder: Path, record: Record) -> None:
    """Takes away a part and its record."""
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / RECORDS / f"{record.name}.json").unlink(missing_ok=True)
    (folder / f"{record.name}{SUFFIX}").unlink(missing_ok=True)


def _read(path: Path) -> Record | None:
    """A record; None where it is damaged or of another version, so that its part is made again."""
    if not path.is_file():
        return None
    try:
        return Record.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _clear(folder: Path) -> None:
    """Takes away what a plan has made, the plan itself last."""
    if not (folder / PLAN).exists():
        return
    (folder / MANIFEST).unlink(missing_ok=True)
    made = list((folder / RECORDS).glob("*.json"))
    files = [path for record in made for path in folder.glob(f"{record.stem}.*")]
    for path in [*files, *folder.glob(f"part-*{SUFFIX}"), *made]:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        (folder / RECORDS).rmdir()
    (folder / PLAN).unlink(missing_ok=True)


def _refuse_others(folder: Path) -> None:
    """Refuses a folder that others have used, a model's or that where the command was run."""
    names = sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))
    if PLAN in names:  # of a rival that has begun just now; its plan is compared next
        return
    if others := [name for name in names if name != RECORDS]:
        raise InputError(
            f"{folder}: holds {others[0]}, which is of no data set in the making; choose a new or "
            "an empty folder"
        )
