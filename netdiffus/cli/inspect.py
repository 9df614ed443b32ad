"""`netdiffus inspect`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdiffus.cli.options import Force, Json, Length, Reading
from netdiffus.cli.output import show
from netdiffus.cli.progress import bar
from netdiffus.errors import InputError

if TYPE_CHECKING:
    from netdiffus.tables import ReadOptions
    from netdiffus.traces.traces import Traces

PICTURES = (".png", ".svg", ".pdf")
DRAWN = 6  # traces that are drawn in the terminal, each of another class
POINTS = 48  # of each
_BLOCKS = "▁▂▃▄▅▆▇█"


def inspect(
    files: Annotated[
        list[Path], typer.Argument(help="A table of traces, or captures and folders of them.")
    ],
    picture: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Plot of each class: .png, .svg, .pdf."),
    ] = None,
    label_from: Annotated[
        str | None, typer.Option(help="Source of the class of captures, as in import.")
    ] = "dir",
    length: Length = None,
    *,
    reading: Reading,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show how files would be read, and plot a few traces."""
    from netdiffus.files import claim, whole_file

    options = reading.options(length)
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise InputError(f"{picture}: choose a name that ends in {', '.join(PICTURES)}")
    with claim(*([picture] if picture else []), force=force):
        traces, found = _read(files, label_from, options)
        found = {key: value for key, value in found.items() if value not in ({}, [])}
        found["points of a trace"] = _quartiles(traces)
        if not as_json:
            found |= {"each line": f"{traces.channels[0].title}, first {POINTS} points at most"}
            found["traces drawn"] = _drawn(traces)
        if picture is not None:
            with whole_file(picture) as part:
                traces.plot().savefig(part, format=picture.suffix[1:].lower(), dpi=150)
            found["picture"] = str(picture)
    show(found, as_json)


def _read(
    files: list[Path], label_from: str | None, options: ReadOptions
) -> tuple[Traces, dict[str, Any]]:
    """The traces, and what was read as what; captures are read as `import` reads them."""
    from netdiffus.traces.traces import Traces

    if len(files) == 1 and _is_table(files[0]):
        traces, report = Traces.load_with_report(files[0], options)
        return traces, report.summary()
    from netdiffus.capture import convert_captures

    with tempfile.TemporaryDirectory() as scratch, bar("inspect", 1.0) as progress:
        out = Path(scratch) / "traces.parquet"
        made = convert_captures(files, out, label_from=label_from, progress=progress)
        traces, _ = Traces.load_with_report(out, options)
        return traces, {**made.summary(), "rules": made.rules}


def _is_table(path: Path) -> bool:
    """Whether a file has the name of a table; of a folder, whether it holds no captures."""
    from netdiffus.capture.files.finding import is_capture
    from netdiffus.tables.files import READERS

    if path.is_dir():
        return not any(one.is_file() and is_capture(one) for one in path.rglob("*"))
    return not READERS.keys().isdisjoint(suffix.lower() for suffix in path.suffixes)


def _quartiles(traces: Traces) -> str:
    import numpy as np

    low, middle, high = np.quantile(traces.lengths, (0.25, 0.5, 0.75), method="nearest")
    return f"median {middle}, half of them {low} to {high}, at most {traces.lengths.max()}"


def _drawn(traces: Traces) -> dict[str, str]:
    """A trace of median length of some classes, its first channel as a line of blocks."""
    found = {}
    for k, name in enumerate(traces.classes[:DRAWN]):
        rows = (traces.labels == k).nonzero()[0]
        row = rows[traces.lengths[rows].argsort(kind="stable")[len(rows) // 2]]
        values = traces.values[row, 0, : min(POINTS, traces.lengths[row])]
        found[name] = _line(values.tolist())
    return found


def _line(values: list[float]) -> str:
    """Heights of blocks from the least to the largest value."""
    low, high = min(values), max(values)
    step = (high - low) / (len(_BLOCKS) - 1) or 1.0
    return "".join(_BLOCKS[round((value - low) / step)] for value in values)
