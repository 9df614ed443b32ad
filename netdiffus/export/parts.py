"""A data set as captures: a file for each range of its traces, made by whoever."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netdiffus.export.capture import check_capture_path, write_capture
from netdiffus.files import write_text
from netdiffus.parts import Dataset
from netdiffus.parts.building import RECORDS, SOFTWARE, go_on
from netdiffus.parts.shards import Shard
from netdiffus.parts.work import each
from netdiffus.progress import Progress, given_or_bar

MOST, POINTS = 16_384, 1 << 24  # traces of a file, and their points if all were of the longest
SUMMED = ("traces", "packets", "framing", "raised", "mended", "as_udp", "moved")


def export_to_parts(
    dataset: Dataset,
    folder: str | Path,
    *,
    suffix: str = ".pcap",
    shard: str | None = None,
    ray: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Writes a data set as captures of at most 16,384 traces, each with its labels beside it.

    A file holds the traces of a range, as `write_capture` writes them: flows have a 5-tuple of
    their own within it, and a sequence of traces begins anew with each. Files that are there are
    not made again.

    Args:
        dataset: Traces of packets.
        folder: For the captures; made if need be.
        suffix: `.pcap` or `.pcapng`.
        shard: Write only this share of the files, as `0/4` is the first of four; None writes all.
        ray: Let Ray write the files, see `netdiffus.parts.on_ray`: `local`, `auto` or `HOST:PORT`.
        force: Begin anew in a folder where captures were written with other options.
        progress: Called with (files done, a note). None shows a bar.
        **options: All others of `write_capture`.

    Returns:
        `captures`, the folder; `files` of the whole, `made` now and `missing` still; and what
        `write_capture` counts, added up over the files that are there.

    Raises:
        InputError: As for `write_capture`; or the folder was begun with another data set or other
            options, or holds files of others.
    """
    folder = Path(folder)
    check_capture_path(folder / f"part{suffix}")
    share = Shard.asked(shard, force)
    parts = [part.sha256 for part in dataset.manifest.parts]
    plan = {
        "work": "export",
        "netdiffus": SOFTWARE,
        "data": hashlib.sha256(json.dumps([dataset.length, *parts]).encode()).hexdigest(),
        "suffix": suffix,
        **options,
    }
    go_on(folder, plan, force=force)
    work = _Work(dataset, folder, suffix, options)
    mine = share.of(range(work.count))
    todo = [k for k in mine if work.done(k) is None]
    with given_or_bar(progress, "export", float(len(mine))) as shown:
        for i, k in enumerate(each(work, todo, ray=ray), 1):
            shown(float(len(mine) - len(todo) + i), f"{work.path(k).name} of {work.count}")
    there = [found for k in range(work.count) if (found := work.done(k)) is not None]
    counts = {"files": work.count, "made": len(todo), "missing": work.count - len(there)}
    sums = {name: sum(one[name] for one in there) for name in SUMMED}
    return {"captures": str(folder), **counts, **sums}


@dataclass(frozen=True)
class _Work:
    """Writes the k-th file."""

    dataset: Dataset
    folder: Path
    suffix: str
    options: dict[str, Any]

    def __call__(self, k: int) -> int:
        rows = np.arange(k * self.size, min((k + 1) * self.size, len(self.dataset)))
        path = self.path(k)
        found = write_capture(self.dataset.take(rows), path, force=True, **self.options)
        about = {**found, "bytes": path.stat().st_size}
        write_text(self._record(k), json.dumps(about) + "\n")
        return k

    @property
    def size(self) -> int:
        """Traces of a file."""
        return max(1, min(MOST, POINTS // self.dataset.longest))

    @property
    def count(self) -> int:
        """How many files there are."""
        return -(-len(self.dataset) // self.size)

    def path(self, k: int) -> Path:
        """Of a file."""
        return self.folder / f"part-{k:06d}{self.suffix}"

    def done(self, k: int) -> dict[str, Any] | None:
        """What was written, if the file is there."""
        try:
            found: dict[str, Any] = json.loads(self._record(k).read_text(encoding="utf-8"))
            return found if self.path(k).stat().st_size == found["bytes"] else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _record(self, k: int) -> Path:
        return self.folder / RECORDS / f"part-{k:06d}.json"
