"""Entry point of the command line: the verbs of the path, in its order."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from safetensors import SafetensorError

from netdiffus.cli.app import app
from netdiffus.cli.audit import audit
from netdiffus.cli.augment import augment
from netdiffus.cli.complete import complete
from netdiffus.cli.demo import demo
from netdiffus.cli.evaluate import evaluate
from netdiffus.cli.export import export
from netdiffus.cli.import_ import import_
from netdiffus.cli.info import info
from netdiffus.cli.inspect import inspect
from netdiffus.cli.options import with_groups
from netdiffus.cli.output import fail, show_warning
from netdiffus.cli.privatise import privatise
from netdiffus.cli.sample import sample
from netdiffus.cli.split import split
from netdiffus.cli.train import train
from netdiffus.errors import InputError, Note

# In the order in which they are used, and in which `--help` lists them.
_COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("demo", demo, "-o demo"),
    ("inspect", inspect, "traces.csv -o traces.png"),
    ("import", import_, "captures/ -o traces.parquet"),
    ("split", split, "traces.parquet --by trace_id --sep '#' -o parts"),
    ("privatise", privatise, "traces.parquet --epsilon 4 --length 10 -o private.parquet"),
    ("train", train, "traces.parquet --minutes 5 -o model"),
    ("sample", sample, "model -n 1000 --label youtube -o out.parquet"),
    ("augment", augment, "train.parquet model -o augmented.parquet"),
    ("complete", complete, "model begun.parquet -n 10 -o whole.parquet"),
    ("export", export, "out.parquet -o out.pcapng --ip 6"),
    ("evaluate", evaluate, "train.parquet out.parquet --holdout rest.parquet -o r.html"),
    ("audit", audit, "model --train t.parquet --holdout h.parquet -o audit.html"),
    ("info", info, "--json"),
)
for _name, _command, _example in _COMMANDS:
    app.command(_name, epilog=f"Example: netdiffus {_name} {_example}")(with_groups(_command))
# Of torch on the CPU, of oneDNN (it gives no reason), of Python's threads, of a library's loading.
_WORDS = (
    *("can't allocate memory", "could not create a primitive"),
    *("can't start new thread", "failed to map segment"),
)


def main() -> None:
    """Entry point: notes and errors of input and files are one line, not a traceback."""
    warnings.simplefilter("always", Note)
    warnings.showwarning = show_warning
    try:
        app()
    except (InputError, FileExistsError, FileNotFoundError) as error:
        fail(error, 2)
    except (OSError, SafetensorError) as error:  # the latter where a disk is full
        fail(error, 1)
    except MemoryError as error:
        _fail_of_memory(error)
    except (RuntimeError, ImportError) as error:
        if not _is_of_memory(error):
            raise
        _fail_of_memory(error)


def _is_of_memory(error: Exception) -> bool:
    """Whether torch says so, on a GPU by a class; others by words alone."""
    return type(error).__name__ == "OutOfMemoryError" or any(one in str(error) for one in _WORDS)


def _fail_of_memory(error: Exception) -> None:
    text = str(error).split("Error code")[0].strip() or "an allocation failed"
    fail(
        MemoryError(
            f"not enough memory: {text}; work on fewer or shorter traces, or in smaller batches "
            "(--batch-size)"
        ),
        1,
    )
