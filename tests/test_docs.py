"""Every guide is run as it stands, its budgets made small."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT, read, run_page

from netdiffus.errors import Note
from netdiffus.export.capture import write_capture
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

# That reports are written is looked at, not their figures.
pytestmark = pytest.mark.usefixtures("quick_reports")
GUIDES = sorted(path.stem for path in (ROOT / "docs" / "guides").glob("*.md"))
# All lines of a guide are run, but less is trained, made and judged.
SMALL = "--steps 2 --width 8"
BUDGETS: dict[str, dict[str, str]] = {
    "augment": {
        "--minutes 2": SMALL,
        "minutes=2": "steps=2",
        "model -o augmented.parquet": "model --times 1 --classifier forest -o augmented.parquet",
        "seed=0)": 'seed=0, times=[1], classifier="forest")',
    },
    "captures": {
        "--minutes 5": SMALL,
        "Recipe(minutes=5)": "Recipe(steps=2), width=8",
        "1000": "36",
    },
    "columns": {"steps=60": "steps=2", "recipe=recipe": "recipe=recipe, width=8"},
    "images": {
        "--minutes 30": SMALL,
        "Recipe(minutes=30)": "Recipe(steps=2), width=8",
        "-n 1000": "-n 9",
        "model, 100": "model, 4",
    },
    "long_series": {
        "Recipe(minutes=5)": "Recipe(steps=2), width=8",
        "--segments 0": "--segments 16 --steps 2",
        "Recipe(minutes=10)": "Recipe(steps=2)",
        "model, 100": "model, 4",
        "-n 100": "-n 4",
    },
    "parts": {"steps=60": "steps=2", "recipe=recipe": "recipe=recipe, width=8"},
    "presets": {
        "Recipe(minutes=5)": "Recipe(steps=2), width=8",
        "truncate(16)": "truncate(4)[::4]",
        "225": "45",
        '("causal", "series")': '("series",)',  # an evaluation takes half a minute
    },
    "reproducibility": {"--steps 4000": SMALL, "--steps 6000": "--steps 4 --width 8"},
    "scale": {"--minutes 5": SMALL, "-n 1000": "-n 20", "--part-size 256": "--part-size 8"},
    "sessions": {
        "--minutes 10": "--steps 2",
        "minutes=10": "steps=2",
        "--sessions 40": "--sessions 4",
        "model, 40": "model, 4",
    },
    "tables": {"--minutes 5": SMALL, "-n 1000": "-n 9"},
    "volumes": {"--minutes 5": SMALL, "-n 1000": "-n 9"},
}


def write_table() -> None:
    lab_traffic()[np.arange(0, 900, 10)].save("traces.parquet")


def write_few() -> None:
    lab_traffic().truncate(8)[np.arange(0, 900, 25)].save("few.parquet")


def write_captures() -> None:
    packets = lab_traffic("packets").truncate(24)
    for name in packets.classes[:3]:
        Path("captures", name).mkdir(parents=True)
        for part in range(5):
            flows = packets.of_class(name)[part:20:5]
            write_capture(flows, Path("captures", name, f"{part}.pcap"), small="raise")


# What a guide begins with.
GIVEN = {
    "augment": write_few,
    "captures": write_captures,
    "sessions": write_captures,
    "volumes": write_captures,
    "columns": write_table,
    "parts": write_table,
    "scale": write_captures,
    "images": write_table,
    "reproducibility": write_table,
}


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_runs(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    GIVEN.get(guide, lambda: None)()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # guides show some, on purpose
        names = run_page(f"docs/guides/{guide}.md", BUDGETS[guide])
    if guide == "reproducibility":
        assert names["ten"].equals(names["again"])
    if guide == "images":
        # float64 images give whole numbers back exactly, as the codec promises.
        assert np.array_equal(names["back"].values, lab_traffic()[:10].values)
    if guide == "captures":
        assert Traces.load("made.parquet").counts().keys() == names["traces"].counts().keys()


def test_every_guide_is_in_the_index() -> None:
    index = read("docs/index.md")
    assert [name for name in GUIDES if f"\nguides/{name}\n" not in index] == []


def test_every_public_name_is_in_the_api() -> None:
    import netdiffus

    page = read("docs/api.rst")
    documented = set(re.findall(r":: netdiffus\.([\w]+)$", page, flags=re.MULTILINE))
    assert documented >= set(netdiffus.__all__) - {"__version__"}
