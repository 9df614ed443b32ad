"""The result of an evaluation: figures for machines, a page for people."""

from __future__ import annotations

import json
import sys
import tempfile
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from netdiffus.evaluation.report.grades import headline_metrics
from netdiffus.evaluation.report.summary import answers
from netdiffus.files import refuse_existing, write_text
from netdiffus.traces.traces import Traces

WIDEST = 400  # characters of a line of the text form


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `evaluate` found.

    Attributes:
        figures: Nested mappings, lists, numbers and text:
            `protocol` (how the sets were compared), `sets` (what they hold), `candidates` (for
            `synthetic`, `real`, `copy`, `jitter`, `bootstrap` and `markov` every figure as `mean`,
            its standard error `sd`, and its 95 % interval `low` to `high`; null where there is
            none), `usual` (copies among real traces themselves), `early` (accuracy by the first
            points and seconds), `about`, and
            `ledger` (what privacy the synthetic traces are guaranteed, or null), `audit` (what
            attacks found, or null).
        real: Training traces, times as gaps.
        synthetic: Synthetic traces.
        holdout: Held-out real traces.
        history: Training log, one mapping with `step` and `loss` each.
    """

    figures: dict[str, Any]
    real: Traces
    synthetic: Traces
    holdout: Traces
    history: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> str:
        """All figures as JSON; the same figures give the same text."""
        return json.dumps(self.figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def summary(self) -> dict[str, str]:
        """The headline metrics beside those of real traces, in words."""
        return {
            m.title: f"{m.value} (real: {m.floor}), {m.grade}"
            for m in headline_metrics(self.figures)
        }

    def __repr__(self) -> str:
        counts = {name: f"{s['traces']:,}" for name, s in self.figures["sets"].items()}
        lines = [
            f"Report: {counts['synthetic']} synthetic traces of "
            f"{len(self.figures['protocol']['classes'])} classes against {counts['holdout']} "
            f"held-out real ones (learned from {counts['real']})",
            *(f"  {name}: {text}" for name, text in self.summary().items()),
            *_of_columns(self.figures["columns"]),
            *(f"  {a.question} {a.word}. {a.text}" for a in answers(self.figures)),
            *(f"  note: {note}" for note in self.figures["protocol"]["notes"]),
        ]
        return "\n".join(
            line if len(line) <= WIDEST else line[: WIDEST - 1] + "…" for line in lines
        )

    def _repr_html_(self) -> str:
        from netdiffus.evaluation.report.notebook import report_html

        return report_html(self)

    def to_html(self) -> str:
        """One page with every figure and plot inside, which opens offline."""
        from netdiffus.evaluation.report.html import render  # matplotlib is slow to import

        return render(self)

    def show(self) -> None:
        """Shows the page: in a notebook below the cell, elsewhere in the web browser."""
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            frame = f'<iframe srcdoc="{escape(self.to_html())}" width="100%" height="800"></iframe>'
            ipython.display.display(ipython.display.HTML(frame))
            return
        path = Path(tempfile.mkdtemp(prefix="netdiffus-")) / "report.html"
        self.save_html(path)
        if not webbrowser.open(path.as_uri()):
            print(f"No browser was found; the page is {path}")

    def save_json(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the figures, whole or not at all.

        Raises:
            FileExistsError: The file is there and `force` is false.
        """
        refuse_existing(Path(path), force)
        write_text(Path(path), self.to_json())

    def save_html(self, path: str | Path, *, force: bool = False) -> None:
        """Writes one page with every figure and picture inside, which opens offline.

        Raises:
            FileExistsError: The file is there and `force` is false.
        """
        refuse_existing(Path(path), force)
        write_text(Path(path), self.to_html())


def _of_columns(figures: Mapping[str, Any] | None) -> list[str]:
    """One line on the columns of the meta-data, if the sets share any."""
    if figures is None:
        return []
    told = []
    titles = {
        "association": "association error",
        "two_sample_auc": "AUC",
        "two_sample_auc_with_traces": "AUC with traces",
    }
    for name, title in titles.items():
        made, real = (figures[name][side]["mean"] for side in ("synthetic", "real"))
        if made is not None:
            told.append(f"{title} {made:.2f} (real: {real:.2f})")
    return [f"  columns {', '.join(figures['names'])}: {', '.join(told)}"]
