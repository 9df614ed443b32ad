"""The three questions that a report answers first, by rules that it states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any

from netdiffus.evaluation.verdict import (
    FLOOR,
    HOLD_OUT_MORE,
    TOO_FEW,
    beaten,
    grade,
    keys,
    shortened,
)
from netdiffus.privacy.ledger import statement

ANSWER_RULES = (
    "Good: yes if all key figures are at the floor, nearly if none is far, in part if at most half "
    "are far; none of the first two while a key figure has too few traces to tell. Private: no if "
    "exact or near copies are more than usual, which is the share of real traces, training and "
    "holdout together, that one of as many others as were learned from would equal; in doubt if "
    "more traces lie closer to training than half, than of the holdout, and than of training and "
    "holdout together, each without itself; more is by over twice the standard error of the "
    "difference and, exact copies apart, by over 1 point. Worst: how many times as far from real "
    "traces a class or a field is as other real traces are, by its values (Jensen-Shannon) or by "
    "their order (autocorrelation), whichever is more; 0.01 is added to each distance, so that "
    "tiny ones do not count."
)
CAVEAT = "Only copies were looked for; nothing is guaranteed (no differential privacy)."
BEYOND = "This report, which compares with real traces, is no part of that guarantee."
ASPECTS = {"jensen_shannon": "values", "autocorrelation": "order"}
BY = {"values": "by the values", "order": "by the order of the values"}
SETS = ("synthetic", "usual", "jitter", "copy")
SHOWN = 4  # classes, and as many fields
LONGEST = 40  # characters of a name
POINT = 0.01  # smaller differences of shares do not count
WORSE = ("near", "far")  # grades of what is further from real than real is
SLACK = 0.01  # added to both sides of a ratio of distances


@dataclass(frozen=True)
class Answer:
    """An answer in plain words.

    Attributes:
        question: What is asked.
        word: The answer in a few words.
        grade: As of a figure; empty where the answer is neither good nor bad.
        text: What it rests on.
    """

    question: str
    word: str
    grade: str
    text: str


@dataclass(frozen=True)
class Share:
    """A share of traces that tells of copying.

    Attributes:
        title: What is counted.
        of: The share of each of `SETS`; `usual` is what is to be expected where nothing is copied.
        more: Whether it is more of the synthetic traces than usual.
    """

    title: str
    of: Mapping[str, float]
    more: bool

    @property
    def excess(self) -> float:
        """By how much it is more of the synthetic traces than usual."""
        return self.of["synthetic"] - self.of["usual"]


@dataclass(frozen=True)
class Spot:
    """A class or a field, by what is worst about it.

    Attributes:
        kind: `class` or `field`.
        name: Its name.
        aspect: `values`, if their distribution is worst, or `order`.
        ratio: How many times as far from real traces it is as other real traces are.
        grade: As of a figure.
    """

    kind: str
    name: str
    aspect: str
    ratio: float
    grade: str


def answers(figures: dict[str, Any]) -> list[Answer]:
    """Is it good? Is it private? Where is it worst?"""
    return [_good(figures), _private(figures), _worst(figures)]


def shares(figures: dict[str, Any]) -> list[Share]:
    """What copying is told by: exact copies, near copies, traces closer to training."""
    candidates, usual = figures["candidates"], figures["usual"]
    exact = {name: candidates[name]["in_train"] for name in SETS if name in candidates}
    near, closer = (
        {name: candidates[name]["copying"][figure]["overall"]["mean"] for name in exact}
        for figure in ("near", "closer")
    )
    noise, near_noise = (
        _counted_noise(found["synthetic"], usual[what], figures)
        for found, what in ((exact, "exact"), (near, "near"))
    )
    return [
        _share("Exact copies", exact, usual["exact"], noise),
        _share("Near copies", near, usual["near"], max(POINT, near_noise)),
        _share("Closer to training", closer, *_usually_closer(figures)),
    ]


def spots(figures: dict[str, Any]) -> list[Spot]:
    """The four worst classes, where there are several, and the four worst fields."""
    made, real = (figures["candidates"][name] for name in ("synthetic", "real"))
    classes = figures["protocol"]["classes"]
    fields = [_field(name, m, made, real) for m in ASPECTS for name in _names(made[m])]
    if len(classes) == 1:
        return _most(fields)
    return _most([_class(k, m, made, real) for m in ASPECTS for k in classes]) + _most(fields)


def _good(figures: dict[str, Any]) -> Answer:
    question, found = "Is it good?", keys(figures)
    word, mark = _overall([key.grade for key in found])
    advice = f"{HOLD_OUT_MORE} " if TOO_FEW in [key.grade for key in found] else ""
    if any(share.more and share.excess > POINT for share in shares(figures)[:2]):
        text = f"Copies make every figure look better than it is. {advice}{beaten(found)}"
        return Answer(question, f"{word}, but with copies", "far", text)
    return Answer(question, word, mark, advice + beaten(found))


def _overall(grades: Sequence[str]) -> tuple[str, str]:
    """The grades of the key figures as a word and a grade."""
    if set(grades) == {FLOOR}:
        return "Yes", FLOOR
    if "far" not in grades:
        return (TOO_FEW.capitalize() if TOO_FEW in grades else "Nearly"), "near"
    return ("In part", "near") if 2 * grades.count("far") <= len(grades) else ("No", "far")


def _private(figures: dict[str, Any]) -> Answer:
    exact, near, closer = shares(figures)
    given = figures["protocol"]["holdout"] == "given"
    unknown = (
        f"No holdout was given, so no real trace is known to be unseen. {_told_closer(closer)}"
    )
    nothing = f"Copies are no more than among real traces: of these, {exact.of['usual']:.1%} equal "
    nothing += f"one of as many others. {_told_closer(closer)}"
    cases = [
        (exact.more, "No", "far", _told_copies(exact, figures)),
        (near.more, "No", "far", _told_near(near)),
        (closer.more, "In doubt", "near", _told_closer(closer)),
        (not given, "Unknown", "near", unknown),
        (True, "No copying found", "", nothing),
    ]
    _, word, mark, text = next(case for case in cases if case[0])
    ledger = figures.get("ledger")
    guarantee = f"Differential privacy: {statement(ledger)}. {BEYOND}" if ledger else CAVEAT
    return Answer("Is it private?", word, mark, f"{text} {guarantee}")


def _told_copies(share: Share, figures: dict[str, Any]) -> str:
    """Counts, since a share of one in thousands would round to none."""
    made = figures["sets"]["synthetic"]
    known = "training" if figures["protocol"]["holdout"] == "given" else "real"
    return (
        f"{round(made['in_train'] * made['traces']):,} of {made['traces']:,} traces are "
        f"point-by-point copies of a {known} trace; of real traces, {share.of['usual']:.1%} equal "
        "one of as many others."
    )


def _told_near(share: Share) -> str:
    made, usual = share.of["synthetic"], share.of["usual"]
    return (
        f"{made:.1%} of the traces are near copies of a training trace; of real traces, "
        f"{usual:.1%} are near copies of one of as many others."
    )


def _told_closer(share: Share) -> str:
    made, usual, most = (share.of[name] for name in ("synthetic", "usual", "copy"))
    return (
        f"{made:.1%} of the traces lie closer to a training trace than to a held-out one; "
        f"{usual:.1%} is usual, and of the training traces themselves it is {most:.1%}."
    )


def _share(title: str, of: Mapping[str, float], usual: float, noise: float) -> Share:
    made, *others = of.items()
    return Share(title, dict([made, ("usual", usual), *others]), made[1] - usual > noise)


def _counted_noise(share: float, usual: float, figures: dict[str, Any]) -> float:
    """Twice the error of the difference from what is usual.

    By the share of both together: none of a few traces is no proof that there are none.
    """
    made, real = figures["sets"]["synthetic"]["traces"], figures["usual"]["traces"]
    both = (made * share + real * usual) / (made + real)
    return 2 * sqrt(both * (1 - both) * (1 / made + 1 / real))


def _usually_closer(figures: dict[str, Any]) -> tuple[float, float]:
    """The share that is usual, and the least excess over it that counts.

    Half, if not more. A holdout of groups or of repeats of its own keeps together, and so does
    training: new traces are then as real ones of both sides are, which are mostly of training.
    """
    candidates, holdout = figures["candidates"], figures["sets"]["holdout"]
    made, train, held = (
        side["copying"]["closer"]["overall"]
        for side in (candidates["synthetic"], candidates["real"], holdout)
    )
    part = holdout["traces"] / figures["usual"]["traces"]
    either = (1 - part) * train["mean"] + part * held["mean"]
    noise = 2 * hypot(made["sd"] or 0.0, held["sd"] or 0.0)
    return max(0.5, held["mean"], either), max(POINT, noise)


def _worst(figures: dict[str, Any]) -> Answer:
    question = "Where is it worst?"
    seen = spots(figures)
    found = {s.kind: s for s in reversed(seen) if s.grade in WORSE}
    worst = [found[kind] for kind in ("class", "field") if kind in found]
    lost = _least_learned(figures)
    named = [f"{s.kind} {shortened(s.name, LONGEST)}" for s in worst]
    word = ", ".join(named or [f"class {shortened(name, LONGEST)}" for name in lost])
    if not word and TOO_FEW in [spot.grade for spot in seen]:
        return Answer(question, TOO_FEW.capitalize(), "near", HOLD_OUT_MORE)
    if not word:
        text = "No class and no field is further from real traces than other real traces are."
        return Answer(question, "Nowhere", FLOOR, text)
    mark = "far" if any(s.grade == "far" for s in worst) else "near"
    return Answer(question, word[0].upper() + word[1:], mark, _told_worst(worst, lost))


def _told_worst(worst: Sequence[Spot], lost: Mapping[str, str]) -> str:
    far = "times as far from real traces as real ones are"
    told = [f"The {s.kind} is {s.ratio:.1f} {far} ({BY[s.aspect]})." for s in worst[:1]]
    told += [f"The {s.kind}: {s.ratio:.1f} times ({BY[s.aspect]})." for s in worst[1:]]
    return " ".join([*told, *lost.values()])


def _least_learned(figures: dict[str, Any]) -> dict[str, str]:
    """The class that a forest finds least of for having learned from synthetic traces, in words."""
    made, real = (
        figures["candidates"][name]["trained_on_equal"]["classes"] for name in ("synthetic", "real")
    )
    lost = [name for name in made if _is_lost(made[name], real[name])]
    if not lost:
        return {}
    worst = max(lost, key=lambda name: real[name]["mean"] - made[name]["mean"])
    finds, usual = (side[worst]["mean"] for side in (made, real))
    return {
        worst: f"A forest that learned from synthetic traces finds {finds:.0%} of class "
        f"{shortened(worst, LONGEST)}; from real ones, {usual:.0%}."
    }


def _is_lost(made: Any, real: Any) -> bool:
    value, floor = ({**recall, "mean": 1 - recall["mean"]} for recall in (made, real))
    return grade(value, floor, 0.01, 0.05) in WORSE


def _names(measure: Any) -> list[str]:
    """The fields, without the logarithms of fields that are there themselves."""
    names: list[str] = list(measure["quantities"])
    return [name for name in names if name.removeprefix("log ") not in names or name[:4] != "log "]


def _field(name: str, measure: str, made: Any, real: Any) -> Spot:
    value, floor = (side[measure]["quantities"][name]["overall"] for side in (made, real))
    return _spot("field", name, measure, value, floor)


def _class(name: str, measure: str, made: Any, real: Any) -> Spot:
    value, floor = (_mean_of_class(side[measure]["quantities"], name) for side in (made, real))
    return _spot("class", name, measure, value, floor)


def _mean_of_class(table: Any, name: str) -> dict[str, float]:
    """Over the fields, which may err together: the mean of their errors is the most it can be."""
    found = [quantity["classes"][name] for quantity in table.values()]
    return {
        "mean": sum(x["mean"] for x in found) / len(found),
        "sd": sum(x["sd"] or 0.0 for x in found) / len(found),
    }


def _spot(kind: str, name: str, measure: str, value: Any, floor: Any) -> Spot:
    unit = floor["mean"] + SLACK
    return Spot(
        kind,
        name,
        ASPECTS[measure],
        (value["mean"] + SLACK) / unit,
        grade(value, floor, 0.1 * unit, unit),
    )


def _most(found: list[Spot]) -> list[Spot]:
    """The worst of each name, the worst names first; what is within the noise comes last."""
    worst: dict[str, Spot] = {}
    for spot in sorted(found, key=lambda s: (s.grade not in WORSE, -s.ratio)):
        worst.setdefault(spot.name, spot)
    return list(worst.values())[:SHOWN]
