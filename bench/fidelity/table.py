"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.fidelity.bars import bars, steps_needed
from bench.fidelity.kept import Result
from bench.fidelity.peers import PEERS
from bench.tables import markdown

Rows = Iterator[list[str]]


def tables(results: Sequence[Result]) -> str:
    """All tables, the shortest first; those without rows are left out."""
    parts = []
    for title, (heads, rows_of) in _TABLES.items():
        rows = [row for one in results for row in rows_of(one)]
        if rows:
            parts.append(f"### {title}\n\n{markdown(heads, rows)}")
    return "\n".join([*parts, *_notes(results)]) + "\n"


def _summary(result: Result) -> Rows:
    ours, real, wanted = result["runs"][0]["ours"], result["real"], result["bars"] or {}
    found = bars(result)
    yield [
        result["set"],
        _interval(real["accuracy"]),
        _with_bar(ours["accuracy"], wanted.get("synthetic")),
        _with_bar(ours["auc"], wanted.get("auc")),
        f"{ours['more']['mean']:.3f}",
        f"{ours['with_real']['mean']:.3f}",
        f"{ours['wasserstein'] / real['wasserstein']:.2f}",
        f"{ours['copies']['exact']:.3f} ({real['copies_floor']['exact']:.3f})",
        f"{ours['copies']['closer']:.3f} ({real['copies_floor']['closer']:.3f}; "
        f"{real['copies']['closer']:.3f})",
        f"{ours['ms_per_trace']:.1f}",
        str(steps_needed(result) or "-"),
        f"{sum(bar.passed for bar in found)} of {len(found)}",
    ]


def _missed(result: Result) -> Rows:
    for bar in bars(result):
        if not bar.passed:
            sign = "≥" if bar.least else "≤"
            yield [result["set"], bar.name, f"{bar.found:.3f}", f"{sign} {bar.bound:.3f}"]


def _candidates(result: Result) -> Rows:
    run = result["runs"][0]
    unseen = {"copies": result["real"]["copies_floor"]}
    named = {"netdiffus": run["ours"], "real": result["real"] | unseen, **result["baselines"]}
    named |= {PEERS[name].title: figures for name, figures in run.get("peers", {}).items()}
    for name, figures in named.items():
        yield [
            result["set"],
            name + (f", without {figures['missing']} classes" if figures["missing"] else ""),
            _interval(figures["accuracy"]),
            f"{figures['accuracy_distinct']['mean']:.3f}",
            _interval(figures["auc"]),
            *(f"{figures[key]:.3f}" for key in ("wasserstein", "hellinger", "frechet")),
            *(f"{figures['copies'][key]:.3f}" for key in ("exact", "near", "closer")),
        ]


def _peers(result: Result) -> Rows:
    """Ours and each peer, with the same budget: a peer that copies does not win."""
    run, floor = result["runs"][0], result["real"]["copies_floor"]
    ours = {**run["ours"], "about": run["training"]}
    peers = {PEERS[name].title: figures for name, figures in run.get("peers", {}).items()}
    for name, one in {"netdiffus": ours, **peers}.items():
        yield [
            result["set"],
            name + (f", without {one['missing']} classes" if one["missing"] else ""),
            f"{one['about']['cpu_seconds']:.0f}",
            _interval(one["accuracy"]),
            _interval(one["auc"]),
            f"{one['more']['mean']:.3f}" if "more" in one else "-",
            *(f"{one['copies'][key]:.3f} ({floor[key]:.3f})" for key in ("exact", "closer")),
            "-" if one["membership"] is None else f"{one['membership']:.2f}",
            f"{one['ms_per_trace']:.1f}",
        ]


def _steps(result: Result) -> Rows:
    ours = result["runs"][0]["ours"]
    compared = result["runs"][0]["steps"]
    default = [{**ours, "name": f"{ours['steps']} (default)"}] if compared else []
    for one in [*compared, *default]:
        figures = _interval(one["accuracy"]), _interval(one["auc"]), f"{one['ms_per_trace']:.1f}"
        yield [result["set"], one.get("name", str(one["steps"])), *figures]


def _runs(result: Result) -> Rows:
    for run in sorted(result["runs"], key=lambda one: (one["minutes"], one["seed"])):
        ours = run["ours"]
        yield [
            result["set"],
            f"{run['minutes']:g}",
            str(run["seed"]),
            f"{run['training']['steps']:,}",
            _interval(ours["accuracy"]),
            _interval(ours["auc"]),
            *(f"{ours[key]['mean']:.3f}" if key in ours else "-" for key in ("more", "with_real")),
            f"{ours['wasserstein']:.3f}",
            *(f"{ours['copies'][key]:.3f}" for key in ("exact", "closer")),
        ]


def _notes(results: Sequence[Result]) -> Iterator[str]:
    yield (
        "Brackets: 95 % bootstrap intervals over the held-out traces (and, for the AUC, the made "
        "ones)."
    )
    runs = [r["runs"][0].get("peers", {}) for r in results]
    used = {name: one["about"]["package"] for run in runs for name, one in run.items()}
    if used:
        told = ", ".join(f"{PEERS[name].title} of {package}" for name, package in used.items())
        yield f"Peers, with the same budget of processor time: {told}."
    commits = {part["commit"] for r in results for part in (r["real"], r["runs"][0]["ours"])}
    yield f"Code: {', '.join(sorted(commits))}."


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _with_bar(figure: dict[str, float], bar: float | None) -> str:
    return _interval(figure) + (f" ({bar:.2f})" if bar else "")


_TABLES: dict[str, tuple[str, Callable[[Result], Rows]]] = {
    "Against the bars": (
        "set | real→real | synthetic→real (bar) | two-sample AUC (bar) | 5x synthetic | "
        "original + synthetic | W1 / floor | exact copies (real ones) | closer to train "
        "(real ones; copies) | ms a trace | fewest steps | bars passed",
        _summary,
    ),
    "Bars missed": (
        "set | bar | found | needed",
        _missed,
    ),
    "Beside peers": (
        "set | traces from | s trained | →real | two-sample AUC | 5x →real | "
        "exact copies (real ones) | "
        "closer to train (real ones) | members told by samples, AUC | ms a trace",
        _peers,
    ),
    "All candidates": (
        "set | traces from | →real | →real, unseen rows | two-sample AUC | W1 | Hellinger | "
        "Fréchet | exact copies | near copies | closer to train",
        _candidates,
    ),
    "Quality against sampling steps": (
        "set | steps | synthetic→real | two-sample AUC | ms a trace",
        _steps,
    ),
    "Quality against training time, and training seeds": (
        "set | minutes | seed | steps trained | synthetic→real | two-sample AUC | 5x "
        "synthetic | original + synthetic | W1 | exact copies | closer to train",
        _runs,
    ),
}
