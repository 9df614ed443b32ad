"""The command-line program, which each command adds itself to."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from netdiffus.cli.output import fail


class _Commands(TyperGroup):
    """All commands; Ctrl-C ends each of them the same way, whatever typer makes of it."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            fail(stop if stop.args else KeyboardInterrupt("interrupted"), 130)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train on labelled network traces, generate synthetic ones, and evaluate them.",
    epilog="Exit codes: 0 done, 1 failed, 2 input at fault, 130 interrupted.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(version("netdiffus"))
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass
