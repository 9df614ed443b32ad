"""The command: `python -m bench.fidelity`, from the root of the repository."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.fidelity import sets
from bench.fidelity.bars import bars
from bench.fidelity.forests import Protocol
from bench.fidelity.kept import ending_well
from bench.fidelity.peers import PEERS
from bench.fidelity.runs import Plan, run
from bench.fidelity.table import tables
from netdiffus.files import write_text
from netdiffus.networks.build import PRESETS


@ending_well
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench and writes results.json and table.md."""
    plan = _plan(_parser().parse_args(arguments))
    results = run(plan)
    for result in results:
        result["checks"] = [{**vars(bar), "passed": bar.passed} for bar in bars(result)]
    write_text(plan.out / "results.json", json.dumps(results, indent=1) + "\n")
    table = tables(results)
    write_text(plan.out / "table.md", table)
    print(table)
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = Plan(Path("fidelity"))
    parser = argparse.ArgumentParser("python -m bench.fidelity", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=usual.out, help="folder to work in; default %(default)s")
    add("--data", type=Path, help="folder of the public sets")
    add("--sets", nargs="+", choices=list(sets.SETS), default=usual.sets)
    budgets = "budgets to train for; the longest gets all figures"
    add("--minutes", nargs="+", type=float, default=usual.minutes, help=budgets)
    add("--seeds", nargs="+", type=int, default=usual.seeds)
    several = "sets to train with all the seeds, others take the first"
    add("--all-seeds", nargs="*", choices=list(sets.SETS), default=usual.all_seeds, help=several)
    steps = "sampling steps to compare, if the preset has any"
    add("--steps", nargs="*", type=int, default=usual.steps, help=steps)
    peers = "generators that are not ours; none if no name follows"
    add("--peers", nargs="*", choices=list(PEERS), default=usual.peers, help=peers)
    add("--preset", choices=PRESETS, default=usual.preset)
    add("--tiny", action="store_true", help="bundled traffic, seconds of training: does it work?")
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    asked = {name: tuple(x) if isinstance(x, list) else x for name, x in vars(given).items()}
    tiny = asked.pop("tiny")
    plan = Plan(**asked)
    if not tiny:
        return plan
    # The same path in a few seconds; no peers, whose installation alone takes minutes.
    return replace(
        plan,
        sets=(sets.LAB,),
        minutes=(0.01, 0.02),
        seeds=(0,),
        steps=(2, 4),
        peers=(),
        protocol=Protocol(trees=10, repeats=2, resamples=50),
    )


if __name__ == "__main__":
    sys.exit(main())
