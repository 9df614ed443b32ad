from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT, blocks, read, run_commands, smaller

from netdiffus.channels import KINDS
from netdiffus.export.capture import write_capture
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

# That reports are written is looked at, not their figures.
pytestmark = pytest.mark.usefixtures("quick_reports")
README = read("README.md")
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/decisions.md", "docs/limits.md")


def block(heading: str) -> str:
    """The first block of code under a heading."""
    return blocks(README.split(f"## {heading}\n")[1])[0].text


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of traces of two steps of training
def test_the_python_path_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    budgets = {
        "Recipe(minutes=2)": "Recipe(steps=2), width=8",
        "model, 200": "model, 4",
        "len(learn)": "45",
    }
    code = smaller(block("From Python"), budgets)
    exec(compile(code, "README.md", "exec"), {})
    made = Traces.load("voip.parquet")
    assert made.label_names.tolist() == ["voip"] * 4
    assert Path("report.html").is_file()


def test_the_python_path_is_twelve_lines() -> None:
    lines = [line for line in block("From Python").splitlines() if line.strip()]
    assert len(lines) <= 12


def test_the_command_line_path_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lab_traffic()[np.arange(0, 900, 5)].save("traces.parquet")
    budgets = {"--minutes 5": "--steps 2 --width 8", "-n 1000": "-n 36"}
    verbs = run_commands(smaller(block("From the command line"), budgets))
    assert verbs == ["split", "train", "sample", "sample", "evaluate"]
    assert Traces.load("made.parquet").counts() == dict.fromkeys(lab_traffic().classes, 4)
    assert Path("report.html").is_file()


def test_the_path_between_captures_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packets = lab_traffic("packets")
    for label, name in enumerate(packets.classes[:3]):
        of_class = packets[np.flatnonzero(packets.labels == label)]
        for part in range(5):
            path = Path("captures", name, f"{part}.pcap")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_capture(of_class[part:20:5], path, small="raise")
    budgets = {"--minutes 5": "--steps 2 --width 8", "-n 1000": "-n 36"}
    verbs = run_commands(smaller(block("From captures to a capture"), budgets))
    assert verbs == ["import", "split", "train", "sample", "import", "evaluate"]
    assert Traces.load("made.parquet").counts() == dict.fromkeys(packets.classes[:3], 12)
    assert Path("report.html").is_file()


def test_every_known_column_is_described() -> None:
    table = README.split("## Your own data\n")[1].split("\n## ")[0]
    assert all(f"`{name}`" in table for name in KINDS)


def test_it_is_short() -> None:
    assert len(README.split()) <= 1200


@pytest.mark.parametrize("page", PAGES)
def test_files_named_are_there(page: str) -> None:
    found = re.findall(r"[`(]([\w./-]+\.(?:py|md|h|cpp|cu|cuh|png|txt|toml))[`)]", read(page))
    paths = [path for path in found if "NAME" not in path]
    inside = ("codec", "networks", "training", "ops", "evaluation", "privacy")
    folders = ("", "netdiffus", *(f"netdiffus/{name}" for name in inside), "csrc", "csrc/cpu")
    folders = (*folders, "docs", "tests")
    assert paths
    assert [p for p in paths if not any((ROOT / f / p).is_file() for f in folders)] == []
