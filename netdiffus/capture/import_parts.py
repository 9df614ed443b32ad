"""Captures to a data set: a part for each, made by whoever, and not again if it is there."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from netdiffus.capture.files.finding import Capture, Found
from netdiffus.capture.importing import Paths, captures_of
from netdiffus.capture.reading import Source
from netdiffus.capture.report import CaptureReport, hints
from netdiffus.capture.rules import Rules
from netdiffus.errors import InputError, Note
from netdiffus.parts.building import (
    SOFTWARE,
    Made,
    Plan,
    Record,
    check_is_here,
    done,
    finish,
    go_on,
    make,
    records,
    remove,
)
from netdiffus.parts.shards import Shard
from netdiffus.parts.work import each
from netdiffus.parts.writing import sha256
from netdiffus.progress import Progress, given_or_bar


def import_to_parts(
    paths: Paths,
    folder: str | Path,
    *,
    label_from: str | Path | None = "dir",
    rules: Rules | None = None,
    threads: int | None = None,
    shard: str | None = None,
    ray: str | None = None,
    together: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[Made, CaptureReport]:
    """Reads captures into a data set, with a part for each capture or archive of them.

    Its traces are those of `import_captures`. A part is named by a hash of its bytes, of its name
    below the folder that all captures share, and of the rules and labels, so that it does not
    matter where the captures lie. A part that is there is not made again: of its capture only the
    hash is taken. The manifest is written by the run that finds the parts of all captures there.

    Args:
        paths: As for `import_captures`, but no pipes.
        folder: Of the data set; made if need be.
        label_from: As for `import_captures`.
        rules: As for `import_captures`.
        threads: Captures read at a time; the number of cores if not given.
        shard: Read only this share of the captures, as `0/4` is the first of four; None reads all.
        ray: Let Ray make the parts, see `netdiffus.parts.on_ray`: `local`, `auto` or `HOST:PORT`.
        together: As for `import_captures`; a part then holds a recording, which one process reads.
        force: Take away parts of captures that are not given, or have changed; or, if the folder
            was begun with other rules or labels, all of them.
        progress: Called with (share of the bytes done, a note).

    Returns:
        What was done, and the report of all captures whose parts are there.

    Raises:
        InputError: As for `import_captures`; or the folder was begun with other rules or labels,
            holds a data set of others, or parts of captures that are not given.
    """
    folder, rules = Path(folder), rules or Rules()
    share = Shard.asked(shard, force)
    found = captures_of(paths, label_from, together)
    _refuse_pipes(found.captures)
    Source(Found(), label_from, rules, threads, None)  # refuses what cannot be used
    plan = _plan(label_from, rules, together)
    go_on(folder, plan, force=force)
    work = _Work(folder, plan, label_from, rules)
    mine = share.of(found.captures)
    threads = min(threads or os.cpu_count() or 1, max(1, len(mine)))
    read = _read_all(work, mine, threads, ray, progress)
    return _ended(work, found, read, force)


def _read_all(
    work: _Work, captures: Sequence[Capture], threads: int, ray: str | None, given: Progress | None
) -> dict[str, bool]:
    """Makes the parts that are not there. The keys of all, and whether each was made now."""
    total, read = sum(one.size for one in captures) or 1, 0
    keys: dict[str, bool] = {}
    with given_or_bar(given, "import", 1.0) as shown:
        for record, is_new in each(work, captures, threads=threads, ray=ray):
            check_is_here(work.folder, record)
            read += record.about["size"]
            keys[record.key] = is_new
            shown(read / total, f"{read / 1e6:.0f} MB")
    return keys


def _ended(
    work: _Work, found: Found, read: dict[str, bool], force: bool
) -> tuple[Made, CaptureReport]:
    """What was done; the manifest is written if the parts of all captures are there."""
    # Of two parts of one capture, which has changed since, the one just read comes last.
    of_all = sorted(records(work.folder), key=lambda record: record.key in read)
    there = {_of(record): record for record in of_all}
    wanted = [(one.name, one.size) for one in found.captures]
    parts = [there[key] for key in wanted if key in there]
    kept = {record.key for record in parts}
    for record in of_all:
        if record.key not in kept:
            _refuse_or_remove(work.folder, record, force)
    report = _report(work, parts, found)
    missing = len(wanted) - len(parts)
    if not missing:
        if not report.traces:
            raise InputError(report.why_empty())
        finish(work.folder, parts, {**work.plan, "captures": len(parts)})
        for hint in report.hints:
            warnings.warn(hint, Note, stacklevel=3)
    made = sum(read.values())
    return Made(work.folder, len(wanted), made, len(read) - made, missing, tuple(parts)), report


def _report(work: _Work, parts: Sequence[Record], found: Found) -> CaptureReport:
    """The report of all captures whose parts are there."""
    report = CaptureReport(work.rules.about())
    report.skipped, report.problems = list(found.skipped), list(found.problems)
    for record in parts:
        report.merge(CaptureReport.from_json(record.about["report"]))
    report.hints += hints(work.label_from, report)
    return report


def _refuse_or_remove(folder: Path, record: Record, force: bool) -> None:
    """A part that is in the folder, but of no capture that was given."""
    if force:
        remove(folder, record)
        return
    raise InputError(
        f"{folder / record.name}.parquet: made from {record.about['capture']}, which has "
        "changed or is not among the given captures; give all captures of the data set, or delete "
        "such parts (force=True, --force)"
    )


@dataclass(frozen=True)
class _Work:
    """Makes the part of a capture."""

    folder: Path
    plan: Plan
    label_from: str | Path | None
    rules: Rules

    def __call__(self, capture: Capture) -> tuple[Record, bool]:
        """The part, and whether it was made now."""
        key = self._key(capture)
        name = f"part-{key[:16]}"
        before = done(self.folder, name, key)
        if before is not None:
            return before, False
        source = Source(Found([capture]), self.label_from, self.rules, 1, None)

        def about() -> dict[str, Any]:
            report = source.report.to_json()
            return {"capture": capture.name, "size": capture.size, "report": report}

        try:
            return make(self.folder, name, key, source.tables_if_any(), about), True
        except OSError as error:
            if error.filename is not None:
                raise
            text = f"{error.strerror or error} (in a temporary file, see TMPDIR)"
            raise OSError(error.errno, text, capture.shown) from error

    def _key(self, capture: Capture) -> str:
        """Of all that the part depends on."""
        files = (
            (one.name, one.folder, one.path.stat().st_size, sha256(one.path))
            for one in capture.files
        )
        of = [self.plan, *chain.from_iterable(files)]
        return hashlib.sha256(json.dumps(of).encode()).hexdigest()


def _plan(label_from: str | Path | None, rules: Rules, together: bool) -> Plan:
    """What all parts have in common. A list of labels counts by its bytes, not by its place."""
    labels = None if label_from is None else str(label_from)
    if labels is not None and Path(labels).is_file():
        labels = f"list {sha256(Path(labels))}"
    return {
        "work": "import",
        "netdiffus": SOFTWARE,
        "rules": rules.about(),
        "label_from": labels,
        **({"together": True} if together else {}),
    }


def _of(record: Record) -> tuple[str, int]:
    return record.about["capture"], record.about["size"]


def _refuse_pipes(captures: Sequence[Capture]) -> None:
    for one in captures:
        if one.holder is not None:
            raise InputError(
                f"{one.shown}: a pipe cannot be read again; save it as a file, or import it into "
                "a .parquet file"
            )
    twice = [name for name, n in Counter(one.name for one in captures).items() if n > 1]
    if twice:
        raise InputError(f"{twice[0]}: two captures have this name; rename one of them")
