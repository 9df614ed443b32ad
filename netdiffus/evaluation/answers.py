"""The three questions that a report answers first, by rules that it states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any

from netdiffus.evaluation.verdict import FLOOR, beaten, grade, keys, shortened

ANSWER_RULES = (
    "Good: yes if all key figures are at the floor, nearly if none is far, in part if at most half "
    "are far. Private: no if exact or near copies are more than in the holdout, in doubt if more "
    "traces lie closer to training; more is by over twice the standard error of the difference "
    "and, exact copies apart, by over 1 point. Worst: how many times as far from real traces a "
    "class or a field is as other real traces are, by its values (Jensen-Shannon) or by their "
    "order (autocorrelation), whichever is more; 0.01 is added to each distance, so that tiny "
    "ones do not count."
)
CAVEAT = "Only copies were looked for; nothing is guaranteed (no differential privacy)."
ASPECTS = {"jensen_shannon": "values", "autocorrelation": "order"}
BY = {"values": "by the values", "order": "by the order of the values"}
SETS = ("synthetic", "holdout", "jitter", "copy")
SHOWN = 4  # classes, and as many fields
LONGEST = 40  # characters of a name
POINT = 0.01  # smaller differences of shares do not count
SLACK = 0.01  # added to both sides of a ratio of distances


@dataclass(frozen=True)
class Answer:
    """An answer in plain words.

    Attributes:
        question: What is asked.
        word: The answer in a few words.
        grade: `at the floor`, `near` or `far`; empty where the answer is neither good nor bad.
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
        of: The share of each of `SETS`.
        more: Whether it is more of the synthetic traces than of the holdout.
    """

    title: str
    of: Mapping[str, float]
    more: bool

    @property
    def excess(self) -> float:
        """By how much it is more of the synthetic traces than of the holdout."""
        return self.of["synthetic"] - self.of["holdout"]


@dataclass(frozen=True)
class Spot:
    """A class or a field, by what is worst about it.

    Attributes:
        kind: `class` or `field`.
        name: Its name.
        aspect: `values`, if their distribution is worst, or `order`.
        ratio: How many times as far from real traces it is as other real traces are.
        grade: `at the floor`, `near` or `far`.
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
    known = {**figures["candidates"], "holdout": figures["sets"]["holdout"]}
    sets = {name: known[name] for name in SETS}
    exact = {name: c["in_train"] for name, c in sets.items()}
    near, closer = (
        {name: c["copying"][figure]["overall"] for name, c in sets.items()}
        for figure in ("near", "closer")
    )
    return [
        Share("Exact copies", exact, _is_more_copied(figures)),
        _share("Near copies", near),
        _share("Closer to training", closer),
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
    if any(share.more and share.excess > POINT for share in shares(figures)[:2]):
        text = f"Copies make every figure look better than it is. {beaten(found)}"
        return Answer(question, f"{word}, but with copies", "far", text)
    return Answer(question, word, mark, beaten(found))


def _overall(grades: Sequence[str]) -> tuple[str, str]:
    """The grades of the key figures as a word and a grade."""
    if set(grades) == {FLOOR}:
        return "Yes", FLOOR
    if "far" not in grades:
        return "Nearly", "near"
    return ("In part", "near") if 2 * grades.count("far") <= len(grades) else ("No", "far")


def _private(figures: dict[str, Any]) -> Answer:
    exact, near, closer = shares(figures)
    given = figures["protocol"]["holdout"] == "given"
    nearer = "lie closer to a training trace than to a held-out one"
    unknown = "No holdout was given, so no real trace is known to be unseen."
    nothing = "Copies, and traces close to training, are no more than among unseen real traces."
    cases = [
        (exact.more, "No", "far", _told_copies(figures)),
        (near.more, "No", "far", _told(near, "are near copies of a training trace")),
        (closer.more, "In doubt", "near", _told(closer, nearer)),
        (not given, "Unknown", "near", unknown),
        (True, "No copying found", "", nothing),
    ]
    _, word, mark, text = next(case for case in cases if case[0])
    return Answer("Is it private?", word, mark, f"{text} {CAVEAT}")


def _told(share: Share, what: str) -> str:
    made, held = share.of["synthetic"], share.of["holdout"]
    return f"{made:.1%} of the traces {what}; of unseen real traces, {held:.1%}."


def _told_copies(figures: dict[str, Any]) -> str:
    made, held = (_copied(figures["sets"][name]) for name in ("synthetic", "holdout"))
    return (
        f"{made} traces are point-by-point copies of a training trace; of unseen real traces, "
        f"{held}."
    )


def _copied(traces: Any) -> str:
    """Counts, since a share of one in thousands would round to none."""
    return f"{round(traces['in_train'] * traces['traces']):,} of {traces['traces']:,}"


def _is_more_copied(figures: dict[str, Any]) -> bool:
    made, held = (figures["sets"][name] for name in ("synthetic", "holdout"))
    usual = held["in_train"]
    noise = 2 * sqrt(usual * (1 - usual) * (1 / made["traces"] + 1 / held["traces"]))
    return bool(made["in_train"] - usual > noise)


def _share(title: str, found: Mapping[str, Any]) -> Share:
    made, held = found["synthetic"], found["holdout"]
    noise = 2 * hypot(made["sd"] or 0.0, held["sd"] or 0.0)
    more = made["mean"] - held["mean"] > max(POINT, noise)
    return Share(title, {name: x["mean"] for name, x in found.items()}, more)


def _worst(figures: dict[str, Any]) -> Answer:
    question = "Where is it worst?"
    found = {s.kind: s for s in reversed(spots(figures)) if s.grade != FLOOR}
    worst = [found[kind] for kind in ("class", "field") if kind in found]
    lost = _least_learned(figures)
    named = [f"{s.kind} {shortened(s.name, LONGEST)}" for s in worst]
    word = ", ".join(named or [f"class {shortened(name, LONGEST)}" for name in lost])
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
    return grade(value, floor, 0.01, 0.05) != FLOOR


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
    for spot in sorted(found, key=lambda s: (s.grade == FLOOR, -s.ratio)):
        worst.setdefault(spot.name, spot)
    return list(worst.values())[:SHOWN]
