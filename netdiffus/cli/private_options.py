"""Options of differential privacy, which `privatise` and `train --epsilon` have."""

from __future__ import annotations

from typing import Annotated

import typer

from netdiffus.cli.options import comma_separated
from netdiffus.errors import InputError

MOST = 20  # traces of a group
PANEL = "Differential privacy"

Delta = Annotated[
    float, typer.Option(help="Must be below 1 / number of traces.", rich_help_panel=PANEL)
]
Most = Annotated[
    int | None,
    typer.Option(
        help="Most traces of a group to use.", show_default=str(MOST), rich_help_panel=PANEL
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Public class names, comma-separated.",
        show_default="as in the file",
        rich_help_panel=PANEL,
    ),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range", help="Public bounds, CHANNEL=LO:HI; repeatable.", rich_help_panel=PANEL
    ),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway", help="Continue even if classes have too few traces.", rich_help_panel=PANEL
    ),
]


def named(classes: str | None) -> tuple[str, ...] | None:
    """The names of `--classes`."""
    return None if classes is None else tuple(comma_separated(classes))


def most_of(most: int | None, by: str | None) -> int:
    """The number of `--most`, which `--by` gives a meaning."""
    if most is not None and by is None:
        raise InputError("--most without --by: name the column of the groups, or leave it out")
    return MOST if most is None else most


def bounds(choices: list[str] | None) -> dict[str, tuple[float, float]]:
    """{"packet_length": (0, 1460)} from ["packet_length=0:1460"]."""
    found = {}
    for choice in choices or []:
        name, _, numbers = choice.partition("=")
        low, _, high = numbers.partition(":")
        try:
            found[name] = float(low), float(high)
        except ValueError:
            raise InputError(f"--range {choice}: give a channel and two numbers, x=LO:HI") from None
    return found
