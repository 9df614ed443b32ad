"""Does the parts of a plan, each in a process of its own, and reads what they wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.duel.plan import Judges, Part, Plan
from netdiffus.errors import InputError
from netdiffus.files import write_text

ROOT = Path(__file__).parents[2]
SETTINGS = "judges.json"
Record = dict[str, Any]


def run(plan: Plan) -> list[Record]:
    """Figures of all parts; what is in the folder is not done again.

    This process only waits: what a process reports as its peak memory on Linux is no less than that
    of the one that started it.

    Raises:
        InputError: The folder holds figures of other judges.
        CalledProcessError: A part failed, and said why.
    """
    _check_judges(plan.out / SETTINGS, plan.judges)
    parts = list(plan.parts())
    for k, part in enumerate(parts, start=1):
        if not all(path.exists() for path in part.files):
            print(f"{k} of {len(parts)}: {part.folder}", flush=True)
            _start(part)
    return [record for part in parts for record in _records(part)]


def _start(part: Part) -> None:
    """Runs a part on one thread: budget and milliseconds are those of one processor."""
    worker = [sys.executable, "-m", "bench.duel.worker", json.dumps(asdict(part), default=str)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run(worker, check=True, env=os.environ | one_thread, cwd=ROOT)


def _records(part: Part) -> list[Record]:
    """One record per set of traces: where they are from, and their figures as plain numbers."""
    read = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in part.files}
    known = {"set": part.set_name, "seed": part.seed, "minutes": part.minutes}
    if part.preset:
        figures = flat(read["training"]) | flat(read["figures"])
        return [known | {"from": part.preset, "figures": figures}]
    return [known | {"from": name, "figures": flat(found)} for name, found in read.items()]


def flat(found: Record) -> dict[str, float]:
    """The numbers of a part by name; of a figure with an interval the mean."""
    numbers: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, dict) and "mean" in value:
            numbers[name] = value["mean"]
        elif isinstance(value, dict):
            numbers |= {f"{name} {inner}": number for inner, number in flat(value).items()}
        elif isinstance(value, (int, float)):
            numbers[name] = value
    return numbers


def _check_judges(path: Path, judges: Judges) -> None:
    """Keeps figures that are not comparable out of one folder."""
    now = asdict(judges)
    if not path.exists():
        write_text(path, json.dumps(now) + "\n")
    before = json.loads(path.read_text(encoding="utf-8"))
    if before != now:
        raise InputError(
            f"{path}: the folder holds figures by {before}, asked for is {now}; take another --out"
        )
