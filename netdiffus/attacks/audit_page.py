"""Renders the figures of an audit as one page."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from netdiffus import __version__
from netdiffus.attacks.verdict import RULES
from netdiffus.evaluation.report.html import percent
from netdiffus.evaluation.report.pages import filled
from netdiffus.evaluation.report.svg import SOFT, TRAIN, frame, svg

COLOURS = ("#1f5fa8", "#d9661f", "#1a7f4b", "#8a4fb0", "#b3261e", "#9a6700", "#2a9d9d", "#c2478f")
HEIGHT = 4.0  # inches
WIDTH = 8.6
DASHES = {"white box": "-", "black box": "--", "control": ":"}


def page(figures: dict[str, Any]) -> str:
    """The HTML text, without any reference to another file."""
    return filled(
        "netdiffus.attacks",
        "audit.html",
        {"percent": percent, "interval": interval, "area": area},
        f=figures,
        rules=RULES,
        picture=svg("roc", _draw_roc, figures["attacks"], width=WIDTH),
        version=__version__,
        guarantee=guarantee(figures),
    )


def guarantee(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The ledger as rows of name and value; nested ones by their path. Empty if there is none."""
    return list(_rows("", figures["guarantee"] or {}))


def interval(share: Any) -> str:
    """A share with its interval; a dash where there is none."""
    if share["mean"] is None:
        return percent(None)
    return f"{share['mean']:.1%} ({share['low']:.1%}\N{EN DASH}{share['high']:.1%})"


def area(auc: Any) -> str:
    """An AUC with its interval."""
    return f"{auc['mean']:.3f} ({auc['low']:.3f}\N{EN DASH}{auc['high']:.3f})"


def _rows(path: str, value: Any) -> Any:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _rows(f"{path} {key}".strip(), one)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for number, one in enumerate(value, start=1):
            yield from _rows(f"{path} {number}", one)
    else:
        yield path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _draw_roc(figure: Figure, attacks: list[dict[str, Any]]) -> None:
    """ROC curves, both axes logarithmic: what matters is the true positives at few false ones."""
    frame(figure, HEIGHT, left=0.7, right=3.2, bottom=0.5, top=0.15)
    axis = figure.add_subplot()
    floor = min(1 / max(attack["others"], attack["members"]) for attack in attacks) / 2
    line = np.geomspace(floor, 1, 50)
    axis.plot(line, line, color=TRAIN, lw=1, ls="-.", label="chance")
    for k, attack in enumerate(attacks):
        x, y = np.maximum(np.array(attack["roc"]).T, floor)
        colour = SOFT if attack["kind"] == "control" else COLOURS[k % len(COLOURS)]
        axis.step(
            x,
            y,
            where="post",
            color=colour,
            lw=1.4,
            ls=DASHES[attack["kind"]],
            label=f"{attack['name']} ({attack['kind']})",
        )
    axis.set(xscale="log", yscale="log", xlim=(floor, 1), ylim=(floor, 1.1))
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(lambda x, _: f"{100 * x:g}%")
        side.set_minor_formatter(NullFormatter())
    axis.set_xlabel("false-positive rate: non-members called members")
    axis.set_ylabel("true-positive rate: members found")
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
