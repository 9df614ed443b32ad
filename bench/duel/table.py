"""The results as Markdown: one row per set, preset and budget in each table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from bench.duel import bars
from bench.duel.plan import BASELINES, Plan
from bench.duel.rule import RULE, Decision
from bench.duel.summary import COPYING, Key, Summary, error

Columns = dict[str, Callable[[Summary, Key], str]]


def preface(plan: Plan) -> str:
    """Rule and bars: what is known before the results."""
    return f"{RULE}\n{bars.text(plan.sets)}\n"


def markdown(plan: Plan, found: Summary, decision: Decision) -> str:
    """All tables, the rule first."""
    keys = [(s, p, m) for s in plan.sets for p in plan.presets for m in sorted(plan.minutes)]
    others = [(s, name, 0.0) for s in plan.sets for name in ("real", *BASELINES)]
    missed = "bars missed"
    use: Columns = {**_USE, missed: lambda f, key: _missed(f, key, plan.longest)}
    return "\n".join(
        [
            "## The duel",
            "",
            preface(plan),
            _table("Fidelity and use", use, found, keys, _trained(found)),
            _table("Copies and membership", _COPIES, found, keys, _trained(found)),
            _table("Cost", _COST, found, keys, _trained(found)),
            _table("Real traces and baselines", _OTHERS, found, others, _maker),
            "\n".join(_decided(decision)),
            _NOTES,
        ]
    )


_NOTES = """Means ± standard errors over seeds; each seed has a split and a training of its own.
In brackets: ≥ and ≤ are bars; the rest is the same figure of real traces or of a control. real: the
training traces. W1: Wasserstein-1 distance, in standard deviations. 5x: five times as many
synthetic as training traces. jittered: shaken copies of the training traces, as many. held-out,
half: the floors of copying. ms a trace: of one processor.
"""


def _figure(name: str, digits: int = 3, beside: dict[str, str] | None = None) -> Callable:
    """A cell: the mean, its error, and in brackets the bar and figures of real traces."""

    def cell(found: Summary, key: Key) -> str:
        notes = [f"{what} {found.real(key[0], n):.{digits}f}" for what, n in (beside or {}).items()]
        bound = bars.BARS.get(key[0], {}).get(name)
        if bound is not None and key[2]:
            notes.insert(0, f"{'≥' if name in bars.LEAST else '≤'} {bound:g}")
        values = found.values(key, name)
        return _with_error(values.mean(), error(values), digits) + _bracketed(notes)

    return cell


def _with_error(mean: float, deviation: float, digits: int) -> str:
    """The error is left out where there is one seed alone."""
    shown = f"{mean:,.{digits}f}"
    return shown if math.isnan(deviation) else f"{shown} ± {deviation:,.{digits}f}"


def _bracketed(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _copies(kind: str) -> Callable[[Summary, Key], str]:
    floors = {"held-out": f"holdout {kind}", "half": f"half {kind}"}
    return _figure(f"copies {kind}", beside=floors)


_USE: Columns = {
    "accuracy": _figure("accuracy", beside={"real": "accuracy"}),
    "of a 1-D CNN": _figure("cnn", beside={"real": "cnn"}),
    "two-sample AUC": _figure("auc", beside={"real": "auc"}),
    "AUC of a 1-D CNN": _figure("auc_cnn", beside={"real": "auc_cnn"}),
    "W1": _figure("wasserstein", beside={"real": "wasserstein"}),
    "autocorrelation": _figure("autocorrelation", beside={"real": "autocorrelation"}),
    "5x accuracy": _figure(
        "five_times", beside={"real 5 times": "five_times", "jittered": "five_times_jittered"}
    ),
    "5x accuracy of a 1-D CNN": _figure(
        "five_times_cnn",
        beside={"real 5 times": "five_times_cnn", "jittered": "five_times_jittered_cnn"},
    ),
    "real + synthetic": _figure(
        "with_real", beside={"real twice": "with_real", "real + jittered": "with_real_jittered"}
    ),
    "real + synthetic of a 1-D CNN": _figure(
        "with_real_cnn",
        beside={"real twice": "with_real_cnn", "real + jittered": "with_real_jittered_cnn"},
    ),
}
_COPIES: Columns = {
    "exact copies": _copies("exact"),
    "near copies": _copies("near"),
    "closer to train": _copies("closer"),
    "membership AUC": _figure("membership auc"),
    "TPR at 1 % FPR": _figure("membership tpr"),
    "non-members": _figure("membership others", 0),
}
_COST: Columns = {
    "training steps": _figure("steps", 0),
    "processor s used": _figure("cpu_seconds", 0),
    "ms a trace": _figure("ms_per_trace", 2),
    "peak MiB, training": _figure("training_peak_mb", 0),
    "peak MiB, with sampling": _figure("peak_mb", 0),
    "parameters": _figure("parameters", 0),
}
_OTHERS: Columns = {
    "accuracy": _figure("accuracy"),
    "two-sample AUC": _figure("auc"),
    "W1": _figure("wasserstein"),
    "exact copies": _figure("copies exact"),
    "near copies": _figure("copies near"),
    "closer to train": _figure("copies closer"),
}


def _missed(found: Summary, key: Key, longest: float) -> str:
    """Bars are for the longest training alone."""
    if key[2] != longest:
        return "-"
    listed = bars.bars(found, key)
    missed = [f"{b.name} ({b.bound:.3f})" for b in listed if not b.passed]
    return "; ".join(missed) or f"none of {len(listed)}"


def _trained(found: Summary) -> Callable[[Key], dict[str, str]]:
    return lambda key: {"set": key[0], "preset": key[1], "minutes": f"{key[2]:g}"}


def _maker(key: Key) -> dict[str, str]:
    return {"set": key[0], "traces from": key[1]}


def _table(
    title: str,
    columns: Columns,
    found: Summary,
    keys: Sequence[Key],
    names: Callable[[Key], dict[str, str]],
) -> str:
    heads = [*names(keys[0]), *columns]
    rows = (
        [*names(key).values(), *(cell(found, key) for cell in columns.values())] for key in keys
    )
    return "\n".join([f"### {title}", "", *_lines(heads, rows), ""])


def _lines(heads: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "| --- " * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _decided(decision: Decision) -> Iterator[str]:
    yield from ("### Decision", "")
    heads = ["preset", *(f"{kind}, above the floor" for kind in COPYING), "admitted", "mean rank"]
    rows = (
        [
            one.preset,
            *(_with_error(*one.above[kind], 3) for kind in COPYING),
            {True: "yes", False: "no", None: "-"}[one.is_admitted],
            "-" if math.isnan(one.rank) else f"{one.rank:.2f}",
        ]
        for one in decision.candidates
    )
    yield from _lines(heads, rows)
    yield from ("", decision.reason, "")
