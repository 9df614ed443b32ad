"""How close made sessions are to held-out ones: `python -m bench.sessions flows.parquet --help`.

The table is one that `netdiffus import --keep-flows` writes. Half of the sessions of each class are
learned from, the others judge as many made ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.tables import markdown
from netdiffus import Recipe, Traces, compare_sessions, sample_sessions, train_sessions
from netdiffus.files import write_text
from netdiffus.sessions.flows import SESSION, Flows


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and writes it with the figures beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flows", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/sessions"))
    parser.add_argument("--with", dest="columns", default="protocol,server_port")
    parser.add_argument("--minutes", type=float, default=8.0, help="of processor time")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    real, held = Traces.load(chosen.flows).split(0.5, by=SESSION, keep_duplicates=False)
    budget = {"steps": chosen.steps} if chosen.steps else {"cpu_minutes": chosen.minutes}
    recipe = Recipe(**budget, seed=chosen.seed)
    model = train_sessions(real, recipe=recipe, columns=chosen.columns.split(","))
    made = sample_sessions(model, len(Flows.of(real).counts), seed=chosen.seed)
    figures = compare_sessions(made, real, held, seed=chosen.seed)
    steps = {"steps": [one.about["steps"] for one in (model.traces, model.sessions)]}
    write_text(chosen.out / "sessions.json", json.dumps(figures | steps, indent=1) + "\n")
    print(text := table(figures))
    write_text(chosen.out / "sessions.md", text)
    return 0


def table(figures: dict[str, Any]) -> str:
    """A row for each figure, made beside real."""
    names = figures["floor"]
    rows = [[name, *(f"{figures[side][name]:.3f}" for side in ("made", "floor"))] for name in names]
    return markdown(f"{figures['sessions']} sessions | made | real (floor)", rows)


if __name__ == "__main__":
    raise SystemExit(main())
