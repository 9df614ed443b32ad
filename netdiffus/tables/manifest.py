"""The manifest of a data set: which Parquet parts lie in its folder, and what is in each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from netdiffus.channels import Channel
from netdiffus.errors import InputError, whole
from netdiffus.files import write_text
from netdiffus.ledger import Ledger
from netdiffus.tables.columns.roles import declared, declared_ledger
from netdiffus.tables.lists import SCHEMA_KEY
from netdiffus.tables.store import Store

MANIFEST, PLAN = "manifest.json", "plan.json"  # of a whole data set; of one that is being made
FORMAT, VERSION = "netdiffus data set", 1
SUFFIX = ".parquet"
COUNTS = ("rows", "points", "longest", "bytes")


@dataclass(frozen=True)
class Part:
    """What a part holds.

    Attributes:
        file: Its name in the folder.
        rows: Traces.
        classes: Traces of each class that it has.
        points: Of all traces.
        longest: Points of the longest trace.
        bytes: Size of the file.
        sha256: Of the file.
    """

    file: str
    rows: int
    classes: dict[str, int]
    points: int
    longest: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PartColumns:
    """The columns that all parts have.

    Attributes:
        channels: What the list columns are, in order.
        meta: Name and Arrow type of each further column, in order.
        ledger: The guarantee of privacy of the traces; None is none.
    """

    channels: tuple[Channel, ...]
    meta: dict[str, str]
    ledger: Ledger | None = None

    @classmethod
    def of(cls, schema: pa.Schema) -> PartColumns:
        """The columns of a Parquet file that this package wrote.

        Raises:
            InputError: It is of others, or damaged.
        """
        channels = declared(schema)
        types = dict(zip(schema.names, schema.types, strict=True))
        if not channels or types.get("label") != pa.string():
            raise InputError("not a file of traces that netdiffus wrote: Traces.save writes one")
        for name, channel in channels.items():
            if types.get(name) != pa.list_(pa.type_for_alias(channel.dtype)):
                raise InputError(f"channel {name!r} is no column of lists of {channel.dtype}")
        own = [field for field in schema if field.name not in channels and field.name != "label"]
        meta = {field.name: str(field.type) for field in own}
        return cls(tuple(channels.values()), meta, declared_ledger(schema))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PartColumns:
        """The columns as `to_json` wrote them.

        Raises:
            InputError: They are damaged.
        """
        about = json.dumps({"channels": found["channels"], "ledger": found["ledger"]})
        schema = pa.schema([]).with_metadata({SCHEMA_KEY: about})
        channels, ledger = declared(schema), declared_ledger(schema)
        return cls(tuple(channels.values()), _texts("meta", found["meta"]), ledger)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds them."""
        channels = [asdict(channel) for channel in self.channels]
        return {"channels": channels, "meta": self.meta, "ledger": self.ledger}

    def refuse_others(self, other: PartColumns) -> None:
        """Raises InputError where the other has not the same columns."""
        if self.ledger != other.ledger:
            raise InputError("its privacy ledger is not that of the data set")
        if self == other:
            return
        ours, theirs = self._types(), other._types()
        differ = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        name = (differ or ["order of the columns"])[0]
        raise InputError(
            f"other columns than the data set: {name} is {theirs.get(name, 'not there')}, "
            f"not {ours.get(name, 'there')}"
        )

    def _types(self) -> dict[str, str]:
        lists = {
            one.name: f"list of {one.dtype}, {one.kind} in {one.unit}" for one in self.channels
        }
        return self.meta | lists


@dataclass(frozen=True)
class Manifest:
    """All parts of a data set, in the order of its traces.

    Attributes:
        columns: What they have in common.
        parts: Each with at least one trace.
        made: How they were made: rules of an import, or settings of a sampling.
    """

    columns: PartColumns
    parts: tuple[Part, ...]
    made: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """Traces of each class."""
        return total_counts(self.parts)

    def write(self, folder: Path) -> None:
        """Writes the manifest of a folder, whole or not at all."""
        text = {
            "format": FORMAT,
            "version": VERSION,
            "rows": sum(part.rows for part in self.parts),
            "points": sum(part.points for part in self.parts),
            "classes": self.counts,
            **self.columns.to_json(),
            "made": self.made,
            "parts": [asdict(part) for part in self.parts],
        }
        write_text(folder / MANIFEST, json.dumps(text, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path | Store) -> Manifest:
        """The manifest of a folder, which must fit itself and the files that lie there.

        Raises:
            InputError: There is none, it is damaged or of another version, or a part is missing,
                cut, there twice or not named in it.
        """
        store = folder if isinstance(folder, Store) else Store.of(folder)
        sizes, shown = store.sizes(), store.shown(MANIFEST)
        if MANIFEST not in sizes:
            raise InputError(_not_there(store, sizes))
        try:
            found = _parsed(store.text(MANIFEST))
            manifest = cls._checked(found)
        except InputError as error:
            raise InputError(f"{shown}: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{shown}: damaged ({error!r}); {REMAKE}") from None
        _check_files(store, sizes, manifest.parts)
        return manifest

    @classmethod
    def _checked(cls, found: dict[str, Any]) -> Manifest:
        parts = tuple(part_from_json(one) for one in found["parts"])
        twice = [name for name, n in Counter(part.file for part in parts).items() if n > 1]
        if twice:
            raise InputError(f"part {twice[0]} is named twice; {REMAKE}")
        if not parts:
            raise InputError(f"it names no parts; {REMAKE}")
        manifest = cls(PartColumns.from_json(found), parts, dict(found["made"]))
        for name in ("rows", "points"):
            added = sum(getattr(part, name) for part in parts)
            if found[name] != added:
                raise InputError(
                    f"{name} is {found[name]}, but those of its parts add up to {added}; {REMAKE}"
                )
        if found["classes"] != manifest.counts:
            raise InputError(f"classes are not those of its parts; {REMAKE}")
        return manifest


REMAKE = "run the command that made the folder again: it writes the manifest anew"


def total_counts(parts: tuple[Part, ...]) -> dict[str, int]:
    """Traces of each class of all parts, the classes in order."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.classes)
    return dict(sorted(total.items()))


def part_from_json(found: Mapping[str, Any]) -> Part:
    """A part as JSON holds it.

    Raises:
        InputError: It is damaged, or its name leads out of the folder.
    """
    part = Part(**found)
    name = part.file
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(SUFFIX):
        raise InputError(f"a part is named {name!r}; a name in the folder ends in {SUFFIX}")
    for count in COUNTS:
        whole(f"{count} of part {name}", getattr(part, count), 1)
    for label in part.classes:
        whole(f"class {label!r} of part {name}", part.classes[label], 1)
    if sum(part.classes.values()) != part.rows:
        raise InputError(f"part {name}: its classes do not add up to its {part.rows} rows")
    if not isinstance(part.sha256, str) or len(part.sha256) != 64:
        raise InputError(f"part {name}: sha256 is {part.sha256!r}")
    return part


def _parsed(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError("not the manifest of a netdiffus data set")
    if found["version"] != VERSION:
        raise InputError(
            f"version {found['version']!r} of the format; this netdiffus reads version {VERSION}"
        )
    return found


def _texts(name: str, found: Any) -> dict[str, str]:
    if not all(isinstance(one, str) for one in (*found, *found.values())):
        raise InputError(f"{name} must name columns and their types")
    return dict(found)


def _not_there(store: Store, sizes: Mapping[str, int]) -> str:
    if store.is_local and not Path(store.path).exists():
        return f"{store.name}: no such folder"
    if PLAN in sizes:
        return (
            f"{store.name}: the data set is incomplete: it has no {MANIFEST}; run the command that "
            "makes it again, to make the missing parts"
        )
    return (
        f"{store.name}: no data set, because it has no {MANIFEST}; netdiffus import and sample "
        "write one (-o FOLDER), and so does Dataset.write"
    )


def _check_files(store: Store, sizes: Mapping[str, int], parts: tuple[Part, ...]) -> None:
    """Refuses a folder whose files are not those of the manifest, by their names and sizes."""
    for part in parts:
        shown = store.shown(part.file)
        if part.file not in sizes:
            raise InputError(f"{shown}: the part is missing; {REMAKE_PART}")
        if sizes[part.file] != part.bytes:
            raise InputError(
                f"{shown}: the part has {sizes[part.file]} bytes, not {part.bytes} as the manifest "
                f"says: it was cut or changed; {REMAKE_PART}"
            )
    named = {part.file for part in parts}
    others = sorted(name for name in sizes if name.endswith(SUFFIX) and name not in named)
    others = [name for name in others if not name.startswith((".", "_"))]
    if others:
        raise InputError(
            f"{store.shown(others[0])}: not in the manifest. If it is from an unfinished run, run "
            "the command again; otherwise, move it away"
        )


REMAKE_PART = "copy it again, or run the command that made the folder: it makes this part again"
