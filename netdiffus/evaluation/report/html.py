"""Renders a report as one page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from netdiffus.evaluation.draws import draw_rows
from netdiffus.evaluation.report import plots
from netdiffus.evaluation.report.grades import RULES, grade_distance, headline_metrics, lead
from netdiffus.evaluation.report.pages import HERE, filled
from netdiffus.evaluation.report.summary import ANSWER_RULES, Answer, answers, shares, spots
from netdiffus.evaluation.report.summary_plots import good_plot, private_plot, worst_plot
from netdiffus.traces.plots import shown_classes

if TYPE_CHECKING:
    from netdiffus.evaluation.report.report import Report
    from netdiffus.traces.traces import Traces

CANDIDATES = {
    "synthetic": "synthetic",
    "real": "real (floor)",
    "copy": "copy",
    "jitter": "jitter",
    "bootstrap": "bootstrap",
    "markov": "Markov chain",
}
READINGS = (
    "Each line is scaled to its worst value. Shaded: still near the real traces.",
    "Without copying, the share of the synthetic traces is at the usual one of real traces.",
    "1: as far from real traces as other real traces are. Shaded: near. Grey: within the noise. "
    "A number without a word compares values.",
)
MEASURES = {"joint": "joint MMD", "coverage": "coverage", "frechet": "Fréchet"}


def render(report: Report) -> str:
    """The HTML text, without any reference to another file."""
    filters = {"number": number, "percent": percent, "with_error": with_error}
    return filled(HERE, "template.html", filters, **_context(report))


def number(x: float) -> str:
    """Three significant digits, thousands set apart."""
    return f"{x:,.{_decimals(x)}f}"


def percent(x: float | None) -> str:
    """A share as per cent; a dash where there is none."""
    return "\N{EN DASH}" if x is None else f"{x:.1%}"


def with_error(figure: Any, form: str = "") -> str:
    """Mean and standard error, to the same decimals; a dash where there is none.

    `form` is a format for both, such as `.3f`; without, the mean has three significant digits.
    """
    if figure is None or figure["mean"] is None:
        return "\N{EN DASH}"
    form = form or f",.{_decimals(figure['mean'])}f"
    sd = "" if figure["sd"] is None else f" ± {figure['sd']:{form}}"
    return f"{figure['mean']:{form}}{sd}"


def _decimals(x: float) -> int:
    """How many decimals show three significant digits."""
    return 0 if x == 0 else max(2 - math.floor(math.log10(abs(x))), 0)


def _context(report: Report) -> dict[str, Any]:
    figures = report.figures
    protocol = figures["protocol"]
    return {
        "f": figures,
        "protocol": protocol,
        "classes": protocol["classes"],
        "made": figures["candidates"]["synthetic"],
        "floor": figures["candidates"]["real"],
        "names": CANDIDATES,
        "metrics": headline_metrics(figures),
        "grade_distance": grade_distance,
        "lead": lead(figures),
        "answers": _answers(figures),
        "shares": shares(figures),
        "rules": RULES,
        "answer_rules": ANSWER_RULES,
        "titles": protocol["titles"],
        "shown": len(shown_classes(protocol["classes"])),
        "plots": _plots(report),
        "wider": _wider(figures),
        "copied": [("synthetic", figures["candidates"]["synthetic"])]
        + [("holdout", figures["sets"]["holdout"])]
        + [(CANDIDATES[name], figures["candidates"][name]) for name in ("jitter", "copy")],
    }


def _answers(figures: dict[str, Any]) -> list[tuple[Answer, str, str]]:
    """Each answer with its plot and how to read it."""
    drawings = [
        good_plot(headline_metrics(figures)),
        private_plot(shares(figures)),
        worst_plot(spots(figures)),
    ]
    return list(zip(answers(figures), drawings, READINGS, strict=True))


def _wider(figures: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """Rows of figures beyond the headline metrics, one figure per candidate."""
    candidates = [figures["candidates"][name] for name in CANDIDATES]
    rows = [
        (
            f"{title}, {quantity}",
            [c[measure]["quantities"][quantity]["overall"] for c in candidates],
        )
        for measure, title in MEASURES.items()
        for quantity in candidates[0][measure]["quantities"]
    ]
    for measure in ("hellinger", "total_variation"):
        rows.append((measure.replace("_", " "), [c[measure]["overall"] for c in candidates]))
    auc = [c["two_sample_auc_network"] for c in candidates]
    return [*rows, ("two-sample AUC of a network", auc)]


def _plots(report: Report) -> dict[str, Any]:
    figures, real, synthetic = report.figures, report.holdout, report.synthetic
    seed = figures["protocol"]["seed"]
    counts = np.array(figures["protocol"]["compared_per_class"])
    equal = [t[draw_rows(t.labels, counts, np.random.default_rng(seed))] for t in (real, synthetic)]
    forests = [figures["candidates"][name]["trained_on_equal"] for name in ("real", "synthetic")]
    matrices = [forest["confusion"] for forest in forests]
    return {
        "examples": plots.examples(real, synthetic, seed),
        "cut": _cut(real, synthetic, plots.example_points(real.classes)),
        "images_cut": _cut(real, synthetic, plots.IMAGE_POINTS),
        "rooted": any(channel.kind == "volume" for channel in real.channels),
        "gasf": plots.gasf_images(real, synthetic, seed),
        "distributions": plots.distributions(*equal),
        "acf": plots.autocorrelations(report.real, real, synthetic),
        # None of many classes: there is no matrix.
        "confusions": "" if None in matrices else plots.confusions(real.classes, *matrices),
        "early": plots.early_decision(figures["early"]),
        "training": plots.training_curve(report.history),
    }


def _cut(real: Traces, synthetic: Traces, points: int) -> str:
    """What a picture of so many points of each trace leaves out, as a sentence; or nothing."""
    sides = [t.lengths for t in (real, synthetic)]
    longer = [int((lengths > points).sum()) for lengths in sides]
    if not any(longer):
        return ""
    held, made = (
        f"{n:,} of the {len(lengths):,}" for n, lengths in zip(longer, sides, strict=True)
    )
    return (
        f"Only the first {points} points of a trace are drawn: {held} held-out and {made} "
        f"synthetic traces are longer, up to {max(lengths.max() for lengths in sides)} points."
    )
