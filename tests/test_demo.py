from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from command import Result, run

from netdiffus.codec import TokenCodec
from netdiffus.demo import KNOWN, RARE
from netdiffus.demo.filling import Filled
from netdiffus.demo.page import _word
from netdiffus.model.model import Model
from netdiffus.traces.lab import lab_traffic
from netdiffus.traces.traces import Traces

FEW = lab_traffic()[np.arange(0, 900, 3)].truncate(16)
FILES = ["demo.html", "filled.parquet", "holdout.parquet", "model", "report.html", "report.json"]
FILES += ["synthetic.parquet", "train.parquet"]


class Demo(NamedTuple):
    folder: Path
    done: Result


@pytest.fixture(scope="module", autouse=True)
def _small(quick_reports_of_module: None) -> Iterator[None]:
    """A third of the traffic, and small classifiers: the figures are not looked at."""
    with mock.patch("netdiffus.demo.lab_traffic", return_value=FEW):
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Where an older one stands, which --force replaces."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    Model.new(FEW, TokenCodec(), width=8).save(folder / "model")
    for name in FILES[:3] + FILES[4:]:
        (folder / name).write_text("old")
    return Demo(folder, run("demo", "-o", folder, "--minutes", 0.02, "--json", "--force"))


def test_writes_everything_and_says_where(demo: Demo) -> None:
    told = json.loads(demo.done.out)
    assert demo.done.code == 0
    # A model of a second makes traces of other lengths, which `evaluate` says.
    # On a slow machine there are lines of progress, too.
    usual = ("note: ", "train ", "sample ", "fill up ", "evaluate ")
    assert all(line.startswith(usual) for line in demo.done.err.splitlines())
    assert sorted(p.name for p in demo.folder.iterdir()) == FILES
    assert {told[name] for name in FILES} == {str(demo.folder / name) for name in FILES}
    assert len(told["figures"]) >= 6
    filled = [text for name, text in told["figures"].items() if name.startswith(RARE)]
    assert len(filled) == 2
    for text in filled:
        assert all(what in text for what in ("alone", "repeated", "jittered", "made"))


def test_no_link_is_on_both_sides(demo: Demo) -> None:
    parts = [Traces.load(demo.folder / f"{name}.parquet") for name in ("train", "holdout")]
    links = [set(part.meta["group"].to_pylist()) for part in parts]
    assert not links[0] & links[1]
    assert sum(map(len, parts)) == len(FEW)


def test_sample_is_balanced(demo: Demo) -> None:
    made = Traces.load(demo.folder / "synthetic.parquet")
    counts = made.counts().values()
    assert made.classes == Model.load(demo.folder / "model").classes
    assert max(counts) - min(counts) <= 1


def test_the_rare_class_is_filled_up_to_the_others(demo: Demo) -> None:
    counts = Traces.load(demo.folder / "train.parquet").counts()
    made = Traces.load(demo.folder / "filled.parquet")
    assert {name: n for name, n in made.counts().items() if n} == {
        RARE: max(counts.values()) - KNOWN
    }


def test_a_gain_is_over_the_best_control() -> None:
    shares = {"alone": 0.1, "repeated": 0.2, "jittered": 0.6, "made": 0.5}
    filled = Filled("a", 8, 75, FEW, {"forest": shares}, {"forest": shares})
    assert filled.gain("forest") == pytest.approx(-0.1)
    assert _word(filled)[0] == "No gain over copies in this run"
    better = {"forest": {**shares, "made": 0.7}, "cnn": shares}
    assert _word(replace(filled, recognised=better))[0] == "For the forest: 8 traces became 75"
    both = replace(filled, recognised={"forest": better["forest"]})
    assert _word(both)[0] == "Yes: 8 traces became 75"


class Loaded(HTMLParser):
    """What a page has a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.outside = 0, []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += tag in ("img", "svg")
        loads = [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        self.outside += [v for v in loads if not v.startswith(("data:", "#"))]


def test_the_first_page_answers_three_questions(demo: Demo) -> None:
    text = (demo.folder / "demo.html").read_text()
    for question in ("Does it help a classifier?", "Does it look right?", "Is it private?"):
        assert question in text
    page = Loaded()
    page.feed(text)
    assert page.outside == ["report.html"]
    report = Loaded()
    report.feed((demo.folder / "report.html").read_text())
    assert report.outside == []
    assert page.pictures == 2  # the third is of the report, which quick judges do not draw


def test_the_command_that_the_first_page_names_runs(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = re.findall(
        r"<code>netdiffus (.*?)</code>", (demo.folder / "demo.html").read_text()
    )
    shutil.copy(demo.folder / "train.parquet", tmp_path)
    monkeypatch.chdir(tmp_path)
    done = run(*command.split(), "--steps", 1)
    assert done.code == 0, done.err
    assert Model.load(tmp_path / "images").preset == "image"


def test_figures_are_of_what_was_trained(demo: Demo) -> None:
    figures = json.loads((demo.folder / "report.json").read_text())
    made = Traces.load(demo.folder / "synthetic.parquet")
    assert figures["protocol"]["holdout"] == "given"
    assert figures["sets"]["synthetic"]["traces"] == len(made)
    assert figures["about"]["steps"] == Model.load(demo.folder / "model").about["steps"]


def test_an_interrupted_training_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **options: Any) -> Any:
        return SimpleNamespace(about={"ended": "interrupted"})

    monkeypatch.setattr("netdiffus.demo.train", stopped)
    done = run("demo", "-o", tmp_path)
    assert done.code == 130
    assert f"{tmp_path / 'model'} is kept" in done.err
    assert not (tmp_path / "synthetic.parquet").exists()


def test_a_second_run_is_refused(demo: Demo) -> None:
    before = {p: p.read_bytes() for p in demo.folder.rglob("*") if p.is_file()}
    again = run("demo", "-o", demo.folder, "--minutes", 0.02)
    assert again.code == 2
    assert "demo.html exists" in again.err
    assert {p: p.read_bytes() for p in demo.folder.rglob("*") if p.is_file()} == before
