"""The three answers and their pictures, on figures made up by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from netdiffus.evaluation.report.grades import compare_baselines, headline_metrics, lead
from netdiffus.evaluation.report.summary import CAVEAT, answers, shares, spots
from netdiffus.evaluation.report.summary_plots import good_plot, private_plot, worst_plot

CLASSES = ["web & <b>", "voip"]
FIELDS = ["gap", "log gap", "size"]
REAL = (0.9, 0.55, 0.10, 0.04)  # accuracy, AUC, Jensen-Shannon, autocorrelation


def figure(mean: float, sd: float | None = 0.0) -> dict[str, Any]:
    return {"mean": mean, "sd": sd}


def measured(mean: float, fields: list[str], classes: list[str]) -> dict[str, Any]:
    of_field = {"overall": figure(mean), "classes": {k: figure(mean) for k in classes}}
    quantities = {q: {**of_field, "classes": dict(of_field["classes"])} for q in fields}
    return {"overall": figure(mean), "quantities": quantities}


def candidate(
    at: tuple[float, float, float, float], copies: float = 0.0, classes: list[str] = CLASSES
) -> dict[str, Any]:
    accuracy, auc, shannon, correlation = at
    return {
        "trained_on_equal": {
            "balanced_accuracy": figure(accuracy),
            "classes": {k: figure(accuracy) for k in classes},
        },
        "lost": figure(REAL[0] - accuracy),
        "two_sample_auc": figure(auc),
        "jensen_shannon": measured(shannon, FIELDS, classes),
        "autocorrelation": measured(correlation, ["gap", "size"], classes),
        "coherence": measured(0.2, ["peak of size"], classes),
        "beyond": {"classes": {k: figure(0.1) for k in classes}},
        **copied(copies, copies, 0.5 + copies / 2),
    }


def copied(exact: float, near: float, closer: float) -> dict[str, Any]:
    found = {
        "near": {"overall": figure(near)},
        "closer": {"overall": figure(closer)},
        "traces": 1000,
    }
    return {"in_train": exact, "copying": found}


def figures(
    made: tuple[float, float, float, float] = REAL, classes: list[str] = CLASSES, **other: Any
) -> dict[str, Any]:
    worse = (0.5, 0.99, 0.5, 0.3)
    return {
        "protocol": {
            "holdout": "given",
            "classes": classes,
            "titles": {"gap": "gap [s]", "size": "size [B]"},
        },
        "sets": {
            "synthetic": {"traces": 1000, "in_train": 0.0},
            "holdout": {"traces": 200, **copied(0.0, 0.01, 0.5)},
        },
        "usual": {"traces": 1200, "near_traces": 1200, "exact": 0.0, "near": 0.01},
        "candidates": {
            "synthetic": candidate(made, classes=classes),
            "real": candidate(REAL, classes=classes),
            "copy": candidate(REAL, 1.0, classes),
            **{
                name: candidate(other.get(name, worse), classes=classes)
                for name in ("jitter", "bootstrap", "markov")
            },
        },
    }


def synthetic(found: dict[str, Any]) -> Any:
    return found["candidates"]["synthetic"]


def set_copies(found: dict[str, Any], exact: float, near: float, closer: float) -> None:
    synthetic(found).update(copied(exact, near, closer))
    found["sets"]["synthetic"]["in_train"] = exact


@pytest.mark.parametrize(
    ("made", "word", "grade"),
    [
        (REAL, "Yes", "at the floor"),
        ((0.87, 0.6, 0.10, 0.04), "Nearly", "near"),
        ((0.87, 0.6, 0.30, 0.20), "In part", "near"),
        ((0.70, 0.6, 0.30, 0.20), "No", "far"),
        ((0.55, 0.98, 0.40, 0.25), "No", "far"),
    ],
)
def test_is_it_good(made, word, grade):
    found = answers(figures(made))[0]
    assert (found.question, found.word, found.grade) == ("Is it good?", word, grade)
    assert "do better" not in found.text


def test_baselines_that_do_better_are_named():
    middling = (0.7, 0.8, 0.3, 0.2)
    found = figures(middling, markov=(0.8, 0.7, 0.2, 0.3), jitter=REAL)
    assert answers(found)[0].text == (
        "Simple baselines do better in most headline metrics: jittered copies and a Markov chain. "
        "Of 4 headline metrics, the synthetic traces are better than jittered copies in none, than "
        "point-wise resampling in 4, than a Markov chain in 1."
    )
    found = figures(middling, markov=(0.8, 0.7, 0.2, 0.3))
    text = "A simple baseline does better in most headline metrics: a Markov chain. Of 4"
    assert compare_baselines(headline_metrics(found)).startswith(text)
    assert compare_baselines(
        headline_metrics(figures(middling, markov=(0.8, 0.7, 0.4, 0.3)))
    ).startswith("Of 4")


def test_a_tie_is_no_win_and_no_auc_is_better_than_chance():
    found = headline_metrics(figures((0.9, 0.3, 0.1, 0.04), jitter=(0.9, 0.5, 0.1, 0.04)))
    assert compare_baselines(found).startswith(
        "Of 4 headline metrics, the synthetic traces are better than jittered copies in none,"
    )


def test_the_lead_says_what_the_headline_metrics_say():
    sentences = lead(figures((0.70, 0.6, 0.30, 0.04)))
    assert "reaches 70.0% balanced accuracy on held-out real traces" in sentences[0]
    assert "reaches 90.0%" in sentences[0]
    assert "AUC of 0.60 (0.5 is chance" in sentences[1]
    assert sentences[2] == (
        "Of the 4 headline metrics: 1 no different from real traces, 1 near them, 2 far from them."
    )


@pytest.mark.parametrize(
    ("copies", "word", "grade", "text"),
    [
        ((0.0, 0.01, 0.5), "No copying found", "", "no more copies than among real traces"),
        ((0.0, 0.019, 0.509), "No copying found", "", "no more copies than among real traces"),
        ((0.001, 0.01, 0.5), "No copying found", "", "0.0% of these equal one of as many others"),
        ((0.01, 0.01, 0.5), "No", "far", "10 of 1,000 synthetic traces are exact copies"),
        ((0.0, 0.04, 0.7), "No", "far", "4.0% of the synthetic traces are near copies"),
        (
            (0.0, 0.01, 0.62),
            "In doubt",
            "near",
            "62.0% of the synthetic traces are closer to a training trace than to a held-out one. "
            "50.0% is usual; copies of the training traces have 74.0%.",
        ),
        ((1.0, 1.0, 1.0), "No", "far", "1,000 of 1,000 synthetic traces are exact copies"),
    ],
)
def test_is_it_private(copies, word, grade, text):
    found = figures()
    found["candidates"]["copy"].update(copied(1.0, 1.0, 0.74))
    set_copies(found, *copies)
    answer = answers(found)[1]
    assert (answer.question, answer.word, answer.grade) == ("Is it private?", word, grade)
    assert text in answer.text
    assert answer.text.endswith(CAVEAT)
    assert "Nothing is guaranteed (no differential privacy)" in CAVEAT


def test_traces_of_a_model_that_keeps_rare_values_are_not_private():
    found = figures()
    found["about"] = {"rare": "keep"}
    answer = answers(found)[1]
    assert (answer.word, answer.grade) == ("No", "far")
    assert "do not share the model or its traces" in answer.text


def test_an_audit_answers_whether_it_is_private():
    found = figures()
    attacks = {"word": "No", "grade": "far", "text": "The strongest attack has an AUC of 0.7."}
    found["audit"] = {"answer": attacks}
    answer = answers(found)[1]
    assert (answer.question, answer.word, answer.grade) == ("Is it private?", "No", "far")
    assert answer.text.startswith("The strongest attack has an AUC of 0.7. Copies (no proof")
    assert CAVEAT not in answer.text


def test_copies_that_real_traces_are_of_each_other_are_not_held_against_it():
    found = figures()
    found["usual"].update(exact=0.30, near=0.40)
    set_copies(found, 0.32, 0.40, 0.5)
    assert answers(found)[1].word == "No copying found"
    set_copies(found, 0.40, 0.40, 0.5)
    assert answers(found)[1].text.startswith(
        "400 of 1,000 synthetic traces are exact copies of a training trace; of real traces, 30.0% "
        "equal one of as many others."
    )
    found["protocol"]["holdout"] = "half of the real traces"
    assert "copies of a real trace; of real" in answers(found)[1].text


def test_none_of_a_few_real_traces_is_no_proof_that_none_are_alike():
    found = figures()
    set_copies(found, 0.005, 0.01, 0.5)
    assert answers(found)[1].word == "No"
    found["usual"]["traces"] = 20
    assert answers(found)[1].word == "No copying found"


def test_half_is_usually_closer_though_siblings_in_the_holdout_keep_together():
    found = figures()
    found["sets"]["holdout"].update(copied(0.0, 0.01, 0.1))
    set_copies(found, 0.0, 0.01, 0.5)
    assert answers(found)[1].word == "No copying found"
    set_copies(found, 0.0, 0.01, 0.78)
    assert answers(found)[1].word == "In doubt"
    found["candidates"]["real"].update(copied(1.0, 0.01, 0.9))
    # 1,000 of the 1,200 real traces are of training: 0.9 * 5 / 6 + 0.1 / 6 = 0.767.
    assert "78.0% of the synthetic traces are closer" in answers(found)[1].text
    assert "76.7% is usual" in answers(found)[1].text


def test_noise_is_not_held_against_it():
    found = figures()
    found["sets"]["holdout"]["copying"]["closer"]["overall"] = figure(0.5, 0.1)
    set_copies(found, 0.0, 0.01, 0.62)
    assert answers(found)[1].word == "No copying found"
    synthetic(found)["copying"]["closer"]["overall"] = figure(0.62, None)
    assert answers(found)[1].word == "No copying found"


def test_without_holdout_nothing_is_known():
    found = figures()
    found["protocol"]["holdout"] = "half of the real traces"
    assert answers(found)[1].word == "Unknown"
    set_copies(found, 0.1, 0.1, 0.5)
    assert answers(found)[1].word == "No"


def test_copies_are_not_called_good():
    found = figures()
    set_copies(found, 1.0, 1.0, 1.0)
    answer = answers(found)[0]
    assert (answer.word, answer.grade) == ("Yes, but with copies", "far")
    assert answer.text.startswith("Copies make every figure look better than it is.")
    set_copies(found, 0.009, 0.01, 0.5)  # so few change no figure, though it is not private
    assert [answer.word for answer in answers(found)[:2]] == ["Yes", "No"]


def test_too_few_traces_are_no_yes():
    found = figures((0.9, 0.92, 0.10, 0.04))
    found["candidates"]["synthetic"]["two_sample_auc"] = figure(0.92, 0.2)
    answer = answers(found)[0]
    assert (answer.word, answer.grade) == ("Too few traces to tell", "near")
    assert "hold out more real traces" in answer.text
    told = " ".join(lead(found))
    assert "3 no different from real traces, 1 undecided because of too few traces" in told
    assert "hold out more real traces" in told
    size = synthetic(found)["jensen_shannon"]["quantities"]["size"]
    size["overall"] = figure(0.15, 0.1)
    assert answers(found)[2].word == "Too few traces to tell"
    size["overall"] = figure(0.5, 0.1)
    assert answers(found)[2].word == "Field size"


def test_one_class_has_no_accuracy():
    found = figures(classes=["only"])
    assert len(headline_metrics(found)) == 3
    assert "accuracy" not in " ".join(lead(found))
    assert "AUC of 0.55" in lead(found)[0]


def test_where_is_it_worst():
    found = figures()
    made = synthetic(found)
    made["autocorrelation"]["quantities"]["size"]["overall"] = figure(0.19)
    for q in FIELDS:
        made["jensen_shannon"]["quantities"][q]["classes"]["voip"] = figure(0.21)
    answer = answers(found)[2]
    assert (answer.question, answer.word) == ("Where is it worst?", "Class voip, field size")
    assert answer.grade == "far"
    assert answer.text == (
        "The values of class voip: 2.0 times as far from real traces as other real traces are. "
        "The order of values of field size: 4.0 times as far from real traces as other real traces "
        "are."
    )


def test_the_class_that_is_learned_least_is_named():
    found = figures()
    synthetic(found)["trained_on_equal"]["classes"]["voip"] = figure(0.4)
    answer = answers(found)[2]
    assert (answer.word, answer.grade) == ("Class voip", "far")
    assert answer.text == (
        "A classifier trained on synthetic traces recognises 40% of class voip; trained on real "
        "traces, 90%."
    )
    first = spots(found)[0]  # what is named stands first in the plot
    assert (first.name, first.aspect) == ("voip", "learned")
    assert first.ratio == pytest.approx(0.65 / 0.15)
    assert {"voip", "4.3, recognised"} <= set(names_in(worst_plot(spots(found))))


def test_nowhere_is_worst_within_the_noise():
    found = figures()
    synthetic(found)["jensen_shannon"]["quantities"]["gap"]["overall"] = figure(0.2, 0.052)
    answer = answers(found)[2]
    assert (answer.word, answer.grade) == ("Nowhere", "at the floor")
    assert spots(found)[2].name == "gap"  # drawn all the same, and grey


def test_noise_does_not_hide_what_is_worse():
    found = figures()
    quantities = synthetic(found)["jensen_shannon"]["quantities"]
    quantities["gap"]["overall"] = figure(0.5, 0.3)
    quantities["size"]["overall"] = figure(0.3, None)
    assert answers(found)[2].word == "Field size"
    assert [s.name for s in spots(found) if s.kind == "field"] == ["size", "gap", "peak of size"]


def test_one_class_is_not_called_the_worst():
    found = figures((0.9, 0.6, 0.4, 0.2), classes=["only"])
    assert {spot.kind for spot in spots(found)} == {"field"}
    assert answers(found)[2].word.startswith("Field ")
    assert "Classes" not in worst_plot(spots(found))


def test_of_many_classes_the_four_worst_are_drawn():
    classes = [f"site {i}" for i in range(100)]
    found = figures(classes=classes)
    for i, name in enumerate(classes):
        table = synthetic(found)["jensen_shannon"]["quantities"]
        for q in FIELDS:
            table[q]["classes"][name] = figure(0.1 + i / 200)
    drawn = [spot.name for spot in spots(found) if spot.kind == "class"]
    assert drawn == ["site 99", "site 98", "site 97", "site 96"]
    svg = worst_plot(spots(found))
    assert "site 96" in svg
    assert "site 95" not in svg


def test_the_logarithm_of_a_field_is_not_drawn_beside_it():
    assert {s.name for s in spots(figures()) if s.kind == "field"} == {
        "gap",
        "size",
        "peak of size",
    }


def names_in(svg: str) -> list[str]:
    return re.findall("<text[^>]*>(.*?)</text>", svg)


def test_plots_name_what_they_show():
    found = figures((0.7, 0.8, 0.3, 0.2))
    good = names_in(good_plot(headline_metrics(found)))
    for name in ("synthetic", "real", "jitter", "bootstrap", "Markov chain", "70.0%, real 90.0%"):
        assert name in good
    assert {"← better", "further from real, worse →"} <= set(good)
    private = names_in(private_plot(shares(found)))
    for name in ("Exact copies", "Near copies", "Closer to training", "usual of real", "copy"):
        assert name in private
    worst = names_in(worst_plot(spots(found)))
    for name in ("Classes", "Fields", "voip", "web &amp; &lt;b&gt;", "gap [s]", "size [B]"):
        assert name in worst


def test_plots_load_nothing():
    found = figures()
    drawn = [
        good_plot(headline_metrics(found)),
        private_plot(shares(found)),
        worst_plot(spots(found)),
    ]
    for svg in drawn:
        assert svg.startswith("<svg")
        assert not re.findall(r'(?:src|href)="[^#]', svg)


def places(svg: str, row: float) -> dict[str, float]:
    """Across the plot, by colour: the dots at this height."""
    dots = re.findall(r'<use [^>]*?x="([\d.]+)" y="([\d.]+)" style="fill: var\(--(\w+)', svg)
    return {colour: float(x) for x, y, colour in dots if abs(float(y) - row) < 1}


def test_the_worse_stands_further_from_real():
    near, far = (good_plot(headline_metrics(figures((0.9, auc, 0.1, 0.04)))) for auc in (0.6, 0.9))
    row = sorted({float(y) for y in re.findall(r'<use [^>]*?y="([\d.]+)"', near)})[1]
    assert places(near, row)["real"] < places(near, row)["made"]
    assert places(near, row)["made"] < places(far, row)["made"]
    assert places(far, row)["real"] == places(near, row)["real"]
