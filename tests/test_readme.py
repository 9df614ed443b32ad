from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command import run

from netdiffus.channels import KINDS
from netdiffus.export.capture import write_capture
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    """The first block of code under a heading."""
    return README.split(f"## {heading}\n")[1].split("```")[1].partition("\n")[2]


def smaller(text: str, budgets: dict[str, str]) -> str:
    """The text with its budgets made small; each must be there."""
    for old, new in budgets.items():
        assert old in text, f"the README no longer says {old!r}"
        text = text.replace(old, new)
    return text


@pytest.mark.filterwarnings("ignore::netdiffus.errors.Note")  # of traces of two steps of training
def test_the_python_path_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    budgets = {"minutes=2": "steps=2", "model, 200": "model, 4", "len(learn)": "45"}
    code = smaller(block("From Python"), budgets)
    exec(compile(code, "README.md", "exec"), {})
    made = Traces.load("voip.parquet")
    assert made.label_names.tolist() == ["voip"] * 4
    assert Path("report.html").is_file()


def test_the_python_path_is_fifteen_lines() -> None:
    lines = [line for line in block("From Python").splitlines() if line.strip()]
    assert len(lines) <= 15


def test_the_command_line_path_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lab_traffic()[np.arange(0, 900, 5)].save("traces.parquet")
    budgets = {"--minutes 5": "--steps 2", "-n 1000": "-n 36"}
    lines = smaller(block("From the command line"), budgets).splitlines()
    assert [line.split()[1] for line in lines] == ["split", "train", "sample", "sample", "evaluate"]
    for line in lines:
        done = run(*shlex.split(line)[1:])
        assert done.code == 0, done.err
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
    budgets = {"--minutes 5": "--steps 2", "-n 1000": "-n 36"}
    lines = smaller(block("From captures to a capture"), budgets).splitlines()
    verbs = ["import", "split", "train", "sample", "import", "evaluate"]
    assert [line.split()[1] for line in lines] == verbs
    for line in lines:
        done = run(*shlex.split(line)[1:])
        assert done.code == 0, done.err
    assert Traces.load("made.parquet").counts() == dict.fromkeys(packets.classes[:3], 12)
    assert Path("report.html").is_file()


def test_every_known_column_is_described() -> None:
    table = README.split("## Your own data\n")[1].split("\n## ")[0]
    assert all(f"`{name}`" in table for name in KINDS)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_named_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"[`(]([\w./-]+\.(?:py|md|h|cpp|cu|cuh|png|txt|toml))[`)]", text)
    paths = [path for path in found if "NAME" not in path]
    inside = ("codec", "networks", "training", "ops", "evaluation", "privacy")
    folders = ("", "netdiffus", *(f"netdiffus/{name}" for name in inside), "csrc", "csrc/cpu")
    assert paths
    assert [p for p in paths if not any((ROOT / f / p).is_file() for f in folders)] == []
