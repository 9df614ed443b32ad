"""The results as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

from bench.fidelity.bars import ALLOWED_COPIES, bars, steps_needed
from bench.fidelity.kept import Result
from bench.fidelity.peers import PEERS

OURS, REFERENCE, LIMIT = "#2166ac", "#666666", "#b2182b"


def markdown(results: Sequence[Result]) -> str:
    """All tables, the shortest first."""
    parts = [
        _table("Against the bars", _SUMMARY, (_summary(one) for one in results)),
        _table("Bars missed", _MISSED, (row for one in results for row in _missed(one))),
        _table("Beside peers", _PEER, (row for one in results for row in _peers(one))),
        _table("All candidates", _CANDIDATE, (row for one in results for row in _candidates(one))),
        _table(
            "Quality against sampling steps", _STEPS, (r for one in results for r in _steps(one))
        ),
        _table(
            "Quality against training time, and training seeds",
            _RUNS,
            (row for one in results for row in _runs(one)),
        ),
    ]
    return "\n".join([*(part for part in parts if part), *_notes(results)]) + "\n"


_SUMMARY = [
    "set",
    "real→real",
    "synthetic→real (bar)",
    "two-sample AUC (bar)",
    "5x synthetic",
    "original + synthetic",
    "W1 / floor",
    "exact copies (real ones)",
    "closer to train (real ones; copies)",
    "ms a trace",
    "fewest steps",
    "bars passed",
]


def _summary(result: Result) -> list[str]:
    ours, real, wanted = result["runs"][0]["ours"], result["real"], result["bars"] or {}
    found = bars(result)
    return [
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


_MISSED = ["set", "bar", "found", "needed"]


def _missed(result: Result) -> Iterator[list[str]]:
    for bar in bars(result):
        if not bar.passed:
            sign = "≥" if bar.least else "≤"
            yield [result["set"], bar.name, f"{bar.found:.3f}", f"{sign} {bar.bound:.3f}"]


_CANDIDATE = [
    "set",
    "traces from",
    "→real",
    "→real, unseen rows",
    "two-sample AUC",
    "W1",
    "Hellinger",
    "Fréchet",
    "exact copies",
    "near copies",
    "closer to train",
]


def _candidates(result: Result) -> Iterator[list[str]]:
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


_PEER = [
    "set",
    "traces from",
    "s trained",
    "→real",
    "two-sample AUC",
    "exact copies (real ones)",
    "closer to train (real ones)",
    "members told by samples, AUC",
    "ms a trace",
]


def _peers(result: Result) -> Iterator[list[str]]:
    """Ours and each peer, trained for as much processor time: a peer that copies does not win."""
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
            *(f"{one['copies'][key]:.3f} ({floor[key]:.3f})" for key in ("exact", "closer")),
            "-" if one["membership"] is None else f"{one['membership']:.2f}",
            f"{one['ms_per_trace']:.1f}",
        ]


_STEPS = ["set", "steps", "synthetic→real", "two-sample AUC", "ms a trace"]


def _steps(result: Result) -> Iterator[list[str]]:
    ours = result["runs"][0]["ours"]
    compared = result["runs"][0]["steps"]
    default = [{**ours, "name": f"{ours['steps']} (default)"}] if compared else []
    for one in [*compared, *default]:
        figures = _interval(one["accuracy"]), _interval(one["auc"]), f"{one['ms_per_trace']:.1f}"
        yield [result["set"], one.get("name", str(one["steps"])), *figures]


_RUNS = [
    "set",
    "minutes",
    "seed",
    "steps trained",
    "synthetic→real",
    "two-sample AUC",
    "5x synthetic",
    "original + synthetic",
    "W1",
    "exact copies",
    "closer to train",
]


def _runs(result: Result) -> Iterator[list[str]]:
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
        yield f"Peers, as much processor time as our training: {told}."
    commits = {part["commit"] for r in results for part in (r["real"], r["runs"][0]["ours"])}
    yield f"Code: {', '.join(sorted(commits))}."


def _table(title: str, heads: Sequence[str], rows: Iterator[list[str]]) -> str:
    body = ["| " + " | ".join(row) + " |" for row in rows]
    if not body:
        return ""
    lines = [f"### {title}", "", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    return "\n".join([*lines, *body, ""])


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _with_bar(figure: dict[str, float], bar: float | None) -> str:
    return _interval(figure) + (f" ({bar:.2f})" if bar else "")


_CURVES = {
    "accuracy": "synthetic→real accuracy",
    "auc": "two-sample AUC",
    "closer": "closer to train",
}


def picture(results: Sequence[Result], path: Path | BinaryIO) -> None:
    """Curves of what counts against training time, and sampling steps if any, a set a column."""
    from matplotlib.figure import Figure

    kinds = 2 if any(result["runs"][0]["steps"] for result in results) else 1
    rows = kinds * len(_CURVES)
    figure = Figure(figsize=(3.2 * len(results) + 0.6, 2.33 * rows), layout="constrained")
    grid = figure.subplots(rows, len(results), squeeze=False)
    for column, result in enumerate(results):
        first = result["runs"][0]
        runs = [run for run in result["runs"] if run["seed"] == first["seed"]]
        by_time = sorted((run["minutes"], run["ours"]) for run in runs)
        by_steps = sorted((one["steps"], one) for one in first["steps"])
        for row, (curve, key) in enumerate(product((by_time, by_steps)[:kinds], _CURVES)):
            axes = grid[row][column]
            _curve(axes, curve, key, result)
            axes.set_xlabel("minutes of training" if curve is by_time else "sampling steps")
            if column == 0:
                axes.set_ylabel(_CURVES[key])
        grid[0][column].set_title(result["set"])
    caption = (
        "Band: 95 % interval. Dotted: real traces. Dash-dotted: resampled points. Dashed: bar."
    )
    figure.suptitle(caption, fontsize=9)
    figure.savefig(path, dpi=110, format="png")


def _curve(axes: Any, curve: list[tuple[float, Result]], key: str, result: Result) -> None:
    x = [at for at, _ in curve]
    found = [_figure(figures, key) for _, figures in curve]
    low, high = ([one[side] for one in found] for side in ("low", "high"))
    axes.fill_between(x, low, high, color=OURS, alpha=0.15, linewidth=0)
    axes.plot(x, [one["mean"] for one in found], color=OURS, marker="o", markersize=4)
    real, bar = _bounds(result, key)
    axes.axhline(real, color=REFERENCE, linestyle=":")
    if bar:
        axes.axhline(bar, color=LIMIT, linestyle="--")
    if key == "closer":
        resampled = _figure(result["baselines"]["bootstrap"], key)["mean"]
        axes.axhline(resampled, color=REFERENCE, linestyle="-.", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(x, [f"{at:g}" for at in x])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)


def _figure(figures: Result, key: str) -> dict[str, float]:
    if key != "closer":
        return dict(figures[key])
    share = figures["copies"]["closer"]
    return {"mean": share, "low": share, "high": share}


def _bounds(result: Result, key: str) -> tuple[float, float | None]:
    """What real traces reach, and the bar."""
    if key == "closer":
        floor = result["real"]["copies_floor"]["closer"]
        return floor, floor + ALLOWED_COPIES
    return result["real"][key]["mean"], (result["bars"] or {}).get(
        {"accuracy": "synthetic"}.get(key, key)
    )
