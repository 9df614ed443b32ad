"""A report as a notebook shows it: its three answers, the headline metrics, a picture each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from netdiffus.evaluation.report.grades import headline_metrics
from netdiffus.evaluation.report.summary import answers, shares, spots
from netdiffus.notebook import block, image, images, lines, table

if TYPE_CHECKING:
    from netdiffus.evaluation.report.report import Report


def report_html(report: Report) -> str:
    """HTML in which nothing that comes from the traces is markup."""
    figures = report.figures
    metrics = ((m.title, m.value, m.floor, m.grade) for m in headline_metrics(figures))
    counts = {name: f"{one['traces']:,}" for name, one in figures["sets"].items()}
    return block(
        f"Report: {counts['synthetic']} synthetic traces against {counts['holdout']} held-out "
        f"real ones (learned from {counts['real']})",
        table((a.question, a.word, a.text) for a in answers(figures)),
        table(metrics, ("", "synthetic", "real", "")),
        lines(f"Note: {note}" for note in figures["protocol"]["notes"]),
        images(lambda: _pictures(figures)),
        lines(["report.show() has every figure and plot."]),
    )


def _pictures(figures: dict[str, Any]) -> Iterable[str]:
    from netdiffus.evaluation.report.summary_plots import WIDTH, good_plot, private_plot, worst_plot

    drawn = {
        "Is it good?": good_plot(headline_metrics(figures)),
        "Is it private?": private_plot(shares(figures)),
        "Where is it worst?": worst_plot(spots(figures)),
    }
    for title, svg in drawn.items():
        yield image(svg.encode(), "svg+xml", title, WIDTH)
