"""After a kill at any time the old result or the new one is whole, and the next run works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from kills import DEMO
from typer.main import get_command

from netdiffus.cli.export import export
from netdiffus.cli.main import app

TESTS = Path(__file__).parents[1]
MODEL = {
    "m/config.json",
    "m/model.safetensors",
    "m/README.md",
    "m/checkpoint/state.safetensors",
    "m/log.jsonl",
}
# What each command brings to its final name, by a rename that a kill cannot cut in two.
RESULTS = {
    "train": MODEL,
    "train, force": MODEL,
    "sample": {"s.csv"},
    "export": {"c.pcap", "c.labels.csv"},
    "evaluate": {"r.html", "r.json"},
    "split": {"p/train.parquet", "p/holdout.parquet"},
    "split, folder": {"q/train/manifest.json", "q/holdout/manifest.json"},
    "audit": {"r.html", "r.json"},
    "augment": {"a.parquet"},
    "complete": {"k.parquet"},
    "demo": {f"o/{name}" for name in DEMO},
    "inspect": {"g.png"},
    "privatise": {"p.parquet", "l.json"},
    "import": {"i.parquet"},
    "import, folder": {"d/manifest.json"},
    "sample, folder": {"d/manifest.json", "d/part-000000.parquet", "d/part-000001.parquet"},
    "sample, parquet": {"s.parquet"},
    "export, folder": {"e/part-000000.pcap", "e/part-000000.labels.csv"},
    "export, flows": {"f.csv"},
    "export, ppi": {"f.parquet"},
    "export, splt": {"f.parquet"},
    "export, arrays": {"f.npz"},
}
WRONG = ("in place", "in parts")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kills")
    paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("kills.py")), str(folder)],
        capture_output=True,
        text=True,
        # Threads of OpenMP do not outlive a fork.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert set(told) == {*RESULTS, *WRONG}
    return told


def test_every_command_is_killed() -> None:
    """Each verb that writes; and of a verb each form of `--as`, and a folder if it can make one."""
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    assert {name.split(",")[0] for name in RESULTS} == set(verbs) - {"info"}
    forms = get_args(get_type_hints(export)["kind"])
    assert {f"export, {form}" for form in forms if form != "capture"} <= set(RESULTS)
    folders = {verb for verb, one in verbs.items() if {"shard"} & {p.name for p in one.params}}
    assert {f"{verb}, folder" for verb in (*folders, "split")} <= set(RESULTS)


@pytest.mark.parametrize("command", RESULTS)
def test_no_kill_leaves_a_fault(found: dict[str, Any], command: str) -> None:
    assert found[command]["faults"] == []
    assert found[command]["states"] >= 2  # some kills before the commit, some after


@pytest.mark.parametrize("command", RESULTS)
def test_results_get_their_names_by_renames_of_synced_files(
    found: dict[str, Any], command: str
) -> None:
    calls = [tuple(call) for call in found[command]["calls"]]
    renamed = {path for event, path in calls if event == "os.rename"}
    assert renamed >= RESULTS[command]
    opened = {path for event, path in calls if event == "open" and path.endswith("-part")}
    synced = {path for event, path in calls if event == "os.fsync"}
    claims = {path for path in opened if ("os.rename", path) not in calls} - synced
    assert opened - claims <= synced
    # A claim is the one part that is opened and never written: one for each file of a command.
    assert len(claims) <= len(RESULTS[command])


@pytest.mark.parametrize("command", WRONG)
def test_what_is_wrong_is_found(found: dict[str, Any], command: str) -> None:
    """A file that is written in its place, and two that belong together one after the other."""
    assert any("left" in fault for fault in found[command]["faults"])
