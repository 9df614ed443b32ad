"""The three questions that a report answers first, by rules that it states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any

from netdiffus.errors import shortened
from netdiffus.evaluation.report.grades import (
    FLOOR,
    HOLD_OUT_MORE,
    TOO_FEW,
    compare_baselines,
    grade,
    headline_metrics,
)
from netdiffus.ledger import statement

ANSWER_RULES = (
    "Is it good? Yes: all headline metrics are at the floor. Nearly: none is far. In part: at most "
    "half are far. If a metric has too few traces to tell, the answer is neither yes nor nearly. "
    "Is it private? No: there are more exact or near copies than usual. Usual is the share of real "
    "traces (training and holdout together) that equal one of as many other real traces as there "
    "are training traces. In doubt: the share of synthetic traces that are closer to training "
    "traces is above half, above that of the holdout, and above that of training and holdout "
    "together (each trace without itself). A difference counts if it is over twice its standard "
    "error and, except for exact copies, over 1 point. Where is it worst? A class or a field is "
    "rated by a ratio: its distance from real traces, over the distance between real traces. There "
    "is one ratio for values (Jensen-Shannon), one for order (autocorrelation) and one for whole "
    "traces (Kolmogorov-Smirnov distance of plateaus, peaks, idle times, bursts and sums). A class "
    "has two more: the share of traces beyond the training range, and the share that a classifier "
    "trained on synthetic traces misses. The largest ratio counts. 0.01 is added to each distance "
    "and 0.05 to each share, so that tiny ones do not count."
)
CAVEAT = (
    "This is only a search for copies. Finding none proves nothing; `netdiffus audit` runs "
    "membership inference. Nothing is guaranteed (no differential privacy)."
)
KEPT = "The model keeps rare values (--rare keep): do not share the model or its traces."
BEYOND = "The guarantee does not cover this report, because it uses real traces."
ASPECTS = {"jensen_shannon": "values", "autocorrelation": "order", "coherence": "whole traces"}
PHRASES = {"values": "values", "order": "order of values", "whole traces": "whole traces"}
SETS = ("synthetic", "usual", "jitter", "copy")
SHOWN = 4  # classes, and as many fields
LONGEST = 40  # characters of a name
POINT = 0.01  # smaller differences of shares do not count
WORSE = ("near", "far")  # grades of what is further from real than real is
SLACK = 0.01  # added to both sides of a ratio of distances
MISSED_SLACK = 0.05  # the same, of shares of traces that a classifier misses


@dataclass(frozen=True)
class Answer:
    """An answer in plain words: to the question a few words, and the text that they rest on.

    The grade is as of a figure; empty where the answer is neither good nor bad.
    """

    question: str
    word: str
    grade: str
    text: str


@dataclass(frozen=True)
class Share:
    """A share of traces that shows copying.

    Attributes:
        title: What is counted.
        of: The share in each of `SETS`; `usual` is the expected share if nothing is copied.
        more: Whether the share of the synthetic traces is above the usual one.
    """

    title: str
    of: Mapping[str, float]
    more: bool

    @property
    def excess(self) -> float:
        """How far the share of the synthetic traces is above the usual one."""
        return self.of["synthetic"] - self.of["usual"]


@dataclass(frozen=True)
class Spot:
    """A class or a field, by what is worst about it.

    Attributes:
        kind: `class` or `field`.
        name: Its name.
        title: Name and unit.
        aspect: What is worst: the distribution of its `values`, their `order`, its `whole traces`,
            how many are `beyond` the training range, or how well the class is `learned`.
        ratio: How many times as far from real traces it is as other real traces are.
        grade: As of a figure.
        text: What was found, as a sentence.
    """

    kind: str
    name: str
    title: str
    aspect: str
    ratio: float
    grade: str
    text: str


def answers(figures: dict[str, Any]) -> list[Answer]:
    """Is it good? Is it private? Where is it worst?"""
    return [_good(figures), _private(figures), _worst(figures)]


def shares(figures: dict[str, Any]) -> list[Share]:
    """What shows copying: exact copies, near copies, traces closer to training."""
    candidates, usual = figures["candidates"], figures["usual"]
    exact = {name: candidates[name]["in_train"] for name in SETS if name in candidates}
    near, closer = (
        {name: candidates[name]["copying"][figure]["overall"]["mean"] for name in exact}
        for figure in ("near", "closer")
    )
    of_all = figures["sets"]["synthetic"]["traces"], usual["traces"]
    of_sample = candidates["synthetic"]["copying"]["traces"], usual["near_traces"]
    noise = _share_noise(exact["synthetic"], usual["exact"], *of_all)
    near_noise = _share_noise(near["synthetic"], usual["near"], *of_sample)
    return [
        _share("Exact copies", exact, usual["exact"], noise),
        _share("Near copies", near, usual["near"], max(POINT, near_noise)),
        _share("Closer to training", closer, *_usually_closer(figures)),
    ]


def spots(figures: dict[str, Any]) -> list[Spot]:
    """The four worst classes, if there are several, and the four worst fields."""
    synthetic, real = (figures["candidates"][name] for name in ("synthetic", "real"))
    classes, titles = figures["protocol"]["classes"], figures["protocol"]["titles"]
    fields = [
        _field(name, titles.get(name, name), measure, synthetic, real)
        for measure in ASPECTS
        for name in _names(synthetic[measure])
    ]
    if len(classes) == 1:
        return _worst_of(fields)
    of_classes = [
        _class(k, measure, synthetic, real)
        for measure in ASPECTS
        if synthetic[measure]["quantities"]
        for k in classes
    ]
    shares_of = [rate(k, synthetic, real) for k in classes for rate in (_learned, _outside)]
    return _worst_of(of_classes + shares_of) + _worst_of(fields)


def _good(figures: dict[str, Any]) -> Answer:
    question, metrics = "Is it good?", headline_metrics(figures)
    grades = [metric.grade for metric in metrics]
    word, mark = _overall(grades)
    advice = f"{HOLD_OUT_MORE} " if TOO_FEW in grades else ""
    if any(share.more and share.excess > POINT for share in shares(figures)[:2]):
        text = (
            f"Copies make every figure look better than it is. {advice}{compare_baselines(metrics)}"
        )
        return Answer(question, f"{word}, but with copies", "far", text)
    return Answer(question, word, mark, advice + compare_baselines(metrics))


def _overall(grades: Sequence[str]) -> tuple[str, str]:
    """The grades of the headline metrics as a word and a grade."""
    if set(grades) == {FLOOR}:
        return "Yes", FLOOR
    if "far" not in grades:
        return (TOO_FEW.capitalize() if TOO_FEW in grades else "Nearly"), "near"
    return ("In part", "near") if 2 * grades.count("far") <= len(grades) else ("No", "far")


def _private(figures: dict[str, Any]) -> Answer:
    exact, near, closer = shares(figures)
    has_holdout = figures["protocol"]["holdout"] == "given"
    unknown = f"Without --holdout, no real trace is known to be unseen. {_closer_text(closer)}"
    nothing = f"There are no more copies than among real traces: {exact.of['usual']:.1%} of these "
    nothing += f"equal one of as many others. {_closer_text(closer)}"
    cases = [
        (exact.more, "No", "far", _copies_text(exact, figures)),
        (near.more, "No", "far", _near_text(near)),
        (closer.more, "In doubt", "near", _closer_text(closer)),
        (not has_holdout, "Unknown", "near", unknown),
        (True, "No copying found", "", nothing),
    ]
    _, word, mark, text = next(case for case in cases if case[0])
    if audited := figures.get("audit"):
        answer = audited["answer"]
        text = f"{answer['text']} Copies (no proof of privacy): {text}"
        return Answer("Is it private?", answer["word"], answer["grade"], text)
    ledger = figures.get("ledger")
    guarantee = f"Differential privacy: {statement(ledger)}. {BEYOND}" if ledger else CAVEAT
    if figures.get("about", {}).get("rare") == "keep":
        word, mark, guarantee = "No", "far", KEPT
    return Answer("Is it private?", word, mark, f"{text} {guarantee}")


def _copies_text(share: Share, figures: dict[str, Any]) -> str:
    """Counts, since a share of one in thousands would round to none."""
    synthetic = figures["sets"]["synthetic"]
    source = "training" if figures["protocol"]["holdout"] == "given" else "real"
    return (
        f"{round(synthetic['in_train'] * synthetic['traces']):,} of {synthetic['traces']:,} "
        f"synthetic traces are exact copies of a {source} trace; of real traces, "
        f"{share.of['usual']:.1%} equal one of as many others."
    )


def _near_text(share: Share) -> str:
    synthetic, usual = share.of["synthetic"], share.of["usual"]
    return (
        f"{synthetic:.1%} of the synthetic traces are near copies of a training trace; of real "
        f"traces, {usual:.1%} are near copies of one of as many others."
    )


def _closer_text(share: Share) -> str:
    synthetic, usual, most = (share.of[name] for name in ("synthetic", "usual", "copy"))
    return (
        f"{synthetic:.1%} of the synthetic traces are closer to a training trace than to a "
        f"held-out one. {usual:.1%} is usual; copies of the training traces have {most:.1%}."
    )


def _share(title: str, of: Mapping[str, float], usual: float, noise: float) -> Share:
    """Of each of `SETS`: the synthetic traces first, then what is usual."""
    baselines = {name: share for name, share in of.items() if name != "synthetic"}
    ordered = {"synthetic": of["synthetic"], "usual": usual, **baselines}
    return Share(title, ordered, of["synthetic"] - usual > noise)


def _share_noise(share: float, usual: float, synthetic: int, real: int) -> float:
    """Twice the standard error of the difference between shares of so many traces.

    By the share of both together: a share of 0 in few traces does not mean that there are none.
    """
    both = (synthetic * share + real * usual) / (synthetic + real)
    return 2 * sqrt(both * (1 - both) * (1 / synthetic + 1 / real))


def _usually_closer(figures: dict[str, Any]) -> tuple[float, float]:
    """The usual share, and the smallest excess over it that counts.

    At least half. Where the holdout has groups or repeats of its own, its traces are near each
    other, and so are those of training. Then new traces are expected to be like the real traces of
    both sets together, most of which are training traces.
    """
    candidates, holdout = figures["candidates"], figures["sets"]["holdout"]
    synthetic, train, unseen = (
        side["copying"]["closer"]["overall"]
        for side in (candidates["synthetic"], candidates["real"], holdout)
    )
    part = holdout["traces"] / figures["usual"]["traces"]
    either = (1 - part) * train["mean"] + part * unseen["mean"]
    noise = 2 * hypot(synthetic["sd"] or 0.0, unseen["sd"] or 0.0)
    return max(0.5, unseen["mean"], either), max(POINT, noise)


def _worst(figures: dict[str, Any]) -> Answer:
    """Names what the chart of `spots` shows first."""
    question, shown = "Where is it worst?", spots(figures)
    first = {s.kind: s for s in reversed(shown) if s.grade in WORSE}
    worst = [first[kind] for kind in ("class", "field") if kind in first]
    if worst:
        word = ", ".join(f"{s.kind} {shortened(s.name, LONGEST)}" for s in worst)
        mark = "far" if any(s.grade == "far" for s in worst) else "near"
        text = " ".join(s.text for s in worst)
        return Answer(question, word[0].upper() + word[1:], mark, text)
    if TOO_FEW in [spot.grade for spot in shown]:
        return Answer(question, TOO_FEW.capitalize(), "near", HOLD_OUT_MORE)
    text = "No class and no field is further from real traces than other real traces are."
    return Answer(question, "Nowhere", FLOOR, text)


def _names(measure: Any) -> list[str]:
    """The fields, without the logarithms of fields that are there themselves."""
    names: list[str] = list(measure["quantities"])
    return [name for name in names if name.removeprefix("log ") not in names or name[:4] != "log "]


def _field(name: str, title: str, measure: str, synthetic: Any, real: Any) -> Spot:
    value, floor = (side[measure]["quantities"][name]["overall"] for side in (synthetic, real))
    return _distance_spot("field", name, title, measure, value, floor)


def _class(name: str, measure: str, synthetic: Any, real: Any) -> Spot:
    value, floor = (_mean_of_class(side[measure]["quantities"], name) for side in (synthetic, real))
    return _distance_spot("class", name, name, measure, value, floor)


def _mean_of_class(table: Any, name: str) -> dict[str, float]:
    """Over the fields, which may err together: the mean of their errors is the most it can be."""
    figures = [quantity["classes"][name] for quantity in table.values()]
    return {
        "mean": sum(x["mean"] for x in figures) / len(figures),
        "sd": sum(x["sd"] or 0.0 for x in figures) / len(figures),
    }


def _distance_spot(kind: str, name: str, title: str, measure: str, value: Any, floor: Any) -> Spot:
    unit = floor["mean"] + SLACK
    ratio, aspect = (value["mean"] + SLACK) / unit, ASPECTS[measure]
    of = f"{kind} {shortened(name, LONGEST)}"
    text = f"The {PHRASES[aspect]} of {of}: {ratio:.1f} times as far from real "
    return Spot(
        kind,
        name,
        title,
        aspect,
        ratio,
        grade(value, floor, 0.1 * unit, unit),
        f"{text}traces as other real traces are.",
    )


def _learned(name: str, synthetic: Any, real: Any) -> Spot:
    """By the share of the class that a classifier misses if it learned from synthetic traces."""
    recalls = [side["trained_on_equal"]["classes"][name] for side in (synthetic, real)]
    value, floor = ({**recall, "mean": 1 - recall["mean"]} for recall in recalls)
    text = (
        f"A classifier trained on synthetic traces recognises {recalls[0]['mean']:.0%} of class "
        f"{shortened(name, LONGEST)}; trained on real traces, {recalls[1]['mean']:.0%}."
    )
    return _share_spot(name, "learned", value, floor, text)


def _outside(name: str, synthetic: Any, real: Any) -> Spot:
    """By the share of traces whose peak, sum or duration no training trace of the class reaches."""
    value, floor = (side["beyond"]["classes"][name] for side in (synthetic, real))
    text = (
        f"{value['mean']:.0%} of the synthetic traces of class {shortened(name, LONGEST)} have a "
        f"peak, sum or duration outside the range of its training traces; of held-out real ones, "
        f"{floor['mean']:.0%}."
    )
    return _share_spot(name, "beyond", value, floor, text)


def _share_spot(name: str, aspect: str, value: Any, floor: Any, text: str) -> Spot:
    """A class by a share of its traces, of which less is better."""
    ratio = (value["mean"] + MISSED_SLACK) / (floor["mean"] + MISSED_SLACK)
    return Spot("class", name, name, aspect, ratio, grade(value, floor, 0.01, 0.05), text)


def _worst_of(found: list[Spot]) -> list[Spot]:
    """The worst spot of each name, in falling order; those within the noise come last."""
    worst: dict[str, Spot] = {}
    for spot in sorted(found, key=lambda s: (s.grade not in WORSE, -s.ratio)):
        worst.setdefault(spot.name, spot)
    return list(worst.values())[:SHOWN]
