"""The audit as a whole: what it refuses, what it says, its page and its command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run
from populations import counted, jittered, population, thirds

from netdiffus import Audit, audit
from netdiffus.attacks.audit_page import page
from netdiffus.attacks.rates import share
from netdiffus.attacks.sides import sides
from netdiffus.attacks.verdict import answer
from netdiffus.errors import InputError
from netdiffus.model.model import Model
from netdiffus.traces.traces import Traces, concat
from netdiffus.training import Recipe, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::netdiffus.errors.Note"),  # of small classes
    pytest.mark.usefixtures("quick_judges_of_module"),
]


@pytest.fixture(scope="module")
def sets() -> tuple[Traces, Traces, Traces]:
    return thirds(60)


@pytest.fixture(scope="module")
def folder(sets: tuple[Traces, Traces, Traces], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tables and a model that has hardly learned."""
    out = tmp_path_factory.mktemp("audit")
    for name, traces in zip(("train", "holdout", "unrelated"), sets, strict=True):
        traces.save(out / f"{name}.parquet")
    train(sets[0], out / "model", recipe=Recipe(steps=2, batch_size=8), width=8)
    return out


@pytest.fixture(scope="module")
def audited(sets: tuple[Traces, Traces, Traces], folder: Path) -> Audit:
    members, others, _ = sets
    return audit(folder / "model", train=members, holdout=others, samples=60, refits=3, canaries=60)


class TestGenerators:
    """Of any generator, traces alone."""

    def test_that_leaks(self, sets: tuple[Traces, Traces, Traces]) -> None:
        members, others, _ = sets
        found = audit(train=members, holdout=others, synthetic=counted(members, 300)).figures
        assert found["answer"]["word"] == "No"
        assert found["answer"]["grade"] == "far"
        assert "cells" in found["answer"]["text"]
        assert found["copies"]["exact"]["found"] == 0  # which copies do not show
        assert found["folder"] is found["canaries"] is found["guarantee"] is None

    def test_that_cannot_leak(self, sets: tuple[Traces, Traces, Traces]) -> None:
        members, others, unrelated = sets
        for made in (jittered(unrelated), counted(unrelated, 300)):
            found = audit(train=members, holdout=others, synthetic=made).figures
            assert found["answer"]["word"] == "No leak found"
            assert "no differential privacy" in found["answer"]["text"]
            assert found["notes"] == []

    def test_that_copies(self, sets: tuple[Traces, Traces, Traces]) -> None:
        members, others, _ = sets
        found = audit(train=members, holdout=others, synthetic=members).figures
        assert (
            "60 different training traces were sampled with every point" in found["answer"]["text"]
        )
        assert found["copies"]["exact"]["mean"] == 1

    def test_times_of_training_and_gaps_of_what_was_made(self) -> None:
        members, others, unrelated = (_timed(t) for t in thirds(60))
        found = audit(train=members, holdout=others, synthetic=unrelated.with_gaps()).figures
        assert found["answer"]["word"] == "No leak found"
        assert set(found["extraction"]["values"]) == {"packet_length", "gap", "length"}

    def test_sets_that_differ_by_themselves_are_noted(
        self, sets: tuple[Traces, Traces, Traces]
    ) -> None:
        members, others, unrelated = sets
        moved = others.values.copy()
        moved[:, 0] += 300 * others.mask
        found = audit(
            train=members, holdout=replace(others, values=moved), synthetic=jittered(unrelated)
        ).figures
        assert found["attacks"][0]["auc"]["mean"] > 0.8
        assert "a forest that never sees the model" in found["notes"][0]


class TestModel:
    def test_all_figures_are_there(self, audited: Audit) -> None:
        found = audited.figures
        names = [attack["name"] for attack in found["attacks"]]
        white = ["loss", "loss minus reference", "LiRA"]
        assert names == ["traces alone", *white, "density ratio", "nearest trace", "cells"]
        assert found["folder"]["checkpoint"] is True  # training left it there
        assert found["folder"]["rebuilt"]["train"]["found"] == 0
        assert found["canaries"]["canaries"] == 60
        assert found["protocol"]["refits"] == 4
        for attack in found["attacks"]:
            assert attack["others"] == attack["members"] == 60
            assert attack["tpr"]["0.01"]["mean"] is None
        assert json.loads(audited.to_json()) == json.loads(audited.to_json())
        assert set(names) < set(audited.summary())

    def test_the_page_says_it_in_order(self, audited: Audit, tmp_path: Path) -> None:
        audited.save_html(tmp_path / "a.html")
        text = (tmp_path / "a.html").read_text(encoding="utf-8")
        heads = _Heads()
        heads.feed(text)
        assert heads.found[:3] == [
            "The guarantee",
            "Is it private?",
            "Membership inference: which traces were learned?",
        ]
        assert heads.found[-2:] == ["Copies (no proof of privacy)", "Method and limits"]
        assert "<strong>None.</strong>" in text
        assert "http" not in text.replace("http://www.w3.org", "")  # opens offline
        assert "10%</text>" in text  # a label of an axis
        assert "math" not in text.split("</style>", 1)[1]  # marks that are not drawn as such
        assert text.count("not stated") >= 14  # both rates of seven attacks: 60 cannot show them
        with pytest.raises(FileExistsError):
            audited.save_html(tmp_path / "a.html")

    def test_a_model_in_memory(self, sets: tuple[Traces, Traces, Traces], folder: Path) -> None:
        members, others, unrelated = sets
        model = Model.load(folder / "model")
        found = audit(model, train=members, holdout=others, synthetic=unrelated).figures
        assert found["folder"]["checkpoint"] is False
        assert found["sets"]["synthetic_given"] is True

    def test_a_ledger_is_the_guarantee(
        self, sets: tuple[Traces, Traces, Traces], folder: Path, audited: Audit
    ) -> None:
        members, others, unrelated = sets
        model = Model.load(folder / "model")
        model.about["ledger"] = {"epsilon": 4.0, "delta": 1e-5, "unit": "one trace"}
        found = audit(model, train=members, holdout=others, synthetic=jittered(unrelated)).figures
        assert found["answer"]["word"] == "Guaranteed"
        assert "epsilon 4, delta 1e-05" in found["answer"]["text"]
        assert "<dt>unit</dt><dd>one trace</dd>" in page(found)
        with pytest.raises(InputError, match="trained on private traces"):
            audit(model, train=members, holdout=others, canaries=60, minutes=0.01)
        # What stands in the folder by chance is no leak; more of training than of the holdout is.
        for held, word in ((60, "Guaranteed"), (10, "No")):
            sides_found = {"train": share(60, 60), "holdout": share(held, 60)}
            other = found | {"folder": found["folder"] | {"rebuilt": sides_found}}
            assert answer(other)["word"] == word
        # And one that is broken by the bound.
        broken = found | {"canaries": json.loads(json.dumps(audited.figures["canaries"]))}
        broken["canaries"]["epsilon"] |= {"epsilon": 6.0}
        assert answer(broken)["word"] == "No"
        assert "at least 6.00, more than the guarantee of 4" in answer(broken)["text"]

    def test_same_seed_same_figures(
        self, sets: tuple[Traces, Traces, Traces], folder: Path
    ) -> None:
        members, others, _ = sets
        given: dict[str, Any] = {"train": members, "holdout": others, "samples": 30, "seed": 7}
        assert audit(folder / "model", **given).to_json() == (
            audit(folder / "model", **given).to_json()
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda t, h: (t, concat([h, t[:3]])), r"holdout: 3 of 63 .* \(row 60 is row 0 of"),
            (lambda t, h: (t, t), "60 of 60 traces are also training traces"),
            (lambda t, h: (t, h[:12]), "holdout: 12 traces .* are too few"),
            (lambda t, h: (t, h.select(["packet_length"])), "holdout: the channels are packet_len"),
            (
                lambda t, h: (t, _renamed(h)),
                "holdout: .* no class 'x'",
            ),
        ],
    )
    def test_sets(
        self,
        change: Callable[[Traces, Traces], tuple[Traces, Traces]],
        words: str,
        sets: tuple[Traces, Traces, Traces],
    ) -> None:
        train_set, holdout = change(*sets[:2])
        with pytest.raises(InputError, match=words):
            audit(train=train_set, holdout=holdout, synthetic=sets[2])

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                lambda t: t.select(["packet_length"]),
                "train: the channels are .* model",
            ),
            (
                lambda t: _renamed(t),
                "train: the model has no class 'x'",
            ),
            (lambda t: t[t.labels != 1], "train: no trace of 'voip', of which the model learned"),
        ],
    )
    def test_traces_that_the_model_did_not_learn(
        self,
        change: Callable[[Traces], Traces],
        words: str,
        sets: tuple[Traces, Traces, Traces],
        folder: Path,
    ) -> None:
        with pytest.raises(InputError, match=words):
            audit(folder / "model", train=change(sets[0]), holdout=sets[1])

    def test_another_number_of_training_traces_is_noted(
        self, sets: tuple[Traces, Traces, Traces], folder: Path
    ) -> None:
        notes = sides(sets[0][:45], sets[1], Model.load(folder / "model")).notes
        assert "learned from 60 traces, and 45 were given" in notes[0]

    def test_nothing_to_attack(self, sets: tuple[Traces, Traces, Traces]) -> None:
        members, others, unrelated = sets
        with pytest.raises(InputError, match="give a model, or"):
            audit(train=members, holdout=others)
        with pytest.raises(InputError, match="refits and canaries train models"):
            audit(train=members, holdout=others, synthetic=unrelated, canaries=100)
        with pytest.raises(InputError, match="samples"):
            audit(train=members, holdout=others, synthetic=unrelated, samples=100)


class TestSides:
    def test_only_traces_that_occur_once(self) -> None:
        """A trace on both sides counts on neither, and so do twins on one: else they would tell."""
        base = population(240)
        ours = concat([base[:90], base[:10], base[200:205]])
        theirs = concat([base[90:180], base[100:103], base[200:205]])
        found = sides(ours, theirs, drop_repeats=True)
        # 26, 27 and 27 members of the classes; 29 of each are held out, 29 / 27 times as many.
        assert (len(found.members), len(found.others)) == (80, 27 + 29 + 29)
        assert "5 of 98 holdout traces are also training traces" in found.notes[0]
        assert (len(found.train), len(found.holdout)) == (105, 98)

    def test_what_is_equal_where_it_is_learned_is_shared(self) -> None:
        base = population(80)
        later = base.values.copy()
        later[:, 0, 6:] += 1
        other = replace(base, values=np.where(base.mask[:, None], later, 0.0))
        sides(base, other)
        with pytest.raises(InputError, match="in the first 6 points, which are learned"):
            sides(base, other, synthetic=base.truncate(6))

    def test_each_class_has_the_same_share(self) -> None:
        """10, 20 and 40 of training, 30, 20 and 80 held out: of each at most a half more."""
        base = population(600)
        rows = [np.flatnonzero(base.labels == k) for k in range(3)]
        ours = np.concatenate([r[:n] for r, n in zip(rows, (10, 20, 40), strict=True)])
        theirs = np.concatenate([r[100 : 100 + n] for r, n in zip(rows, (30, 20, 80), strict=True)])
        found = sides(base[ours], base[theirs])
        assert list(found.members.counts().values()) == [10, 20, 40]
        assert list(found.others.counts().values()) == [10, 20, 40]
        more = sides(base[ours], base[np.concatenate([r[100:] for r in rows])])
        assert list(more.others.counts().values()) == [25, 50, 100]
        few = sides(base[ours], base[theirs], most=35)
        assert list(few.members.counts().values()) == [5, 10, 20]

    def test_a_class_of_one_side_is_left_out(self) -> None:
        base = population(180)
        held = base[90:]
        found = sides(base[:90], held[held.labels != 2])
        assert "left out of the attacks: 'web'" in found.notes[0]
        assert found.members.counts()["web"] == 0


class TestCommand:
    def test_model(self, folder: Path, tmp_path: Path) -> None:
        data = ("--train", folder / "train.parquet", "--holdout", folder / "holdout.parquet")
        done = run("audit", folder / "model", *data, "-n", 60, "-o", tmp_path / "a.html", "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        figures = json.loads((tmp_path / "a.json").read_text())
        assert told["figures"]["private"].startswith(figures["answer"]["word"])
        assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
        again = run("audit", folder / "model", *data, "-o", tmp_path / "a.html")
        assert again.code == 2
        assert "exists" in again.err

    def test_any_generator(self, folder: Path, tmp_path: Path) -> None:
        data = ("--train", folder / "train.parquet", "--holdout", folder / "holdout.parquet")
        made = ("--synthetic", folder / "unrelated.parquet", "-o", tmp_path / "a.html")
        done = run("audit", *data, *made)
        assert done.code == 0, done.err
        assert "No leak found" in done.out

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--train", "nowhere.parquet", "--holdout", "holdout.parquet"), "nowhere.parquet"),
            (("nomodel", "--train", "train.parquet", "--holdout", "holdout.parquet"), "nomodel"),
            (("--train", "train.parquet", "--holdout", "train.parquet"), "also training traces"),
            (("--train", "train.parquet", "--holdout", "holdout.parquet"), "nothing to attack"),
        ],
    )
    def test_bad_input(
        self, words: tuple[str, ...], told: str, folder: Path, tmp_path: Path
    ) -> None:
        made = () if told == "nothing to attack" else ("--synthetic", folder / "unrelated.parquet")
        given = [folder / w if w[:2] != "--" else w for w in words]
        done = run("audit", *given, *made, "-o", tmp_path / "a.html")
        assert done.code == 2
        assert told in done.err
        assert list(tmp_path.iterdir()) == []


def _renamed(traces: Traces) -> Traces:
    return replace(traces, classes=("dns", "voip", "x"))


class _Heads(HTMLParser):
    """The second-level headings of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag == "h2"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found.append(data)
            self.inside = False


def _timed(traces: Traces) -> Traces:
    """The same with times for gaps."""
    lists: dict[str, list[Any]] = {"packet_length": [], "direction": [], "timestamp": []}
    for row, n in zip(traces.values, traces.lengths, strict=True):
        for values, series in zip(lists.values(), (*row[:2], np.cumsum(row[2])), strict=True):
            values.append(series[:n].tolist())
    return Traces.from_lists(lists, traces.label_names.tolist())
