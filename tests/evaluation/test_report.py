from __future__ import annotations

import json
import re
import sys
import webbrowser
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from notebook_pages import TAGS, Page

from netdiffus.errors import InputError, Note
from netdiffus.evaluation import Report, bootstrap, copy, evaluate
from netdiffus.evaluation.metrics.distributions import MEASURES
from netdiffus.evaluation.prepare import prepare
from netdiffus.evaluation.report.grades import grade, grade_distance, headline_metrics
from netdiffus.evaluation.report.html import with_error
from netdiffus.evaluation.report.summary import answers
from netdiffus.notebook import NO_PICTURES
from netdiffus.traces.traces import Traces

NAMES = ["web & <b>$x^2$</b>", "video", "voice"]

# Where figures of classifiers are not looked at or clear, and where plots are not, either.
quick = pytest.mark.usefixtures("quick_judges")
plain = pytest.mark.usefixtures("quick_reports")


def packets(seed: int, n: int = 90) -> Traces:
    """Three classes of packets that differ in size, rhythm and length."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 3
    lengths = [int(rng.integers(8, 16)) + 4 * k for k in kinds]
    sizes = [
        (100 + 400 * k + rng.integers(0, 50, m) + 300 * (np.arange(m) % 2)).tolist()
        for k, m in zip(kinds, lengths, strict=True)
    ]
    directions = [
        np.where(np.arange(m) % (k + 2), -1, 1).tolist()
        for k, m in zip(kinds, lengths, strict=True)
    ]
    times = [
        np.cumsum([0.0, *rng.exponential(0.01 * 10**k, m - 1)]).tolist()
        for k, m in zip(kinds, lengths, strict=True)
    ]
    return Traces.from_lists(
        {"packet_length": sizes, "direction": directions, "timestamp": times},
        [NAMES[k] for k in kinds],
    )


def volumes(seed: int, n: int = 40, high: float = 10.0) -> Traces:
    series = np.random.default_rng(seed).uniform(0, high, (n, 12))
    return Traces.from_lists({"value": series}, ["a" if i % 2 else "b" for i in range(n)])


@pytest.fixture(scope="module")
def good() -> Report:
    """Synthetic traces from the same source as the real ones."""
    history = [{"step": i, "loss": 1 / (i + 1)} for i in range(200)]
    return evaluate(
        packets(0),
        packets(1),
        holdout=packets(2),
        repeats=1,
        history=history,
        about={"U-Net": "paper <tiny>"},
    )


@pytest.fixture(scope="module")
def page(good: Report) -> str:
    return good.to_html()


def garbage(like: Traces) -> Traces:
    """Right channels, classes and lengths; anything in them."""
    rng = np.random.default_rng(3)
    values = like.values.copy()
    values[:, 0] = rng.integers(3000, 9000, values[:, 0].shape)
    values[:, 1] = 1
    values[:, 2] = np.cumsum(rng.uniform(50, 90, values[:, 2].shape), axis=1)
    return replace(like, values=np.where(like.mask[:, None], values, 0))


def means(report: Report, name: str) -> dict[str, float]:
    c = report.figures["candidates"][name]
    return {
        "accuracy": c["trained_on_equal"]["balanced_accuracy"]["mean"],
        "auc": c["two_sample_auc"]["mean"],
        **{
            m: c[m]["overall"]["mean"] for m in ("wasserstein", "jensen_shannon", "autocorrelation")
        },
    }


def test_traces_of_the_same_source_stand_at_the_floor(good):
    made, floor = means(good, "synthetic"), means(good, "real")
    assert made["accuracy"] > 0.95
    assert made["auc"] == pytest.approx(0.5, abs=0.12)
    for measure in ("wasserstein", "jensen_shannon", "autocorrelation"):
        assert made[measure] < 2 * floor[measure]
    assert all(key.grade != "far" for key in headline_metrics(good.figures))


def test_copy_is_at_the_floor_and_is_found_out(good):
    copied, floor = means(good, "copy"), means(good, "real")
    for measure in ("wasserstein", "jensen_shannon", "autocorrelation"):
        assert copied[measure] == pytest.approx(floor[measure], rel=0.3)
    candidates = good.figures["candidates"]
    assert candidates["copy"]["in_train"] == 1
    assert candidates["synthetic"]["in_train"] == 0
    assert candidates["copy"]["copying"]["near"]["overall"]["mean"] == 1
    closer = {name: c["copying"]["closer"]["overall"]["mean"] for name, c in candidates.items()}
    assert closer["copy"] == 1  # as many are held out as were learned from
    for name in ("synthetic", "real"):
        assert closer[name] == pytest.approx(0.5, abs=0.15)
    unseen = good.figures["sets"]["holdout"]["copying"]["closer"]["overall"]
    assert unseen["mean"] == pytest.approx(0.5, abs=0.15)


def test_every_figure_is_of_every_class_and_has_an_interval(good):
    candidates = good.figures["candidates"]
    assert set(candidates) == {"synthetic", "real", "copy", "jitter", "bootstrap", "markov"}
    for figures in candidates.values():
        for measure in (*MEASURES, "joint", "coverage", "frechet"):
            for name, of_quantity in figures[measure]["quantities"].items():
                assert of_quantity["overall"]["low"] <= of_quantity["overall"]["high"]
                wanted = set() if name == "all classes" else set(NAMES)
                assert set(of_quantity["classes"]) == wanted
        for use in ("trained_on_equal", "trained_on_all", "trained_with_real"):
            assert set(figures[use]["classes"]) == set(NAMES)
        for auc in ("two_sample_auc", "two_sample_auc_network"):
            assert figures[auc]["low"] <= figures[auc]["mean"] <= figures[auc]["high"]


def test_joint_structure_is_judged(good):
    joint = good.figures["candidates"]["synthetic"]["joint"]["quantities"]
    for name in ("points", "totals"):
        assert joint[name]["overall"]["mean"] == pytest.approx(0, abs=0.02)


def test_bootstrap_has_the_marginals_and_not_the_structure(good):
    broken, floor = means(good, "bootstrap"), means(good, "real")
    quantities = good.figures["candidates"]["bootstrap"]["jensen_shannon"]["quantities"]
    assert quantities["packet_length"]["overall"]["mean"] < 0.1
    assert broken["auc"] > floor["auc"] + 0.1


@quick
def test_garbage_scores_badly():
    real, held = packets(0), packets(2)
    report = evaluate(real, garbage(packets(1)), holdout=held, repeats=1)
    made = means(report, "synthetic")
    assert made["accuracy"] < 0.7
    assert made["auc"] == 1
    quantities = report.figures["candidates"]["synthetic"]["jensen_shannon"]["quantities"]
    assert quantities["packet_length"]["overall"]["mean"] == pytest.approx(1)
    assert quantities["trace length"]["overall"]["mean"] < 0.3
    joint = report.figures["candidates"]["synthetic"]["joint"]["quantities"]
    assert min(joint[name]["overall"]["mean"] for name in ("points", "totals")) > 0.5
    assert [key.grade for key in headline_metrics(report.figures)] == ["far"] * 4


@quick
def test_wrong_labels_are_seen():
    made = packets(1)
    wrong = replace(made, labels=(made.labels + 1) % 3)
    report = evaluate(packets(0), wrong, holdout=packets(2), repeats=1)
    assert means(report, "synthetic")["accuracy"] < 0.1


@quick
def test_same_seed_same_text():
    real, made, held = (volumes(seed, 16) for seed in range(3))
    one, two, other = (
        evaluate(real, made, holdout=held, repeats=1, seed=seed) for seed in (4, 4, 5)
    )
    assert one.to_json() == two.to_json()
    assert one.to_json() != other.to_json()


@quick
def test_counts_are_equal_per_class():
    real, made, held = volumes(0, 40), volumes(1, 24), volumes(2, 10)
    report = evaluate(real, made[:23], holdout=held, repeats=1)
    protocol = report.figures["protocol"]
    assert protocol["compared_per_class"] == [5, 5]
    trained = dict(zip(protocol["classes"], protocol["trained_per_class"], strict=True))
    assert trained == {"b": 12, "a": 11}
    confusion = report.figures["candidates"]["synthetic"]["trained_on_equal"]["confusion"]
    assert np.sum(confusion) == 10
    found = report.figures["candidates"]["real"]["two_sample_auc"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * found["sd"])


@quick
def test_without_holdout_the_real_traces_are_halved():
    with pytest.warns(Note, match="No holdout was given"):
        report = evaluate(volumes(0), volumes(0), repeats=1)
    assert report.figures["protocol"]["holdout"] == "half of the real traces"
    assert report.figures["sets"]["synthetic"]["in_train"] == 1  # copies of either half
    assert report.figures["sets"]["holdout"]["in_train"] == 0
    assert "halved" in report.figures["protocol"]["notes"][0]
    assert report.figures["sets"]["real"]["traces"] == 20
    assert report.figures["sets"]["holdout"]["traces"] == 20


@quick
def test_missing_class_is_left_out_and_said():
    made = packets(1)
    made = made[made.label_names != "video"]
    with pytest.warns(Note, match="synthetic traces lack 1 of 3 classes"):
        report = evaluate(packets(0), made, holdout=packets(2), repeats=1)
    assert set(report.figures["protocol"]["classes"]) == {NAMES[0], "voice"}
    (note,) = report.figures["protocol"]["notes"]
    assert "synthetic traces lack 1 of 3 classes (video)" in note


@pytest.mark.parametrize("lacks", ["training", "synthetic", "holdout"])
def test_the_set_that_lacks_a_class_is_named(lacks):
    sets = {"training": packets(0), "synthetic": packets(1), "holdout": packets(2)}
    sets[lacks] = sets[lacks][sets[lacks].label_names != "video"]
    found = prepare(*sets.values(), seed=0)
    (note,) = found.notes
    assert f"{lacks} traces lack 1 of 3 classes (video)" in note
    assert "video" not in found.classes


def test_a_holdout_of_longer_traces_is_said():
    real, made, held = (packets(seed) for seed in range(3))
    found = prepare(real, made.truncate(4), held, 0)
    share = np.mean(held.lengths > 4)
    (note,) = found.notes
    assert note.startswith(f"{share:.0%} of the holdout traces are longer than every synthetic")
    assert "--length 4" in note
    assert prepare(*(t.truncate(4) for t in (real, made, held)), 0).notes == ()


@quick
def test_patterns_that_real_traffic_repeats_are_no_copying():
    rng = np.random.default_rng(0)
    patterns, law = rng.uniform(1, 9, (100, 4)), 1 / np.arange(1, 101)

    def drawn(n: int) -> Traces:
        rows = rng.choice(100, n, p=law / law.sum())
        return Traces.from_lists({"value": patterns[rows]}, ["a"] * n)

    train, held = drawn(300).split(0.25)
    figures = evaluate(train, drawn(200), holdout=held, repeats=1).figures
    assert figures["sets"]["holdout"]["in_train"] == 0  # as the split keeps identical ones together
    assert figures["sets"]["synthetic"]["in_train"] > 0.5
    assert answers(figures)[1].word == "No copying found"


@quick
def test_channels_may_come_in_another_order_and_as_gaps():
    real, made, held = (packets(seed, 18).truncate(8) for seed in range(3))
    other = made.with_gaps().select(["gap", "direction", "packet_length"])
    one, two = (evaluate(real, each, holdout=held, repeats=1) for each in (other, made))
    assert one.to_json() == two.to_json()


@quick
def test_progress_counts_up():
    seen = []
    sets = [volumes(seed) for seed in range(3)]
    evaluate(*sets[:2], holdout=sets[2], repeats=1, progress=lambda *args: seen.append(args))
    assert [done for done, _ in seen] == pytest.approx(np.arange(6) / 5)
    assert seen[-1] == (1, "done")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.select(["packet_length"]), "synthetic: the channels are packet_length, those"),
        (lambda t: replace(t, classes=("x", "y", "z")), "classes that no real trace has: x, y, z"),
        (lambda t: t[:4], r"synthetic: too few traces of .*video \(1\), voice \(1\)"),
    ],
)
def test_sets_that_cannot_be_compared(change, message):
    with pytest.raises(InputError, match=message):
        evaluate(packets(0), change(packets(1)), holdout=packets(2))


def test_no_common_class():
    real, made = packets(0), packets(1)
    held = packets(2)
    with pytest.raises(InputError, match="no class in common"):
        evaluate(
            real[real.labels == 0],
            made[made.labels == 1],
            holdout=held[held.labels == 1],
            repeats=1,
        )


def test_no_repeats():
    with pytest.raises(InputError, match="repeats must be at least 1, got 0"):
        evaluate(volumes(0), volumes(1), repeats=0)


def test_grades():
    floor = {"mean": 0.10, "sd": 0.01}
    assert grade_distance({"mean": 0.105, "sd": None}, floor) == "at the floor"
    assert grade_distance({"mean": 0.125, "sd": 0.01}, floor) == "at the floor"  # within 0.028
    assert grade_distance({"mean": 0.19, "sd": 0.01}, floor) == "near"
    assert grade_distance({"mean": 0.21, "sd": 0.01}, floor) == "far"
    assert grade({"mean": 0.6, "sd": 0.0}, {"mean": 0.5, "sd": 0.0}, 0.02, 0.15) == "near"
    few = {"mean": 0.92, "sd": 0.2}, {"mean": 0.5, "sd": 0.1}
    assert grade(*few, 0.02, 0.15) == "too few traces to tell"


def test_json(good, tmp_path):
    path = tmp_path / "report.json"
    good.save_json(path)
    assert json.loads(path.read_text(encoding="utf-8")) == good.figures
    with pytest.raises(FileExistsError):
        good.save_json(path)
    good.save_json(path, force=True)


def test_page_is_one_file_the_same_every_time_and_says_what_the_json_says(good, page, tmp_path):
    path = tmp_path / "report.html"
    good.save_html(path)
    text = path.read_text(encoding="utf-8")
    assert text == page
    # Nothing is loaded: an address may only stand as an XML name or inside the page (#, data:).
    assert set(re.findall(r'(?:src|href)="([^#"]{5})', text)) == {"data:"}
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'< ]+", text)) == names
    assert "<script" not in text
    assert path.stat().st_size < 1_500_000
    accuracy = good.figures["candidates"]["synthetic"]["trained_on_equal"]["balanced_accuracy"]
    assert f"{accuracy['mean']:.1%}" in text
    assert "paper &lt;tiny&gt;" in text
    assert "web &amp; &lt;b&gt;" in text
    assert "<b>$x" not in text
    assert 'aria-label="Training loss"' in text
    with pytest.raises(FileExistsError):
        good.save_html(path)


def test_page_answers_three_questions_with_a_picture_each(page):
    answered = page.split("<h2>Headline metrics</h2>")[0]
    asked = ["Is it good?", "Is it private?", "Where is it worst?"]
    assert re.findall("<h2>(.*?)</h2>", answered) == asked
    drawn = re.findall("<svg.*?</svg>", answered, re.DOTALL)
    names = [
        ("Two-sample AUC", "Markov chain"),
        ("Exact copies", "usual of real"),
        ("Fields",),
    ]
    for svg, wanted in zip(drawn, names, strict=True):
        assert all(name in svg for name in wanted)
    assert "no differential privacy" in answered


def test_plots_take_the_colours_of_the_page(page):
    used = set(re.findall(r"var\(--([a-z]+)", page))
    light, dark = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    for scheme in (light, dark):
        assert used <= set(re.findall(r"--([a-z]+):", scheme))
    assert "stroke: var(--made, #d9661f)" in page


@plain
@pytest.mark.parametrize(("length", "drawn"), [(300, "first 288 points"), (288, None)])
def test_page_says_what_the_examples_leave_out(length, drawn):
    rng = np.random.default_rng(0)
    real = Traces.from_lists({"value": rng.uniform(0, 9, (10, 288))}, ["a", "b"] * 5)
    made = Traces.from_lists({"value": rng.uniform(0, 9, (12, length))}, ["a", "b"] * 6)
    text = " ".join(evaluate(real, made, holdout=real[:6], repeats=1).to_html().split())
    assert "first 128 points of a trace are drawn: 6 of the 6 held-out" in text  # of the images
    assert text.count("points of a trace are drawn") == (2 if drawn else 1)
    if drawn:
        assert f"{drawn} of a trace are drawn: 0 of the 6 held-out and 12 of the 12" in text
        assert "synthetic traces are longer, up to 300 points." in text


def test_failed_page_leaves_nothing(good, tmp_path):
    broken = replace(good, figures={**good.figures, "sets": {}})
    with pytest.raises(KeyError, match="synthetic"):
        broken.save_html(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@quick
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_constant_single_channel(value, tmp_path):
    series = np.full((12, 6), value)
    traces = Traces.from_lists({"speed": series}, ["a", "b"] * 6)
    report = evaluate(traces, bootstrap(traces, 12), holdout=copy(traces, 12), repeats=1)
    assert report.figures["candidates"]["synthetic"]["wasserstein"]["overall"] is None
    report.save_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 0


@quick
def test_one_class_of_single_points(tmp_path):
    rng = np.random.default_rng(0)
    sets = [Traces.from_lists({"speed": rng.normal(size=(9, 1))}, ["a"] * 9) for _ in range(3)]
    report = evaluate(sets[0], sets[1], holdout=sets[2], repeats=1)
    assert report.figures["candidates"]["synthetic"]["autocorrelation"]["overall"]["mean"] == 0
    report.save_html(tmp_path / "report.html")
    assert "NaN" not in report.to_json()


@plain
def test_many_classes_show_a_selection(tmp_path):
    rng = np.random.default_rng(0)
    labels = [f"site {i % 30:02}" for i in range(120)]
    sets = [Traces.from_lists({"value": rng.uniform(0, 9, (120, 5))}, labels) for _ in range(3)]
    report = evaluate(sets[0], sets[1], holdout=sets[2], repeats=1)
    report.save_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "12 of 30 classes are shown in plots" in text.replace("\n", " ")
    assert text.count("<td>site 29</td>") >= 2


def test_what_cannot_be_computed_is_a_dash():
    nothing = {"mean": None, "sd": None, "low": None, "high": None}
    assert with_error(nothing) == with_error(None) == "\N{EN DASH}"
    assert with_error({"mean": 0.5, "sd": None}, ".1%") == "50.0%"


@quick
def test_a_class_of_a_short_and_a_long_trace(tmp_path):
    rng = np.random.default_rng(0)
    lengths = [3, 3, 3, 5000, 5000, 5000, *[5] * 12]
    sets = [
        Traces.from_lists(
            {"value": [rng.uniform(0, 9, n) for n in lengths]}, ["a"] * 6 + ["b"] * 12
        )
        for _ in range(3)
    ]
    report = evaluate(sets[0], sets[1], holdout=sets[2][[0, 3, *range(6, 18)]], repeats=1)
    report.to_json()
    joint = report.figures["candidates"]["synthetic"]["joint"]["quantities"]["points"]
    assert np.isfinite([x["mean"] for x in (joint["overall"], *joint["classes"].values())]).all()
    report.save_html(tmp_path / "report.html")


@quick
def test_hundreds_of_classes_of_two_traces_are_judged():
    rng = np.random.default_rng(0)
    labels = [f"site {i % 101:03}" for i in range(202)]
    speeds = np.arange(202)[:, None] % 101 + rng.normal(0, 0.1, (3, 202, 4))
    sets = [Traces.from_lists({"speed": one}, labels) for one in speeds]
    report = evaluate(sets[0], sets[1], holdout=sets[2], repeats=1)
    made = report.figures["candidates"]["synthetic"]["trained_on_equal"]
    assert made["balanced_accuracy"]["mean"] > 0.9
    assert made["confusion"] is None
    assert "No matrix is drawn for more than 100 classes" in report.to_html()


def test_text_form_fits_one_screen(good):
    lines = repr(good).splitlines()
    assert lines[0].startswith("Report: 90 synthetic traces of 3 classes against 90 held-out real")
    assert len(lines) < 20
    assert max(len(line) for line in lines) <= 400
    for question in ("Is it good?", "Is it private?", "Where is it worst?"):
        assert any(question in line for line in lines)


def test_a_notebook_shows_the_answers_and_a_picture_each(good):
    page = Page(good._repr_html_())
    assert page.tags <= TAGS
    assert len(page.images) == 3
    assert all(one.startswith(b"<svg") for one in page.images)
    for asked in answers(good.figures):
        assert {asked.question, asked.word, asked.text} <= set(page.words)
    for metric in headline_metrics(good.figures):
        assert {metric.title, metric.value, metric.floor, metric.grade} <= set(page.words)


def test_without_matplotlib_a_notebook_shows_text_and_says_so(good, monkeypatch):
    for name in ("report.summary_plots", "report.svg"):
        monkeypatch.delitem(sys.modules, f"netdiffus.evaluation.{name}", raising=False)
    monkeypatch.delitem(sys.modules, "netdiffus.traces.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = Page(good._repr_html_())
    assert page.images == []
    assert NO_PICTURES in page.words
    assert "Is it private?" in page.words


def test_show_opens_the_page_in_a_browser(good, page, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(Report, "to_html", lambda self: page)
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    good.show()
    path = Path(url2pathname(urlparse(opened[0]).path))
    assert path.read_text(encoding="utf-8") == page
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    good.show()
    assert "No browser was found; the page is " in capsys.readouterr().out


def test_show_is_an_inset_in_a_notebook(good, page, monkeypatch):
    shown = []
    monkeypatch.setattr(Report, "to_html", lambda self: page)
    display = SimpleNamespace(display=shown.append, HTML=lambda text: text)
    notebook = SimpleNamespace(get_ipython=lambda: object(), display=display)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    good.show()
    assert shown[0].startswith("<iframe srcdoc=")
    assert page == unescape(re.search('srcdoc="(.*?)"', shown[0], re.DOTALL)[1])
