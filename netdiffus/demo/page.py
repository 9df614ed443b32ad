"""The first page of the demo: does it help a classifier, does it look right, is it private."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from netdiffus.augmentation.scoring import MADE
from netdiffus.demo.filling import Filled
from netdiffus.evaluation.report import pages
from netdiffus.evaluation.report.grades import BASELINES, headline_metrics
from netdiffus.evaluation.report.report import Report
from netdiffus.evaluation.report.summary import answers, shares
from netdiffus.evaluation.report.summary_plots import private_plot
from netdiffus.evaluation.report.svg import REAL, SYNTHETIC, TRAIN, frame, svg
from netdiffus.traces.plots import draw_examples

WIDTH = 3.3  # inches
SHOWN = ("bulk", "video_low", "voip", "web_tls")  # classes whose traces are drawn
EACH = 2  # traces of a class, of either side
NAMES = {MADE: "synthetic"}  # what a set is called on the page
LEAST_GAIN = 0.02  # smaller ones are called none


def page(report: Report, filled: Filled) -> str:
    """The HTML text, without any reference to another file but the report beside it."""
    metrics = headline_metrics(report.figures)
    private = next(a for a in answers(report.figures) if a.question == "Is it private?")
    real = report.figures["candidates"]["real"]["trained_on_equal"]["classes"][filled.label]
    return pages.filled(
        "netdiffus.demo",
        "page.html",
        {},
        filled=filled,
        word=_word(filled),
        used=svg("filled", _draw_filled, filled, real["mean"], width=WIDTH),
        looks=svg("looks", _draw_traces, report, width=WIDTH),
        drawn=f"{EACH} traces of each side, with {report.holdout.channels[0].title} in each bin",
        metrics=metrics,
        private=private,
        private_picture=private_plot(shares(report.figures)),
        sets=report.figures["sets"],
        about=report.figures["about"],
        classes=report.figures["protocol"]["classes"],
        units=report.figures["protocol"]["units"],
        baselines=BASELINES,
    )


def _word(filled: Filled) -> tuple[str, str]:
    """Whether made traces gain over the best control, and the grade of that."""
    better = [name for name in filled.recognised if filled.gain(name) > LEAST_GAIN]
    became = f"{filled.known} traces became {filled.total}"
    if len(better) == len(filled.recognised):
        return f"Yes: {became}", "at-the-floor"
    if better:
        return f"For the {better[0].replace('cnn', 'CNN')}: {became}", "near"
    return "No gain over copies in this run", "far"


def _draw_filled(figure: Figure, filled: Filled, with_all: float) -> None:
    """Bars of what each classifier recognises, by what it learned from."""
    rows = [(name, what) for name, found in filled.recognised.items() for what in found]
    frame(figure, 2.7, left=0.95, bottom=0.5, top=0.2, right=0.35)
    axis = figure.add_subplot()
    for y, (name, what) in enumerate(rows):
        at = y + 0.6 * list(filled.recognised).index(name)
        share, colour = filled.recognised[name][what], SYNTHETIC if what == MADE else TRAIN
        axis.barh(at, share, 0.8, color=colour)
        axis.annotate(f"{share:.0%}", (share, at), (3, 0), textcoords="offset points", va="center")
        axis.text(
            -0.02, at, f"{name}: {NAMES.get(what, what)}", ha="right", va="center", fontsize=7.5
        )
    axis.axvline(with_all, color=REAL, lw=1.5, ls="--")
    axis.text(with_all, -0.75, f"{filled.total} real ones", color=REAL, ha="center", fontsize=7.5)
    axis.set_ylim(len(rows) + 0.2, -0.6)
    axis.set_xlim(0, 1)
    axis.set_yticks([])
    axis.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axis.set_xlabel(f"held-out {filled.label} recognised")


def _draw_traces(figure: Figure, report: Report) -> None:
    """Held-out real traces on the left, made ones on the right, on the same axes."""
    names = [name for name in SHOWN if name in report.holdout.classes] or list(
        report.holdout.classes[: len(SHOWN)]
    )
    first = [report.holdout.channels[0].name]
    sides = {
        "real": (report.holdout.select(first), REAL),
        "synthetic": (report.synthetic.select(first), SYNTHETIC),
    }
    frame(figure, 0.78 * len(names) + 0.5, left=0.55, bottom=0.4, top=0.3, wspace=0.1)
    axes = figure.subplots(len(names), 2, squeeze=False, sharex=True, sharey="row")
    for column, (title, (traces, colour)) in enumerate(sides.items()):
        rng = np.random.default_rng(1)
        draw_examples(axes[:, column : column + 1], traces, names, EACH, colour, rng)
        for axis, name in zip(axes[:, column], names, strict=True):
            axis.set_title(f"{name}, {title}", loc="left", fontsize=7.5)
            axis.set_title("", loc="right")
